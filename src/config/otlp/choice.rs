//! Values out of a set.

use crate::config::parse::Parsed;
use crate::config::reader::{Given, Reader};
use crate::config::shown::{Shown, quoted};
use crate::config::variable::Typed;

/// A set of values that a variable chooses from; the specification ignores their case.
pub(super) trait Choices: Copy + PartialEq + 'static {
    /// How each value is spelt.
    const ALL: &'static [(&'static str, Self)];
}

/// What a variable that chooses says.
///
/// A value that nobody here knows is no fault: the specification has it ignored, with a warning. The same goes
/// for a boolean that is neither `true` nor `false`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice<T> {
    Known(T),
    Unknown(String),
}

impl Choices for bool {
    const ALL: &'static [(&'static str, Self)] = &[("true", true), ("false", false)];
}

impl<T: Choices> Shown for Choice<T> {
    fn shown(&self) -> String {
        match self {
            Self::Known(value) => spelt(value),
            Self::Unknown(text) => text.shown(),
        }
    }
}

pub(super) fn parse<T: Choices>(text: &str) -> Parsed<Choice<T>> {
    let known = T::ALL.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    Ok(known.map_or_else(|| Choice::Unknown(text.to_owned()), |(_, value)| Choice::Known(*value)))
}

/// What the variable chooses; an unknown value is nothing but a warning.
pub(super) fn given<T: Choices>(reader: &mut Reader<'_>, row: &Typed<Choice<T>>) -> Given<T> {
    match reader.given(row) {
        Given::Value(Choice::Known(value), name) => Given::Value(value, name),
        Given::Value(Choice::Unknown(text), name) => {
            let known: Vec<_> = T::ALL.iter().map(|(name, _)| *name).collect();
            let message = format_args!("{} is ignored; known are {}", quoted(&text), known.join(", "));
            reader.warn(name, message);
            Given::Nothing
        }
        Given::Nothing => Given::Nothing,
        Given::Refused => Given::Refused,
    }
}

/// How a value is written.
pub(super) fn spelt<T: Choices>(value: &T) -> String {
    let name = T::ALL.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name);
    name.to_owned()
}
