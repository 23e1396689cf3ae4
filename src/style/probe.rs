//! Finds out by trial runs what a network does not say: which sizes it takes and which range its values have.
//!
//! The runs are small, a fraction of a second together, and happen once when a network is opened.

use anyhow::{Context as _, Result};

use super::contract::{Known, Origin};
use super::pixels::{ChannelOrder, Layout, TensorFormat, ValueRange, pack};
use crate::frame::{CHANNELS, FrameSize};
use crate::runtime::Tensor;

/// One run of a network on a picture of a size in a format.
pub(super) type Trial<'a> = dyn FnMut(&[u8], FrameSize, TensorFormat) -> Result<Tensor> + 'a;

/// The smallest multiple for which pictures of any such size, of sides of `minimum` or more, come back in their own size; `None` where
/// no size that was tried does.
pub(super) fn find_multiple(trial: &mut Trial<'_>, format: TensorFormat, minimum: Option<usize>) -> Option<usize> {
    const BASE: usize = 64;
    // Where the minimum is not known, a second base is for networks that need more than a few pixels.
    let bases = minimum.map_or(vec![BASE, 8 * BASE], |minimum| vec![minimum.next_multiple_of(BASE)]);
    // Both sides are the base plus an odd multiple, so that no larger power of two divides them.
    let size = |base: usize, multiple: usize| FrameSize::new(base + 3 * multiple, base + multiple);
    let of_base = |base| [1, 2, 4, 8, 16, 32, 64].map(|multiple| (multiple, size(base, multiple)));
    let found = bases.into_iter().flat_map(of_base).find(|(_, size)| keeps_size(trial, format, *size));
    found.map(|(multiple, _)| multiple)
}

/// The smallest side, a power of two times `multiple`, at which the network runs.
pub(super) fn find_minimum(trial: &mut Trial<'_>, format: TensorFormat, multiple: usize) -> Option<usize> {
    const LARGEST: usize = 512;
    std::iter::successors(Some(multiple), |side| Some(side * 2))
        .take_while(|side| *side <= LARGEST.max(multiple))
        .find(|side| keeps_size(trial, format, FrameSize::new(*side, *side)))
}

/// Whether a picture of `size` comes back in its own size.
pub(super) fn keeps_size(trial: &mut Trial<'_>, format: TensorFormat, size: FrameSize) -> bool {
    let answer = probe_picture(size).and_then(|picture| trial(&picture, size, format));
    match answer {
        Ok(output) => output.shape == format.layout.shape(size),
        Err(error) => {
            tracing::debug!("a trial run at {size} failed: {error:#}");
            false
        }
    }
}

/// The ranges of input and output.
pub(super) struct Ranges {
    pub input: Known<ValueRange>,
    pub output: Known<ValueRange>,
}

/// Finds the ranges that are not known, by the values that come out and by how much structure of the picture is in them.
///
/// A network with instance normalization does not feel the scale of its input: what comes out is the same for every
/// range, so the input is taken to have the range of the output. A network that does feel it returns the picture's
/// structure only for the range that it was trained on.
pub(super) fn find_ranges(
    trial: &mut Trial<'_>,
    (layout, channels): (Layout, ChannelOrder),
    size: FrameSize,
    input: Option<Known<ValueRange>>,
    output: Option<Known<ValueRange>>,
) -> Result<Ranges> {
    if let (Some(input), Some(output)) = (&input, &output) {
        return Ok(Ranges { input: input.clone(), output: output.clone() });
    }
    /// So much more agreement makes an input range credible that differs from the output's.
    const MARGIN: f64 = 0.15;
    /// Scores so close are equal; then the more common range, which is tried first, stays.
    const TIE: f64 = 1e-3;
    let candidates = match &input {
        Some(known) => vec![known.value],
        None => vec![ValueRange::Bytes, ValueRange::Unit, ValueRange::Signed],
    };
    let picture = probe_picture(size)?;
    let mut best: Option<(f64, ValueRange, ValueRange, f64)> = None;
    for input_range in candidates {
        let tensor = trial(&picture, size, TensorFormat { layout, channels, range: input_range })?;
        let output_range = output.as_ref().map_or_else(|| range_of_values(&tensor.data), |known| known.value);
        let agreement = structural_agreement(&picture, &tensor, layout, channels, size);
        let mut score = agreement - share_out_of_range(&tensor.data, output_range);
        if output_range == input_range {
            score += MARGIN;
        }
        tracing::debug!(%input_range, %output_range, agreement, score, "trial run");
        if best.is_none_or(|(best_score, ..)| score > best_score + TIE) {
            best = Some((score, input_range, output_range, agreement));
        }
    }
    let (_, input_range, output_range, agreement) = best.context("no trial run succeeded")?;
    let reason = |what: &str| Origin::Probed(format!("{what}, correlation with the picture {agreement:.2}"));
    Ok(Ranges {
        input: input.unwrap_or_else(|| Known { value: input_range, origin: reason("best of three ranges") }),
        output: output.unwrap_or_else(|| Known { value: output_range, origin: reason("by the values that came out") }),
    })
}

/// Share of the values, 0–1, that lie outside a range by more than 5 % of its width.
fn share_out_of_range(values: &[f32], range: ValueRange) -> f64 {
    let (low, high) = match range {
        ValueRange::Bytes => (-12.75, 267.75),
        ValueRange::Unit => (-0.05, 1.05),
        ValueRange::Signed => (-1.1, 1.1),
        ValueRange::Normalized { .. } => return 0.0,
    };
    let outside = values.iter().filter(|value| !(low..=high).contains(*value)).count();
    outside as f64 / values.len().max(1) as f64
}

/// The range that the bulk of the values is in.
fn range_of_values(values: &[f32]) -> ValueRange {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    let percentile = |share: f64| {
        let index = (share * sorted.len().saturating_sub(1) as f64) as usize;
        sorted.get(index).copied().unwrap_or(0.0)
    };
    let (low, high) = (percentile(0.02), percentile(0.98));
    if low.abs().max(high.abs()) > 4.0 {
        ValueRange::Bytes
    } else if low < -0.3 {
        ValueRange::Signed
    } else {
        ValueRange::Unit
    }
}

/// Pearson correlation, −1–1, of picture and output, both averaged over blocks so that strokes do not count; the mean of
/// the three channels.
fn structural_agreement(
    picture: &[u8],
    output: &Tensor,
    layout: Layout,
    channels: ChannelOrder,
    size: FrameSize,
) -> f64 {
    const BLOCK: usize = 4;
    if output.shape != layout.shape(size) {
        return -1.0;
    }
    let value_at = |index: usize, channel: usize| match layout {
        Layout::Nchw => output.data[channel * size.pixels() + index],
        Layout::Nhwc => output.data[index * CHANNELS + channel],
    };
    let (columns, rows) = (size.width / BLOCK, size.height / BLOCK);
    let mut blocks = vec![[(0.0_f64, 0.0_f64); CHANNELS]; columns * rows];
    for y in 0..rows * BLOCK {
        for x in 0..columns * BLOCK {
            let index = y * size.width + x;
            let block = &mut blocks[y / BLOCK * columns + x / BLOCK];
            for (channel, sums) in block.iter_mut().enumerate() {
                let of_tensor = if channels == ChannelOrder::Rgb { channel } else { CHANNELS - 1 - channel };
                sums.0 += f64::from(picture[index * CHANNELS + channel]);
                sums.1 += f64::from(value_at(index, of_tensor));
            }
        }
    }
    let of_channel =
        |channel: usize| -> f64 { correlation(&blocks.iter().map(|block| block[channel]).collect::<Vec<_>>()) };
    (0..CHANNELS).map(of_channel).sum::<f64>() / CHANNELS as f64
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
    let (mean_a, mean_b) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        ab += (a - mean_a) * (b - mean_b);
        aa += (a - mean_a).powi(2);
        bb += (b - mean_b).powi(2);
    }
    // A flat answer agrees with nothing; what varies in it is rounding.
    let is_flat = bb <= 1e-8 * count * mean_b * mean_b;
    let correlation = ab / (aa * bb).sqrt();
    if correlation.is_finite() && !is_flat { correlation } else { -1.0 }
}

/// The picture as a tensor.
pub(super) fn tensor_of(picture: &[u8], size: FrameSize, format: &TensorFormat) -> Tensor {
    let mut tensor = Tensor::zeros(&format.layout.shape(size));
    pack(picture, size, (0, 0), format, &mut tensor.data, size);
    tensor
}

/// A small photo, scaled to `size`: `[height, width, 3]`, RGB, 0–255. Trial runs need what photos have, large shapes with
/// texture in them; networks answer to a made-up picture with little of its structure.
///
/// The photo is "Yet another pic of machu picchu" by Guillaume Pascal, CC0-1.0.
pub(super) fn probe_picture(size: FrameSize) -> Result<Vec<u8>> {
    let photo = image::load_from_memory_with_format(include_bytes!("probe_photo.jpg"), image::ImageFormat::Jpeg)
        .context("read the embedded photo")?
        .into_rgb8();
    let filter = image::imageops::FilterType::Triangle;
    Ok(image::imageops::resize(&photo, size.width as u32, size.height as u32, filter).into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: TensorFormat =
        TensorFormat { layout: Layout::Nchw, channels: ChannelOrder::Rgb, range: ValueRange::Bytes };

    /// A network that pads to a multiple and forgets to crop.
    fn padding_network(multiple: usize) -> impl FnMut(&[u8], FrameSize, TensorFormat) -> Result<Tensor> {
        move |_, size, format| Ok(Tensor::zeros(&format.layout.shape(size.rounded_up(multiple))))
    }

    #[test]
    fn the_multiple_is_the_smallest_that_keeps_the_size() {
        for multiple in [1, 2, 4, 8, 16, 32, 64] {
            assert_eq!(find_multiple(&mut padding_network(multiple), FORMAT, None), Some(multiple));
        }
        assert_eq!(find_multiple(&mut padding_network(100), FORMAT, None), None);
    }

    #[test]
    fn a_network_that_needs_large_pictures_is_tried_with_such() {
        let needing = |minimum: usize| {
            move |_: &[u8], size: FrameSize, format: TensorFormat| {
                anyhow::ensure!(size.short_side() >= minimum && size == size.rounded_up(4));
                Ok(Tensor::zeros(&format.layout.shape(size)))
            }
        };
        assert_eq!(find_multiple(&mut needing(300), FORMAT, None), Some(4));
        assert_eq!(find_multiple(&mut needing(600), FORMAT, None), None);
        assert_eq!(find_multiple(&mut needing(600), FORMAT, Some(600)), Some(4));
        assert_eq!(find_minimum(&mut needing(300), FORMAT, 4), Some(512));
    }

    #[test]
    fn the_minimum_is_the_smallest_side_that_runs() {
        let mut trial = |_: &[u8], size: FrameSize, format: TensorFormat| {
            anyhow::ensure!(size.short_side() > 20, "too small");
            Ok(Tensor::zeros(&format.layout.shape(size)))
        };
        assert_eq!(find_minimum(&mut trial, FORMAT, 8), Some(32));
    }

    fn ranges_of(network: impl Fn(f32) -> f32) -> (ValueRange, ValueRange) {
        let mut trial = |picture: &[u8], size: FrameSize, format: TensorFormat| {
            let mut tensor = tensor_of(picture, size, &format);
            for value in &mut tensor.data {
                *value = network(*value);
            }
            Ok(tensor)
        };
        let size = FrameSize::new(96, 64);
        let ranges = find_ranges(&mut trial, (Layout::Nchw, ChannelOrder::Rgb), size, None, None).unwrap();
        (ranges.input.value, ranges.output.value)
    }

    #[test]
    fn a_network_that_saturates_outside_its_range_is_recognized() {
        assert_eq!(ranges_of(|value| value.clamp(0.0, 1.0)), (ValueRange::Unit, ValueRange::Unit));
        assert_eq!(ranges_of(|value| value.clamp(0.0, 255.0)), (ValueRange::Bytes, ValueRange::Bytes));
    }

    #[test]
    fn different_ranges_of_input_and_output_are_found_where_the_input_saturates() {
        assert_eq!(ranges_of(|value| value.clamp(0.0, 1.0) * 255.0), (ValueRange::Unit, ValueRange::Bytes));
    }

    #[test]
    fn what_is_known_is_not_probed() {
        let known = |value| Some(Known { value, origin: Origin::Metadata });
        let mut trial = |_: &[u8], _: FrameSize, _: TensorFormat| anyhow::bail!("must not run");
        let ranges = find_ranges(
            &mut trial,
            (Layout::Nchw, ChannelOrder::Rgb),
            FrameSize::new(8, 8),
            known(ValueRange::Unit),
            known(ValueRange::Signed),
        );
        assert_eq!(ranges.unwrap().output.value, ValueRange::Signed);
    }
}
