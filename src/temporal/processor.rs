//! The average along the motion on the processor: rows of pixels, many values at once.

use anyhow::Result;

use super::detail::DetailGain;
use super::resample::{PastRow, Span};
use super::{Canvas, Past, SmootherSettings, Source, pixels_per_cell};
use crate::frame::{CHANNELS, Frame, FrameSize};

/// Red, green, blue, 0–255, and how far averaging may have taken detail away, 0–1.
pub(super) type Pixel = [f32; 4];

/// Place of the loss of detail in a pixel.
pub(super) const LOSS: usize = 3;

/// Keeps its buffers.
pub(super) struct ProcessorCanvas {
    size: FrameSize,
    /// The average along the motion, `[height, width, 4]`, 0–255, not rounded, since rounding would stick.
    average: Vec<Pixel>,
    next: Vec<Pixel>,
    /// The past of a row between those of cells, and of each pixel of a row.
    row: Vec<Past>,
    columns: Vec<Span>,
    pasts: PastRow,
    gain: DetailGain,
}

impl Default for ProcessorCanvas {
    fn default() -> Self {
        Self {
            size: FrameSize::new(0, 0),
            average: Vec::new(),
            next: Vec::new(),
            row: Vec::new(),
            columns: Vec::new(),
            pasts: PastRow::default(),
            gain: DetailGain::new(FrameSize::new(0, 0)),
        }
    }
}

impl Canvas for ProcessorCanvas {
    fn size(&self) -> Option<FrameSize> {
        (!self.average.is_empty()).then_some(self.size)
    }

    fn holds(&self, _: FrameSize) -> bool {
        true
    }

    fn begin(&mut self, painted: &Frame) -> Result<()> {
        self.size = painted.size;
        self.gain = DetailGain::new(painted.size);
        self.gain.want(painted);
        self.average.clear();
        self.average.extend(painted.pixels().as_chunks::<CHANNELS>().0.iter().map(to_pixel));
        Ok(())
    }

    fn blend(
        &mut self,
        frame: &mut Frame,
        source: Source,
        grid: FrameSize,
        cells: &[Past],
        settings: &SmootherSettings,
    ) -> Result<()> {
        self.mix(frame.pixels(), grid, cells);
        if source == Source::Painted {
            self.gain.want(frame);
        }
        self.gain.show(&self.average, frame);
        self.gain.follow(frame, settings.detail, settings.most_gain);
        Ok(())
    }

    fn show(&mut self, frame: &mut Frame) -> Result<()> {
        self.gain.show(&self.average, frame);
        Ok(())
    }
}

impl ProcessorCanvas {
    /// Moves the average along the motion and mixes the painted frame in.
    fn mix(&mut self, painted: &[u8], grid: FrameSize, cells: &[Past]) {
        let width = self.size.width;
        let (scale_x, scale_y) = pixels_per_cell(self.size, grid);
        self.columns.clear();
        self.columns.extend((0..width).map(|x| Span::new(x, scale_x, grid.width)));
        self.row.resize(grid.width, Past::default());
        self.next.resize(self.size.pixels(), Pixel::default());
        let rows = self.next.chunks_exact_mut(width).zip(painted.as_chunks::<CHANNELS>().0.chunks_exact(width));
        for (y, (next, painted)) in rows.enumerate() {
            let span = Span::new(y, scale_y, grid.height);
            let line = |y: usize| &cells[y * grid.width..][..grid.width];
            span.mix_rows(line(span.first), line(span.second), &mut self.row);
            self.pasts.set(y, self.size, &self.row, &self.columns);
            self.pasts.blend(&self.average, self.size, y, painted, next);
        }
        std::mem::swap(&mut self.average, &mut self.next);
    }
}

#[inline]
pub(super) fn to_pixel(pixel: &[u8; CHANNELS]) -> Pixel {
    [f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]), 0.0]
}
