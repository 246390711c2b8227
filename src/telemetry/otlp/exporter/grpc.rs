//! OTLP over gRPC.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use prost::Message as _;
use secrecy::ExposeSecret as _;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::{Export, answer, unanswered};
use crate::config::Destination;
use crate::telemetry::delivery::{BoxError, SendError, chain};

/// A channel to one receiver, connected when it is first needed and again whenever it must.
#[derive(Debug)]
pub(in super::super) struct Grpc {
    channel: Channel,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    gzip: bool,
    honeycomb: bool,
}

impl Grpc {
    pub(super) fn new(destination: &Destination) -> Result<Self, BoxError> {
        let url = &destination.url;
        let mut endpoint = Endpoint::from_shared(url.to_string())?.connect_timeout(destination.timeout);
        if url.scheme() == "https" {
            let tls = ClientTlsConfig::new();
            let mut tls = match &destination.tls.ca {
                Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
                None => tls.with_native_roots(),
            };
            if let Some((certificate, key)) = &destination.tls.identity {
                tls = tls.identity(Identity::from_pem(certificate, key.expose_secret()));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(Self {
            channel: endpoint.connect_lazy(),
            headers: destination.headers.clone(),
            timeout: destination.timeout,
            gzip: destination.gzip,
            honeycomb: destination.honeycomb,
        })
    }

    pub(super) async fn export<E: Export>(&self, request: Vec<u8>) -> Result<E::Response, SendError> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        if self.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client.ready().await.map_err(|error| unanswered(chain(&error)))?;
        let mut call = Request::new(request);
        let headers = self.headers.iter().cloned().collect();
        *call.metadata_mut() = MetadataMap::from_headers(headers);
        call.set_timeout(self.timeout);
        let path = PathAndQuery::from_static(E::METHOD);
        let codec = Encoded::<E::Response>(PhantomData);
        // The header asks the server for a deadline; the timer holds where the server does not keep it.
        match tokio::time::timeout(self.timeout, client.unary(call, path, codec)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.refused(&status)),
            Err(_) => Err(unanswered("no answer in time".to_owned())),
        }
    }

    fn refused(&self, status: &Status) -> SendError {
        let Some(source) = std::error::Error::source(status) else {
            let after = retry_info(status.details());
            return answer::grpc(status.code(), status.message(), after, self.honeycomb);
        };
        // Only what happened on the way has a source: there was no answer, whatever code was made up for it.
        unanswered(format!("{}: {}", status.message(), chain(source)))
    }
}

/// `google.rpc.Status`, as far as it is of interest here.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`, with the `google.protobuf.Duration` inside.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// How long the server asked to be left alone.
fn retry_info(details: &[u8]) -> Option<Duration> {
    let details = RpcStatus::decode(details).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
}

/// A codec for a request that has been encoded before and a response of type `R`.
struct Encoded<R>(PhantomData<R>);

impl<R: prost::Message + Default + 'static> Codec for Encoded<R> {
    type Encode = Vec<u8>;
    type Decode = R;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl<R: prost::Message + Default + 'static> Encoder for Encoded<R> {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl<R: prost::Message + Default + 'static> Decoder for Encoded<R> {
    type Item = R;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        let bytes = buf.copy_to_bytes(buf.remaining());
        // What has been taken is taken; an answer that cannot be read is no reason to send it again.
        Ok(Some(R::decode(bytes).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_info_is_found_among_the_details() {
        let delay = Delay { seconds: 7, nanos: 500_000_000 };
        let info = RetryInfo { delay: Some(delay) }.encode_to_vec();
        let any = |type_url: &str, value: &[u8]| Any { type_url: type_url.to_owned(), value: value.to_vec() };
        let details = vec![
            any("type.googleapis.com/other", b"x"),
            any("type.googleapis.com/google.rpc.RetryInfo", &info),
        ];
        assert_eq!(retry_info(&RpcStatus { details }.encode_to_vec()), Some(Duration::from_millis(7500)));
        assert_eq!(retry_info(b""), None);
        assert_eq!(retry_info(b"junk"), None);
    }
}
