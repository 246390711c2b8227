//! Behaviour, seen from outside.

mod cli;
