//! The `cruddur` binary: the process's whole life on one screen.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use cruddur::activities::MemoryStore;
use cruddur::api::{self, Options};
use cruddur::cli::{self, Command, EXIT_CONFIGURATION, EXIT_LOST};
use cruddur::config::{Config, Environment, Loaded};
use cruddur::server;
use cruddur::telemetry::{StartError, Telemetry, observe};
use tikv_jemallocator::Jemalloc;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// A request makes sixty-odd allocations: with the system's allocator it takes an eighth more time, with mimalloc, which goes
/// through more memory before it comes back to what is warm, 3 % more time and twice the memory (`benches/`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        // Where standard error is closed as well, there is nobody left to tell.
        writeln!(io::stderr(), "error: {error:#}").ok();
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
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
        Command::ExplainSampling { method, host, path } => match Config::load(&Environment::from_process()) {
            Ok(loaded) => cli::explain_sampling(&loaded.config, [&method, &host, &path], &mut out)?,
            Err(errors) => {
                cli::refuse(&errors, &mut err)?;
                return Ok(EXIT_CONFIGURATION.into());
            }
        },
        Command::Serve => match Config::load(&Environment::from_process()) {
            Ok(loaded) => return serve(&loaded),
            Err(errors) => {
                cli::refuse(&errors, &mut err)?;
                return Ok(EXIT_CONFIGURATION.into());
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Requests come before what is to be told of them.
fn serve(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let runtime =
        runtime::Builder::new_multi_thread().enable_all().on_thread_park(observe::on_thread_park).build();
    runtime.context("the operating system gives no thread")?.block_on(run_service(loaded))
}

/// From the first log line to the exit report.
async fn run_service(Loaded { config, warnings, .. }: &Loaded) -> anyhow::Result<ExitCode> {
    // Two providers may be compiled in; with none installed, the first TLS connection would panic.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let telemetry = match Telemetry::start(config, io::stdout()) {
        Ok(telemetry) => Arc::new(telemetry),
        Err(error @ (StartError::Otlp(_) | StartError::Rollbar(_) | StartError::Spool(_))) => {
            writeln!(io::stderr(), "error: {error}")?;
            return Ok(EXIT_CONFIGURATION.into());
        }
        Err(error) => return Err(error).context("telemetry cannot start"),
    };
    telemetry.install()?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }

    // Before the port is open, so that whoever sees it open can rely on being heard.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: finishing what is in flight"),
            _ = int.recv() => tracing::info!("SIGINT: finishing what is in flight"),
        }
    };
    let bind = config.http.bind;
    let listener = match TcpListener::bind(bind).await {
        Ok(listener) => listener,
        Err(error) => {
            let hint = "stop what listens there, or set PORT or BIND_ADDR";
            // The warnings above are worth more than ever.
            drop(telemetry.shut_down(Instant::now() + config.service.shutdown_grace).await);
            writeln!(io::stderr(), "error: BIND_ADDR, PORT: cannot listen on {bind}: {error}; {hint}")?;
            return Ok(EXIT_CONFIGURATION.into());
        }
    };
    let backends = telemetry.health().into_keys().collect::<Vec<_>>().join(", ");
    let (service, address) = (&config.service, listener.local_addr()?);
    tracing::info!(version = service.version, %backends, "{} listens on http://{address}", service.name);

    let store = Arc::new(MemoryStore::new());
    let routes = api::routes(store, &Options { test_routes: config.http.test_routes });
    let app = server::app(config, routes, &telemetry);
    let drained = server::run(listener, app, service.shutdown_grace, shutdown).await;

    let report = telemetry.shut_down(drained.deadline).await;
    write!(io::stderr(), "stopped: {drained}\n{report}")?;
    Ok(if report.lost() == 0 { ExitCode::SUCCESS } else { EXIT_LOST.into() })
}
