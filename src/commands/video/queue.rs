//! The clips of a run, one after the other: one that cannot be painted does not stop the rest.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::resume;
use crate::cli::{VideoArgs, VideoEngine};
use crate::commands::film::{self, WorkFolder};
use crate::commands::inputs::{Found, Kind, find, in_folder, is_folder, refuse_as_outputs};
use crate::commands::mask::Mask;
use crate::commands::outputs::is_same;
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
    /// Whether the output lies in a folder that was asked for, and not under a name that was.
    pub is_in_folder: bool,
}

/// An error that no other clip would be spared.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct EndsRun(pub anyhow::Error);

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
        return Ok(vec![Clip { input: one.path.clone(), output: args.output.clone(), is_in_folder: false }]);
    }
    if let [folder] = args.inputs.as_slice()
        && args.extension.is_some()
        && is_same(folder, &args.output)
    {
        let text = format!("the outputs would lie among the clips of '{}' (choose another folder)", folder.display());
        return Err(usage(&text));
    }
    let pairs = in_folder(found, &args.output, args.extension.as_deref(), &CLIPS)?;
    let clips: Vec<Clip> =
        pairs.into_iter().map(|(input, output)| Clip { input, output, is_in_folder: true }).collect();
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
        Mask::for_pictures(&args.mask)?;
        args.encoding.codec.as_deref().map_or(Ok(()), media::check_codec)?;
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

/// Whether a clip is done: its output is there, and nothing says that it is not complete.
fn is_done(clip: &Clip, args: &VideoArgs) -> bool {
    let Some(bytes) = clip.output.metadata().ok().filter(Metadata::is_file).map(|output| output.len()) else {
        return false;
    };
    let keyframes = film::work_folder(&clip.output, args);
    let is_under_way = match args.film.engine {
        VideoEngine::Network => is_taken(&outputs::state_of(&clip.output)),
        VideoEngine::Gatys => WorkFolder::has_unfinished(&keyframes),
    };
    // Also of the other engine.
    let is_unfinished = resume::unfinished_bytes(&clip.output).contains(&bytes)
        || WorkFolder::unfinished_bytes(&keyframes).contains(&bytes);
    clip.is_in_folder && args.resume && !args.overwrite && !is_under_way && !is_unfinished
}

/// What became of the clips.
#[derive(Default)]
struct Report {
    painted: usize,
    passed: usize,
    damaged: Vec<String>,
    failed: Vec<String>,
}

impl Report {
    fn tell(&self, count: usize, console: Console) {
        let mut parts = vec![format!("{} of {count} videos painted", self.painted)];
        if self.passed > 0 {
            parts.push(format!("{} passed by, as they are there already (-y paints them anew)", self.passed));
        }
        for (names, what) in [(&self.damaged, "damaged"), (&self.failed, "failed")] {
            if !names.is_empty() {
                parts.push(format!("{} {what}: '{}'", names.len(), names.join("', '")));
            }
        }
        console.line(&parts.join(", "));
    }
}

/// Has each clip made. What becomes of one alone is what becomes of the run.
///
/// # Errors
/// That of one alone, and what no other would be spared; else what fails is told, and the rest goes on.
pub fn run(
    clips: &[Clip],
    args: &VideoArgs,
    control: &Control,
    console: Console,
    mut make: impl FnMut(&Clip) -> Result<Outcome>,
) -> Result<Outcome> {
    let count = clips.len();
    let mut report = Report::default();
    let mut is_interrupted = false;
    let mut last_error = String::new();
    for (index, clip) in clips.iter().enumerate() {
        if is_done(clip, args) {
            report.passed += 1;
            continue;
        }
        if count > 1 {
            console.line(&format!("{} of {count}: '{}'", index + 1, clip.input.display()));
        }
        let made = match clip.is_in_folder {
            true => make_folder(folder_of(&clip.output)).and_then(|()| make(clip)),
            false => make(clip),
        };
        match made.map_err(|error| error.downcast::<EndsRun>()) {
            Err(Ok(EndsRun(error))) => return Err(error),
            Err(Err(error)) if count == 1 || report.painted == 0 && error.is::<UsageError>() => return Err(error),
            Ok(outcome) if count == 1 => return Ok(outcome),
            // What is said of the first two clips alike, and names neither, is to be said of all.
            Err(Err(error)) if report.painted == 0 && format!("{error:#}") == last_error => {
                report.failed.extend(clips[index..].iter().map(|clip| clip.input.display().to_string()));
                break;
            }
            Err(Err(error)) => {
                last_error = format!("{error:#}");
                console.error_line(&format!("'{}' is not painted: {error:#}", clip.input.display()));
                report.failed.push(clip.input.display().to_string());
            }
            Ok(Outcome::Interrupted) => is_interrupted = true,
            Ok(outcome) => {
                report.painted += 1;
                if outcome == Outcome::Damaged {
                    report.damaged.push(clip.input.display().to_string());
                }
            }
        }
        is_interrupted |= control.is_stopped();
        if is_interrupted {
            break;
        }
    }
    report.tell(count, console);
    Ok(match (is_interrupted, report.damaged.is_empty() && report.failed.is_empty()) {
        (true, _) => Outcome::Interrupted,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::Damaged,
    })
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder '{}'", folder.display()))
}
