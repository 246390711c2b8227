//! The `cruddur` binary.

use std::io::{self, Write};
use std::process::ExitCode;

use cruddur::cli::{self, Command, EXIT_CONFIGURATION};
use cruddur::config::{Config, Environment};

fn main() -> ExitCode {
    // Only writing can fail here, and then there is nobody left to tell.
    run().unwrap_or(ExitCode::FAILURE)
}

fn run() -> io::Result<ExitCode> {
    // Unlocked: whoever serves logs from other threads.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let command = match Command::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(fault) => {
            writeln!(err, "error: {fault}")?;
            return Ok(EXIT_CONFIGURATION.into());
        }
    };
    match command {
        Command::Help => cli::help(&mut out)?,
        Command::Version => cli::version(&mut out)?,
        Command::Check => {
            let checked = Config::check(&Environment::from_process());
            cli::check(&checked, &mut out)?;
            if !checked.errors.is_empty() {
                return Ok(EXIT_CONFIGURATION.into());
            }
        }
        Command::Healthcheck => {
            if let Err(fault) = cli::healthcheck(&Environment::from_process()) {
                writeln!(err, "error: {fault}")?;
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Serve => match Config::load(&Environment::from_process()) {
            Ok(loaded) => {
                for warning in loaded.warnings {
                    writeln!(err, "warning: {warning}")?;
                }
            }
            Err(errors) => {
                cli::refuse(&errors, &mut err)?;
                return Ok(EXIT_CONFIGURATION.into());
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
