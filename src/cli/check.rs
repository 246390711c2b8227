//! What `--check` prints.

use std::io::{self, Write};

use crate::config::{Checked, Setting, Source};

/// A longer value pushes its own line out of the column and no other.
const WIDEST: usize = 72;

pub(super) fn write(checked: &Checked, out: &mut impl Write) -> io::Result<()> {
    let Checked { settings, warnings, errors, .. } = checked;
    let width = |of: fn(&Setting) -> &str| {
        settings.iter().map(|setting| of(setting).chars().count()).filter(|width| *width <= WIDEST).max()
    };
    let name_width = width(|setting| setting.name).unwrap_or(0);
    let value_width = width(|setting| &setting.value).unwrap_or(0);
    for setting in settings {
        let Setting { name, value, source, .. } = setting;
        let source = match source {
            Source::Variable(of) if of == name => "environment",
            Source::Variable(of) => of,
            Source::Default => "default",
        };
        writeln!(out, "{name:name_width$}  {value:value_width$}  {source}")?;
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    super::refuse(errors, out)
}
