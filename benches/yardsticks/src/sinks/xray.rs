//! X-Ray's daemon: documents by UDP, the sampling API by TCP on the same port.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::Sink;
use super::http::{self, Answer};

/// Everything is kept.
const ALL: &str = r#"{"SamplingRuleRecords":[{"SamplingRule":{"RuleName":"Default","RuleARN":"arn:aws:xray:eu-central-1:123456789012:sampling-rule/Default","ResourceARN":"*","Priority":10000,"FixedRate":1.0,"ReservoirSize":0,"ServiceName":"*","ServiceType":"*","Host":"*","HTTPMethod":"*","URLPath":"*","Version":1,"Attributes":{}}}]}"#;
/// No rules, so that those built in hold: one request a second and 5 % of the rest.
const NONE: &str = r#"{"SamplingRuleRecords":[]}"#;
const TARGETS: &str =
    r#"{"SamplingTargetDocuments":[],"LastRuleModification":1500000000.0,"UnprocessedStatistics":[]}"#;

/// Listens on a port of its own. The socket is as the daemon opens it: with what room the kernel gives by default.
pub(super) fn open(away: Duration, keep_all: bool) -> std::io::Result<Sink> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let documents = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    let arrived = Arc::new(AtomicU64::new(0));
    let rules = if keep_all { ALL } else { NONE };
    http::serve(listener, away, Arc::default(), move |request| {
        let body = if request.path.contains("SamplingTargets") { TARGETS } else { rules };
        Answer { counted: 0, content_type: "application/json", body }
    });
    let counted = Arc::clone(&arrived);
    thread::spawn(move || {
        let mut datagram = vec![0; 65_536];
        while let Ok(length) = documents.recv(&mut datagram) {
            let is_document = datagram[..length].starts_with(br#"{"format""#);
            counted.fetch_add(is_document.into(), Ordering::Relaxed);
        }
    });
    Ok(Sink { port, arrived })
}
