//! What went wrong, captured where the concrete error is still known.

use std::any::type_name;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use backtrace::Backtrace;

/// How deep a chain of sources is followed; an error whose `source` is itself would never end.
const MAX_CAUSES: usize = 16;

/// Why a request failed: the error, its sources, and where it became ours.
///
/// It travels to the observer in the response's extensions. Cloning shares it.
#[derive(Clone)]
pub struct Fault(Arc<Inner>);

struct Inner {
    causes: Vec<Cause>,
    backtrace: Backtrace,
}

/// One error of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The error's type (`core::num::error::ParseIntError`), or `dyn Error` where it could not be known.
    pub class: &'static str,
    /// What the error says of itself, without its sources.
    pub message: String,
}

impl Fault {
    /// Captures `error`, its sources and the stack of this call, whose symbols are resolved later and
    /// elsewhere: capturing costs microseconds, resolving milliseconds.
    #[must_use]
    pub fn capture<E: Error + 'static>(error: &E) -> Self {
        Self::of_chain(type_name::<E>(), error)
    }

    /// Like [`Fault::capture`], for an error whose type is no longer known.
    #[must_use]
    pub fn capture_dyn(error: &(dyn Error + 'static)) -> Self {
        Self::of_chain(class_of(error), error)
    }

    fn of_chain(class: &'static str, error: &(dyn Error + 'static)) -> Self {
        let first = Cause { class, message: error.to_string() };
        let sources = std::iter::successors(error.source(), |&source| source.source());
        let causes = std::iter::once(first)
            .chain(sources.map(|source| Cause { class: class_of(source), message: source.to_string() }))
            .take(MAX_CAUSES)
            .collect();
        Self(Arc::new(Inner { causes, backtrace: Backtrace::new_unresolved() }))
    }

    /// The error and its sources, outermost first; never empty.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        &self.0.causes
    }

    /// The class of the outermost error.
    #[must_use]
    pub fn class(&self) -> Option<&'static str> {
        self.0.causes.first().map(|cause| cause.class)
    }

    /// The stack where the error was captured, unresolved.
    #[must_use]
    pub fn backtrace(&self) -> &Backtrace {
        &self.0.backtrace
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("causes", &self.0.causes).finish_non_exhaustive()
    }
}

/// The type of an error that is only known as `dyn Error`: Rust keeps no name to ask for, so the types that
/// services meet are tried one by one.
fn class_of(error: &(dyn Error + 'static)) -> &'static str {
    macro_rules! known {
        ($($class:ty),+ $(,)?) => {
            $(if error.is::<$class>() { return type_name::<$class>(); })+
        };
    }
    known![
        std::io::Error,
        std::fmt::Error,
        std::num::ParseIntError,
        std::num::ParseFloatError,
        std::num::TryFromIntError,
        std::str::ParseBoolError,
        std::str::Utf8Error,
        std::string::FromUtf8Error,
        std::char::ParseCharError,
        std::array::TryFromSliceError,
        std::net::AddrParseError,
        std::env::VarError,
        std::time::SystemTimeError,
        chrono::ParseError,
        serde_json::Error,
        uuid::Error,
        http::Error,
        hyper::Error,
        reqwest::Error,
        axum::Error,
        tokio::task::JoinError,
        tokio::time::error::Elapsed,
    ];
    "dyn Error"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the feed is unavailable")]
    struct FeedUnavailable(#[source] std::num::ParseIntError);

    #[derive(Debug, thiserror::Error)]
    #[error("ouroboros")]
    struct Ouroboros;

    #[derive(Debug, thiserror::Error)]
    #[error("deep")]
    struct Deep(#[source] Option<Box<Deep>>);

    #[test]
    fn chain_is_outermost_first_with_the_types_that_are_known() {
        let parse = "x".parse::<u32>().unwrap_err();
        let fault = Fault::capture(&FeedUnavailable(parse));
        let classes: Vec<_> = fault.causes().iter().map(|cause| cause.class).collect();
        assert_eq!(classes, [type_name::<FeedUnavailable>(), "core::num::error::ParseIntError"], "{fault:?}");
        assert_eq!(fault.causes()[1].message, "invalid digit found in string");
    }

    #[test]
    fn an_unknown_source_is_dyn_error() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Ouroboros);
        assert_eq!(Fault::capture(&Outer(Ouroboros)).causes()[1].class, "dyn Error");
    }

    #[test]
    fn an_endless_chain_ends() {
        let mut deep = Deep(None);
        for _ in 0..100 {
            deep = Deep(Some(Box::new(deep)));
        }
        assert_eq!(Fault::capture(&deep).causes().len(), MAX_CAUSES);
    }
}
