//! The `impasto` binary: parse, run, print the one error, exit code.

use std::process::ExitCode;

use clap::Parser;
use impasto::cli::Cli;
use impasto::commands::{self, Outcome, UsageError};
use impasto::console;

fn main() -> ExitCode {
    commands::prepare();
    silence_encoders();
    let cli = Cli::parse();
    start_log(cli.verbose);
    match commands::run(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) => {
            console::error(&error);
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

/// SVT-AV1 would write its settings between the lines of the progress bar; its variable of the environment is the only way
/// to stop it. What somebody set there stays.
#[allow(unsafe_code)]
fn silence_encoders() {
    const ONLY_FATAL: &str = "0";
    if std::env::var_os("SVT_LOG").is_none() {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("SVT_LOG", ONLY_FATAL) };
    }
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
}
