//! Where the places of one picture are seen in another, over many frames: optical flow that is chained.

use anyhow::Result;

use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::gatys::Picture;
use crate::motion::flow::{FlowEstimator, FlowField, FlowQuality, GrayPicture, agreement, warp};

/// From each pixel of a picture to the place in another one, and how sure that is.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// In pixels of the pictures, which have the same size.
    pub flow: FlowField,
    /// 0–1, `[height, width]`.
    pub confidence: Vec<f32>,
}

/// Deviation of the content, in levels of 255, at which a track is believed to 0.6 (ours).
const SIGMA: f32 = 18.0;
/// Less is believed to be out of sight.
const LEAST_CONFIDENCE: f32 = 0.5;

impl Track {
    /// From a picture to itself.
    pub fn still(size: FrameSize) -> Self {
        Self { flow: FlowField::zero(size), confidence: vec![1.0; size.pixels()] }
    }

    /// From this track's start to where `next` ends, which starts where this one ends.
    pub fn then(&self, next: &Self) -> Self {
        let size = self.flow.size;
        let mut moved = vec![0.0; size.pixels() * 2];
        warp::<2>(next.flow.vectors.as_flattened(), &self.flow, &mut moved);
        let mut confidence = vec![0.0; size.pixels()];
        warp::<1>(&next.confidence, &self.flow, &mut confidence);
        let vectors = self.flow.vectors.iter().zip(moved.as_chunks::<2>().0);
        let vectors = vectors.map(|([u, v], [du, dv])| [u + du, v + dv]).collect();
        confidence.iter_mut().zip(&self.confidence).for_each(|(next, own)| *next *= own);
        Self { flow: FlowField { size, vectors }, confidence }
    }

    /// Believes the track less where the contents at its ends differ: `here` at its start, `there` where it leads.
    pub fn compare(&mut self, here: &Frame, there: &Frame) {
        let FrameSize { width, height } = self.flow.size;
        let there: Vec<f32> = there.pixels().iter().map(|level| f32::from(*level)).collect();
        let mut moved = vec![0.0; there.len()];
        warp::<CHANNELS>(&there, &self.flow, &mut moved);
        let pixels = here.pixels().as_chunks::<CHANNELS>().0.iter().zip(moved.as_chunks::<CHANNELS>().0);
        let deviation: Vec<f32> = pixels
            .map(|(here, moved)| {
                let squares = here.iter().zip(moved).map(|(here, moved)| (f32::from(*here) - moved).powi(2));
                squares.sum::<f32>() / CHANNELS as f32
            })
            .collect();
        let deviation = smooth(&deviation, width, height);
        for (confidence, squared) in self.confidence.iter_mut().zip(deviation) {
            *confidence *= (-0.5 * squared / (SIGMA * SIGMA)).exp();
        }
    }

    /// The picture at this track's end as it is seen from its start: cubic (Catmull and Rom 1974), so that brushwork
    /// stays sharp; the border continues.
    pub fn warp(&self, picture: &Picture) -> Picture {
        let size = self.flow.size;
        let planes = picture.planes.chunks(size.pixels().max(1));
        let planes = planes.flat_map(|plane| {
            let vectors = self.flow.vectors.iter().enumerate();
            vectors.map(|(index, [u, v])| {
                cubic(plane, size, (index % size.width) as f32 + u, (index / size.width) as f32 + v)
            })
        });
        Picture { size, planes: planes.collect() }
    }

    /// The share of the picture, 0–1, that is out of sight at the other end.
    pub fn unseen_share(&self) -> f32 {
        let unseen = self.confidence.iter().filter(|confidence| **confidence < LEAST_CONFIDENCE).count();
        unseen as f32 / self.confidence.len().max(1) as f32
    }
}

/// The mean of 3×3 pixels.
fn smooth(plane: &[f32], width: usize, height: usize) -> Vec<f32> {
    let mean = |values: [f32; 3]| values.iter().sum::<f32>() / 3.0;
    let mut rows = vec![0.0; plane.len()];
    for (target, row) in rows.chunks_mut(width.max(1)).zip(plane.chunks(width.max(1))) {
        for (x, target) in target.iter_mut().enumerate() {
            *target = mean([row[x.saturating_sub(1)], row[x], row[(x + 1).min(width - 1)]]);
        }
    }
    let at = |x: usize, y: usize| rows[y * width + x];
    let pixel = |y: usize, x: usize| mean([at(x, y.saturating_sub(1)), at(x, y), at(x, (y + 1).min(height - 1))]);
    (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| pixel(y, x)).collect()
}

/// The value at a place between pixels.
fn cubic(plane: &[f32], size: FrameSize, x: f32, y: f32) -> f32 {
    let (right, bottom) = (size.width - 1, size.height - 1);
    // `max` answers with the number where the other is none.
    let (x, y) = (x.max(0.0).min(right as f32), y.max(0.0).min(bottom as f32));
    let (left, top) = (x as usize, y as usize);
    let (across, along) = (weights(x - left as f32), weights(y - top as f32));
    let clamped = |start: usize, step: usize, last: usize| (start + step).saturating_sub(1).min(last);
    (0..4)
        .map(|row| {
            let line = &plane[clamped(top, row, bottom) * size.width..][..size.width];
            along[row] * (0..4).map(|column| across[column] * line[clamped(left, column, right)]).sum::<f32>()
        })
        .sum()
}

/// The cubic's weights of the pixels at −1, 0, 1 and 2 for a place between the second and the third.
fn weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [0.5 * (-t3 + 2.0 * t2 - t), 0.5 * (3.0 * t3 - 5.0 * t2 + 2.0), 0.5 * (-3.0 * t3 + 4.0 * t2 + t), 0.5 * (t3 - t2)]
}

/// Finds the tracks between neighboring frames; keeps its buffers.
pub struct Tracker {
    estimator: FlowEstimator,
}

impl Tracker {
    /// # Errors
    /// If optical flow cannot be prepared.
    pub fn new() -> Result<Self> {
        Ok(Self { estimator: FlowEstimator::new(FlowQuality::Medium)? })
    }

    /// The tracks from `later` to `earlier` and from `earlier` to `later`, sure where they agree.
    ///
    /// # Errors
    /// If the sizes differ or optical flow fails.
    pub fn between(&mut self, earlier: &GrayPicture, later: &GrayPicture) -> Result<(Track, Track)> {
        let (mut back, mut forth) = (FlowField::zero(later.size), FlowField::zero(later.size));
        self.estimator.estimate(later, earlier, &mut back)?;
        self.estimator.estimate(earlier, later, &mut forth)?;
        let sure = |flow: &FlowField, reverse: &FlowField| {
            let mut mask = Vec::new();
            agreement(flow, reverse, &mut mask);
            // What comes into view grows by a pixel, and its border is soft.
            smooth(&mask, flow.size.width, flow.size.height)
        };
        let (back_sure, forth_sure) = (sure(&back, &forth), sure(&forth, &back));
        Ok((Track { flow: back, confidence: back_sure }, Track { flow: forth, confidence: forth_sure }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: FrameSize = FrameSize::new(12, 8);

    fn shift(by: f32) -> Track {
        Track { flow: FlowField { size: SIZE, vectors: vec![[by, 0.0]; SIZE.pixels()] }, ..Track::still(SIZE) }
    }

    #[test]
    fn tracks_in_a_row_add_up() {
        let mut second = shift(2.5);
        second.confidence[5] = 0.0;
        let both = shift(1.0).then(&second);
        assert!(both.flow.vectors.iter().all(|vector| *vector == [3.5, 0.0]));
        // The doubt about pixel 5 is about what lies a pixel to its left.
        assert_eq!((both.confidence[4], both.confidence[5]), (0.0, 1.0));
    }

    #[test]
    fn a_picture_moved_by_whole_pixels_is_the_same_and_a_ramp_stays_one() {
        let picture = Picture::noise(SIZE, 3);
        assert_eq!(Track::still(SIZE).warp(&picture), picture);
        assert_eq!(shift(2.0).warp(&picture).planes[1], picture.planes[3]);
        let ramp = Picture { size: SIZE, planes: (0..SIZE.pixels() * 3).map(|index| (index % 12) as f32).collect() };
        assert!((shift(0.25).warp(&ramp).planes[5] - 5.25).abs() < 1e-5);
    }

    #[test]
    fn what_looks_different_is_out_of_sight() {
        let (mut here, there) = (Frame::black(SIZE), Frame::black(SIZE));
        here.pixels_mut()[..SIZE.bytes() / 2].fill(200);
        let mut track = Track::still(SIZE);
        assert_eq!(track.unseen_share(), 0.0);
        track.compare(&here, &there);
        assert!((track.unseen_share() - 0.625).abs() < 0.01, "half of it and a row: {}", track.unseen_share());
        let mut outside = shift(0.0);
        outside.confidence.fill(0.0);
        assert_eq!(outside.unseen_share(), 1.0);
    }
}
