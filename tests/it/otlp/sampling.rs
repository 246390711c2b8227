//! Which spans are sent, and which are only seen by others.

use super::{HOME, spans, start, stop};
use crate::caller::Caller;
use crate::stand_in::Otlp;

const SAMPLED: &str = "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01";
const UNSAMPLED: &str = "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-00";

#[tokio::test]
async fn a_sampler_decides_what_is_sent_and_nothing_else() {
    // Without a parent, with one that is sampled, with one that is not.
    for (sampler, argument, expected) in [
        ("always_on", "", [true, true, true]),
        ("always_off", "", [false, false, false]),
        ("traceidratio", "0", [false, false, false]),
        ("traceidratio", "1", [true, true, true]),
        ("", "", [true, true, false]),
        ("parentbased_always_on", "", [true, true, false]),
        ("parentbased_always_off", "", [false, true, false]),
        ("parentbased_traceidratio", "0", [false, true, false]),
    ] {
        for (parent, sampled) in [None, Some(SAMPLED), Some(UNSAMPLED)].into_iter().zip(expected) {
            let what = format!("{sampler} {argument} {parent:?}");
            let stand_in = Otlp::start();
            let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            let mut app = start(&stand_in, &variables).await;
            let mut caller = Caller::connect(app.address).await;
            let headers: Vec<_> = parent.map(|parent| ("traceparent", parent)).into_iter().collect();
            let reply = caller.ask("GET", HOME, &headers, "").await;
            assert_eq!(reply.trace().2, if sampled { "01" } else { "00" }, "{what}");
            // Other backends see it all the same, with what happened inside.
            let record = app.record().await;
            assert_eq!(record.identity().sampled, sampled, "{what}");
            assert_eq!(record.spans.len(), 1, "{what}");
            assert_eq!(record.spans[0].span_context.is_sampled(), sampled, "{what}");
            let report = stop(app).await;
            stand_in.assert_clean();
            let (tally, arrived) = (spans(&report), stand_in.spans().len());
            assert_eq!(arrived, if sampled { 2 } else { 0 }, "{what}");
            let counted = (tally.created, tally.delivered, tally.sampled_out);
            assert_eq!(counted, if sampled { (2, 2, 0) } else { (2, 0, 2) }, "{what}");
            assert_eq!(report.lost(), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_ratio_keeps_whole_traces() {
    let stand_in = Otlp::start();
    let variables = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let app = start(&stand_in, &variables).await;
    let mut caller = Caller::connect(app.address).await;
    let mut kept = 0;
    for _ in 0..200 {
        kept += u64::from(caller.get(HOME).await.trace().2 == "01");
    }
    let report = stop(app).await;
    stand_in.assert_clean();
    // Neither happens once in 10^30 runs.
    assert!((10..=190).contains(&kept), "{kept}");
    let tally = spans(&report);
    assert_eq!((tally.created, tally.delivered, tally.sampled_out), (400, 2 * kept, 2 * (200 - kept)));
}
