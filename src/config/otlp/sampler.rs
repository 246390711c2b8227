//! Which traces are exported.

use opentelemetry_sdk::trace::Sampler;

use super::choice::{self, Choice, Choices};
use crate::config::reader::{Given, Reader, Source};
use crate::config::shown::quoted;
use crate::config::variable::variables;

variables! {
    OTEL_TRACES_SAMPLER: Choice<Kind> = choice::parse, "parentbased_always_on",
        "[parentbased_] before always_on, always_off or traceidratio";
    OTEL_TRACES_SAMPLER_ARG: String = |text| Ok(text.to_owned()), "1",
        "the share of traces that traceidratio takes, from 0 to 1";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    AlwaysOn,
    AlwaysOff,
    Ratio,
    ParentAlwaysOn,
    ParentAlwaysOff,
    ParentRatio,
}

impl Choices for Kind {
    const ALL: &'static [(&'static str, Self)] = &[
        ("always_on", Self::AlwaysOn),
        ("always_off", Self::AlwaysOff),
        ("traceidratio", Self::Ratio),
        ("parentbased_always_on", Self::ParentAlwaysOn),
        ("parentbased_always_off", Self::ParentAlwaysOff),
        ("parentbased_traceidratio", Self::ParentRatio),
    ];
}

pub(super) fn read(reader: &mut Reader<'_>) -> Sampler {
    let name = OTEL_TRACES_SAMPLER.variable.name;
    let given = choice::given(reader, &OTEL_TRACES_SAMPLER);
    let ignored = given.is_nothing() && reader.is_set(name);
    let kind = reader.settle(name, given, Kind::ParentAlwaysOn, Source::Default, choice::spelt);
    let argument = reader.given(&OTEL_TRACES_SAMPLER_ARG);
    let ratio = match kind {
        Kind::Ratio | Kind::ParentRatio => ratio(reader, argument),
        _ => {
            // Whoever asks for a sampler that is not known here has been told already.
            if argument.value().is_some() && !ignored {
                let message = format_args!("has no effect, because {name} is {}", choice::spelt(&kind));
                reader.warn(OTEL_TRACES_SAMPLER_ARG.variable.name, message);
            }
            1.0
        }
    };
    match kind {
        Kind::AlwaysOn => Sampler::AlwaysOn,
        Kind::AlwaysOff => Sampler::AlwaysOff,
        Kind::Ratio => Sampler::TraceIdRatioBased(ratio),
        Kind::ParentAlwaysOn => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
        Kind::ParentAlwaysOff => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
        Kind::ParentRatio => Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))),
    }
}

/// The share, which the specification has ignored with a warning where it is none.
fn ratio(reader: &mut Reader<'_>, argument: Given<String>) -> f64 {
    let given = match argument {
        Given::Value(text, name) => match text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)) {
            Some(ratio) => Given::Value(ratio, name),
            None => {
                let message = format_args!("{} is ignored; it takes a number from 0 to 1", quoted(&text));
                reader.warn(name, message);
                Given::Nothing
            }
        },
        Given::Nothing => Given::Nothing,
        Given::Refused => Given::Refused,
    };
    let name = OTEL_TRACES_SAMPLER_ARG.variable.name;
    reader.settle(name, given, 1.0, Source::Default, f64::to_string)
}
