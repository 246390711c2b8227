//! One row: one variable.

use super::parse::Parsed;
use super::shown::Shown;

/// What there is to know of a variable before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// What holds when it is unset: a value it could be set to, or words.
    pub default: &'static str,
    /// What it is for, in one line.
    pub meaning: &'static str,
    /// Whether the value must never be shown.
    pub secret: bool,
}

/// A variable and how its value is understood.
pub(super) struct Typed<T> {
    pub(super) variable: Variable,
    pub(super) parse: fn(&str) -> Parsed<T>,
}

impl<T: Shown> Typed<T> {
    pub(super) const fn new(
        name: &'static str,
        parse: fn(&str) -> Parsed<T>,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { variable: Variable { name, default, meaning, secret: T::SECRET }, parse }
    }
}

/// Declares the variables of a topic, one a row, and the list of them: a row cannot be left out of the list.
macro_rules! variables {
    ($($name:ident: $kind:ty = $parse:expr, $default:literal, $meaning:literal;)+) => {
        $(const $name: $crate::config::variable::Typed<$kind> =
            $crate::config::variable::Typed::new(stringify!($name), $parse, $default, $meaning);)+
        /// The variables of this topic.
        pub(in $crate::config) const VARIABLES: &[$crate::config::Variable] = &[$($name.variable),+];
    };
}
pub(super) use variables;
