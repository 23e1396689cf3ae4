//! The `impasto` binary: parse, run, print the one error, exit code.

fn main() {}
