//! What the window shows: the painting, the camera's picture beside it, figures and the list of keys over it.

use image::{ImageBuffer, Rgb};

use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::lettering;

/// Composes the picture of the window; keeps its buffer.
pub struct View {
    canvas: Frame,
    enlarged: Frame,
}

/// Pixels between text and border.
const MARGIN: u32 = 6;
/// Pixels between lines.
const SPACING: u32 = 3;
const TEXT: Rgb<u8> = Rgb([255; 3]);
/// What a picture is divided by under text.
const DIMMING: u8 = 4;

impl View {
    /// A view without buffer.
    pub fn new() -> Self {
        Self { canvas: Frame::black(FrameSize::new(0, 0)), enlarged: Frame::black(FrameSize::new(0, 0)) }
    }

    /// The picture to show: `painted`, with `content` on its left if given, and `text` in the upper left corner.
    pub fn compose<'a>(&'a mut self, content: Option<&Frame>, painted: &'a Frame, text: &[String]) -> &'a Frame {
        if content.is_none() && text.is_empty() {
            return painted;
        }
        let size = view_size(painted.size, content.is_some());
        if self.canvas.size != size {
            self.canvas = Frame::black(size);
        }
        let row = painted.size.width * CHANNELS;
        let rows = self.canvas.pixels_mut().chunks_exact_mut(size.width * CHANNELS);
        match content {
            Some(content) => {
                let sides = content.pixels().chunks_exact(row).zip(painted.pixels().chunks_exact(row));
                for (target, (left, right)) in rows.zip(sides) {
                    target[..row].copy_from_slice(left);
                    target[row..].copy_from_slice(right);
                }
            }
            None => {
                for (target, source) in rows.zip(painted.pixels().chunks_exact(row)) {
                    target.copy_from_slice(source);
                }
            }
        }
        if text.is_empty() {
            return &self.canvas;
        }
        let factor = ROOM_FOR_TEXT.width.div_ceil(size.width).max(ROOM_FOR_TEXT.height.div_ceil(size.height));
        if factor > 1 {
            enlarge(&self.canvas, factor, &mut self.enlarged);
            std::mem::swap(&mut self.canvas, &mut self.enlarged);
        }
        write_lines(&mut self.canvas, text);
        &self.canvas
    }
}

/// Room for the list of keys. Smaller pictures are enlarged under text; the window scales them anyhow.
const ROOM_FOR_TEXT: FrameSize = FrameSize::new(600, 320);

/// Repeats each pixel `factor` times both ways.
fn enlarge(src: &Frame, factor: usize, dst: &mut Frame) {
    let size = FrameSize::new(src.size.width * factor, src.size.height * factor);
    if dst.size != size {
        *dst = Frame::black(size);
    }
    let row = size.width * CHANNELS;
    let rows = dst.pixels_mut().chunks_exact_mut(row * factor);
    for (rows, source) in rows.zip(src.pixels().chunks_exact(src.size.width * CHANNELS)) {
        let (first, others) = rows.split_at_mut(row);
        let source = source.as_chunks::<CHANNELS>().0;
        for (pixels, pixel) in first.chunks_exact_mut(factor * CHANNELS).zip(source) {
            pixels.as_chunks_mut::<CHANNELS>().0.fill(*pixel);
        }
        others.chunks_exact_mut(row).for_each(|other| other.copy_from_slice(first));
    }
}

/// Size of what is shown of pictures of `size`.
pub fn view_size(size: FrameSize, is_split: bool) -> FrameSize {
    FrameSize::new(if is_split { size.width * 2 } else { size.width }, size.height)
}

/// White on a darker part of the picture, so that it can be read on any.
fn write_lines(frame: &mut Frame, lines: &[String]) {
    let Some(widest) = lines.iter().map(|line| lettering::text_width(line)).max() else { return };
    let line_height = lettering::LINE_HEIGHT + SPACING;
    let (width, height) = (widest + 2 * MARGIN, line_height * lines.len() as u32 + 2 * MARGIN);
    let row = frame.size.width * CHANNELS;
    for row in frame.pixels_mut().chunks_exact_mut(row).take(height as usize) {
        row.iter_mut().take(width as usize * CHANNELS).for_each(|value| *value /= DIMMING);
    }
    let (columns, rows) = (frame.size.width as u32, frame.size.height as u32);
    let Some(mut picture) = ImageBuffer::<Rgb<u8>, _>::from_raw(columns, rows, frame.pixels_mut()) else { return };
    for (index, line) in lines.iter().enumerate() {
        lettering::write(&mut picture, MARGIN, MARGIN + index as u32 * line_height, line, TEXT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(size: FrameSize, value: u8) -> Frame {
        let mut frame = Frame::black(size);
        frame.pixels_mut().fill(value);
        frame
    }

    #[test]
    fn the_camera_is_on_the_left_and_the_painting_on_the_right() {
        let size = FrameSize::new(3, 2);
        let (content, painted) = (gray(size, 10), gray(size, 200));
        let mut view = View::new();
        let shown = view.compose(Some(&content), &painted, &[]);
        assert_eq!(shown.size, FrameSize::new(6, 2));
        assert_eq!(shown.pixels()[..9], [10; 9]);
        assert_eq!(shown.pixels()[9..18], [200; 9]);
    }

    #[test]
    fn text_is_written_over_the_window_and_not_over_the_painting() {
        let painted = gray(FrameSize::new(700, 400), 200);
        let mut view = View::new();
        let shown = view.compose(None, &painted, &["30 fps".to_owned()]);
        assert_eq!(shown.size, painted.size);
        assert!(shown.pixels().contains(&255) && shown.pixels().contains(&50));
        assert_eq!(shown.pixels().last(), Some(&200));
        assert!(painted.pixels().iter().all(|value| *value == 200));
    }

    #[test]
    fn the_list_of_keys_fits_over_every_picture() {
        let lines: Vec<String> = super::super::keys::lines().collect();
        let height = lines.len() as u32 * (lettering::LINE_HEIGHT + SPACING) + 2 * MARGIN;
        let width = lines.iter().map(|line| lettering::text_width(line)).max().unwrap() + 2 * MARGIN;
        let mut view = View::new();
        for size in [FrameSize::new(64, 48), FrameSize::new(320, 240), FrameSize::new(640, 360)] {
            // Twice, since the buffers change places.
            for _ in 0..2 {
                let painted = gray(size, 200);
                let shown = view.compose(None, &painted, &lines);
                assert!(shown.size.width >= width as usize && shown.size.height >= height as usize, "{}", shown.size);
                assert_eq!(shown.pixels().last(), Some(&200));
            }
        }
    }
}
