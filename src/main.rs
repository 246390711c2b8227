//! The `cruddur` binary.

fn main() {}
