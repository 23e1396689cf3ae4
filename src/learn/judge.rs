//! How well a row paints photos that no step sees; and the painted photos themselves.

use anyhow::{Context as _, Result, ensure};

use super::loss::{PaintingTarget, StyleLoss};
use super::network::FrozenNetwork;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::gatys::Picture;
use crate::gatys::targets::open;
use crate::onnx::GraphBuilder;
use crate::runtime::{Bindings, Session, SessionOptions};
use crate::scale::{Filter, Scaler};

/// Losses on held-out photos: means over them, without stability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HeldOutLoss {
    /// All of it.
    pub total: f32,
    /// The content's part.
    pub content: f32,
    /// The style's part.
    pub style: f32,
}

/// Judges parameters on photos that stay the same.
#[derive(Debug)]
pub struct Judge {
    session: Session,
    bindings: Bindings,
    /// `[3, side, side]` each, RGB, 0–255.
    crops: Vec<Vec<f32>>,
}

impl Judge {
    /// Prepares to judge on the middle of each of `photos`, `side`×`side` pixels of its whole shorter side. Blocks for a second.
    ///
    /// # Errors
    /// When there are no photos, or ONNX Runtime is not to be had.
    pub fn new(
        network: &FrozenNetwork,
        target: &PaintingTarget,
        style_weight: f32,
        photos: &[Frame],
        side: usize,
        options: &SessionOptions,
    ) -> Result<Self> {
        ensure!(!photos.is_empty(), "there are no photos to judge on");
        let mut scaler = Scaler::new();
        let crops = photos.iter().map(|photo| middle(&mut scaler, photo, side)).collect::<Result<_>>()?;
        let shape = Picture::shape(FrameSize::new(side, side));
        let mut graph = GraphBuilder::new();
        let row = graph.input("row", &[network.parameter_count()]);
        let photo = graph.input("photo", &shape);
        let painted = network.paint(&mut graph, &photo, &row)?;
        let loss = StyleLoss::build(&mut graph, &painted, &photo, target, style_weight)?;
        let parts = [&loss.total, &loss.content, &loss.style].map(|part| graph.reshape(part, &[1]));
        let losses = graph.concat(&parts.each_ref(), 0);
        graph.output("losses", &losses);
        let session = open(&graph.finish().context("judge a style")?, options)?;
        let row_shape = [network.parameter_count()];
        let bindings = session.bind(&[("row", &row_shape), ("photo", &shape)], &[("losses", &[3])])?;
        Ok(Self { session, bindings, crops })
    }

    /// The losses of parameters, on all photos. Blocks for about a third of a step for each.
    ///
    /// # Errors
    /// When the run fails.
    pub fn judge(&mut self, row: &[f32]) -> Result<HeldOutLoss> {
        self.judge_on(row, self.crops.len())
    }

    /// The same on the first `count` photos.
    ///
    /// # Errors
    /// When the run fails.
    pub fn judge_on(&mut self, row: &[f32], count: usize) -> Result<HeldOutLoss> {
        let mut sum = HeldOutLoss::default();
        self.bindings.input_mut(0).copy_from_slice(row);
        let count = count.clamp(1, self.crops.len());
        for crop in &self.crops[..count] {
            self.bindings.input_mut(1).copy_from_slice(crop);
            self.session.run_bound(&mut self.bindings)?;
            let &[total, content, style] = self.bindings.output(0) else { anyhow::bail!("no losses came back") };
            sum = HeldOutLoss { total: sum.total + total, content: sum.content + content, style: sum.style + style };
        }
        let share = 1.0 / count as f32;
        Ok(HeldOutLoss { total: sum.total * share, content: sum.content * share, style: sum.style * share })
    }
}

/// Paints one photo with any parameters.
#[derive(Debug)]
pub struct Painter {
    session: Session,
    bindings: Bindings,
    size: FrameSize,
}

impl Painter {
    /// Prepares to paint `photo`, cut to what the network takes.
    ///
    /// # Errors
    /// When the photo is too small, or ONNX Runtime is not to be had.
    pub fn new(network: &FrozenNetwork, photo: &Frame, options: &SessionOptions) -> Result<Self> {
        let cut = |length: usize| length / network.multiple * network.multiple;
        let size = FrameSize::new(cut(photo.size.width), cut(photo.size.height));
        ensure!(size.short_side() >= 2 * network.multiple, "a photo of {} is too small to paint", photo.size);
        let shape = Picture::shape(size);
        let row_shape = [network.parameter_count()];
        let mut graph = GraphBuilder::new();
        let row = graph.input("row", &row_shape);
        let image = graph.input("photo", &shape);
        let painted = network.paint(&mut graph, &image, &row)?;
        graph.output("painted", &painted);
        let session = open(&graph.finish().context("paint a preview")?, options)?;
        let mut bindings = session.bind(&[("row", &row_shape), ("photo", &shape)], &[("painted", &shape)])?;
        let planes = planes(photo, size);
        bindings.input_mut(1).copy_from_slice(&planes);
        Ok(Self { session, bindings, size })
    }

    /// The photo painted with the parameters `row`.
    ///
    /// # Errors
    /// When the run fails.
    pub fn paint(&mut self, row: &[f32]) -> Result<Frame> {
        self.bindings.input_mut(0).copy_from_slice(row);
        self.session.run_bound(&mut self.bindings)?;
        let planes = self.bindings.output(0).iter().map(|level| level / 255.0).collect();
        Ok(Picture { size: self.size, planes }.to_frame())
    }
}

/// The upper left part of a picture as `[3, height, width]`, 0–255.
fn planes(frame: &Frame, size: FrameSize) -> Vec<f32> {
    let pixels = frame.pixels().as_chunks::<CHANNELS>().0;
    let mut planes = Vec::with_capacity(size.bytes());
    for channel in 0..CHANNELS {
        for row in pixels.chunks(frame.size.width.max(1)).take(size.height) {
            planes.extend(row[..size.width].iter().map(|pixel| f32::from(pixel[channel])));
        }
    }
    planes
}

/// The square in the middle of a photo, scaled to `side`, as `[3, side, side]`, 0–255.
fn middle(scaler: &mut Scaler, photo: &Frame, side: usize) -> Result<Vec<f32>> {
    let factor = side as f64 / photo.size.short_side().max(1) as f64;
    let scaled = |length: usize| ((length as f64 * factor).round() as usize).max(side);
    let size = FrameSize::new(scaled(photo.size.width), scaled(photo.size.height));
    let mut small = Frame::black(size);
    let filter = if factor < 1.0 { Filter::Box } else { Filter::CatmullRom };
    scaler.scale_rgb(photo.size, photo.pixels(), size, small.pixels_mut(), filter)?;
    let (left, top) = ((size.width - side) / 2, (size.height - side) / 2);
    let mut square = Frame::black(FrameSize::new(side, side));
    let rows = small.pixels().chunks(size.width * CHANNELS).skip(top);
    for (from, to) in rows.zip(square.pixels_mut().chunks_mut(side * CHANNELS)) {
        to.copy_from_slice(&from[left * CHANNELS..][..side * CHANNELS]);
    }
    Ok(planes(&square, square.size))
}
