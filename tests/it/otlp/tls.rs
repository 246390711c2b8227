//! Encrypted exports, and whose certificates are believed.

use super::{HOME, health_until, spans, start, stop};
use crate::authority::Authority;
use crate::stand_in::Otlp;

const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const PROTOCOLS: [&str; 3] = ["http/protobuf", "http/json", "grpc"];

#[tokio::test]
async fn a_receiver_is_believed_whose_authority_is_named() {
    for protocol in PROTOCOLS {
        let authority = Authority::new();
        let stand_in = Otlp::start_tls(authority.server(false));
        let named = authority.certificate();
        let app = start(&stand_in, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), (CERTIFICATE, &named)]).await;
        app.get(HOME).await;
        stand_in.wait_for_spans(2).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        assert_eq!(spans(&report).to_string(), "created 2, delivered 2", "{protocol}");
    }
}

#[tokio::test]
async fn a_receiver_is_not_believed_without_reason_and_the_sentence_says_so() {
    for protocol in PROTOCOLS {
        let (authority, other) = (Authority::new(), Authority::new());
        let certificate = other.certificate();
        for variables in [
            vec![("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)],
            Vec::from([(CERTIFICATE, certificate.as_str())]),
        ] {
            let stand_in = Otlp::start_tls(authority.server(false));
            let app = start(&stand_in, &variables).await;
            app.get(HOME).await;
            let failing =
                |otlp: &serde_json::Value| otlp["state"].as_str().unwrap().starts_with("not delivering");
            let state = health_until(&app, "otlp", failing).await;
            assert!(state.contains("certificate") && state.contains(CERTIFICATE), "{protocol}: {state}");
            assert!(stand_in.seen().requests.is_empty(), "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_certificate_gets_it() {
    for protocol in PROTOCOLS {
        let authority = Authority::new();
        let (certificate, (client, key)) = (authority.certificate(), authority.client());
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            (CERTIFICATE, certificate.as_str()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &client),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
        ];
        let stand_in = Otlp::start_tls(authority.server(true));
        let app = start(&stand_in, &variables).await;
        app.get(HOME).await;
        stand_in.wait_for_spans(2).await;
        stop(app).await;
        stand_in.assert_clean();

        let stand_in = Otlp::start_tls(authority.server(true));
        let app = start(&stand_in, &variables[..2]).await;
        app.get(HOME).await;
        let failing =
            |otlp: &serde_json::Value| otlp["state"].as_str().unwrap().starts_with("not delivering");
        health_until(&app, "otlp", failing).await;
        assert!(stand_in.seen().requests.is_empty(), "{protocol}");
    }
}
