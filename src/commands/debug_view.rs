//! What led to each frame, side by side in a second video: for people who tune motion and smoothing.

use std::path::Path;

use anyhow::Result;

use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::media::{EncoderSettings, Rational, VideoInfo, VideoWriter, WriterOptions};
use crate::motion::Motion;
use crate::scale::{Filter, Scaler};

/// Pictures in a row and in a column.
const COLUMNS: usize = 3;
const ROWS: usize = 2;
/// Longer side of a picture, in pixels.
const LONGEST_SIDE: usize = 640;
/// Motion that is shown in full color, in cells.
const FULL_COLOR: f32 = 12.0;
/// How many times the difference is amplified.
const DIFFERENCE_GAIN: i32 = 4;

/// What led to a frame.
pub struct Views {
    /// What became of the frame before.
    pub motion: Motion,
    /// What the network painted; `None` where it was spared.
    pub painted: Option<Frame>,
}

/// Writes the second video.
pub struct DebugView {
    writer: VideoWriter,
    sheet: Frame,
    tile: FrameSize,
    small: Frame,
    scaler: Scaler,
}

impl DebugView {
    /// A video at `path` for a clip like `info`, encoded as its extension has it.
    ///
    /// # Errors
    /// As [`VideoWriter::create`].
    pub fn create(path: &Path, info: &VideoInfo, threads: usize, overwrite: bool) -> Result<Self> {
        let tile = info.size.with_long_side_at_most(LONGEST_SIDE);
        let size = FrameSize::new(tile.width * COLUMNS, tile.height * ROWS);
        let sheet_info = VideoInfo { size, sample_aspect_ratio: Rational(0, 1), ..info.clone() };
        let encoder = EncoderSettings { threads, ..EncoderSettings::default() };
        let options = WriterOptions { encoder, overwrite: overwrite.into(), ..WriterOptions::default() };
        let writer = VideoWriter::create(path, &sheet_info, None, &options)?;
        Ok(Self { writer, sheet: Frame::black(size), tile, small: Frame::black(tile), scaler: Scaler::new() })
    }

    /// Writes what led from the clip's frame `content` to `shown`.
    ///
    /// # Errors
    /// As [`VideoWriter::write`].
    pub fn write(&mut self, content: &Frame, views: &Views, shown: &Frame) -> Result<()> {
        self.place(0, 0, content)?;
        self.place(1, 0, &flow_colors(&views.motion, self.tile))?;
        self.place(2, 0, &confidence(&views.motion, self.tile))?;
        match &views.painted {
            Some(painted) => {
                self.place(0, 1, painted)?;
                self.place(2, 1, &difference(painted, shown))?;
            }
            None => {
                self.place(0, 1, &Frame::black(self.tile))?;
                self.place(2, 1, &Frame::black(self.tile))?;
            }
        }
        self.place(1, 1, shown)?;
        self.sheet.timestamp = shown.timestamp;
        self.writer.write(&self.sheet)
    }

    /// Completes the file.
    ///
    /// # Errors
    /// As [`VideoWriter::finish`].
    pub fn finish(self) -> Result<()> {
        self.writer.finish(true).map(|_| ())
    }

    /// Copies a picture, scaled, into its place on the sheet.
    fn place(&mut self, column: usize, row: usize, picture: &Frame) -> Result<()> {
        self.scaler.scale_rgb(picture.size, picture.pixels(), self.tile, self.small.pixels_mut(), Filter::Box)?;
        let (tile, stride) = (self.tile, self.sheet.size.width * CHANNELS);
        let length = tile.width * CHANNELS;
        for (y, line) in self.small.pixels().chunks_exact(length).enumerate() {
            let start = (row * tile.height + y) * stride + column * length;
            self.sheet.pixels_mut()[start..start + length].copy_from_slice(line);
        }
        Ok(())
    }
}

/// A picture with a color for each cell of the motion's grid; black where there is none.
fn cells(motion: &Motion, otherwise: FrameSize, color: impl Fn([f32; 2], f32) -> [u8; CHANNELS]) -> Frame {
    let Motion::Carried(carried) = motion else { return Frame::black(otherwise) };
    let mut picture = Frame::black(carried.flow.size);
    let cells = carried.flow.vectors.iter().zip(&carried.confidence);
    for (pixel, (vector, confidence)) in picture.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().zip(cells) {
        *pixel = color(*vector, *confidence);
    }
    picture
}

fn confidence(motion: &Motion, otherwise: FrameSize) -> Frame {
    cells(motion, otherwise, |_, confidence| [(confidence * 255.0) as u8; CHANNELS])
}

/// Hue: the direction in which a place lies in the frame before; saturation: how far away. Still is white, as in Baker et
/// al. 2011.
fn flow_colors(motion: &Motion, otherwise: FrameSize) -> Frame {
    cells(motion, otherwise, |[u, v], _| {
        let saturation = (u.hypot(v) / FULL_COLOR).min(1.0);
        // Red, green and blue a third of the circle apart.
        let hue = v.atan2(u);
        std::array::from_fn(|channel| {
            let full = 0.5 + 0.5 * (hue - channel as f32 * std::f32::consts::TAU / 3.0).cos();
            ((1.0 - saturation * (1.0 - full)) * 255.0) as u8
        })
    })
}

/// Gray where both are alike.
fn difference(painted: &Frame, shown: &Frame) -> Frame {
    let mut picture = Frame::black(painted.size);
    let values = painted.pixels().iter().zip(shown.pixels());
    for (dst, (painted, shown)) in picture.pixels_mut().iter_mut().zip(values) {
        *dst = (128 + DIFFERENCE_GAIN * (i32::from(*painted) - i32::from(*shown))).clamp(0, 255) as u8;
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::CarriedMotion;
    use crate::motion::flow::FlowField;

    fn moves(vector: [f32; 2]) -> Motion {
        let size = FrameSize::new(2, 1);
        let flow = FlowField { size, vectors: vec![vector; 2] };
        Motion::Carried(CarriedMotion { flow, confidence: vec![1.0, 0.5], elapsed_seconds: 0.04 })
    }

    #[test]
    fn flow_is_white_where_nothing_moves_and_colored_where_something_does() {
        let size = FrameSize::new(2, 1);
        assert_eq!(flow_colors(&moves([0.0; 2]), size).pixels(), [255; 6]);
        let [red, green, blue] = flow_colors(&moves([20.0, 0.0]), size).pixels()[..3] else { panic!("a pixel") };
        assert!(red == 255 && green < 70 && blue < 70, "{red} {green} {blue}");
        assert_eq!(flow_colors(&Motion::Reset, size).pixels(), [0; 6]);
    }

    #[test]
    fn confidence_is_white_where_the_past_is_believed() {
        assert_eq!(confidence(&moves([0.0; 2]), FrameSize::new(2, 1)).pixels(), [255, 255, 255, 127, 127, 127]);
    }

    #[test]
    fn no_difference_is_gray_and_a_difference_is_amplified() {
        let (mut painted, shown) = (Frame::black(FrameSize::new(2, 1)), Frame::black(FrameSize::new(2, 1)));
        painted.pixels_mut()[0] = 10;
        assert_eq!(difference(&painted, &shown).pixels(), [168, 128, 128, 128, 128, 128]);
    }
}
