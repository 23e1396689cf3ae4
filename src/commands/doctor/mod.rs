//! `impasto doctor`: what impasto can use on this machine, and what to do where it cannot.

mod build;
mod devices;
mod media;
mod models;
mod report;

use anyhow::{Context, Result};

use self::report::{Report, Section};
use super::Outcome;
use crate::cli::DoctorArgs;
use crate::console;

/// Runs the command.
pub fn run(args: &DoctorArgs) -> Result<Outcome> {
    if let Some(size) = args.build {
        return build::run(size, args);
    }
    crate::media::init()?;
    let (runtime, can_run) = devices::runtime(args.provider_library.as_ref());
    let (models, are_whole) = models::models();
    let sections = vec![
        runtime,
        devices::gpus(),
        Section { name: "video", checks: media::video() },
        Section { name: "cameras and window", checks: media::live() },
        models,
    ];
    let report = Report { version: env!("CARGO_PKG_VERSION"), can_paint: can_run && are_whole, sections };
    let text = match args.json {
        true => serde_json::to_string_pretty(&report).context("write the report")? + "\n",
        false => report.text(),
    };
    console::data(&text).context("write the report to stdout")?;
    Ok(if report.can_paint { Outcome::Done } else { Outcome::Damaged })
}
