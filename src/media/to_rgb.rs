//! Which filters take the pictures of a decoder to upright, progressive, opaque RGB.
//!
//! It only decides: [`super::filter`] carries out, and what a person should hear comes back as notes.

use ffmpeg_next as ffmpeg;

use ffmpeg::color::{Range, Space, TransferCharacteristic};

use super::color::ColorTags;
use super::ffi;
use super::filter::FilterInput;
use crate::frame::FrameSize;

/// What is done to the pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    /// A chain in FFmpeg's filter syntax.
    pub filters: String,
    /// What the numbers of the pictures mean, and shall mean in the output.
    pub color: ColorTags,
    /// What changes on the way that a person should know.
    pub notes: Vec<&'static str>,
}

/// Lays pictures with opacity over black.
const FLATTENED: &str = "premultiply=inplace=1";
const IS_FLATTENED: &str = "transparency: flattened over black";

/// The filters for pictures like `input`, turned by the filters of `rotation` and scaled to `size`, both only if given.
/// `exists` says whether this FFmpeg has a filter.
pub fn describe_chain(
    input: &FilterInput,
    is_interlaced: bool,
    rotation: Option<&str>,
    size: Option<FrameSize>,
    exists: impl Fn(&str) -> bool,
) -> Conversion {
    let mut filters: Vec<String> = Vec::new();
    let mut notes = Vec::new();
    let mut color = input.color.or_guessed(input.size, input.pixel);
    if is_interlaced {
        if exists("bwdif") {
            filters.push("bwdif=mode=send_frame:deint=interlaced".to_owned());
            notes.push("interlaced: deinterlaced, one frame for each frame");
        } else {
            notes.push("interlaced, and this FFmpeg has no deinterlacer (bwdif): left as it is");
        }
    }
    filters.extend(rotation.map(str::to_owned));
    if color.is_high_dynamic_range() {
        if exists("zscale") && exists("tonemap") {
            filters.extend(tone_mapping(&color, input));
            notes.push("high dynamic range: tone-mapped to BT.709");
            color = ColorTags::bt709();
        } else {
            notes
                .push("high dynamic range, and this FFmpeg has no tone mapping (zscale): colours will look washed out");
        }
    }
    let matrix = color.matrix_name().unwrap_or_else(|| {
        notes.push("unusual colour matrix that FFmpeg cannot convert: treated as BT.709");
        color.matrix = Space::BT709;
        "bt709"
    });
    let mut scale = "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp".to_owned();
    if !ffi::is_rgb(input.pixel) {
        scale.push_str(&format!(":in_color_matrix={matrix}:in_range={}:out_range=pc", color.range_name()));
    }
    if let Some(size) = size {
        scale.push_str(&format!(":w={}:h={}", size.width, size.height));
        let turned = FrameSize::new(input.size.height, input.size.width);
        if size != input.size && (rotation.is_none() || size != turned) {
            notes.push("the size of the pictures changes: all are scaled to the first one's");
        }
    }
    filters.push(scale);
    if ffi::has_alpha(input.pixel) {
        filters.extend(["format=gbrap".to_owned(), FLATTENED.to_owned()]);
        notes.push(IS_FLATTENED);
    }
    filters.push("format=rgb24".to_owned());
    Conversion { filters: filters.join(","), color, notes }
}

/// The same filters for pictures of square pixels: as wide as they are shown, in whole pairs of pixels. The first picture decides that
/// width, and `describe_chain` scales all others to it.
pub fn with_square_pixels(filters: &str, is_first: bool) -> String {
    const WIDE: &str = "scale=w='if(gt(abs(sar-1),0.001)*gt(sar,0),max(2,2*round(iw*sar/2)),iw)':h=ih:flags=bicubic,";
    format!("{filters},{}setsar=1", if is_first { WIDE } else { "" })
}

/// The same conversion, which gives the opacity of pictures that have it instead of their colors.
pub fn of_opacity(conversion: Conversion) -> Conversion {
    const OPACITY: &str = "colorchannelmixer=rr=0:ra=1:gg=0:ga=1:bb=0:ba=1";
    let notes = conversion.notes.into_iter();
    let notes = notes.map(|note| if note == IS_FLATTENED { "transparency: white is what is opaque" } else { note });
    Conversion { filters: conversion.filters.replace(FLATTENED, OPACITY), notes: notes.collect(), ..conversion }
}

/// Linear light, BT.709 primaries, Hable's curve, back to gamma.
fn tone_mapping(tags: &ColorTags, input: &FilterInput) -> Vec<String> {
    let transfer = match tags.transfer {
        TransferCharacteristic::ARIB_STD_B67 => "arib-std-b67",
        _ => "smpte2084",
    };
    let matrix = match tags.matrix {
        Space::BT2020NCL | Space::BT2020CL => "2020_ncl",
        Space::BT709 => "709",
        _ => "170m",
    };
    let range = if tags.range == Range::JPEG { "full" } else { "limited" };
    // It takes subsampled pictures of even sizes only.
    let is_odd = input.size.width % 2 == 1 || input.size.height % 2 == 1;
    let whole = (is_odd && !ffi::is_rgb(input.pixel)).then(|| "format=yuv444p10le|yuv444p12le|yuv444p16le".to_owned());
    let mapping = [
        format!("zscale=tin={transfer}:min={matrix}:pin=2020:rin={range}:t=linear:npl=100"),
        "format=gbrpf32le".to_owned(),
        "zscale=p=709".to_owned(),
        "tonemap=tonemap=hable:desat=0".to_owned(),
        "zscale=t=709:m=709:r=limited".to_owned(),
        "format=yuv444p".to_owned(),
    ];
    whole.into_iter().chain(mapping).collect()
}

#[cfg(test)]
mod tests {
    use ffmpeg::Rational;
    use ffmpeg::color::Primaries;
    use ffmpeg::format::Pixel;

    use super::*;

    const SIZE: FrameSize = FrameSize::new(640, 360);

    fn input(pixel: Pixel, color: ColorTags) -> FilterInput {
        FilterInput { size: SIZE, pixel, time_base: Rational(1, 25), sample_aspect_ratio: Rational(1, 1), color }
    }

    fn hlg() -> ColorTags {
        ColorTags {
            matrix: Space::BT2020NCL,
            range: Range::MPEG,
            primaries: Primaries::BT2020,
            transfer: TransferCharacteristic::ARIB_STD_B67,
        }
    }

    #[test]
    fn a_plain_picture_is_only_converted() {
        let conversion = describe_chain(&input(Pixel::YUV420P, ColorTags::bt709()), false, None, None, |_| true);
        assert_eq!(
            conversion.filters,
            "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp\
             :in_color_matrix=bt709:in_range=tv:out_range=pc,format=rgb24"
        );
        assert_eq!(conversion.color, ColorTags::bt709());
        assert!(conversion.notes.is_empty(), "{:?}", conversion.notes);
    }

    #[test]
    fn everything_that_changes_a_picture_is_noted_in_the_order_of_the_filters() {
        let conversion =
            describe_chain(&input(Pixel::YUVA420P, hlg()), true, Some("hflip"), Some(FrameSize::new(320, 180)), |_| {
                true
            });
        let names: Vec<&str> =
            conversion.filters.split(',').map(|filter| filter.split('=').next().unwrap_or(filter)).collect();
        assert_eq!(
            names,
            [
                "bwdif",
                "hflip",
                "zscale",
                "format",
                "zscale",
                "tonemap",
                "zscale",
                "format",
                "scale",
                "format",
                "premultiply",
                "format"
            ]
        );
        assert!(conversion.filters.contains("tin=arib-std-b67:min=2020_ncl"), "{}", conversion.filters);
        assert!(conversion.filters.contains(":w=320:h=180"), "{}", conversion.filters);
        assert_eq!(conversion.color, ColorTags::bt709());
        let kinds: Vec<&str> = conversion.notes.iter().map(|note| note.split(':').next().unwrap_or(note)).collect();
        assert_eq!(kinds, ["interlaced", "high dynamic range", "the size of the pictures changes", "transparency"]);
    }

    #[test]
    fn what_this_ffmpeg_cannot_do_is_left_and_noted() {
        let conversion = describe_chain(&input(Pixel::YUV420P, hlg()), true, None, None, |_| false);
        assert!(conversion.filters.starts_with("scale="), "{}", conversion.filters);
        assert_eq!(conversion.color, hlg());
        let [deinterlacer, tone_mapping] = conversion.notes.as_slice() else { panic!("{:?}", conversion.notes) };
        assert!(deinterlacer.contains("no deinterlacer") && tone_mapping.contains("no tone mapping"));
    }

    #[test]
    fn a_matrix_that_cannot_be_converted_is_taken_for_bt709() {
        let unusual = ColorTags { matrix: Space::YCGCO, ..ColorTags::bt709() };
        let conversion = describe_chain(&input(Pixel::YUV420P, unusual), false, None, None, |_| true);
        assert_eq!(conversion.color.matrix, Space::BT709);
        assert!(conversion.filters.contains("in_color_matrix=bt709"), "{}", conversion.filters);
        assert_eq!(conversion.notes.len(), 1);
    }
}
