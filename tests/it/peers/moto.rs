//! Moto, an imitation of AWS, and scripts with AWS's own client that speak to it.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use super::environment::{AWS, Environment, run};
use super::running::Running;

pub(crate) struct Moto {
    environment: Environment,
    pub(crate) url: String,
    _running: Running,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let environment = Environment::get(&AWS);
        let mut moto = environment.python();
        moto.arg(environment.executables().join("moto_server")).args(["-H", "127.0.0.1", "-p", "0"]);
        let (running, said) = Running::start(moto, "Running on ");
        let (_, url) = said.trim_end().split_once("Running on ").unwrap();
        Self { environment, url: url.to_owned(), _running: running }
    }

    /// Runs a script of this folder with moto's address and `argument`; returns the JSON that it prints.
    pub(crate) fn ask(&self, script: &str, argument: impl AsRef<OsStr>) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers").join(script);
        let mut python = self.environment.python();
        python.env("AWS_EC2_METADATA_DISABLED", "true").arg(script).arg(&self.url).arg(argument);
        serde_json::from_str(&run("moto cannot be asked", &mut python)).unwrap()
    }
}
