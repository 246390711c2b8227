//! What a segment is called, which decides which node of the service map it belongs to and which rules match it.

use std::sync::Arc;

use super::document::legal_name;
use super::sampling::Pattern;

/// How segments are named.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    fixed: Arc<str>,
    pattern: Option<Pattern>,
}

impl Naming {
    /// Every segment is `fixed`, but where the request's `Host` matches `pattern`, it is that host (dynamic naming,
    /// as in X-Ray's SDKs).
    pub(super) fn new(fixed: &str, pattern: Option<Pattern>) -> Self {
        Self { fixed: legal_name(fixed).into(), pattern }
    }

    /// A name that X-Ray takes.
    pub(super) fn of(&self, host: Option<&str>) -> Arc<str> {
        match (&self.pattern, host) {
            (Some(pattern), Some(host)) if pattern.matches(host) => legal_name(host).into(),
            _ => Arc::clone(&self.fixed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_matches_the_pattern_names_the_segment() {
        let naming = Naming::new("cruddur-backend", Some(Pattern::new("*4567-*.gitpod.io")));
        assert_eq!(&*naming.of(Some("4567-ORG-x.gitpod.io")), "4567-ORG-x.gitpod.io");
        assert_eq!(&*naming.of(Some("localhost:4567")), "cruddur-backend");
        assert_eq!(&*naming.of(None), "cruddur-backend");
        assert_eq!(&*Naming::new("a?b", None).of(Some("x")), "ab");
    }
}
