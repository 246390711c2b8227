//! The command line.
//!
//! One command at most: everything else is configured by the environment. What a command prints it writes to
//! what it is given, so that a test can read it.

mod check;
mod explain;
mod healthcheck;
mod help;

use std::ffi::OsStr;
use std::io::{self, Write};

use crate::config::{Checked, Config, ConfigError, Environment, Loaded};

/// The exit code of a bad configuration or command line.
pub const EXIT_CONFIGURATION: u8 = 2;

/// The exit code where an accepted item was neither delivered nor spooled.
pub const EXIT_LOST: u8 = 3;

/// What the process is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Serve until told to stop.
    Serve,
    /// Print every setting, warning and fault.
    Check,
    /// Print how to use the binary, and the variables.
    Help,
    /// Print name and version.
    Version,
    /// Ask the running server whether it is well.
    Healthcheck,
    /// Print which sampling rule decides on such a request, and why.
    ExplainSampling {
        /// The HTTP method.
        method: String,
        /// The Host header.
        host: String,
        /// The path; a query is left out of account.
        path: String,
    },
}

impl Command {
    /// Understands the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// One line that names the argument at fault.
    pub fn parse<I>(arguments: I) -> Result<Self, String>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut arguments = arguments.into_iter();
        let Some(first) = arguments.next() else { return Ok(Self::Serve) };
        let first = first.as_ref().to_string_lossy();
        let mut operand = |name: &str| match arguments.next() {
            Some(operand) => Ok(operand.as_ref().to_string_lossy().into_owned()),
            None => Err(format!("{name} is missing after {first}; see cruddur --help")),
        };
        let command = match first.as_ref() {
            "--check" => Self::Check,
            "--help" | "-h" => Self::Help,
            "--version" | "-V" => Self::Version,
            "--healthcheck" => Self::Healthcheck,
            "--explain-sampling" => Self::ExplainSampling {
                method: operand("METHOD")?,
                host: operand("HOST")?,
                path: operand("PATH")?,
            },
            unknown => return Err(format!("unknown argument {unknown:?}; see cruddur --help")),
        };
        match arguments.next() {
            None => Ok(command),
            Some(extra) => {
                let extra = extra.as_ref().to_string_lossy();
                Err(format!("unexpected argument {extra:?} after {first}; see cruddur --help"))
            }
        }
    }
}

/// Prints name and version.
///
/// # Errors
///
/// Those of writing.
pub fn version(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "cruddur {}", env!("CARGO_PKG_VERSION"))
}

/// Prints usage and the table of variables.
///
/// # Errors
///
/// Those of writing.
pub fn help(out: &mut impl Write) -> io::Result<()> {
    help::write(out)
}

/// Prints every setting, then the warnings, then the faults.
///
/// # Errors
///
/// Those of writing.
pub fn check(checked: &Checked, out: &mut impl Write) -> io::Result<()> {
    check::write(checked, out)
}

/// Prints one line for each fault.
///
/// # Errors
///
/// Those of writing.
pub fn refuse(errors: &[ConfigError], out: &mut impl Write) -> io::Result<()> {
    errors.iter().try_for_each(|error| writeln!(out, "error: {error}"))
}

/// Asks the running server on this machine for `/api/health-check`, within three seconds.
///
/// # Errors
///
/// One line that says why the server does not count as well.
pub fn healthcheck(environment: &Environment) -> Result<(), String> {
    let Loaded { config, .. } = Config::load(environment)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    healthcheck::ask(config.http.bind)
}

/// Prints which sampling rule decides on a request to `path` by `method` with this Host header, and why. The
/// daemon, if there is one, is asked for the central rules, within three seconds.
///
/// # Errors
///
/// Those of writing.
pub fn explain_sampling(
    config: &Config,
    [method, host, path]: [&str; 3],
    out: &mut impl Write,
) -> io::Result<()> {
    explain::write(&config.xray, [method, host, path], out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_argument_is_a_command() {
        for (arguments, command) in [
            (&[][..], Command::Serve),
            (&["--check"], Command::Check),
            (&["--help"], Command::Help),
            (&["-h"], Command::Help),
            (&["--version"], Command::Version),
            (&["-V"], Command::Version),
            (&["--healthcheck"], Command::Healthcheck),
        ] {
            assert_eq!(Command::parse(arguments), Ok(command), "{arguments:?}");
        }
    }

    #[test]
    fn explaining_takes_a_request() {
        let command = Command::parse(["--explain-sampling", "GET", "localhost:4567", "/"]);
        let (method, host, path) = ("GET".to_owned(), "localhost:4567".to_owned(), "/".to_owned());
        assert_eq!(command, Ok(Command::ExplainSampling { method, host, path }));
        for (arguments, missing) in [(&[][..], "METHOD"), (&["GET"], "HOST"), (&["GET", "localhost"], "PATH")]
        {
            let refusal = format!("{missing} is missing after --explain-sampling; see cruddur --help");
            assert_eq!(Command::parse([&["--explain-sampling"], arguments].concat()), Err(refusal));
        }
    }

    #[test]
    fn other_arguments_are_refused_on_one_line() {
        for (arguments, refusal) in [
            (&["--chekc"][..], r#"unknown argument "--chekc"; see cruddur --help"#),
            (&["a\nb"], r#"unknown argument "a\nb"; see cruddur --help"#),
            (&["--check", "--help"], r#"unexpected argument "--help" after --check; see cruddur --help"#),
            (
                &["--explain-sampling", "GET", "h", "/", "x"],
                r#"unexpected argument "x" after --explain-sampling; see cruddur --help"#,
            ),
        ] {
            assert_eq!(Command::parse(arguments), Err(refusal.to_owned()), "{arguments:?}");
        }
    }
}
