//! The environment as a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// Names and values of environment variables, as they were when the process started or as a test wants them.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

/// The value of a variable is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Environment {
    /// Copies the environment of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    pub fn from_process() -> Self {
        // A name that is not UTF-8 cannot be one of ours.
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// The trimmed value of a variable, unless it is unset or empty.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, NotUtf8> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let value = value.to_str().ok_or(NotUtf8)?.trim();
        Ok((!value.is_empty()).then_some(value))
    }

    /// The names of all variables that are set and not empty, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| self.get(name) != Ok(None))
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Names only: any value may be somebody's secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_blank_count_as_unset() {
        let environment = Environment::from_iter([("A", ""), ("B", " \t"), ("C", " c ")]);
        assert_eq!(environment.get("A"), Ok(None));
        assert_eq!(environment.get("B"), Ok(None));
        assert_eq!(environment.get("C"), Ok(Some("c")));
        assert_eq!(environment.get("D"), Ok(None));
        assert_eq!(environment.names().collect::<Vec<_>>(), ["C"]);
    }

    #[test]
    fn debug_shows_no_value() {
        let environment = Environment::from_iter([("TOKEN", "hush")]);
        assert_eq!(format!("{environment:?}"), r#"{"TOKEN"}"#);
    }
}
