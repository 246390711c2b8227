//! Request trees on the terminal, beside OTLP and instead of it.

use super::{HOME, start, stop};
use crate::stand_in::Otlp;

#[tokio::test]
async fn trees_are_shown_where_they_are_asked_for_or_nothing_else_is_there() {
    for (endpoint, exporters, tree, sent) in [
        (true, "", false, true),
        (true, "otlp", false, true),
        (true, "console", true, false),
        (true, "otlp,console", true, true),
        (true, "none", false, false),
        (false, "", true, false),
        (false, "otlp", true, false),
        (false, "none", false, false),
    ] {
        let stand_in = Otlp::start();
        let variables = [("OTEL_TRACES_EXPORTER", exporters), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")];
        let variables = if endpoint { &variables[..1] } else { &variables[..] };
        let app = start(&stand_in, variables).await;
        let terminal = app.terminal.clone();
        app.get(HOME).await;
        stop(app).await;
        stand_in.assert_clean();
        let terminal = terminal.text();
        assert_eq!(terminal.contains("home-activities-mock-data"), tree, "{variables:?}: {terminal}");
        assert_eq!(stand_in.spans().len(), if sent { 2 } else { 0 }, "{variables:?}");
        // Log events are told either way.
        assert!(terminal.contains("HomeActivities"), "{variables:?}: {terminal}");
    }
}
