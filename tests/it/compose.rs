//! `docker compose up` without an engine: the files are valid, fit each other, and fit the binary.
//!
//! Every check is a pure function from what is written to what is wrong with it, and is given planted faults that it
//! has to find. What only an engine can show is shown by `.ci/compose`.

mod collector;
mod documents;
mod linters;
mod places;
mod project;
mod variables;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Names and values, as in a shell.
type Variables = BTreeMap<String, String>;

/// A file of the repository.
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn variables<const N: usize>(variables: [(&str, &str); N]) -> Variables {
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The lines of a file such as `.env` that set something.
fn assignments(text: &str) -> Variables {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
