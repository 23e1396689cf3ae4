//! One file a subcommand: turn arguments into a checked configuration, wire the rooms together, report.
//!
//! Only this layer knows flags: where a library error can be cured by one, the hint is added here.

mod bench;
mod debug_view;
mod device;
mod doctor;
mod file_sink;
mod film;
mod image;
mod inputs;
mod learn;
mod live;
mod losses;
mod mask;
mod measure;
mod outputs;
mod paint;
mod painting;
mod pipe;
mod sheet;
mod signals;
mod stages;
mod style;
mod styles;
mod video;

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::console;
use crate::media::OutputError;
pub use crate::style::NetworkChoice;
pub use crate::style::learned::Depth;
pub use paint::{KeepColor, Preset};

pub use live::keys_help as live_keys_help;

/// Shorter side of the network's picture where none is asked for.
pub const DEFAULT_WORK_SIZE: u32 = 1080;
/// Time constant of temporal smoothing where none is asked for, in seconds.
pub const DEFAULT_SMOOTHING: f32 = crate::motion::TimeConstants::DEFAULT_SECONDS;
/// Weight of the stability of a style that is learnt, where none is asked for.
pub const DEFAULT_STABILITY_WEIGHT: f32 = crate::learn::fitting::DEFAULT_STABILITY_WEIGHT;
/// Side of the crops that a style is learnt on.
pub const DEFAULT_CROP: u32 = crate::learn::fitting::DEFAULT_SIDE as u32;
/// Frames that wait between two stages.
pub const DEFAULT_QUEUE: u32 = crate::pipeline::Pipeline::DEFAULT_CAPACITY as u32;

/// What has to be done before any other thread is started.
pub fn prepare() {
    crate::runtime::forbid_telemetry();
}

/// How the process ends when nothing went wrong badly enough to be an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All that was asked for is done.
    Done,
    /// Done, but the input was damaged.
    Damaged,
    /// Ended early by Ctrl-C; what is there is complete in itself.
    Interrupted,
}

impl Outcome {
    /// What both together come to.
    fn or(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

/// An argument that no file and no network could cure: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct UsageError(pub anyhow::Error);

/// Whether the arguments are wrong, and no file or network.
pub fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<UsageError>() || error.downcast_ref().is_some_and(OutputError::is_of_names)
}

/// Runs the command.
///
/// # Errors
/// What kept it from being done; see [`is_usage`].
pub fn run(cli: Cli) -> Result<Outcome> {
    #[cfg(unix)]
    signals::outlive_file_limits();
    match cli.command {
        Command::Video(args) => video::run(&args),
        Command::Live(args) => live::run(&args),
        Command::Pipe(args) => pipe::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Paint(args) => paint::run(&args),
        Command::Learn(args) => learn::run(&args),
        Command::Measure(args) => measure::run(&args),
        Command::Styles(args) => styles::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "impasto", &mut script);
            print_bytes(script)
        }
        Command::Man => {
            let mut page = Vec::new();
            render_manual(&mut page).context("write the manual page")?;
            print_bytes(page)
        }
    }
}

/// Threads asked for, or one a core.
fn thread_count(asked: Option<u32>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    asked.map_or_else(cores, |threads| threads as usize)
}

/// What `--json` prints at the end of a run, on a line of its own.
fn print_summary(summary: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(summary).context("write the summary")?;
    console::data(&format!("{text}\n")).context("write the summary to stdout")
}

/// A checksum as people compare it, in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print_bytes(bytes: Vec<u8>) -> Result<Outcome> {
    console::data(&String::from_utf8_lossy(&bytes)).context("write to stdout")?;
    Ok(Outcome::Done)
}

/// One page: the program, then every subcommand with its options.
fn render_manual(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(page)?;
    let nested = command.get_subcommands().flat_map(clap::Command::get_subcommands);
    for subcommand in command.get_subcommands().chain(nested) {
        let name = subcommand.get_display_name().unwrap_or_else(|| subcommand.get_name()).to_owned();
        let manual = clap_mangen::Man::new(subcommand.clone()).title(name);
        manual.render_name_section(page)?;
        manual.render_synopsis_section(page)?;
        manual.render_description_section(page)?;
        manual.render_options_section(page)?;
        manual.render_extra_section(page)?;
    }
    Ok(())
}

/// Whether a name ends as those of videos do.
fn is_named_like_video(path: &Path) -> bool {
    const VIDEOS: [&str; 20] = [
        "mp4", "mkv", "mov", "webm", "avi", "m4v", "mpg", "mpeg", "ts", "mts", "m2ts", "vob", "mxf", "wmv", "flv",
        "ogv", "3gp", "nut", "gif", "y4m",
    ];
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| VIDEOS.contains(&extension.as_str()))
}
