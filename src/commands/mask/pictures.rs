//! The pictures of a mask: one for all frames, or one for each, from a folder or a clip.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::check_shape;
use crate::commands::UsageError;
use crate::console::counted;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::measure::list_pictures;
use crate::media::{self, Cut, Damage, Interrupt, ReaderOptions, Time, VideoInfo, VideoReader};
use crate::stills::Still;

/// Extensions of the pictures of a folder that are masks.
pub const EXTENSIONS: &[&str] = &["png", "jpg", "jpeg", "webp", "tif", "tiff"];

/// What opacity means, for people.
const IS_OPACITY: &str = "transparency: white is what is opaque";

/// Pictures, and the one that is there now.
pub struct Pictures {
    path: PathBuf,
    source: Source,
    /// What is there now.
    picture: Frame,
    /// For which frame that is.
    index: u64,
    notes: Vec<String>,
    remarks: Remarks,
    is_damage_told: bool,
    interrupt: Option<Interrupt>,
}

/// Where pictures come from.
enum Source {
    /// The one that is there is for all.
    One,
    /// One for each frame; where the first is transparent, all are what is opaque.
    Files { files: Vec<PathBuf>, are_opacity: bool },
    Clip {
        reader: Box<VideoReader>,
        /// What was read ahead.
        next: Option<Frame>,
    },
}

/// What was found wrong with a mask while it was read on.
#[derive(Clone, Default)]
pub struct Remarks {
    texts: Arc<Mutex<Vec<String>>>,
    damage: Damage,
}

impl Remarks {
    /// Says it, once.
    fn add(&self, text: String) {
        if let Ok(mut remarks) = self.texts.lock()
            && !remarks.contains(&text)
        {
            tracing::warn!("{text}");
            remarks.push(text);
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.texts.lock().map(|remarks| remarks.clone()).unwrap_or_default()
    }

    /// How it is damaged, if it is a clip that is.
    pub fn damage(&self) -> Option<String> {
        self.damage.describe()
    }
}

impl Pictures {
    /// One picture for all frames.
    ///
    /// # Errors
    /// As [`read`].
    pub fn of_picture(path: &Path) -> Result<Self> {
        let (picture, is_opacity) = read(path)?;
        let mut pictures = Self::new(path, picture, Source::One);
        pictures.notes.extend(is_opacity.then(|| IS_OPACITY.to_owned()));
        Ok(pictures)
    }

    /// One for each frame of a clip of this size, in the order of their names.
    ///
    /// # Errors
    /// If one cannot be read or has another shape, and where only a part of the clip is wanted: pictures have no times.
    pub fn of_folder(path: &Path, size: FrameSize, options: &ReaderOptions) -> Result<Self> {
        if options.cut.start.is_some() {
            let text = "the pictures of the mask '{}' have no times (expected a clip as mask with --start)";
            return Err(UsageError(anyhow!(text.replace("{}", &path.display().to_string()))).into());
        }
        let files = list_pictures(path, EXTENSIONS)?;
        // What would fail in the middle of the work is told before it.
        for file in &files {
            let size_of_mask = Still::size_in(file).with_context(|| cannot_read(file))?;
            check_shape(file, size_of_mask, size)?;
        }
        let first = files.first().with_context(|| {
            format!("the folder '{}' holds no pictures (expected .{})", path.display(), EXTENSIONS.join(", ."))
        })?;
        let (picture, are_opacity) = read(first)?;
        let mut pictures = Self::new(path, picture, Source::Files { files, are_opacity });
        pictures.notes.extend(are_opacity.then(|| IS_OPACITY.to_owned()));
        Ok(pictures)
    }

    /// One for each frame of a clip that has so many frames a second, if that is steady, from a clip. `options.cut.start` is when the first
    /// of those frames is shown.
    ///
    /// # Errors
    /// If it cannot be read, or only a part is wanted, whose beginning is a time, and the rates differ.
    pub fn of_clip(path: &Path, rate: Option<f64>, options: &ReaderOptions) -> Result<Self> {
        let open = |cut: Cut, opacity: bool| -> Result<(VideoReader, Frame)> {
            let options = ReaderOptions { cut, opacity, ..options.clone() };
            let mut reader = VideoReader::open(path, options).context("open the mask")?;
            let first = reader.next_frame().context("read the mask")?;
            let first = first.with_context(|| format!("the mask '{}' holds no frames", media::shown(path)))?;
            Ok((reader, first))
        };
        let (mut reader, mut picture) = open(Cut::default(), true)?;
        // Many pictures that could be transparent are not.
        let is_opaque = picture.pixels().iter().all(|level| *level == 255);
        if is_opaque {
            (reader, picture) = open(Cut::default(), false)?;
        }
        let mut next = reader.next_frame().context("read the mask")?;
        let notes = reader.info().notes.clone();
        let mut damage = reader.damage();
        let is_one = next.is_none();
        if let Some(start) = options.cut.start.filter(|_| !is_one) {
            check_rate(path, steady_rate(reader.info()), rate)?;
            // Containers round times: between two frames is where none is.
            let half_a_frame = rate.map_or(0, |rate| (0.5e6 / rate) as i64);
            let part = Cut { start: Some(Time((start.0 - half_a_frame).max(0))), ..Cut::default() };
            (reader, picture) = open(part, !is_opaque).context("does the mask end before --start?")?;
            next = None;
            damage = reader.damage();
        }
        let source = if is_one { Source::One } else { Source::Clip { reader: Box::new(reader), next } };
        let mut pictures = Self::new(path, picture, source);
        pictures.notes.extend(notes);
        pictures.remarks.damage = damage;
        pictures.interrupt.clone_from(&options.interrupt);
        Ok(pictures)
    }

    fn new(path: &Path, picture: Frame, source: Source) -> Self {
        Self {
            path: path.to_owned(),
            source,
            picture,
            index: 0,
            notes: Vec::new(),
            remarks: Remarks::default(),
            is_damage_told: false,
            interrupt: None,
        }
    }

    /// Where they come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The one that is there now.
    pub fn current(&self) -> &Frame {
        &self.picture
    }

    /// What a person should know who has them for so many frames, of a part of the clip or of all of it.
    pub fn notes(&self, expected_frames: Option<u64>, is_part: bool) -> Vec<String> {
        let path = media::shown(&self.path);
        let mut notes: Vec<String> = self.notes.iter().map(|note| format!("'{path}': {note}")).collect();
        let there = match &self.source {
            Source::One => None,
            Source::Files { files, .. } => Some(files.len() as u64),
            Source::Clip { reader, .. } => reader.info().expected_frames,
        };
        if let (Some(there), Some(expected)) = (there, expected_frames)
            && (there < expected || there > expected && !is_part)
        {
            notes.push(format!(
                "the mask '{path}' has about {} and the clip {expected} (its frames are taken one for one)",
                counted(there, "frame")
            ));
        }
        notes
    }

    /// What will be found wrong with them.
    pub fn remarks(&self) -> Remarks {
        self.remarks.clone()
    }

    /// Whether the run is given up.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|is_interrupted| is_interrupted())
    }

    /// Goes on by one picture towards that for a frame. `None`: it is there; else whether what is there is another one now. Where pictures
    /// end early, the last one is held.
    ///
    /// # Errors
    /// If a picture cannot be read.
    pub fn step_towards(&mut self, index: u64) -> Result<Option<bool>> {
        if self.index >= index {
            return Ok(None);
        }
        let next = match &mut self.source {
            Source::One => return Ok(None),
            Source::Files { files, are_opacity } => {
                // Those between need not be read.
                let wanted = usize::try_from(index)?.min(files.len().saturating_sub(1)) as u64;
                let next = match wanted > self.index {
                    true => Some(read_as(&files[wanted as usize], *are_opacity)?),
                    false => None,
                };
                self.index = wanted.saturating_sub(1).max(self.index);
                next
            }
            Source::Clip { reader, next } => {
                let picture = match next.take() {
                    Some(next) => Some(next),
                    None => reader.next_frame().context("read the mask")?,
                };
                if let Some(damage) = self.remarks.damage().filter(|_| !self.is_damage_told) {
                    self.is_damage_told = true;
                    let path = media::shown(&self.path);
                    self.remarks.add(format!("the mask '{path}' is damaged, and may not fit from here on: {damage}"));
                }
                picture
            }
        };
        let is_other = next.is_some();
        match next {
            Some(picture) => {
                self.index += 1;
                self.picture = picture;
            }
            None => {
                let (path, count) = (media::shown(&self.path), counted(self.index + 1, "frame"));
                self.remarks.add(format!("the mask '{path}' ends after {count}: the last one is taken for the rest"));
                self.source = Source::One;
            }
        }
        Ok(Some(is_other))
    }
}

/// Frames a second of a clip, if they come at a steady rate.
pub fn steady_rate(info: &VideoInfo) -> Option<f64> {
    let (steady, mean) = (f64::from(info.steady_rate), f64::from(info.frame_rate));
    // The mean of a short clip is not exact.
    (steady > 0.0 && (mean / steady - 1.0).abs() < 0.02).then_some(steady)
}

/// Refuses rates at which a time leads to other frames in the mask than in the clip.
fn check_rate(path: &Path, of_mask: Option<f64>, of_clip: Option<f64>) -> Result<()> {
    // 29.97 is not 30.
    if of_mask.zip(of_clip).is_some_and(|(mask, clip)| (mask / clip - 1.0).abs() < 1e-4) {
        return Ok(());
    }
    let told =
        |rate: Option<f64>| rate.map_or("no steady rate".to_owned(), |rate| format!("{rate:.2} frames a second"));
    bail!(
        "the mask '{}' has {} and the clip {} (expected the same steady rate with --start: cut both first)",
        media::shown(path),
        told(of_mask),
        told(of_clip)
    );
}

/// Reads a mask in a file of its own; of a picture with transparency it is the opacity, and `true` comes with it.
///
/// # Errors
/// If it cannot be read, or holds several pictures: nobody knows then what is meant.
pub fn read(path: &Path) -> Result<(Frame, bool)> {
    let still = decode(path)?;
    Ok(match still.opacity() {
        Some(opacity) => (of_levels(still.content.size, &opacity), true),
        None => (still.content, false),
    })
}

/// The same where it is known whether opacity is meant; then a picture without transparency is white.
fn read_as(path: &Path, is_opacity: bool) -> Result<Frame> {
    match read(path)? {
        (picture, false) if is_opacity => Ok(of_levels(picture.size, &vec![255; picture.size.pixels()])),
        (picture, _) => Ok(picture),
    }
}

fn decode(path: &Path) -> Result<Still> {
    let still = Still::read(path).with_context(|| cannot_read(path))?;
    ensure!(
        !still.has_more_pictures(),
        "the mask '{}' holds several pictures, an animation or pages (expected one, or a clip as .mkv or .apng)",
        path.display()
    );
    Ok(still)
}

/// A gray picture.
fn of_levels(size: FrameSize, levels: &[u8]) -> Frame {
    let mut picture = Frame::black(size);
    for (pixel, level) in picture.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().zip(levels) {
        *pixel = [*level; CHANNELS];
    }
    picture
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the mask '{}'", path.display())
}
