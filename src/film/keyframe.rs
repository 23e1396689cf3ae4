//! What a keyframe starts from, and what it is to stay near.

use super::track::Track;
use crate::frame::{CHANNELS, FrameSize};
use crate::gatys::Picture;
use crate::gatys::targets::Anchor;

/// A keyframe that is painted already, as seen from another one.
#[derive(Debug)]
pub struct Neighbor<'a> {
    /// The painting.
    pub painted: &'a Picture,
    /// From the other keyframe to this one.
    pub track: Track,
}

/// What to stay near: the neighbors, nearest first, moved along their tracks; what a nearer one shows, a farther one does not
/// speak for (Ruder et al. 2016, long-term consistency: c_j = max(0, c_j − Σ of nearer ones)).
///
/// A sum of squared distances to several pictures is one to their mean, up to a constant, so that one anchor is enough.
/// `None` without neighbors.
pub fn anchor(neighbors: &[Neighbor<'_>]) -> Option<Anchor> {
    let size = neighbors.first()?.painted.size;
    let mut sum = Picture::gray(size, 0.0);
    let mut confidence = vec![0.0f32; size.pixels()];
    for Neighbor { painted, track } in neighbors {
        let moved = track.warp(painted);
        let own: Vec<f32> =
            track.confidence.iter().zip(&confidence).map(|(own, nearer)| (own - nearer).max(0.0)).collect();
        add(&mut sum, &moved, &own);
        confidence.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    }
    divide(&mut sum, &confidence);
    Some(Anchor { picture: sum, confidence })
}

/// What a keyframe starts from: the anchor where it is sure, `own` elsewhere.
pub fn start(anchor: &Anchor, own: &Picture) -> Picture {
    let mut start = Picture::gray(own.size, 0.0);
    add(&mut start, &anchor.picture, &anchor.confidence);
    let rest: Vec<f32> = anchor.confidence.iter().map(|confidence| 1.0 - confidence).collect();
    add(&mut start, own, &rest);
    start
}

/// Adds a picture, each pixel times its weight.
pub(super) fn add(sum: &mut Picture, picture: &Picture, weights: &[f32]) {
    for (sum, plane) in planes_mut(sum).zip(picture.planes.chunks(weights.len().max(1))) {
        for ((sum, value), weight) in sum.iter_mut().zip(plane).zip(weights) {
            *sum += weight * value;
        }
    }
}

/// Divides each pixel by its weight; one without weight stays.
pub(super) fn divide(sum: &mut Picture, weights: &[f32]) {
    for plane in planes_mut(sum) {
        for (value, weight) in plane.iter_mut().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            *value /= weight;
        }
    }
}

fn planes_mut(picture: &mut Picture) -> std::slice::ChunksMut<'_, f32> {
    let FrameSize { width, height } = picture.size;
    debug_assert_eq!(picture.planes.len(), width * height * CHANNELS);
    picture.planes.chunks_mut((width * height).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: FrameSize = FrameSize::new(4, 2);

    fn neighbor(painted: &Picture, confidence: f32) -> Neighbor<'_> {
        let mut track = Track::still(SIZE);
        track.confidence.fill(confidence);
        Neighbor { painted, track }
    }

    #[test]
    fn a_farther_neighbor_speaks_for_what_the_nearer_one_does_not_show() {
        let (near, far) = (Picture::gray(SIZE, 0.2), Picture::gray(SIZE, 0.8));
        let sure = anchor(&[neighbor(&near, 1.0), neighbor(&far, 1.0)]).unwrap();
        assert_eq!(sure.picture, near);
        let half = anchor(&[neighbor(&near, 0.5), neighbor(&far, 1.0)]).unwrap();
        assert!(half.picture.planes.iter().all(|value| (value - 0.5).abs() < 1e-6));
        assert_eq!(half.confidence, vec![1.0; SIZE.pixels()]);
        assert!(anchor(&[]).is_none());
    }

    #[test]
    fn it_starts_from_its_own_where_nothing_is_known() {
        let near = Picture::gray(SIZE, 0.2);
        let unsure = anchor(&[neighbor(&near, 0.0)]).unwrap();
        let own = Picture::noise(SIZE, 1);
        assert_eq!(start(&unsure, &own), own);
        let sure = anchor(&[neighbor(&near, 1.0)]).unwrap();
        assert_eq!(start(&sure, &own), near);
    }
}
