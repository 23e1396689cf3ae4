//! `impasto video --resume`: what an interrupted run left beside its output, whether it was the same run, and the way back to where it
//! stopped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use super::Clip;
use crate::cli::VideoArgs;
use crate::commands::style::OpenStyle;
use crate::commands::{UsageError, mask, outputs, style};
use crate::console::{Console, counted};
use crate::measure::list_pictures;
use crate::media::{self, Journal, JournalInUse, OutputError, Settings, VideoInfo, VideoReader, VideoWriter};
use crate::motion::TimeConstants;
use crate::output::{Overwrite, is_taken};
use crate::pipeline::Control;
use crate::style::contract::StyleInput;

/// What a run keeps of its output until that is complete.
pub struct RunState {
    path: PathBuf,
    /// What an earlier run left, if this one goes on with it.
    left: Option<Journal>,
    /// The lengths of outputs that are not complete, or may be replaced.
    outputs: Vec<u64>,
    /// How many frames stand before damage in what an earlier run left.
    frames_before_damage: Option<u64>,
    /// Whether a later run will tell by it which outputs are complete.
    is_in_folder: bool,
}

impl RunState {
    /// Looks for what an earlier run left.
    ///
    /// # Errors
    /// If there is something and nobody said what shall become of it, or it is damaged from its beginning on.
    pub fn of_run(clip: &Clip, args: &VideoArgs) -> Result<Self> {
        let path = outputs::state_of(&clip.output);
        let found = is_taken(&path).then(|| Journal::open(&path));
        let mut left = match found {
            None => None,
            Some(Err(error)) if error.is::<JournalInUse>() => return Err(error),
            Some(Err(error)) if args.resume => {
                return Err(anyhow!("{error:#} (expected -y without --resume to begin anew)"));
            }
            Some(Ok(left)) if args.resume || args.overwrite => Some(left),
            Some(Err(_)) if is_of_others(&path) => bail!(
                "'{}', where this run would keep what it has done, is no state of impasto (expected it moved away, or another name for the \
                 output)",
                path.display()
            ),
            Some(found) if !args.overwrite => bail!(
                "'{}' is what an interrupted run left (expected {}-y to begin anew)",
                path.display(),
                if found.is_ok_and(|left| left.frames() > 0) { "--resume to go on with it, or " } else { "" }
            ),
            Some(_) => None,
        };
        // What was left unfinished is so until it is replaced; what may be replaced, whoever goes on with this run may replace.
        let mut outputs = left.as_ref().map(|left| left.outputs().to_vec()).unwrap_or_default();
        outputs.extend(
            clip.output.metadata().ok().filter(|there| args.overwrite && there.is_file()).map(|there| there.len()),
        );
        let frames_before_damage = left.as_ref().filter(|left| left.is_damaged()).map(Journal::frames);
        // There is nothing to go on with, whatever it was.
        if let Some(mut old) = left.take_if(|left| !args.resume || left.frames() == 0) {
            old.remove_leftover();
        }
        Ok(Self { path, left, outputs, frames_before_damage, is_in_folder: clip.is_in_folder })
    }

    /// Whether the output may be replaced if it is what the earlier run made of what it had.
    pub fn overwrite(&self) -> Overwrite {
        Overwrite::OfSizes(self.outputs.clone())
    }

    /// Adds to an error that there is an output already why it is not known as that of the earlier run.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match (error.downcast_ref(), self.frames_before_damage) {
            (Some(OutputError::Exists(output)), Some(frames)) => anyhow!(
                "'{}' is damaged behind its first {} and does not tell any more whether the output '{}' is what the interrupted run left \
                 (expected that moved away, or -y beside --resume to replace it: what is good is kept and gone on from)",
                self.path.display(),
                counted(frames, "frame"),
                output.display()
            ),
            _ => error,
        }
    }

    /// Has the writer go on with what was left, and keep what comes. Says how many frames need not be painted again; `None`: nothing can
    /// be kept here, which ends no run.
    ///
    /// # Errors
    /// If another run is writing it, or it was begun with other settings, or cannot be read; or the writer fails.
    pub fn attach(&mut self, writer: &mut VideoWriter, settings: Settings, console: Console) -> Result<Option<u64>> {
        if let Some(left) = self.left.take() {
            check_settings(&self.path, left.settings(), &settings)?;
            let frames = left.frames();
            writer.go_on_with(left).inspect_err(|_| self.keep(console))?;
            return Ok(Some(frames));
        }
        let Some(journal) = self.create(settings)? else { return Ok(None) };
        writer.go_on_with(journal).inspect_err(|_| self.keep(console))?;
        Ok(Some(0))
    }

    /// Has the writer note what it leaves unfinished, for the run that paints it anew. `false`: nothing can be noted here, which ends no run.
    ///
    /// # Errors
    /// If another run is writing it.
    pub fn attach_note(&self, writer: &mut VideoWriter) -> Result<bool> {
        let Some(journal) = self.create(Settings::new())? else { return Ok(false) };
        writer.note_in(journal)?;
        Ok(true)
    }

    fn create(&self, settings: Settings) -> Result<Option<Journal>> {
        match Journal::create(&self.path, settings, self.outputs.clone()) {
            Err(error) if !error.is::<JournalInUse>() => {
                tracing::warn!("this run cannot be resumed: {error:#}");
                Ok(None)
            }
            journal => journal.map(Some),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says what is kept for another run after one that came to nothing; what holds nothing is removed.
    pub fn keep(&self, console: Console) {
        let (frames, outputs) = match Journal::open(&self.path) {
            Ok(kept) => (kept.frames(), kept.outputs().len()),
            Err(error) => return tracing::debug!("{error:#}"),
        };
        let text = match (frames, outputs) {
            (0, outputs) if outputs == 0 || !self.is_in_folder => return self.remove(),
            (0, _) => return,
            (1, _) => "1 frame is kept".to_owned(),
            _ => format!("{frames} frames are kept"),
        };
        console.note(&format!("{text} in '{}' (--resume goes on from there)", self.path.display()));
    }

    /// Removes it: the output is complete.
    pub fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("cannot remove '{}', which nobody needs any more: {error}", self.path.display());
        }
    }
}

/// Whether a file that is no journal never was one: it is nothing to be replaced. What a full disk or a crash left of one begins like it.
fn is_of_others(path: &Path) -> bool {
    path.is_file() && Journal::begins(path).is_ok_and(|begins| !begins)
}

/// Removes what an earlier run left where this one has kept nothing, and its output is complete.
pub fn remove_left(clip: &Clip, args: &VideoArgs) {
    let path = outputs::state_of(&clip.output);
    if (args.overwrite || args.resume) && is_taken(&path) {
        let is_in_folder = clip.is_in_folder;
        RunState { path, left: None, outputs: Vec::new(), frames_before_damage: None, is_in_folder }.remove();
    }
}

/// The lengths of the outputs that interrupted runs left unfinished.
pub fn unfinished_bytes(output: &Path) -> Vec<u64> {
    let state = outputs::state_of(output);
    let left = is_taken(&state).then(|| Journal::open(&state).ok()).flatten();
    left.map(|left| left.outputs().to_vec()).unwrap_or_default()
}

/// Refuses settings that do not go with what a run keeps.
///
/// # Errors
/// [`UsageError`].
pub fn check(args: &VideoArgs) -> Result<(), UsageError> {
    match args.resume && args.debug_view.is_some() {
        true => Err(UsageError(anyhow!("a run with --debug-view is not kept (expected no --resume with it)"))),
        false => Ok(()),
    }
}

/// The refusal to go on with a video that is written from its beginning to its end.
pub fn in_one_go(output: &Path) -> UsageError {
    UsageError(anyhow!("'{}' can only be written in one go (expected no --resume with it)", output.display()))
}

fn check_settings(path: &Path, then: &Settings, now: &Settings) -> Result<()> {
    let names = then.keys().chain(now.keys().filter(|name| !then.contains_key(*name)));
    let value = |settings: &Settings, name: &str| settings.get(name).map_or("not known", String::as_str).to_owned();
    let other = names.map(|name| (name, value(then, name), value(now, name))).find(|(_, then, now)| then != now);
    match other {
        Some((name, then, now)) => bail!(
            "'{}' is of another run: {name} was {then} and is {now} (expected the command that was interrupted, or -y without --resume to \
             begin anew)",
            path.display()
        ),
        None => Ok(()),
    }
}

/// All that decides what is painted and how it is encoded. Threads and devices are not among it, beyond the precision that `auto` takes on
/// a device: they change rounding only.
///
/// # Errors
/// If a file that the style is made of cannot be read.
pub fn settings(
    input: &Path,
    args: &VideoArgs,
    info: &VideoInfo,
    style: &OpenStyle,
    writer: &VideoWriter,
) -> Result<Settings> {
    let look = &args.style.look;
    let encoding = &args.encoding;
    let options: Vec<String> = encoding.encoder_options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let settings = [
        ("the version of impasto", env!("CARGO_PKG_VERSION").to_owned()),
        ("the input", identity(input, info)?),
        ("--style", style.label.clone()),
        ("the network", style.network.unwrap_or("in a file").to_owned()),
        ("what is known of the network", style.notes.join("; ")),
        ("the style's files", files_of_style(style, look.style_image.as_deref())?),
        ("--strength", look.strength.to_string()),
        ("--keep-color", look.keep_color.to_string()),
        ("--work-size", look.work_size.to_string()),
        ("--precision", format!("{:?}", style.engine.network().precision()).to_lowercase()),
        (
            "--mask",
            args.mask.mask.as_deref().map(identity_of_mask).transpose()?.unwrap_or_else(|| "not set".to_owned()),
        ),
        ("--invert-mask", args.mask.invert_mask.to_string()),
        ("--smooth", args.temporal.smooth.to_string()),
        ("--stride", args.temporal.stride.to_string()),
        ("--start", or_not_set(args.start)),
        ("--end", or_not_set(args.end)),
        ("--frames", or_not_set(args.frames)),
        ("the encoder", writer.encoder_identity().unwrap_or_default()),
        ("--crf", or_not_set(encoding.crf)),
        ("--preset", or_not_set(encoding.preset.as_deref())),
        ("--pixel-format", or_not_set(encoding.pixel_format.as_deref())),
        ("--encoder-option", or_not_set(Some(options.join(" ")).filter(|options| !options.is_empty()))),
    ];
    Ok(settings.map(|(name, value)| (name.to_owned(), value)).into())
}

fn or_not_set(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "not set".to_owned(), |value| value.to_string())
}

/// Bytes at either end of a clip that are taken for all of it.
const END_OF_CLIP: u64 = 1 << 20;

/// A text that is another one for another clip, wherever it lies and whatever it is called; at an address, as far as that tells.
fn identity(input: &Path, info: &VideoInfo) -> Result<String> {
    if media::is_url(input) {
        let address = short_hash(Sha256::new().chain_update(input.as_os_str().as_encoded_bytes()));
        return Ok(format!("{}, {} frames ({address})", info.size, or_not_set(info.expected_frames)));
    }
    identity_of_file(input)
}

/// The same for a mask: of a folder, by the names and lengths of its pictures.
fn identity_of_mask(mask: &Path) -> Result<String> {
    if media::is_url(mask) {
        return Ok(short_hash(Sha256::new().chain_update(mask.as_os_str().as_encoded_bytes())));
    }
    if !mask.is_dir() {
        return identity_of_file(mask);
    }
    let files = list_pictures(mask, mask::EXTENSIONS)?;
    let mut hasher = Sha256::new();
    for file in &files {
        let length = file.metadata().with_context(|| format!("cannot read '{}'", file.display()))?.len();
        hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(length.to_le_bytes());
    }
    Ok(format!("{} pictures ({})", files.len(), short_hash(hasher)))
}

fn identity_of_file(path: &Path) -> Result<String> {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut hasher = Sha256::new();
        for start in [0, length.saturating_sub(END_OF_CLIP)] {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(start))?;
            (&mut file).take(END_OF_CLIP).read_to_end(&mut bytes)?;
            hasher.update(&bytes);
        }
        Ok(format!("{length} bytes ({})", short_hash(hasher)))
    };
    read().with_context(|| format!("cannot read '{}'", path.display()))
}

/// A checksum of the files whose content is part of the style: networks, learnt styles, paintings.
fn files_of_style(style: &OpenStyle, style_image: Option<&Path>) -> Result<String> {
    let files = style::files(&style::parse(&style.label)?);
    let encoder = match &style.engine.contract().style {
        StyleInput::Embedding { encoder, .. } => Some(encoder.as_path()),
        _ => None,
    };
    let mut hasher = Sha256::new();
    for file in files.into_iter().chain(encoder.into_iter().chain(style_image).map(Path::to_owned)) {
        hasher.update(std::fs::read(&file).with_context(|| format!("cannot read '{}'", file.display()))?);
    }
    Ok(short_hash(hasher))
}

fn short_hash(hasher: Sha256) -> String {
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// How many times the longest time constant of the smoothing is painted again before the seam: the past counts a twentieth by then.
const RUN_UP: f32 = 3.0;
/// Nor more than this.
const MOST_RUN_UP_SECONDS: f32 = 10.0;

/// The first frame that is painted again, so that the smoothing has the past that it had. Those from there to `seam` are not written.
pub fn begin_of_run_up(seam: u64, smooth: f32, frame_rate: f64) -> u64 {
    let frame_rate = if frame_rate > 0.0 { frame_rate } else { 25.0 };
    let seconds = (RUN_UP * TimeConstants::of_painting(smooth).still_seconds).min(MOST_RUN_UP_SECONDS);
    seam.saturating_sub((f64::from(seconds) * frame_rate).ceil() as u64)
}

/// Leads the reader to a frame; `false`: the run was stopped on the way.
///
/// All before it are decoded, as they were before: a jump would lose what is counted from the start of a file, its clock and its damage.
///
/// # Errors
/// If reading fails.
pub fn skip_to(reader: &mut VideoReader, frame: u64, control: &Control, console: Console) -> Result<bool> {
    let mut progress = console.progress(Some(frame));
    let mut read = 0;
    let result = loop {
        if control.is_stopped() {
            break Ok(false);
        }
        if read == frame {
            break Ok(true);
        }
        match reader.pass_by() {
            Ok(true) => read += 1,
            Ok(false) => {
                break Err(anyhow!(
                    "the clip ends after {}, before the {frame} that are there",
                    counted(read, "frame")
                ));
            }
            Err(_) if control.is_aborted() => break Ok(false),
            Err(error) => break Err(error),
        }
        progress.update_with(read, || "looking for where the run stopped".to_owned());
    };
    progress.end();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;

    #[test]
    fn a_setting_that_differs_is_named_with_both_values() {
        let settings = |strength: &str| Settings::from([("--strength".to_owned(), strength.to_owned())]);
        assert!(check_settings(Path::new("a.state"), &settings("1"), &settings("1")).is_ok());
        let error = check_settings(Path::new("a.state"), &settings("0.5"), &settings("1")).unwrap_err().to_string();
        assert!(error.contains("'a.state' is of another run: --strength was 0.5 and is 1"), "{error}");
        let error = check_settings(Path::new("a.state"), &Settings::new(), &settings("1")).unwrap_err().to_string();
        assert!(error.contains("--strength was not known and is 1"), "{error}");
    }

    #[test]
    fn a_clip_is_known_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let info = VideoInfo::plain(FrameSize::new(32, 16), 25);
        let identity_of = |name: &str| identity(&at(name), &info);
        let clip: Vec<u8> = (0..3_u32 << 20).map(|index| (index >> 7) as u8).collect();
        std::fs::write(at("a.mp4"), &clip).unwrap();
        std::fs::write(at("b.mp4"), &clip).unwrap();
        assert_eq!(identity_of("a.mp4").unwrap(), identity_of("b.mp4").unwrap());
        for place in [0, clip.len() - 1] {
            let mut other = clip.clone();
            other[place] ^= 1;
            std::fs::write(at("b.mp4"), &other).unwrap();
            assert_ne!(identity_of("a.mp4").unwrap(), identity_of("b.mp4").unwrap());
        }
        std::fs::write(at("b.mp4"), &clip[..clip.len() - 1]).unwrap();
        assert_ne!(identity_of("a.mp4").unwrap(), identity_of("b.mp4").unwrap());
    }

    #[test]
    fn a_run_up_is_as_long_as_the_smoothing_remembers() {
        assert_eq!(begin_of_run_up(1000, 0.0, 25.0), 1000);
        assert_eq!(begin_of_run_up(1000, 0.2, 25.0), 850);
        assert_eq!(begin_of_run_up(100, 0.2, 25.0), 0);
        assert_eq!(begin_of_run_up(1000, 60.0, 25.0), 750);
    }
}
