//! What `--explain-sampling` prints.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use tokio::runtime;
use tokio::time::timeout;

use crate::config::Xray;
use crate::telemetry::xray::sampling::{Asked, CentralRules, Sampler, fetch_rules};

/// For all of the rules together.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn write(xray: &Xray, [method, host, path]: [&str; 3], out: &mut impl Write) -> io::Result<()> {
    let sampler = Sampler::new(xray.local_rules.clone());
    match &xray.daemon {
        Some(daemon) => match fetch(&daemon.tcp)? {
            Ok(rules) => sampler.install(rules, SystemTime::now()),
            Err(fault) => writeln!(out, "The daemon at {} {fault}.\n", daemon.tcp)?,
        },
        None => writeln!(out, "AWS_XRAY_DAEMON_ADDRESS is not set, so no daemon gives rules.\n")?,
    }
    // As a segment is named: rules know it by that name, and by no other.
    let named_by_host = xray.pattern.as_ref().is_some_and(|pattern| pattern.matches(host));
    if named_by_host {
        writeln!(out, "AWS_XRAY_URL matches the host, so that is the service's name for X-Ray.\n")?;
    }
    let request = Asked {
        host: Some(host),
        method,
        path: path.split('?').next().unwrap_or_default(),
        service_name: if named_by_host { host } else { &xray.name },
        service_type: None,
    };
    out.write_all(sampler.explain(&request).as_bytes())
}

fn fetch(address: &str) -> io::Result<Result<CentralRules, String>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { timeout(PATIENCE, fetch_rules(address)).await });
    // A name that is still being looked up must not keep the process.
    runtime.shutdown_background();
    Ok(match answer {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("does not answer: it takes too long".to_owned()),
    })
}
