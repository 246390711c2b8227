//! Which exporters a signal has.

use super::choice;
use super::choice::Choices;
use crate::config::parse::{self, Parsed};
use crate::config::reader::{Given, Reader, Source};
use crate::config::shown::{Shown, quoted};
use crate::config::variable::Typed;

/// An exporter of traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForTraces {
    Otlp,
    Console,
}

/// An exporter of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForMetrics {
    Otlp,
}

impl Choices for ForTraces {
    const ALL: &'static [(&'static str, Self)] = &[("otlp", Self::Otlp), ("console", Self::Console)];
}

impl Choices for ForMetrics {
    const ALL: &'static [(&'static str, Self)] = &[("otlp", Self::Otlp)];
}

/// A list of exporters, empty for `none`, and the names in it that nobody here knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exporters<T> {
    known: Vec<T>,
    unknown: Vec<String>,
}

impl<T: Choices> Shown for Exporters<T> {
    fn shown(&self) -> String {
        spelt(&self.known)
    }
}

pub(super) fn parse<T: Choices>(text: &str) -> Parsed<Exporters<T>> {
    let mut exporters = Exporters { known: Vec::new(), unknown: Vec::new() };
    let names: Vec<_> = T::ALL.iter().map(|(name, _)| *name).collect();
    let expected = format!("a list of {}, or none alone", names.join(" and "));
    parse::list(text, &expected, |entry| {
        if entry.eq_ignore_ascii_case("none") {
            return None;
        }
        match T::ALL.iter().find(|(name, _)| entry.eq_ignore_ascii_case(name)) {
            Some((_, exporter)) if exporters.known.contains(exporter) => {}
            Some((_, exporter)) => exporters.known.push(*exporter),
            None => exporters.unknown.push(entry.to_owned()),
        }
        Some(vec![()])
    })?;
    Ok(exporters)
}

/// The exporters asked for; unknown ones are nothing but a warning, and `otlp` is the default.
pub(super) fn read<T: Choices>(reader: &mut Reader<'_>, row: &Typed<Exporters<T>>, otlp: T) -> Vec<T> {
    let given = match reader.given(row) {
        Given::Value(Exporters { known, unknown }, name) => {
            let names = T::ALL.iter().map(|(name, _)| *name).chain(["none"]).collect::<Vec<_>>().join(", ");
            for unknown in &unknown {
                reader.warn(name, format_args!("{} is ignored; known are {names}", quoted(unknown)));
            }
            if known.is_empty() && !unknown.is_empty() { Given::Nothing } else { Given::Value(known, name) }
        }
        Given::Nothing => Given::Nothing,
        Given::Refused => Given::Refused,
    };
    reader.settle(row.variable.name, given, vec![otlp], Source::Default, |exporters| spelt(exporters))
}

fn spelt<T: Choices>(exporters: &[T]) -> String {
    match exporters {
        [] => "none".to_owned(),
        all => all.iter().map(choice::spelt).collect::<Vec<_>>().join(","),
    }
}
