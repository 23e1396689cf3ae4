//! The `impasto` binary: parse, run, print the one error, exit code.

use std::fmt;
use std::process::ExitCode;

use clap::Parser;
use impasto::cli::Cli;
use impasto::commands::{self, Outcome};
use impasto::console;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::registry::LookupSpan;

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
            ExitCode::from(if commands::is_usage(&error) { 2 } else { 1 })
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
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let details = tracing_subscriber::fmt::format().without_time().with_target(false);
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).event_format(Lines(details)).init();
}

/// Warnings look like the console's; what is more detailed, like a log.
struct Lines(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if *event.metadata().level() != Level::WARN {
            return self.0.format_event(context, writer, event);
        }
        write!(writer, "warning: ")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
