//! Blending and showing as an ONNX graph: what [`super::processor`] does row by row, for devices that take whole pictures.
//!
//! Motion and its weights come on their coarse grid and are stretched here. The average goes in and comes out as a tensor of its own,
//! so that it can stay where it is from frame to frame.

use anyhow::Result;

use super::detail::{BLOCK, ROW_STEP};
use super::resample::{FULL_WEIGHT, STILL_PIXELS};
use crate::frame::{CHANNELS, FrameSize};
use crate::onnx::shape::Window;
use crate::onnx::{GraphBuilder, Model, Value};

/// The painted frame, `[1, H, W, 3]`, bytes.
pub(super) const PAINTED: &str = "painted";
/// Planes of the motion's grid, `[1, 4, h, w]`: where the past lies, in pixels to the right and down; its weight, 0–1; and the weight
/// that says how much detail may have been lost.
pub(super) const PASTS: &str = "pasts";
/// What is added to detail in each block, `[1, 1, h, w]`.
pub(super) const GAINS: &str = "gains";
/// The average along the motion, `[1, 3, H, W]`, 0–255, before and after; where the past weighs nothing, what was there before does
/// not matter.
pub(super) const AVERAGE: &str = "average";
pub(super) const NEXT_AVERAGE: &str = "next_average";
/// The average as it is shown, as [`PAINTED`].
pub(super) const SHOWN: &str = "shown";
/// Energy of detail in each block, `[1, 2, h, w]`: of the painted frame, and of what is shown.
pub(super) const ENERGIES: &str = "energies";

/// Planes of [`PASTS`].
pub(super) const PLANES: usize = 4;

/// The graph for frames of `size` (3×3 pixels at least), motion on `grid` and gains in `blocks`.
///
/// # Errors
/// When the size is less than that.
pub(super) fn graph(size: FrameSize, grid: FrameSize, blocks: FrameSize) -> Result<Model> {
    let FrameSize { width, height } = size;
    let mut g = GraphBuilder::new();
    let painted = g.input_bytes(PAINTED, &[1, height, width, CHANNELS]);
    let painted = g.transpose(&painted, &[0, 3, 1, 2]);
    let pasts = g.input(PASTS, &[1, PLANES, grid.height, grid.width]);
    let gains = g.input(GAINS, &[1, 1, blocks.height, blocks.width]);
    let average = g.input(AVERAGE, &[1, CHANNELS, height, width]);

    let pasts = g.stretch(&pasts, [height, width]);
    let [right, down, weight, loss] = [0, 1, 2, 3].map(|plane| g.slice(&pasts, 1, plane, plane + 1));
    let past = moved(&mut g, &average, &right, &down, size);
    let mixed = mix(&mut g, &past, &painted, &weight);

    let loss = g.scale(&loss, 1.0 / FULL_WEIGHT);
    let loss = g.clip(&loss, 0.0, 1.0);
    let gain = g.stretch(&gains, [blocks.height * BLOCK, blocks.width * BLOCK]);
    let gain = g.slice(&gain, 2, 0, height);
    let gain = g.slice(&gain, 3, 0, width);
    let gain = g.mul(&gain, &loss);
    let detail = detail(&mut g, &mixed);
    let added = g.mul(&detail, &gain);
    let shown = g.add(&mixed, &added);
    let shown = g.transpose(&shown, &[0, 2, 3, 1]);
    let shown = g.output_bytes(SHOWN, &shown);
    g.output(NEXT_AVERAGE, &mixed);

    let green_of_painted = g.slice(&painted, 1, 1, 2);
    let green_of_shown = g.slice(&shown, 3, 1, 2);
    let green_of_shown = g.reshape(&green_of_shown, &[1, 1, height, width]);
    let energies = [green_of_painted, green_of_shown].map(|green| energy(&mut g, &green, size, blocks));
    let energies = g.concat(&energies.each_ref(), 1);
    g.output(ENERGIES, &energies);
    g.finish()
}

/// The average at the places where the past lies; exactly what it is where nothing moves.
fn moved(g: &mut GraphBuilder, average: &Value, right: &Value, down: &Value, size: FrameSize) -> Value {
    let mut place = |by: &Value, axis: usize, length: usize| {
        // From −1 at the center of the first pixel to 1 at that of the last.
        let step = 2.0 / (length.max(2) - 1) as f32;
        let here: Vec<f32> = (0..length).map(|index| index as f32 * step - 1.0).collect();
        let mut shape = [1; 4];
        shape[axis] = length;
        let here = g.constant(&shape, &here);
        let by = g.scale(by, step);
        g.add(&by, &here)
    };
    let (x, y) = (place(right, 3, size.width), place(down, 2, size.height));
    let places = g.concat(&[&x, &y], 1);
    let places = g.clip(&places, -1.0, 1.0);
    let places = g.transpose(&places, &[0, 2, 3, 1]);
    let moved = g.sample(average, &places);

    let (right, down) = (g.abs(right), g.abs(down));
    let speed = g.add(&right, &down);
    let still = g.scalar(STILL_PIXELS);
    let is_still = g.is_less(&speed, &still);
    g.select(&is_still, average, &moved)
}

/// The past with its weight and the painted frame with the rest.
fn mix(g: &mut GraphBuilder, past: &Value, painted: &Value, weight: &Value) -> Value {
    let of_past = g.mul(past, weight);
    let rest = g.scale(weight, -1.0);
    let rest = g.shift(&rest, 1.0);
    let of_painted = g.mul(painted, &rest);
    let mixed = g.add(&of_past, &of_painted);
    // What lies in memory before the first frame need not be a number, and 0 times that is none either.
    let nothing = g.scalar(0.0);
    let has_past = g.is_less(&nothing, weight);
    g.select(&has_past, &mixed, painted)
}

/// What [`super::detail`] amplifies: each value less the mean of the eight that are one and two pixels away in its row and column.
fn detail(g: &mut GraphBuilder, image: &Value) -> Value {
    let mut mean_of_five = |axis: usize| {
        let mut beside = [0; 4];
        beside[axis] = 2;
        let mut kernel = [1; 2];
        kernel[axis - 2] = 5;
        let padded = g.pad(image, &beside, &beside, "edge");
        g.average_pool(&padded, Window { kernel, stride: [1; 2], padding: [0; 4] })
    };
    let (row, column) = (mean_of_five(3), mean_of_five(2));
    // The mean of eight from the two of five, each of which counts the value itself: (5·row + 5·column − 2·value) / 8.
    let means = g.add(&row, &column);
    let around = g.scale(&means, 0.625);
    let value = g.scale(image, 1.25);
    g.sub(&value, &around)
}

/// Mean squared Laplacian of `green`, `[1, 1, H, W]`, in each block, of the same rows as on the processor.
fn energy(g: &mut GraphBuilder, green: &Value, size: FrameSize, blocks: FrameSize) -> Value {
    let FrameSize { width, height } = size;
    let mut rows =
        |first: usize| g.slice_by(green, 2, [first as i64, (height - 2 + first).min(height) as i64, ROW_STEP as i64]);
    let [above, here, below] = [0, 1, 2].map(&mut rows);
    let mut middle = |of: &Value, from: usize| g.slice(of, 3, from, width - 2 + from);
    let [left, centre, right] = [0, 1, 2].map(|from| middle(&here, from));
    let (above, below) = (middle(&above, 1), middle(&below, 1));
    let beside = g.add(&left, &right);
    let over = g.add(&above, &below);
    let around = g.add(&beside, &over);
    let value = g.scale(&centre, 4.0);
    let laplacian = g.sub(&value, &around);
    let squared = g.square(&laplacian);
    // Rows and columns at the border count as if they were there.
    let rows = BLOCK / ROW_STEP;
    let [_, _, had, _] = [0, 1, 2, 3].map(|axis| squared.shape.get(axis).copied().unwrap_or_default());
    let missing = [blocks.height * rows - had, blocks.width * BLOCK - (width - 2) - 1].map(|count| count as i64);
    let padded = g.pad(&squared, &[0, 0, 0, 1], &[0, 0, missing[0], missing[1]], "constant");
    let means = g.average_pool(&padded, Window { kernel: [rows, BLOCK], stride: [rows, BLOCK], padding: [0; 4] });
    g.scale(&means, 1.0 / 16.0)
}
