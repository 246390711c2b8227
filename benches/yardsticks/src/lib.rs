//! What the servers that are compared have in common with who compares them.

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What is asked for: the home page of three cruds.
pub const PATH: &str = "/api/activities/home";
/// What tells that a server is up; nobody traces it.
pub const READY: &str = "/api/health-check";
/// The variable with a server's port; it listens on the loopback interface.
pub const PORT: &str = "PORT";

/// Serves `routes` as axum does it out of the box, until SIGTERM.
///
/// # Errors
/// The port is missing or taken.
pub async fn serve(routes: Router) -> anyhow::Result<()> {
    let port: u16 = std::env::var(PORT)?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut term = signal(SignalKind::terminate())?;
    let stop = async move {
        term.recv().await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;
    Ok(())
}
