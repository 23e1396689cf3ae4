//! A picture as numbers: what an optimizer moves.

use anyhow::{Result, ensure};

use super::random::Random;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::runtime::Tensor;
use crate::scale::{Filter, Scaler};

/// A picture in planes: `[3, height, width]`, RGB, `f32`, 0–1 (an optimizer may step outside).
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Width and height in pixels.
    pub size: FrameSize,
    /// The red plane, then green, then blue.
    pub planes: Vec<f32>,
}

impl Picture {
    /// One level everywhere.
    pub fn gray(size: FrameSize, level: f32) -> Self {
        Self { size, planes: vec![level; size.pixels() * CHANNELS] }
    }

    /// The picture of a frame.
    pub fn from_frame(frame: &Frame) -> Self {
        let pixels = frame.pixels().as_chunks::<CHANNELS>().0;
        let plane = |channel: usize| pixels.iter().map(move |pixel| f32::from(pixel[channel]) / 255.0);
        Self { size: frame.size, planes: (0..CHANNELS).flat_map(plane).collect() }
    }

    /// Rounded to 8 bits; what lies outside 0–1 is held.
    pub fn to_frame(&self) -> Frame {
        let mut frame = Frame::black(self.size);
        let count = self.size.pixels();
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            for (channel, value) in pixel.iter_mut().enumerate() {
                // A conversion to a whole number holds at its limits.
                *value = self.planes.get(channel * count + index).map_or(0, |value| (value * 255.0).round() as u8);
            }
        }
        frame
    }

    /// Scaled to `size`: by area where it gets smaller, cubic where it gets larger.
    ///
    /// # Errors
    /// When a size is 0.
    pub fn scaled(&self, size: FrameSize) -> Result<Self> {
        ensure!(
            self.planes.len() == self.size.pixels() * CHANNELS,
            "a picture of {} without all its planes",
            self.size
        );
        if size == self.size {
            return Ok(self.clone());
        }
        let is_smaller = size.pixels() < self.size.pixels();
        let filter = if is_smaller { Filter::Box } else { Filter::CatmullRom };
        let mut scaler = Scaler::new();
        let mut planes = Vec::with_capacity(size.pixels() * CHANNELS);
        for plane in self.planes.chunks(self.size.pixels().max(1)) {
            planes.extend(scaler.scale_plane(self.size, plane, size, filter)?);
        }
        Ok(Self { size, planes })
    }

    /// The shape of its tensor: `[1, 3, height, width]`.
    pub fn shape(size: FrameSize) -> [usize; 4] {
        [1, CHANNELS, size.height, size.width]
    }

    /// The picture as the input of a graph: `[1, 3, height, width]`.
    pub fn to_tensor(&self) -> Tensor {
        Tensor { shape: Self::shape(self.size).to_vec(), data: self.planes.clone() }
    }

    /// Noise around middle gray, the same for the same seed.
    pub fn noise(size: FrameSize, seed: u64) -> Self {
        /// Most of the range, so that nothing starts at its ends.
        const AMPLITUDE: f32 = 0.3;
        let mut random = Random::new(seed);
        let planes = (0..size.pixels() * CHANNELS).map(|_| 0.5 + AMPLITUDE * random.uniform(-1.0, 1.0)).collect();
        Self { size, planes }
    }

    /// The mean of red, green and blue.
    pub fn mean_color(&self) -> [f64; 3] {
        let mean = |plane: &[f32]| plane.iter().map(|&value| f64::from(value)).sum::<f64>() / plane.len().max(1) as f64;
        let planes: Vec<f64> = self.planes.chunks(self.size.pixels().max(1)).map(mean).collect();
        [0, 1, 2].map(|channel| planes.get(channel).copied().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let mut frame = Frame::black(FrameSize::new(5, 3));
        frame.pixels_mut().iter_mut().enumerate().for_each(|(index, value)| *value = (index * 37 % 256) as u8);
        assert_eq!(Picture::from_frame(&frame).to_frame().pixels(), frame.pixels());
    }

    #[test]
    fn what_lies_outside_is_held() {
        let mut picture = Picture::gray(FrameSize::new(1, 1), 0.5);
        picture.planes = vec![-1.0, 2.0, f32::NAN];
        assert_eq!(picture.to_frame().pixels(), [0, 255, 0]);
    }

    #[test]
    fn scaling_keeps_the_mean() {
        let picture = Picture::noise(FrameSize::new(16, 12), 3);
        for size in [FrameSize::new(8, 6), FrameSize::new(31, 23)] {
            let scaled = picture.scaled(size).unwrap();
            for (a, b) in picture.mean_color().iter().zip(scaled.mean_color()) {
                assert!((a - b).abs() < 0.02, "{a} {b}");
            }
        }
        assert!(picture.scaled(FrameSize::new(0, 4)).is_err());
    }

    #[test]
    fn noise_is_the_same_for_the_same_seed_only() {
        let size = FrameSize::new(4, 4);
        assert_eq!(Picture::noise(size, 1), Picture::noise(size, 1));
        assert_ne!(Picture::noise(size, 1), Picture::noise(size, 2));
        assert!(Picture::noise(size, 1).planes.iter().all(|value| (0.2..=0.8).contains(value)));
    }
}
