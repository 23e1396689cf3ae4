//! The folder that a film grows in: what is planned, what each keyframe shows, how keyframes hang together, and the finished
//! ones. A run that finds one of the same film goes on from it.

use std::io::{Cursor, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::{ImageBuffer, ImageFormat, Rgb};
use serde::{Deserialize, Serialize};

use crate::film::{Keyframe, Links, Track};
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::gatys::Picture;
use crate::motion::flow::FlowField;
use crate::output;

/// A folder of one film.
pub struct WorkFolder {
    path: PathBuf,
    fingerprint: String,
}

/// Which frames are keyframes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Frames of the clip.
    pub frames: u64,
    /// The keyframes, in order.
    pub keyframes: Vec<PlannedKeyframe>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedKeyframe {
    /// Which frame, from 0.
    pub frame: u64,
    /// Whether a scene begins with it.
    pub is_new_scene: bool,
}

/// `film.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The version of the folder.
    impasto_film: u32,
    fingerprint: String,
    /// Nothing until the whole clip was looked at.
    plan: Option<Plan>,
}

impl Plan {
    /// Whether a pass holds a keyframe to others: to those before it, or in every second pass, which runs backwards, to the next.
    pub fn is_held(&self, pass: u64, index: usize) -> bool {
        let later = if pass.is_multiple_of(2) { index } else { index + 1 };
        later > 0 && self.keyframes.get(later).is_some_and(|keyframe| !keyframe.is_new_scene)
    }
}

const VERSION: u32 = 1;
const HEAD: &str = "film.json";
/// How many bytes outputs have that are not known to be whole, each on a line.
const OUTPUT_BYTES: &str = "output-bytes";

impl WorkFolder {
    /// Opens or makes the folder, and what was planned in an earlier run.
    ///
    /// # Errors
    /// If it cannot be made, is none of a film, or one of another film.
    pub fn open(path: &Path, fingerprint: &str) -> Result<(Self, Option<Plan>)> {
        let folder = Self { path: path.to_owned(), fingerprint: fingerprint.to_owned() };
        let head = folder.path.join(HEAD);
        if !head.exists() {
            let is_used = path.exists() && std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some());
            ensure!(
                !is_used,
                "'{}' is there already and no work folder of a film (expected another name, or an empty folder)",
                path.display()
            );
            std::fs::create_dir_all(path).with_context(|| format!("make the folder '{}'", path.display()))?;
            folder.write_head(None)?;
            return Ok((folder, None));
        }
        let read = || Ok::<Head, anyhow::Error>(serde_json::from_slice(&std::fs::read(&head)?)?);
        let head = read().with_context(|| format!("read '{}'", head.display()))?;
        if head.impasto_film != VERSION || head.fingerprint != fingerprint {
            bail!(
                "'{}' holds the keyframes of another film, or of other settings (delete it and its output, or name another folder)",
                path.display()
            );
        }
        Ok((folder, head.plan))
    }

    /// Removes the folder and all in it.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.path).with_context(|| format!("remove '{}'", self.path.display()))
    }

    /// The lengths of the outputs that interrupted runs of the folder `path` left unfinished.
    pub fn unfinished_bytes(path: &Path) -> Vec<u64> {
        let noted = std::fs::read_to_string(path.join(OUTPUT_BYTES)).unwrap_or_default();
        noted.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Notes the length of an output before it takes its name: until that is known to be the whole film, a run may replace it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note_output(&self, bytes: u64) -> Result<()> {
        let noted = Self::unfinished_bytes(&self.path).into_iter().chain([bytes]);
        let lines: String = noted.map(|bytes| format!("{bytes}\n")).collect();
        self.write(OUTPUT_BYTES, lines.as_bytes())
    }

    /// Forgets what was noted: the output is the whole film.
    ///
    /// # Errors
    /// If that cannot be removed.
    pub fn forget_outputs(&self) -> Result<()> {
        let note = self.path.join(OUTPUT_BYTES);
        match std::fs::remove_file(&note) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove '{}'", note.display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a run of the folder `path` has begun to give an output its name, and is not known to have left a whole film.
    pub fn has_unfinished(path: &Path) -> bool {
        path.join(OUTPUT_BYTES).exists()
    }

    /// Keeps the plan: from now on it is not made again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_plan(&self, plan: &Plan) -> Result<()> {
        self.write_head(Some(plan.clone()))
    }

    fn write_head(&self, plan: Option<Plan>) -> Result<()> {
        let head = Head { impasto_film: VERSION, fingerprint: self.fingerprint.clone(), plan };
        self.write(HEAD, &serde_json::to_vec_pretty(&head).context("write a plan")?)
    }

    /// Keeps what a keyframe shows and how it hangs together with the one before.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_keyframe(&self, keyframe: &Keyframe) -> Result<()> {
        let content: Vec<u16> = keyframe.content.pixels().iter().map(|level| u16::from(*level) * LEVEL).collect();
        self.write_picture(&content_name(keyframe.frame_index), keyframe.content.size, content)?;
        let Some(Links { back, forth }) = &keyframe.links else { return Ok(()) };
        let mut bytes = Vec::new();
        for track in [back, forth] {
            let flow = track.flow.vectors.as_flattened().iter();
            bytes.extend(flow.chain(&track.confidence).flat_map(|value| value.to_le_bytes()));
        }
        self.write(&links_name(keyframe.frame_index), &bytes)
    }

    /// What a keyframe shows.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn content(&self, frame: u64, size: FrameSize) -> Result<Frame> {
        let levels = self.read_picture(&content_name(frame), size)?;
        let mut content = Frame::black(size);
        for (target, level) in content.pixels_mut().iter_mut().zip(levels) {
            *target = (level / LEVEL) as u8;
        }
        Ok(content)
    }

    /// How a keyframe hangs together with the one before.
    ///
    /// # Errors
    /// If that is missing or damaged.
    pub fn links(&self, frame: u64, size: FrameSize) -> Result<Links> {
        let name = links_name(frame);
        let bytes = self.read(&name)?;
        let pixels = size.pixels();
        if bytes.len() != 2 * 3 * pixels * size_of::<f32>() {
            return Err(self.damaged(&name));
        }
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let track = |values: &[f32]| {
            let (flow, confidence) = values.split_at(2 * pixels);
            Track { flow: FlowField { size, vectors: flow.as_chunks().0.to_vec() }, confidence: confidence.to_vec() }
        };
        let (back, forth) = values.split_at(3 * pixels);
        Ok(Links { back: track(back), forth: track(forth) })
    }

    /// Whether a pass over a keyframe is finished.
    pub fn is_painted(&self, frame: u64, pass: u64) -> bool {
        self.path.join(painted_name(frame, pass)).exists()
    }

    /// Keeps a finished keyframe, in 16 bits a channel.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_painted(&self, frame: u64, pass: u64, picture: &Picture) -> Result<()> {
        let pixels = picture.size.pixels();
        let level = |value: f32| (value.clamp(0.0, 1.0) * f32::from(u16::MAX)).round() as u16;
        let levels =
            (0..pixels * CHANNELS).map(|index| level(picture.planes[index % CHANNELS * pixels + index / CHANNELS]));
        self.write_picture(&painted_name(frame, pass), picture.size, levels.collect())
    }

    /// A finished keyframe.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn painted(&self, frame: u64, pass: u64, size: FrameSize) -> Result<Picture> {
        let levels = self.read_picture(&painted_name(frame, pass), size)?;
        let plane = |channel: usize| levels.iter().skip(channel).step_by(CHANNELS);
        let planes =
            (0..CHANNELS).flat_map(|channel| plane(channel).map(|level| f32::from(*level) / f32::from(u16::MAX)));
        Ok(Picture { size, planes: planes.collect() })
    }

    fn write_picture(&self, name: &str, size: FrameSize, levels: Vec<u16>) -> Result<()> {
        let (width, height) = (u32::try_from(size.width)?, u32::try_from(size.height)?);
        let picture =
            ImageBuffer::<Rgb<u16>, _>::from_raw(width, height, levels).context("a picture of another size")?;
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).with_context(|| format!("encode '{name}'"))?;
        self.write(name, bytes.get_ref())
    }

    fn read_picture(&self, name: &str, size: FrameSize) -> Result<Vec<u16>> {
        let picture = image::load_from_memory_with_format(&self.read(name)?, ImageFormat::Png).ok();
        let picture = picture
            .filter(|picture| (picture.width() as usize, picture.height() as usize) == (size.width, size.height));
        Ok(picture.ok_or_else(|| self.damaged(name))?.into_rgb16().into_raw())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        std::fs::read(&path).with_context(|| format!("read '{}'", path.display()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        output::write(&path, bytes, true).with_context(|| format!("cannot write '{}'", path.display()))
    }

    fn damaged(&self, name: &str) -> anyhow::Error {
        anyhow::anyhow!(
            "'{}' is damaged (delete its folder and the output, if there is one, to begin anew)",
            self.path.join(name).display()
        )
    }
}

/// What a level of 8 bits is in 16.
const LEVEL: u16 = 257;

fn content_name(frame: u64) -> String {
    format!("{frame:08}-content.png")
}

fn links_name(frame: u64) -> String {
    format!("{frame:08}.tracks")
}

fn painted_name(frame: u64, pass: u64) -> String {
    format!("{frame:08}-painted-{}.png", pass + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: FrameSize = FrameSize::new(5, 4);

    fn keyframe() -> Keyframe {
        let mut content = Frame::black(SIZE);
        content.pixels_mut().iter_mut().enumerate().for_each(|(index, level)| *level = (index * 4) as u8);
        let mut forth = Track::still(SIZE);
        forth.flow.vectors[7] = [1.25, -3.5];
        forth.confidence[3] = 0.25;
        Keyframe { frame_index: 12, content, links: Some(Links { back: Track::still(SIZE), forth }) }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("work");
        let (work, plan) = WorkFolder::open(&path, "a").unwrap();
        assert!(plan.is_none());
        let keyframe = keyframe();
        work.write_keyframe(&keyframe).unwrap();
        assert_eq!(work.content(12, SIZE).unwrap().pixels(), keyframe.content.pixels());
        assert_eq!(Some(work.links(12, SIZE).unwrap()), keyframe.links);
        let painted = Picture::noise(SIZE, 1);
        work.write_painted(12, 0, &painted).unwrap();
        assert!(work.is_painted(12, 0) && !work.is_painted(12, 1));
        let read = work.painted(12, 0, SIZE).unwrap();
        assert!(read.planes.iter().zip(&painted.planes).all(|(a, b)| (a - b).abs() < 1e-5));
        let plan = Plan { frames: 20, keyframes: vec![PlannedKeyframe { frame: 12, is_new_scene: true }] };
        work.write_plan(&plan).unwrap();
        assert_eq!(WorkFolder::open(&path, "a").unwrap().1, Some(plan));
        work.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_of_another_film_or_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("work");
        let (work, _) = WorkFolder::open(&path, "a").unwrap();
        let error = WorkFolder::open(&path, "b").err().unwrap().to_string();
        assert!(error.contains("another film"), "{error}");
        work.write_keyframe(&keyframe()).unwrap();
        std::fs::write(path.join("00000012.tracks"), b"short").unwrap();
        std::fs::write(path.join("00000012-content.png"), b"no picture").unwrap();
        assert!(work.links(12, SIZE).unwrap_err().to_string().contains("damaged"));
        assert!(work.content(12, SIZE).unwrap_err().to_string().contains("damaged"));
        assert!(work.painted(12, 0, SIZE).unwrap_err().to_string().contains("00000012-painted-1.png"));
        std::fs::write(folder.path().join("something"), b"else").unwrap();
        let error = WorkFolder::open(folder.path(), "a").err().unwrap().to_string();
        assert!(error.contains("no work folder"), "{error}");
    }
}
