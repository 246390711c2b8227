//! Variables that are set in vain.

use super::known::{self, RESERVED, WITHOUT_EFFECT};
use super::reader::Reader;

/// Warns of misspelt names, and of names that stand for something elsewhere but not here.
pub(super) fn set_in_vain(reader: &mut Reader<'_>) {
    for name in reader.environment().names() {
        if known::read().any(|known| known == name) {
            continue;
        }
        if RESERVED.contains(&name) {
            reader.warn(name, "set, not used by this version");
        } else if let Some((_, reason)) = WITHOUT_EFFECT.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            reader.warn(name, format_args!("has no effect: {reason}"));
        } else if let Some(meant) = near_miss(name) {
            reader.warn(name, format_args!("unknown; did you mean {meant}?"));
        } else if name.starts_with("OTEL_") {
            reader.warn(name, "has no effect: this service does not know it");
        }
    }
}

/// The known name that `name` looks like: the same first letter and one slip away, or two for long names.
///
/// Short names and other first letters are left alone: `HOST` is not a misspelt `PORT`, nor `NODE_VERSION` a
/// misspelt `CODE_VERSION`.
fn near_miss(name: &str) -> Option<&'static str> {
    const SHORT: usize = 6;
    const LONG: usize = 10;
    known::read()
        .chain(RESERVED.iter().copied())
        .filter(|known| known.len() >= SHORT && known.as_bytes().first() == name.as_bytes().first())
        .filter(|known| known.len().abs_diff(name.len()) <= 2)
        .map(|known| (strsim::osa_distance(known, name), known))
        .filter(|(slips, known)| *slips <= if known.len() < LONG { 1 } else { 2 })
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_noticed() {
        for (name, meant) in [
            ("ROLLBAR_ACCCESS_TOKEN", "ROLLBAR_ACCESS_TOKEN"),
            ("ROLBAR_ACCESS_TOKEN", "ROLLBAR_ACCESS_TOKEN"),
            ("ROLBAR_ACCES_TOKEN", "ROLLBAR_ACCESS_TOKEN"),
            ("HONEYCOMB_APIKEY", "HONEYCOMB_API_KEY"),
            ("HONEYCOMB_API_KEYS", "HONEYCOMB_API_KEY"),
            ("OTEL_SERVICE_NAMES", "OTEL_SERVICE_NAME"),
            ("OTEL_SERVCIE_NAME", "OTEL_SERVICE_NAME"),
            ("BACKEND_URI", "BACKEND_URL"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("RUST_LGO", "RUST_LOG"),
            ("OTEL_EXPORTER_OLTP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ] {
            assert_eq!(near_miss(name), Some(meant), "{name}");
        }
    }

    #[test]
    fn other_peoples_names_are_left_alone() {
        let common = "PATH HOME HOST HOSTNAME LANG USER SHELL PWD TERM TZ POOL PORTS RUST_BACKTRACE RUST_VERSION \
                      CARGO_HOME RUSTUP_HOME NODE_VERSION APP_NAME APP_URL APP_DIR LOG_FILE LOG_DIR AWS_ROLE_ARN \
                      AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CA_BUNDLE AWS_MAX_ATTEMPTS \
                      ECS_CONTAINER_METADATA_URI AWS_EXECUTION_ENV KUBERNETES_SERVICE_HOST \
                      XDG_RUNTIME_DIR DEBIAN_FRONTEND SSL_CERT_FILE HTTP_PROXY NO_PROXY REACT_APP_BACKEND_URL";
        for name in common.split_whitespace() {
            assert_eq!(near_miss(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_is_known_once() {
        let mut names: Vec<_> = known::read().chain(RESERVED.iter().copied()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
