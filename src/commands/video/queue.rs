//! The clips of a run, one after the other: one that cannot be painted does not stop the rest.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::VideoArgs;
use crate::commands::inputs::{Found, Kind, find, in_folder, is_folder, refuse_as_outputs};
use crate::commands::{Outcome, UsageError, is_named_like_video, outputs};
use crate::console::Console;
use crate::media;
use crate::output::{folder_of, is_taken};
use crate::pipeline::Control;
use crate::stills::StillFormat;

const CLIPS: Kind = Kind {
    one: "video",
    several: "videos",
    is_one: is_named_like_video,
    extensions: ".mp4, .mkv, .mov, .webm, .avi and others",
};

/// A clip, and the file that it is painted into.
pub struct Clip {
    pub input: PathBuf,
    pub output: PathBuf,
}

/// All clips and where they go; nothing is read yet.
///
/// # Errors
/// What does not go together, and outputs that are there already or are inputs.
pub fn clips(args: &VideoArgs) -> Result<Vec<Clip>> {
    refuse_pipes(args)?;
    let address = args.inputs.iter().find(|input| media::is_url(input));
    let is_alone = args.inputs.len() == 1 && !is_folder(&args.output);
    if let Some(address) = address.filter(|_| !is_alone) {
        let text =
            format!("'{}' has no name for a folder (expected it alone, and a file: -o FILE)", media::shown(address));
        return Err(usage(&text));
    }
    let found = match address {
        // What looks like a pattern in an address is none.
        Some(address) => vec![Found { path: address.clone(), place: address.clone() }],
        None => find(&args.inputs, &args.output, &CLIPS)?,
    };
    if let [one] = found.as_slice()
        && is_alone
        && !args.inputs[0].is_dir()
    {
        if args.extension.is_some() {
            return Err(usage("--extension is for outputs in a folder (expected none: the output has its name)"));
        }
        return Ok(vec![Clip { input: one.path.clone(), output: args.output.clone() }]);
    }
    let pairs = in_folder(found, &args.output, args.extension.as_deref(), &CLIPS)?;
    let clips: Vec<Clip> = pairs.into_iter().map(|(input, output)| Clip { input, output }).collect();
    check_together(&clips, args)?;
    Ok(clips)
}

/// Refuses what programs call stdin and stdout: a clip is read twice, and its file is finished by going back to its beginning.
fn refuse_pipes(args: &VideoArgs) -> Result<()> {
    match args.inputs.iter().chain([&args.output]).any(|path| path.as_os_str() == "-") {
        true => Err(usage(
            "clips are files, and '-' is none (`impasto pipe` reads y4m from stdin and writes it to stdout; ./- is a file of that name)",
        )),
        false => Ok(()),
    }
}

/// Refuses, before anything is painted, what would be wrong in the end.
fn check_together(clips: &[Clip], args: &VideoArgs) -> Result<()> {
    let pairs: Vec<_> = clips.iter().map(|clip| (Some(clip.input.as_path()), vec![clip.output.clone()])).collect();
    refuse_as_outputs(&pairs)?;
    if clips.len() > 1 {
        for (flag, is_given) in
            [("--debug-view", args.debug_view.is_some()), ("--work-folder", args.film.work_folder.is_some())]
        {
            if is_given {
                return Err(usage(&format!("{flag} is for one video (expected none for {})", clips.len())));
            }
        }
        if let Some(mask) =
            args.mask.mask.as_deref().filter(|mask| mask.is_dir() || StillFormat::of_path(mask).is_none())
        {
            let mask = media::shown(mask);
            return Err(usage(&format!("the mask '{mask}' is for one video (expected a picture for several)")));
        }
    }
    if args.resume || args.overwrite {
        return Ok(());
    }
    let taken: Vec<_> = clips.iter().filter(|clip| is_taken(&clip.output)).collect();
    let Some(first) = taken.first() else { return Ok(()) };
    let exist = match taken.len() - 1 {
        0 => "exists".to_owned(),
        count => format!("and {count} more exist"),
    };
    bail!(
        "the output '{}' {exist} already (choose another folder, --resume to paint what is missing, or -y to replace)",
        first.output.display()
    );
}

fn usage(text: &str) -> anyhow::Error {
    UsageError(anyhow!("{text}")).into()
}

/// Whether a clip is done: its output is complete, and nothing says that it could be gone on with.
fn is_done(clip: &Clip, args: &VideoArgs) -> bool {
    let left = [outputs::state_of(&clip.output), outputs::with_ending(&clip.output, ".keyframes")];
    is_in_folder(clip, args)
        && args.resume
        && !args.overwrite
        && is_taken(&clip.output)
        && !left.iter().any(|left| is_taken(left))
}

/// Has each clip made. What becomes of one alone is what becomes of the run.
///
/// # Errors
/// That of one alone, and of the first where the arguments are to blame; else what fails is told, and the rest goes on.
pub fn run(
    clips: &[Clip],
    args: &VideoArgs,
    control: &Control,
    console: Console,
    mut make: impl FnMut(&Clip) -> Result<Outcome>,
) -> Result<Outcome> {
    let count = clips.len();
    let (mut made, mut passed, mut failed) = (0, 0, Vec::new());
    let mut worst = Outcome::Done;
    for (index, clip) in clips.iter().enumerate() {
        if is_done(clip, args) {
            passed += 1;
            continue;
        }
        if is_in_folder(clip, args) {
            let folder = folder_of(&clip.output);
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder '{}'", folder.display()))?;
        }
        if count == 1 {
            return make(clip);
        }
        console.line(&format!("{} of {count}: '{}'", index + 1, clip.input.display()));
        match make(clip) {
            Ok(Outcome::Interrupted) => {
                worst = Outcome::Interrupted;
                break;
            }
            Ok(outcome) => {
                made += 1;
                if outcome == Outcome::Damaged {
                    worst = outcome;
                }
            }
            Err(error) if made == 0 && failed.is_empty() && error.is::<UsageError>() => return Err(error),
            Err(error) => {
                console.error_line(&format!("'{}' is not painted: {error:#}", clip.input.display()));
                failed.push(clip.input.display().to_string());
                worst = Outcome::Damaged;
            }
        }
        if control.is_stopped() {
            worst = Outcome::Interrupted;
            break;
        }
    }
    let mut parts = vec![format!("{made} of {count} videos painted")];
    if passed > 0 {
        parts.push(format!("{passed} passed by, as they are there already (-y paints them anew)"));
    }
    if !failed.is_empty() {
        parts.push(format!("{} failed: '{}'", failed.len(), failed.join("', '")));
    }
    console.line(&parts.join(", "));
    Ok(worst)
}

/// Whether the output lies in a folder that was asked for, and not under a name that was.
fn is_in_folder(clip: &Clip, args: &VideoArgs) -> bool {
    clip.output != args.output
}
