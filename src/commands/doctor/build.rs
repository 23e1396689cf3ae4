//! `impasto doctor --build`: TensorRT's engine for frames of one size, ahead of the clip that needs it.

use anyhow::{Result, anyhow};

use crate::cli::{DeviceArgs, DoctorArgs};
use crate::commands::device::{Compute, engine_cache};
use crate::commands::{Outcome, UsageError, style, thread_count};
use crate::console::Console;
use crate::frame::FrameSize;
use crate::runtime::{DeviceChoice, Provider};
use crate::style::{StyleOptions, StyleSettings};

/// Builds the engine in the form in which clips of `size` look for it.
///
/// # Errors
/// [`UsageError`] for a device that builds nothing; else what is in the way of TensorRT.
pub fn run(size: FrameSize, args: &DoctorArgs) -> Result<Outcome> {
    if !matches!(&args.device, DeviceChoice::Given(device, _) if device.provider == Provider::TensorRt) {
        return Err(
            UsageError(anyhow!("only TensorRT builds engines (expected --device tensorrt or tensorrt:N)")).into()
        );
    }
    let console = Console::new(false);
    let device = DeviceArgs { device: Some(args.device.clone()), provider_library: None };
    let mut compute = Compute::new(&device, thread_count(None), console)?;
    let spec = style::parse(&style::label(args.style.as_deref())?)?;
    let options = StyleOptions { network: args.network, style_folder: style::folder(), ..StyleOptions::default() };
    compute.open_several(&spec, &options, StyleSettings::default(), size, Some(1)).map_err(style::misused)?;
    compute.tell(true);
    if let Some(folder) = engine_cache() {
        console.line(&format!("the engine for frames of {size} lies below '{}'", folder.display()));
    }
    Ok(Outcome::Done)
}
