//! How soon a server answers, and what it takes before it has anything to do: everything is configured, and nothing is
//! reachable.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::folder::Folder;
use crate::server::Server;
use crate::variant::{Backend, with_destinations};

/// How often it is started.
const STARTS: usize = 5;
/// What it has from then on until it is asked how much memory it takes.
const IDLE: Duration = Duration::from_secs(1);

/// Starts it a few times; the medians, in a line.
pub(crate) fn measure(folder: &Path) -> anyhow::Result<String> {
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let spool = Folder::new()?;
        let mut ports = Vec::new();
        for backend in Backend::ALL {
            // Nobody listens there any more.
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            ports.push((backend, port));
        }
        let begun = Instant::now();
        let server = Server::start(&with_destinations(&ports, spool.path()), &[], &folder.join("start.log"))?;
        times.push(begun.elapsed());
        sleep(IDLE);
        memory.push(server.resident()?);
        server.end()?;
    }
    times.sort_unstable();
    memory.sort_unstable();
    let (time, memory) = (times[STARTS / 2].as_secs_f64() * 1e3, memory[STARTS / 2] as f64 / 1e3);
    Ok(format!(
        "all four configured, none reachable: {time:.0} ms to the first answer, {memory:.0} MB resident before the first \
         request"
    ))
}
