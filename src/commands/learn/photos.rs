//! What a style is fitted on: the photos of a folder, or the frames of a video.

use std::path::Path;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::console::{Console, counted};
use crate::frame::Frame;
use crate::learn::PhotoSet;
use crate::learn::views::ViewSampler;
use crate::media::{ReaderOptions, VideoReader};
use crate::pipeline::Control;
use crate::scale::{Filter, Scaler};
use crate::stills::{Still, StillFormat};

/// Shorter side at which photos are kept.
const SHORT_SIDE: usize = 480;
/// Photos that are kept at most: about 300 MB.
const MOST_PHOTOS: usize = 400;
/// Frames of a video that are kept at most.
const MOST_FRAMES: usize = 96;

/// The photos in and below a folder that are large enough for crops of `side` pixels.
///
/// # Errors
/// When there are too few.
pub fn of_folder(folder: &Path, side: usize, console: Console) -> Result<PhotoSet> {
    if !folder.is_dir() {
        bail!("'{}' is no folder (expected one with photos)", folder.display());
    }
    let smallest = ViewSampler::smallest_photo(side);
    let (mut photos, mut unreadable, mut small) = (Vec::new(), 0, 0);
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the folder '{}'", folder.display()))?;
        let is_picture = StillFormat::of_path(entry.path()).is_some();
        if !is_picture || !entry.file_type().is_file() || photos.len() == MOST_PHOTOS {
            continue;
        }
        match Still::read(entry.path()) {
            Ok(still) if still.content.size.short_side() < smallest => small += 1,
            Ok(still) => photos.push(kept(&still.content)?),
            Err(error) => {
                tracing::info!("'{}' is left out: {error:#}", entry.path().display());
                unreadable += 1;
            }
        }
    }
    if unreadable > 0 {
        console.note(&format!(
            "left out of '{}': {} that cannot be read",
            folder.display(),
            counted(unreadable, "picture")
        ));
    }
    if small > 0 {
        console.note(&format!(
            "left out of '{}': {} with less than {smallest} pixels on the shorter side",
            folder.display(),
            counted(small, "picture")
        ));
    }
    let description = format!("{} of '{}'", counted(photos.len() as u64, "photo"), folder.display());
    PhotoSet::new(photos, description).with_context(|| format!("the folder '{}'", folder.display()))
}

/// Frames of a video, spread over all of it; `None` when reading it was stopped.
///
/// # Errors
/// When it cannot be read, or has too few frames or too small ones.
pub fn of_video(clip: &Path, side: usize, control: &Control, console: Console) -> Result<Option<PhotoSet>> {
    let mut reader = VideoReader::open(clip, ReaderOptions::default())?;
    let smallest = ViewSampler::smallest_photo(side);
    let size = reader.info().size;
    if size.short_side() < smallest {
        bail!(
            "'{}' is {size} (expected at least {smallest} pixels on its shorter side, or smaller crops: --crop)",
            clip.display()
        );
    }
    let mut progress = console.progress(reader.info().expected_frames);
    let (mut frames, mut stride, mut index) = (Vec::new(), 1, 0);
    while let Some(frame) = reader.next_frame()? {
        if control.is_stopped() {
            progress.end();
            return Ok(None);
        }
        if index % stride == 0 {
            frames.push(kept(&frame)?);
        }
        index += 1;
        if frames.len() == MOST_FRAMES {
            // Twice as long as it was thought to be: every other frame goes.
            let mut is_kept = false;
            frames.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            stride *= 2;
        }
        progress.update_with(index, || "read".to_owned());
    }
    progress.end();
    let description = format!("{} of '{}'", counted(frames.len() as u64, "frame"), clip.display());
    PhotoSet::new(frames, description).map(Some).with_context(|| format!("the video '{}'", clip.display()))
}

fn kept(photo: &Frame) -> Result<Frame> {
    let mut small = Frame::black(photo.size.with_short_side_at_most(SHORT_SIDE));
    Scaler::new().scale_rgb(photo.size, photo.pixels(), small.size, small.pixels_mut(), Filter::Box)?;
    Ok(small)
}
