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

/// The variable is set to something unusable, which has been noted.
struct Refused;

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

    /// The value, or the default in the variable's row.
    pub(super) fn get<T: Shown>(&mut self, row: &Typed<T>) -> T {
        self.get_or(row, default(row), Source::Default)
    }

    /// The value, or a fallback that depends on something else.
    pub(super) fn get_or<T: Shown>(&mut self, row: &Typed<T>, fallback: T, source: Source) -> T {
        let name = row.variable.name;
        match self.look_up(row) {
            Ok(Some(value)) => self.settle(name, value, Source::Variable(name)),
            Ok(None) => self.settle(name, fallback, source),
            Err(Refused) => fallback,
        }
    }

    /// The value, if there is one; the row's default is then only words.
    pub(super) fn find<T: Shown>(&mut self, row: &Typed<T>) -> Option<T> {
        let Variable { name, default, .. } = row.variable;
        match self.look_up(row) {
            Ok(Some(value)) => Some(self.settle(name, value, Source::Variable(name))),
            Ok(None) => {
                self.settings.push(Setting { name, value: default.to_owned(), source: Source::Default });
                None
            }
            Err(Refused) => None,
        }
    }

    /// One setting that two variables can give: the first one wins, the second one holds the default, and `name`
    /// is what the setting is called.
    pub(super) fn either<T: Shown>(&mut self, name: &'static str, first: &Typed<T>, second: &Typed<T>) -> T {
        let (preferred, other) = (self.look_up(first), self.look_up(second));
        let (first, last) = (first.variable.name, second.variable.name);
        match (preferred, other) {
            (Ok(Some(value)), other) => {
                if !matches!(other, Ok(None)) {
                    self.warn(last, format_args!("has no effect, because {first} is set too and wins"));
                }
                self.settle(name, value, Source::Variable(first))
            }
            (Ok(None), Ok(Some(value))) => self.settle(name, value, Source::Variable(last)),
            (Ok(None), Ok(None)) => self.settle(name, default(second), Source::Default),
            (Err(Refused), _) | (_, Err(Refused)) => default(second),
        }
    }

    /// Notes something that starts but deserves a second look.
    pub(super) fn warn(&mut self, name: &str, message: impl fmt::Display) {
        self.warnings.push(Warning(one_line(&format!("{name}: {message}"))));
    }

    pub(super) fn finish(self) -> Checked {
        Checked { settings: self.settings, warnings: self.warnings, errors: self.errors }
    }

    fn settle<T: Shown>(&mut self, name: &'static str, value: T, source: Source) -> T {
        self.settings.push(Setting { name, value: value.shown(), source });
        value
    }

    fn look_up<T: Shown>(&mut self, row: &Typed<T>) -> Result<Option<T>, Refused> {
        let Variable { name, secret, .. } = row.variable;
        let (given, expected) = match self.environment.get(name) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) => match (row.parse)(text) {
                Ok(value) => return Ok(Some(value)),
                Err(expected) if secret => ("the value (not shown)".to_owned(), expected),
                Err(expected) => (quoted(text), expected),
            },
            Err(NotUtf8) => ("the value".to_owned(), "valid UTF-8".into()),
        };
        self.errors.push(ConfigError { name, given, expected: one_line(&expected) });
        Err(Refused)
    }
}

/// Reading an empty environment, as a test does, reads every default.
fn default<T>(row: &Typed<T>) -> T {
    (row.parse)(row.variable.default).expect("the default in a row is a valid value")
}
