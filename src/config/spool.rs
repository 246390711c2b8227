//! What is kept on disk of telemetry that cannot be delivered.

use std::path::PathBuf;

use super::parse::Parsed;
use super::reader::{Reader, Source};
use super::shown::Shown;
use super::variable::variables;

variables! {
    SPOOL: SpoolMode = mode, "on",
        "on, write-through (a log line is on disk before its response ends) or off (memory only)";
    SPOOL_DIR: PathBuf = directory, "$XDG_STATE_HOME/cruddur, else $TMPDIR/cruddur",
        "where undelivered telemetry is kept; each process has a folder of its own in it";
    SPOOL_MAX_BYTES: Bytes = bytes, "512MB", "the most that a process keeps there, for all backends";
}

/// When telemetry is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolMode {
    /// When it has not been delivered for a moment.
    On,
    /// At once, where a backend asks for it.
    WriteThrough,
    /// Never.
    Off,
}

/// What is kept on disk of telemetry that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spool {
    /// When it is written.
    pub mode: SpoolMode,
    /// Where; an absolute path unless somebody has named another one.
    pub directory: PathBuf,
    /// Whether somebody has named it: then the service does not start without it.
    pub is_named: bool,
    /// The most that is kept, in bytes; at least a million.
    pub max_bytes: u64,
}

impl Spool {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mode = reader.get(&SPOOL);
        let is_named = reader.is_set(SPOOL_DIR.variable.name);
        let (usual, source) = usual(reader);
        let directory = reader.get_or(&SPOOL_DIR, usual, source);
        let Bytes(max_bytes) = reader.get(&SPOOL_MAX_BYTES);
        if mode == SpoolMode::Off {
            for name in [SPOOL_DIR.variable.name, SPOOL_MAX_BYTES.variable.name] {
                if reader.is_set(name) {
                    reader.warn(name, "has no effect, because SPOOL is off");
                }
            }
        }
        Self { mode, directory, is_named, max_bytes }
    }
}

/// Where the XDG directories say that state belongs, which outlives a restart of the machine; else where anything may
/// be written. They tell relative paths to be ignored.
fn usual(reader: &Reader<'_>) -> (PathBuf, Source) {
    let set = |name: &'static str| {
        let path = PathBuf::from(reader.environment().get(name).ok().flatten()?);
        path.is_absolute().then(|| (path.join("cruddur"), Source::Variable(name)))
    };
    set("XDG_STATE_HOME")
        .or_else(|| set("TMPDIR"))
        .unwrap_or_else(|| (PathBuf::from("/tmp/cruddur"), Source::Default))
}

impl Shown for SpoolMode {
    fn shown(&self) -> String {
        match self {
            Self::On => "on",
            Self::WriteThrough => "write-through",
            Self::Off => "off",
        }
        .to_owned()
    }
}

fn mode(text: &str) -> Parsed<SpoolMode> {
    match text.to_ascii_lowercase().as_str() {
        "write-through" => Ok(SpoolMode::WriteThrough),
        "on" | "true" | "1" | "yes" => Ok(SpoolMode::On),
        "off" | "false" | "0" | "no" => Ok(SpoolMode::Off),
        _ => Err("one of on, write-through, off".into()),
    }
}

fn directory(text: &str) -> Parsed<PathBuf> {
    if text.contains(char::is_control) {
        Err("a path without control characters".into())
    } else {
        Ok(text.into())
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bytes(u64);

const UNITS: [(&str, u64); 7] = [
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
];

/// The least with which the spool is more than a few files.
const LEAST: u64 = 1_000_000;

impl Shown for Bytes {
    fn shown(&self) -> String {
        let whole = UNITS.into_iter().find(|(_, size)| self.0.is_multiple_of(*size));
        whole.map_or_else(|| self.0.to_string(), |(unit, size)| format!("{}{unit}", self.0 / size))
    }
}

fn bytes(text: &str) -> Parsed<Bytes> {
    read_bytes(text)
        .filter(|bytes| *bytes >= LEAST)
        .map(Bytes)
        .ok_or("a number of bytes from 1MB, such as 512MB or 2GiB".into())
}

fn read_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim_start();
    let (_, size) = UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(size)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, read, warnings};
    use super::*;

    #[test]
    fn sizes_carry_a_unit_or_are_bytes() {
        for (text, shown) in [
            ("512MB", "512MB"),
            ("512000kb", "512MB"),
            ("2 GiB", "2GiB"),
            ("1000000", "1MB"),
            ("1048577", "1048577"),
        ] {
            assert_eq!(read("SPOOL_MAX_BYTES", text), Ok(shown.to_owned()));
        }
        for text in ["999999", "0", "512", "MB", "-1MB", "1.5GB", "99999999999GB", "1TB"] {
            let expected = "a number of bytes from 1MB, such as 512MB or 2GiB";
            let error = format!("SPOOL_MAX_BYTES: `{text}` is not {expected}");
            assert_eq!(read("SPOOL_MAX_BYTES", text), Err(error));
        }
    }

    #[test]
    fn the_mode_is_one_of_three() {
        for (text, shown) in [("ON", "on"), ("write-through", "write-through"), ("0", "off")] {
            assert_eq!(read("SPOOL", text), Ok(shown.to_owned()));
        }
        let error = "SPOOL: `sync` is not one of on, write-through, off";
        assert_eq!(read("SPOOL", "sync"), Err(error.to_owned()));
    }

    #[test]
    fn state_has_its_place() {
        let (state, temporary) = (("XDG_STATE_HOME", "/var/state"), ("TMPDIR", "/scratch"));
        let directory = |spool: Spool| spool.directory.display().to_string();
        assert_eq!(directory(config([state, temporary]).spool), "/var/state/cruddur");
        assert_eq!(directory(config([temporary]).spool), "/scratch/cruddur");
        assert_eq!(directory(config([("XDG_STATE_HOME", "state")]).spool), "/tmp/cruddur");
        let named = config([state, ("SPOOL_DIR", "spool")]).spool;
        assert!(named.is_named && !config([state]).spool.is_named);
        assert_eq!(directory(named), "spool");
    }

    #[test]
    fn what_is_set_for_nothing_is_pointed_out() {
        let said = "SPOOL_DIR: has no effect, because SPOOL is off";
        assert_eq!(warnings([("SPOOL", "off"), ("SPOOL_DIR", "/var")]), [said]);
    }
}
