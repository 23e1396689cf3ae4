//! Which frames of a clip are keyframes: the first of each scene, and those that show too much that the last one does not.

use anyhow::Result;

use super::track::{Track, Tracker};
use crate::frame::Frame;
use crate::motion::flow::GrayPicture;
use crate::motion::{Motion, MotionEstimator, MotionSettings};

/// How far apart keyframes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// As the motion asks.
    Auto,
    /// So many frames.
    Every(u64),
}

/// How keyframes are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlannerSettings {
    /// How far apart they are.
    pub spacing: Spacing,
    /// Share of a frame, 0–1, that the keyframe before may not show ([`Spacing::Auto`]).
    pub most_unseen: f32,
    /// Frames from one to the next at most ([`Spacing::Auto`]): errors of the motion add up (ours).
    pub longest: u64,
}

impl PlannerSettings {
    /// The defaults for a spacing.
    pub fn new(spacing: Spacing) -> Self {
        Self { spacing, most_unseen: 0.2, longest: 16 }
    }
}

/// A keyframe, and how it hangs together with the one before.
#[derive(Debug)]
pub struct Keyframe {
    /// Which frame of the clip, from 0.
    pub frame_index: u64,
    /// What it shows.
    pub content: Frame,
    /// `None` for the first of a scene.
    pub links: Option<Links>,
}

/// The tracks between a keyframe and the one before it in its scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Links {
    /// From the keyframe to the one before.
    pub back: Track,
    /// From the one before to the keyframe.
    pub forth: Track,
}

/// Looks at all frames in order.
pub struct Planner {
    settings: PlannerSettings,
    motion: MotionEstimator,
    tracker: Tracker,
    since: Option<Since>,
    next_index: u64,
}

/// What is known since the last keyframe.
struct Since {
    content: Frame,
    before: GrayPicture,
    links: Links,
    frames: u64,
}

impl Planner {
    /// A planner for frames whose timestamps count `seconds_per_tick`.
    ///
    /// # Errors
    /// If optical flow cannot be prepared.
    pub fn new(settings: PlannerSettings, seconds_per_tick: f64) -> Result<Self> {
        let motion = MotionEstimator::new(MotionSettings::default(), seconds_per_tick)?;
        Ok(Self { settings, motion, tracker: Tracker::new()?, since: None, next_index: 0 })
    }

    /// The next frame, at the size of the film; gives it back if it is a keyframe. Blocks for the time of two flows.
    ///
    /// # Errors
    /// If optical flow fails.
    pub fn add(&mut self, frame: Frame) -> Result<Option<Keyframe>> {
        let frame_index = self.next_index;
        self.next_index += 1;
        let is_new_scene = self.motion.analyze(&frame)? == Motion::Reset;
        let gray = GrayPicture::from_rgb(frame.pixels(), frame.size);
        let links = match self.since.take().filter(|since| !is_new_scene && since.content.size == frame.size) {
            Some(mut since) => {
                let (back, forth) = self.tracker.between(&since.before, &gray)?;
                since.links = Links { back: back.then(&since.links.back), forth: since.links.forth.then(&forth) };
                since.before = gray.clone();
                since.frames += 1;
                let mut links = since.links.clone();
                links.back.compare(&frame, &since.content);
                if !self.is_due(&since, &links) {
                    self.since = Some(since);
                    return Ok(None);
                }
                links.forth.compare(&since.content, &frame);
                Some(links)
            }
            None => None,
        };
        let still = Track::still(frame.size);
        let none = Links { back: still.clone(), forth: still };
        self.since = Some(Since { content: frame.clone(), before: gray, links: none, frames: 0 });
        Ok(Some(Keyframe { frame_index, content: frame, links }))
    }

    fn is_due(&self, since: &Since, links: &Links) -> bool {
        match self.settings.spacing {
            Spacing::Every(frames) => since.frames >= frames,
            Spacing::Auto => {
                since.frames >= self.settings.longest || links.back.unseen_share() >= self.settings.most_unseen
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{CHANNELS, FrameSize, Timestamp};

    const SIZE: FrameSize = FrameSize::new(96, 64);

    /// Waves that move by `shift` pixels; other ones in another `scene`.
    fn frame(pts: i64, shift: f32, scene: f32) -> Frame {
        let mut frame = Frame::black(SIZE);
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let (x, y) = ((index % SIZE.width) as f32 - shift, (index / SIZE.width) as f32);
            let value = (x * 0.21 + y * 0.08 + scene).sin() + (x * 0.05 * scene - y * 0.17).sin();
            *pixel = [(127.5 + value * 60.0) as u8; CHANNELS];
        }
        frame.timestamp = Timestamp { pts, duration: 1 };
        frame
    }

    fn keyframes(spacing: Spacing, frames: impl IntoIterator<Item = (f32, f32)>) -> Vec<(u64, bool)> {
        let mut planner = Planner::new(PlannerSettings::new(spacing), 0.04).unwrap();
        let frames = frames.into_iter().enumerate();
        let found = frames.filter_map(|(pts, (shift, scene))| planner.add(frame(pts as i64, shift, scene)).unwrap());
        found.map(|keyframe| (keyframe.frame_index, keyframe.links.is_none())).collect()
    }

    #[test]
    fn a_scene_begins_with_a_keyframe_and_the_spacing_holds() {
        let frames = (0..7).map(|index| (index as f32, 1.0)).chain((0..4).map(|_| (0.0, 5.0)));
        assert_eq!(keyframes(Spacing::Every(3), frames), [(0, true), (3, false), (6, false), (7, true), (10, false)]);
    }

    #[test]
    fn a_clip_that_stands_still_needs_few_and_one_that_moves_out_of_sight_more() {
        let still = keyframes(Spacing::Auto, (0..20).map(|_| (0.0, 1.0)));
        assert_eq!(still, [(0, true), (16, false)]);
        let moving = keyframes(Spacing::Auto, (0..20).map(|index| (index as f32 * 4.0, 1.0)));
        assert!(moving.len() > 3, "{moving:?}");
    }
}
