//! What the service says became of its items.

/// One backend's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) created: u64,
    pub(crate) delivered: u64,
    pub(crate) suppressed: u64,
    pub(crate) spooled: u64,
}

impl Account {
    /// By an exit report: `  otlp: created 80, delivered 76, spooled 4`.
    pub(crate) fn reported(report: &str, backend: &str) -> Option<Self> {
        let prefix = format!("  {backend}: ");
        let line = report.lines().find_map(|line| line.strip_prefix(&prefix))?;
        Self::of(|name| line.split(", ").find_map(|figure| figure.strip_prefix(name)?.strip_prefix(' ')))
    }

    /// By an answer of `/health`: `"otlp":{"state":"…","items":{"created":80,…}}`.
    pub(crate) fn shown(health: &str, backend: &str) -> Option<Self> {
        let (_, rest) = health.split_once(&format!("\"{backend}\":{{"))?;
        let (_, items) = rest.split_once("\"items\":{")?;
        Self::of(|name| items.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest))
    }

    fn of<'a>(figure: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let number = |name| {
            figure(name).and_then(|text| text.split(|mark: char| !mark.is_ascii_digit()).next()?.parse().ok())
        };
        Some(Self {
            created: number("created")?,
            delivered: number("delivered")?,
            suppressed: number("suppressed").unwrap_or(0),
            spooled: number("spooled").unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_health_say_the_same() {
        let expected = Some(Account { created: 80, delivered: 70, suppressed: 6, spooled: 4 });
        let report = "stopped\n  otlp: created 1, delivered 1\n  rollbar: created 80, delivered 70, suppressed 6, spooled 4\n";
        assert_eq!(Account::reported(report, "rollbar"), expected);
        let health = r#"{"backends":{"otlp":{"state":"well","items":{"created":1}},"rollbar":{"state":"{}","items":{"created":80,"delivered":70,"sampled_out":0,"suppressed":6,"dropped":{},"queued":0,"spooled":4}}}}"#;
        assert_eq!(Account::shown(health, "rollbar"), expected);
        assert_eq!(Account::reported(report, "xray"), None);
    }
}
