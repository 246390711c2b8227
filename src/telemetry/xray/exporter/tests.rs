use opentelemetry::KeyValue;
use tokio::net::UdpSocket;

use super::document::tests::{OWN, span, with_spans};
use super::*;

#[test]
fn a_name_with_addresses_of_both_kinds_means_ipv4() {
    let (six, four): (SocketAddr, SocketAddr) =
        ("[::1]:2000".parse().unwrap(), "127.0.0.1:2000".parse().unwrap());
    assert_eq!(preferred(&[six, four]), Some(four));
    assert_eq!(preferred(&[six]), Some(six));
    assert_eq!(preferred(&[]), None);
}

#[test]
fn segments_are_sent_by_a_socket_that_no_runtime_polls() {
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::new(receiver.local_addr().unwrap().to_string(), Arc::default());
    // No socket can be polled by this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let record = Arc::new(with_spans(Vec::new()));
    let item = Item::Segment { record, name: "cruddur".into(), rule: None };
    assert_eq!(runtime.block_on(daemon.send(&[item])).unwrap(), Sent::default());
    assert!(receiver.recv(&mut [0; 4096]).unwrap() > HEADER.len());
}

#[tokio::test(start_paused = true)]
async fn what_the_socket_has_no_room_for_is_sent_when_it_has() {
    let begun = Instant::now();
    let mut answers =
        [Err(io::ErrorKind::WouldBlock.into()), Err(io::ErrorKind::WouldBlock.into()), Ok(7)].into_iter();
    assert_eq!(patiently(|| answers.next().unwrap()).await.unwrap(), 7);
    assert_eq!(begun.elapsed(), 2 * PAUSE);
    let failed = patiently(|| Err::<(), _>(io::ErrorKind::HostUnreachable.into())).await;
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::HostUnreachable);
}

#[tokio::test(start_paused = true)]
async fn only_a_large_trace_is_sent_with_pauses() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let daemon = || {
        let address = receiver.local_addr().unwrap().to_string();
        Daemon::new(address, Arc::default())
    };
    let item = |spans: u64| {
        let record = Arc::new(with_spans((1..=spans).map(|id| span(id, OWN)).collect()));
        Item::Segment { record, name: "cruddur".into(), rule: None }
    };
    let begun = Instant::now();
    daemon().send(&(0..32).map(|_| item(3)).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "a batch of small ones");
    let large = item(3000);
    let mut documents = Documents::default();
    daemon().draw(&large, &mut documents);
    let room: usize = documents.iter().map(|document| room(document.len())).sum();
    daemon().send(&[large]).await.unwrap();
    let pauses = u32::try_from(room / BURST).unwrap();
    assert!(pauses > 10 && begun.elapsed() >= PAUSE * pauses, "{pauses} {:?}", begun.elapsed());
}

/// The segments that `batch` arrives as, each of them a document of its own.
async fn arrived(daemon: &Daemon, receiver: &UdpSocket, batch: &[Item]) -> Vec<serde_json::Value> {
    assert_eq!(daemon.send(batch).await.unwrap().rejected, []);
    let (mut arrived, mut buffer) = (Vec::new(), vec![0; 65_536]);
    for _ in batch {
        let count = receiver.recv(&mut buffer).await.unwrap();
        let document = buffer[..count].strip_prefix(HEADER).unwrap();
        arrived.push(serde_json::from_slice(document).unwrap());
    }
    arrived
}

#[tokio::test]
async fn segments_arrive_one_by_one_whether_they_are_sent_together_or_not() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap().to_string();
    let daemon = Daemon::new(address, Arc::default());
    // Of all sizes, so that there are several runs.
    let batch: Vec<_> = (0..32_usize)
        .map(|at| {
            let mut record = with_spans(Vec::new());
            record.attributes = vec![KeyValue::new("note", "x".repeat(4 * at * at))];
            let name = format!("segment-{at}").into();
            Item::Segment { record: Arc::new(record), name, rule: None }
        })
        .collect();
    let together = arrived(&daemon, &receiver, &batch).await;
    let names: Vec<_> = together.iter().map(|segment| segment["name"].as_str().unwrap()).collect();
    let mut expected: Vec<_> = (0..32).map(|at| format!("segment-{at}")).collect();
    assert_eq!(
        {
            let mut names = names.clone();
            names.sort_unstable();
            names
        },
        {
            expected.sort();
            expected
        }
    );
    assert_eq!(daemon.joins.load(Ordering::Relaxed), cfg!(target_os = "linux"), "it works here");
    daemon.joins.store(false, Ordering::Relaxed);
    assert_eq!(arrived(&daemon, &receiver, &batch).await.len(), together.len());
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn drawn_documents_are_sent_at_once_where_that_takes_no_waiting() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap().to_string();
    let daemon = Daemon::new(address, Arc::default());
    // Of sizes that take several runs.
    let documents: Vec<_> = (0..32).map(|at| format!("{{\"at\":\"{}\"}}", "x".repeat(at * 60))).collect();
    let send = |documents: &[String]| daemon.send_at_once(documents.iter().map(String::as_bytes));
    assert!(!send(&documents), "the daemon's name has to be looked up");
    daemon.route().await.unwrap();
    assert!(send(&documents));
    let mut buffer = [0; 4096];
    for expected in &documents {
        let count = receiver.recv(&mut buffer).await.unwrap();
        let document = buffer[..count].strip_prefix(HEADER).unwrap().trim_ascii_end();
        assert_eq!(document, expected.as_bytes());
    }
    let (small, large) = (vec!["x".to_owned(); 3], vec!["x".repeat(5_000); 10]);
    assert!(!send(&[small.clone(), large].concat()), "that many take a pause");
    daemon.most.store(1_000, Ordering::Relaxed);
    assert!(!send(&documents), "some are too large");
    daemon.joins.store(false, Ordering::Relaxed);
    assert!(!send(&small), "they cannot be sent together");
    assert_eq!(receiver.try_recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock, "all or none");
}

#[tokio::test]
async fn what_cannot_be_sent_together_is_sent_alone_from_then_on() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap().to_string();
    let daemon = Daemon::new(address, Arc::default());
    let route = daemon.route().await.unwrap();
    let (mut run, said) = (Run::default(), String::new());
    // More than the kernel takes apart.
    let documents: Vec<_> = (0..200).map(|at| format!("{{\"at\":{at}}}")).collect();
    documents.iter().for_each(|document| {
        run.push(HEADER, document.as_bytes());
    });
    let mut sending = Sending { daemon: &daemon, route: &route, run, burst: 0, failed: 0, said };
    sending.flush().await;
    assert_eq!((sending.failed, sending.run.count()), (0, 0));
    assert!(!daemon.joins.load(Ordering::Relaxed));
    let mut buffer = [0; 1024];
    for expected in documents {
        let count = receiver.recv(&mut buffer).await.unwrap();
        let document = buffer[..count].strip_prefix(HEADER).unwrap().trim_ascii_end();
        assert_eq!(document, expected.as_bytes());
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_network_is_sent_in_smaller_pieces() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap().to_string();
    let daemon = Daemon::new(address, Arc::default());
    // More than a datagram can have.
    daemon.most.store(80_000, Ordering::Relaxed);
    let spans = (1..=20).map(|id| {
        let mut span = span(id, OWN);
        span.attributes = vec![KeyValue::new("note", "x".repeat(4000))];
        span
    });
    let record = Arc::new(with_spans(spans.collect()));
    let item = Item::Segment { record, name: "cruddur".into(), rule: None };
    let sent = daemon.send(&[item]).await.unwrap();
    assert_eq!(sent.rejected, [], "nothing is lost");
    assert_eq!(daemon.most.load(Ordering::Relaxed), 40_000);
    let (mut found, mut buffer) = (0, vec![0; 65_536]);
    while found < 20 {
        let count = receiver.recv(&mut buffer).await.unwrap();
        assert!(count <= HEADER.len() + 40_000, "{count}");
        found += String::from_utf8_lossy(&buffer[..count]).matches(r#""note""#).count();
    }
    assert_eq!(found, 20);
}
