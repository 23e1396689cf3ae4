//! `--mask`: where a style is laid on. What lies beside it stays as it was.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::stages::SmoothedFrame;
use super::{UsageError, is_named_like_video, outputs};
use crate::cli::MaskArgs;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::measure::list_pictures;
use crate::media::{self, Cut, Interrupt, ReaderOptions, VideoInfo, VideoReader};
use crate::pipeline::Stage;
use crate::scale::{Filter, Scaler};
use crate::stills::{Still, StillFormat};
use crate::style::pixels::mix_by_weights;

/// Black and white that went through a lossy encoder are a few levels off: so many count as none.
const NOISE: f32 = 8.0;

/// Extensions of the pictures of a folder that are masks.
pub const EXTENSIONS: &[&str] = &["png", "jpg", "jpeg", "webp", "tif", "tiff"];

/// What opacity means, for people.
const IS_OPACITY: &str = "transparency: white is what is opaque";

/// How much of the style each pixel of a clip or picture gets.
pub struct Mask {
    path: PathBuf,
    pictures: Pictures,
    is_inverted: bool,
    /// What is there now.
    picture: Frame,
    /// For which frame that is.
    index: u64,
    /// `picture` for content of the size beside it, `[height, width]`, 0–255.
    weights: Option<(FrameSize, Vec<u8>)>,
    notes: Vec<String>,
    remarks: Remarks,
    interrupt: Option<Interrupt>,
}

/// Where pictures come from.
enum Pictures {
    /// The one that is there is for all.
    One,
    /// One for each frame.
    Files(Vec<PathBuf>),
    Clip {
        reader: Box<VideoReader>,
        /// What was read ahead.
        next: Option<Frame>,
    },
}

/// What was found wrong with a mask while it was read on.
#[derive(Clone, Default)]
pub struct Remarks(Arc<Mutex<Vec<String>>>);

impl Remarks {
    /// Says it, once.
    fn add(&self, text: String) {
        if let Ok(mut remarks) = self.0.lock()
            && !remarks.contains(&text)
        {
            tracing::warn!("{text}");
            remarks.push(text);
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().map(|remarks| remarks.clone()).unwrap_or_default()
    }
}

impl Mask {
    /// The mask for one picture, or for several.
    ///
    /// # Errors
    /// If it is none that can be read, or nothing but black.
    pub fn for_pictures(args: &MaskArgs) -> Result<Option<Self>> {
        let Some(path) = &args.mask else { return Ok(None) };
        let is_clip = StillFormat::of_path(path).is_none() && is_named_like_video(path);
        if path.is_dir() || is_clip || media::is_url(path) {
            let text = format!("the mask '{}' is no picture in a file (expected one for all)", media::shown(path));
            return Err(UsageError(anyhow!(text)).into());
        }
        Self::of_picture(path, args.invert_mask).map(Some)
    }

    /// The mask for a clip of this size, as much of it as `options` wants. Its pictures are taken one for one: with `options.cut.start`,
    /// which is a time, the mask has to have the clip's rate, if that is a steady one.
    ///
    /// # Errors
    /// If it cannot be read, has another shape, or is nothing but black.
    pub fn for_clip(
        args: &MaskArgs,
        size: FrameSize,
        rate: Option<f64>,
        options: &ReaderOptions,
    ) -> Result<Option<Self>> {
        let Some(path) = &args.mask else { return Ok(None) };
        let mut mask = if path.is_dir() {
            Self::of_folder(path, args.invert_mask, size, options)?
        } else if StillFormat::of_path(path).is_some() && !media::is_url(path) {
            Self::of_picture(path, args.invert_mask)?
        } else {
            Self::of_clip(path, args.invert_mask, rate, options)?
        };
        mask.weigh(size)?;
        Ok(Some(mask))
    }

    fn of_picture(path: &Path, is_inverted: bool) -> Result<Self> {
        let (picture, is_opacity) = read(path)?;
        let mut mask = Self::new(path, picture, Pictures::One, is_inverted);
        mask.notes.extend(is_opacity.then(|| IS_OPACITY.to_owned()));
        let is_black = mask.weigh(mask.picture.size)?.iter().all(|weight| *weight == 0);
        ensure!(
            !is_black,
            "the mask '{}' is {} (expected {} where the style is to be)",
            path.display(),
            if is_inverted { "white" } else { "black" },
            if is_inverted { "black" } else { "white" },
        );
        Ok(mask)
    }

    fn of_folder(path: &Path, is_inverted: bool, size: FrameSize, options: &ReaderOptions) -> Result<Self> {
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
        let (picture, is_opacity) = read(first)?;
        let mut mask = Self::new(path, picture, Pictures::Files(files), is_inverted);
        mask.notes.extend(is_opacity.then(|| IS_OPACITY.to_owned()));
        Ok(mask)
    }

    fn of_clip(path: &Path, is_inverted: bool, rate: Option<f64>, options: &ReaderOptions) -> Result<Self> {
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
        let is_one = next.is_none();
        if let Some(start) = options.cut.start.filter(|_| !is_one) {
            let of_mask = steady_rate(reader.info());
            let is_same = |(a, b): (f64, f64)| (a / b - 1.0).abs() < 1e-3;
            if !of_mask.zip(rate).is_some_and(is_same) {
                let told = |rate: Option<f64>| {
                    rate.map_or("no steady rate".to_owned(), |rate| format!("{rate:.2} frames a second"))
                };
                bail!(
                    "the mask '{}' has {} and the clip {} (expected the same steady rate with --start: cut both first)",
                    media::shown(path),
                    told(of_mask),
                    told(rate)
                );
            }
            let part = Cut { start: Some(start), ..Cut::default() };
            (reader, picture) = open(part, !is_opaque).context("does the mask end before --start?")?;
            next = None;
        }
        let pictures = if is_one { Pictures::One } else { Pictures::Clip { reader: Box::new(reader), next } };
        let mut mask = Self::new(path, picture, pictures, is_inverted);
        mask.notes.extend(notes);
        mask.interrupt.clone_from(&options.interrupt);
        Ok(mask)
    }

    fn new(path: &Path, picture: Frame, pictures: Pictures, is_inverted: bool) -> Self {
        Self {
            path: path.to_owned(),
            pictures,
            is_inverted,
            picture,
            index: 0,
            weights: None,
            notes: Vec::new(),
            remarks: Remarks::default(),
            interrupt: None,
        }
    }

    /// What a person should know who has this mask for so many frames, of a part of the clip or of all of it.
    pub fn notes(&self, expected_frames: Option<u64>, is_part: bool) -> Vec<String> {
        let path = media::shown(&self.path);
        let mut notes: Vec<String> = self.notes.iter().map(|note| format!("'{path}': {note}")).collect();
        let there = match &self.pictures {
            Pictures::One => None,
            Pictures::Files(files) => Some(files.len() as u64),
            Pictures::Clip { reader, .. } => reader.info().expected_frames,
        };
        if let (Some(there), Some(expected)) = (there, expected_frames)
            && (there < expected || there > expected && !is_part)
        {
            notes.push(format!(
                "the mask '{path}' has about {there} frames and the clip {expected} (its frames are taken one for one)"
            ));
        }
        notes
    }

    /// What will be found wrong with it.
    pub fn remarks(&self) -> Remarks {
        self.remarks.clone()
    }

    /// Puts back what the mask leaves as it was.
    ///
    /// # Errors
    /// If the mask cannot be read on, or has another shape.
    pub fn apply(&mut self, content: &Frame, painted: &mut Frame) -> Result<()> {
        let interrupt = self.interrupt.clone();
        let is_interrupted = || interrupt.as_ref().is_some_and(|is_interrupted| is_interrupted());
        ensure!(self.go_to(content.frame_index, is_interrupted)?, "interrupted");
        mix_by_weights(content.pixels(), self.weigh(content.size)?, painted.pixels_mut());
        Ok(())
    }

    /// Goes on to the picture for a frame; `false`: that was ended on the way. Where a mask ends early, its last picture is held.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn go_to(&mut self, index: u64, is_ended: impl Fn() -> bool) -> Result<bool> {
        if let Pictures::Files(files) = &self.pictures {
            let last = (files.len() as u64).saturating_sub(1);
            let wanted = index.min(last);
            if wanted != self.index {
                (self.picture, _) = read(&files[wanted as usize])?;
                (self.index, self.weights) = (wanted, None);
            }
            if index > last {
                self.remarks.add(self.ends_early());
            }
            return Ok(true);
        }
        while self.index < index
            && let Pictures::Clip { reader, next } = &mut self.pictures
        {
            if is_ended() {
                return Ok(false);
            }
            let picture = match next.take() {
                Some(next) => Some(next),
                None => reader.next_frame().context("read the mask")?,
            };
            if let Some(damage) = reader.damage().describe() {
                let path = media::shown(&self.path);
                self.remarks.add(format!("the mask '{path}' is damaged, and may not fit: {damage}"));
            }
            match picture {
                Some(picture) => {
                    self.index += 1;
                    (self.picture, self.weights) = (picture, None);
                }
                None => {
                    self.remarks.add(self.ends_early());
                    self.pictures = Pictures::One;
                }
            }
        }
        Ok(true)
    }

    fn ends_early(&self) -> String {
        let (path, count) = (media::shown(&self.path), self.index + 1);
        format!("the mask '{path}' ends after {count} frames: the last one is taken for the rest")
    }

    /// The picture that is there as weights for content of this size.
    fn weigh(&mut self, size: FrameSize) -> Result<&[u8]> {
        let is_there = self.weights.as_ref().is_some_and(|(of_size, _)| *of_size == size);
        if !is_there {
            let mut plane = whiteness(&self.path, &self.picture, size)?;
            let weights = weights(self.is_inverted);
            plane.iter_mut().for_each(|value| *value = weights[usize::from(*value)]);
            self.weights = Some((size, plane));
        }
        Ok(self.weights.as_ref().map_or(&[], |(_, weights)| weights))
    }
}

/// Frames a second of a clip, if they come at a steady rate.
pub fn steady_rate(info: &VideoInfo) -> Option<f64> {
    let (steady, mean) = (f64::from(info.steady_rate), f64::from(info.frame_rate));
    // The mean of a short clip is not exact.
    (steady > 0.0 && (mean / steady - 1.0).abs() < 0.02).then_some(steady)
}

/// What the levels of a mask count.
fn weights(is_inverted: bool) -> [u8; 256] {
    std::array::from_fn(|level| {
        let weight = ((level as f32 - NOISE) * 255.0 / (255.0 - 2.0 * NOISE)).round().clamp(0.0, 255.0) as u8;
        if is_inverted { 255 - weight } else { weight }
    })
}

/// A mask as the pipeline's stage: after smoothing, which sees whole paintings.
pub struct MaskStage(pub Mask);

impl Stage for MaskStage {
    type Input = SmoothedFrame;
    type Output = SmoothedFrame;

    fn process(&mut self, mut frame: SmoothedFrame) -> Result<SmoothedFrame> {
        if let Some(content) = &frame.content {
            self.0.apply(content, &mut frame.frame)?;
        }
        Ok(frame)
    }
}

/// Refuses an output that would replace the mask. `what` is what it is called.
///
/// # Errors
/// [`UsageError`].
pub fn refuse_as_output(args: &MaskArgs, what: &str, output: &Path) -> Result<(), UsageError> {
    match &args.mask {
        Some(mask) if outputs::is_same(mask, output) => {
            Err(UsageError(anyhow!("the {what} '{}' is the mask (choose another name)", output.display())))
        }
        _ => Ok(()),
    }
}

/// Reads a mask in a file of its own; of a picture with transparency it is the opacity, and `true` comes with it.
///
/// # Errors
/// If it cannot be read, or holds several pictures: nobody knows then what is meant.
pub fn read(path: &Path) -> Result<(Frame, bool)> {
    let read = || -> Result<Still> {
        // A pipe may stay silent for ever.
        ensure!(path.metadata()?.is_file(), "it is no file");
        Still::decode(&std::fs::read(path)?)
    };
    let still = read().with_context(|| cannot_read(path))?;
    ensure!(
        !still.has_more_pictures(),
        "the mask '{}' holds several pictures, an animation or pages (expected one, or a clip as .mkv or .apng)",
        path.display()
    );
    let Some(opacity) = still.opacity() else { return Ok((still.content, false)) };
    let mut mask = Frame::black(still.content.size);
    for (pixel, opacity) in mask.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().zip(opacity) {
        *pixel = [opacity; CHANNELS];
    }
    Ok((mask, true))
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the mask '{}'", path.display())
}

/// Refuses a mask of another shape, which is a mistake; one of another size is scaled.
fn check_shape(path: &Path, mask: FrameSize, content: FrameSize) -> Result<()> {
    let (a, b) = (mask.width * content.height, mask.height * content.width);
    if a.abs_diff(b) * 50 > a.max(b) {
        bail!("the mask '{}' is {mask} and the content {content} (expected the same shape)", media::shown(path));
    }
    Ok(())
}

/// How white a mask is at each pixel of content of a size, `[height, width]`, 0–255: the mean of its channels.
///
/// # Errors
/// If the mask has another shape.
pub fn whiteness(path: &Path, mask: &Frame, size: FrameSize) -> Result<Vec<u8>> {
    check_shape(path, mask.size, size)?;
    let mean =
        |[red, green, blue]: &[u8; CHANNELS]| ((u16::from(*red) + u16::from(*green) + u16::from(*blue)) / 3) as u8;
    let of_pixels = |pixels: &[u8]| pixels.as_chunks::<CHANNELS>().0.iter().map(mean).collect();
    if mask.size == size {
        return Ok(of_pixels(mask.pixels()));
    }
    let filter = if size.pixels() < mask.size.pixels() { Filter::Box } else { Filter::CatmullRom };
    let mut scaled = vec![0; size.bytes()];
    Scaler::new().scale_rgb(mask.size, mask.pixels(), size, &mut scaled, filter)?;
    Ok(of_pixels(&scaled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_are_whole_and_what_lies_between_is_even() {
        let (plain, inverted) = (weights(false), weights(true));
        assert_eq!([0, 4, 8, 247, 251, 255].map(|level| plain[level]), [0, 0, 0, 255, 255, 255]);
        assert!((127..=129).contains(&plain[128]) && plain.is_sorted());
        assert!(plain.iter().zip(inverted).all(|(plain, inverted)| plain + inverted == 255));
    }

    #[test]
    fn a_mask_of_another_size_is_scaled_and_one_of_another_shape_refused() {
        let mut mask = Frame::black(FrameSize::new(8, 4));
        for row in mask.pixels_mut().chunks_exact_mut(8 * CHANNELS) {
            row[4 * CHANNELS..].fill(255);
        }
        let whiteness = |width, height| whiteness(Path::new("a.png"), &mask, FrameSize::new(width, height));
        assert_eq!(whiteness(4, 2).unwrap(), [0, 0, 255, 255, 0, 0, 255, 255]);
        let large = whiteness(16, 8).unwrap();
        assert!(large.chunks_exact(16).all(|row| row[..6].iter().all(|white| *white == 0)));
        assert!(large.chunks_exact(16).all(|row| row[10..].iter().all(|white| *white == 255)));
        let error = whiteness(4, 8).unwrap_err().to_string();
        assert!(error.contains("the mask 'a.png' is 8×4 and the content 4×8 (expected the same shape)"), "{error}");
    }
}
