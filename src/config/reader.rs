//! Reads variables one after another and keeps account of what it finds.

use std::fmt;

use super::environment::{Environment, NotUtf8};
use super::shown::{Shown, one_line, quoted};
use super::variable::Typed;
use super::{Checked, Variable};

/// A setting in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The variable that it belongs to.
    pub name: &'static str,
    /// The value as it may be shown: `****` for a secret.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The setting's own variable, or the named other one.
    Variable(&'static str),
    /// Nothing was set.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.pad(name),
            Self::Default => f.pad("default"),
        }
    }
}

/// Something that starts but deserves a second look: one line that begins with the variable's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A variable whose value cannot be used: one line with its name, the value unless secret, and what would be
/// right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {given} is not {expected}")]
pub struct ConfigError {
    name: &'static str,
    given: String,
    expected: String,
}

/// What a variable says, before it is known what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// Nothing: it is unset.
    Nothing,
    /// A value, and the variable's name.
    Value(T, &'static str),
    /// Something unusable, which has been noted.
    Refused,
}

impl<T> Given<T> {
    /// The other one where this one says nothing.
    pub(super) fn or(self, other: Self) -> Self {
        if self.is_nothing() { other } else { self }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub(super) fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value, _) => Some(value),
            Self::Nothing | Self::Refused => None,
        }
    }

    /// The value made into another one.
    pub(super) fn map<U>(self, into: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Self::Value(value, name) => Given::Value(into(value), name),
            Self::Nothing => Given::Nothing,
            Self::Refused => Given::Refused,
        }
    }
}

/// Reads the environment variable by variable, collecting settings, warnings and errors on the way.
pub(super) struct Reader<'a> {
    environment: &'a Environment,
    settings: Vec<Setting>,
    warnings: Vec<Warning>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self { environment, settings: Vec::new(), warnings: Vec::new(), errors: Vec::new() }
    }

    /// The environment, for what is looked at without being read.
    pub(super) fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// Whether the variable says anything, be it right or wrong.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.environment.get(name) != Ok(None)
    }

    /// The value, or the default in the variable's row.
    pub(super) fn get<T: Shown>(&mut self, row: &Typed<T>) -> T {
        self.get_or(row, default(row), Source::Default)
    }

    /// The value, or a fallback that depends on something else.
    pub(super) fn get_or<T: Shown>(&mut self, row: &Typed<T>, fallback: T, source: Source) -> T {
        let given = self.given(row);
        self.settle(row.variable.name, given, fallback, source, T::shown)
    }

    /// The value, if there is one; the row's default is then only words.
    pub(super) fn find<T: Shown>(&mut self, row: &Typed<T>) -> Option<T> {
        let given = self.given(row);
        self.settle_optional(row.variable.name, given, row.variable.default)
    }

    /// One setting that two variables can give: the first one wins, the second one holds the default, and `name`
    /// is what the setting is called.
    pub(super) fn either<T: Shown>(&mut self, name: &'static str, first: &Typed<T>, second: &Typed<T>) -> T {
        let (preferred, other) = (self.given(first), self.given(second));
        if preferred.value().is_some() && !other.is_nothing() {
            let message = format_args!("has no effect, because {} is set too and wins", first.variable.name);
            self.warn(second.variable.name, message);
        }
        self.settle(name, preferred.or(other), default(second), Source::Default, T::shown)
    }

    /// What the variable says, without making a setting of it.
    pub(super) fn given<T: Shown>(&mut self, row: &Typed<T>) -> Given<T> {
        let Variable { name, secret, .. } = row.variable;
        let (given, expected) = match self.environment.get(name) {
            Ok(None) => return Given::Nothing,
            Ok(Some(text)) => match (row.parse)(text) {
                Ok(value) => return Given::Value(value, name),
                Err(expected) if secret => ("the value (not shown)".to_owned(), expected),
                Err(expected) => (quoted(text), expected),
            },
            Err(NotUtf8) => ("the value".to_owned(), "valid UTF-8".into()),
        };
        self.refuse(name, given, &expected);
        Given::Refused
    }

    /// Makes the setting `name` of what was given, or of the fallback and its source.
    ///
    /// What was refused makes none: the fallback holds, but nobody gets to see it.
    pub(super) fn settle<T>(
        &mut self,
        name: &'static str,
        given: Given<T>,
        fallback: T,
        source: Source,
        shown: impl FnOnce(&T) -> String,
    ) -> T {
        let (value, source) = match given {
            Given::Value(value, from) => (value, Source::Variable(from)),
            Given::Nothing => (fallback, source),
            Given::Refused => return fallback,
        };
        self.settings.push(Setting { name, value: shown(&value), source });
        value
    }

    /// Makes the setting `name` of what was given, or of words for there being nothing.
    pub(super) fn settle_optional<T: Shown>(
        &mut self,
        name: &'static str,
        given: Given<T>,
        words: &str,
    ) -> Option<T> {
        let shown = |value: &Option<T>| value.as_ref().map_or_else(|| words.to_owned(), T::shown);
        self.settle(name, given.map(Some), None, Source::Default, shown)
    }

    /// Notes a fault, once: `given` is what is shown of the value, and reads before "is not" and `expected`.
    pub(super) fn refuse(&mut self, name: &'static str, given: String, expected: &str) {
        let error = ConfigError { name, given, expected: one_line(expected) };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Notes something that starts but deserves a second look, once.
    pub(super) fn warn(&mut self, name: &str, message: impl fmt::Display) {
        let warning = Warning(one_line(&format!("{name}: {message}")));
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn finish(self) -> Checked {
        Checked { settings: self.settings, warnings: self.warnings, errors: self.errors }
    }
}

/// Reading an empty environment, as a test does, reads every default.
fn default<T>(row: &Typed<T>) -> T {
    (row.parse)(row.variable.default).expect("the default in a row is a valid value")
}
