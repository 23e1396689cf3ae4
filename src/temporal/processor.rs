//! The average along the motion on the processor: rows of pixels, many values at once, on several threads.

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::detail::DetailGain;
use super::resample::{PastRow, Span};
use super::{Canvas, Past, SmootherSettings, Source, pixels_per_cell};
use crate::frame::{CHANNELS, Frame, FrameSize};

/// Red, green, blue, 0–255, and how far averaging may have taken detail away, 0–1.
pub(super) type Pixel = [f32; 4];

/// Place of the loss of detail in a pixel.
pub(super) const LOSS: usize = 3;

/// Rows that a thread does one after the other, with the buffers of their band: few enough that no thread is left with the rest.
pub(super) const BAND: usize = 16;

/// Keeps its buffers.
pub(super) struct ProcessorCanvas {
    threads: usize,
    pool: Option<ThreadPool>,
    size: FrameSize,
    /// The average along the motion, `[height, width, 4]`, 0–255, not rounded, since rounding would stick.
    average: Vec<Pixel>,
    next: Vec<Pixel>,
    columns: Vec<Span>,
    bands: Vec<Row>,
    gain: DetailGain,
}

/// The past of a row between those of cells, and of each pixel of a row.
#[derive(Default)]
struct Row {
    cells: Vec<Past>,
    pasts: PastRow,
}

impl ProcessorCanvas {
    /// Blends on so many threads.
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            pool: None,
            size: FrameSize::new(0, 0),
            average: Vec::new(),
            next: Vec::new(),
            columns: Vec::new(),
            bands: Vec::new(),
            gain: DetailGain::new(FrameSize::new(0, 0)),
        }
    }

    /// The threads; started when they are first needed.
    fn pool(&mut self) -> Result<ThreadPool> {
        if let Some(pool) = self.pool.take() {
            return Ok(pool);
        }
        let name = |index| format!("smooth-{index}");
        let pool = ThreadPoolBuilder::new().num_threads(self.threads.max(1)).thread_name(name).build();
        pool.context("start the threads that smooth")
    }

    /// Does `work` on all threads.
    fn on_threads(&mut self, work: impl FnOnce(&mut Self) + Send) -> Result<()> {
        let pool = self.pool()?;
        pool.install(|| work(self));
        self.pool = Some(pool);
        Ok(())
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
        self.average.clear();
        self.average.extend(painted.pixels().as_chunks::<CHANNELS>().0.iter().map(to_pixel));
        self.on_threads(|canvas| canvas.gain.want(painted))
    }

    fn blend(
        &mut self,
        frame: &mut Frame,
        source: Source,
        grid: FrameSize,
        cells: &[Past],
        settings: &SmootherSettings,
    ) -> Result<()> {
        self.on_threads(|canvas| {
            canvas.gain.advance();
            canvas.mix(frame.pixels(), grid, cells);
            if source == Source::Painted {
                canvas.gain.want(frame);
            }
            canvas.gain.show(&canvas.average, frame);
            canvas.gain.follow(frame, settings.detail, settings.most_gain);
        })
    }

    fn show(&mut self, frame: &mut Frame) -> Result<()> {
        self.on_threads(|canvas| canvas.gain.show(&canvas.average, frame))
    }
}

impl ProcessorCanvas {
    /// Moves the average along the motion and mixes the painted frame in.
    fn mix(&mut self, painted: &[u8], grid: FrameSize, cells: &[Past]) {
        let width = self.size.width;
        let (scale_x, scale_y) = pixels_per_cell(self.size, grid);
        self.columns.clear();
        self.columns.extend((0..width).map(|x| Span::new(x, scale_x, grid.width)));
        self.next.resize(self.size.pixels(), Pixel::default());
        self.bands.resize_with(self.size.height.div_ceil(BAND), Row::default);
        let Self { size, average, next, columns, bands, .. } = self;
        let painted = painted.as_chunks::<CHANNELS>().0.par_chunks(width * BAND);
        let of_bands = next.par_chunks_mut(width * BAND).zip(painted).zip(bands).enumerate();
        of_bands.for_each(|(band, ((next, painted), row))| {
            row.cells.resize(grid.width, Past::default());
            let rows = next.chunks_exact_mut(width).zip(painted.chunks_exact(width));
            for (y, (next, painted)) in (band * BAND..).zip(rows) {
                let span = Span::new(y, scale_y, grid.height);
                let line = |y: usize| &cells[y * grid.width..][..grid.width];
                span.mix_rows(line(span.first), line(span.second), &mut row.cells);
                row.pasts.set(y, *size, &row.cells, columns);
                row.pasts.blend(average, *size, y, painted, next);
            }
        });
        std::mem::swap(&mut self.average, &mut self.next);
    }
}

#[inline]
pub(super) fn to_pixel(pixel: &[u8; CHANNELS]) -> Pixel {
    [f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]), 0.0]
}
