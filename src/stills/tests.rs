//! Pictures there and back: what each format keeps, and what is told of what it cannot.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use super::encode::MOST_JPEG_EXIF_BYTES;
use super::*;

const SIZE: FrameSize = FrameSize::new(24, 16);

/// A header of a profile, which is all that is looked at.
fn profile(space: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![0; 128];
    profile[16..20].copy_from_slice(space);
    profile
}

fn still(deep: Option<Vec<u16>>, opacity: Option<Vec<u8>>) -> Still {
    let mut content = Frame::black(SIZE);
    match &deep {
        Some(values) => {
            let channels = values.len() / SIZE.pixels();
            for (pixel, values) in content.pixels_mut().chunks_exact_mut(3).zip(values.chunks_exact(channels)) {
                pixel.iter_mut().zip(values).for_each(|(byte, value)| *byte = to_eight_bits(*value));
            }
        }
        None => content.pixels_mut().iter_mut().enumerate().for_each(|(i, value)| *value = (i / 5) as u8),
    }
    let format = StillFormat::Png;
    Still { content, format, deep, opacity, profile: Some(profile(b"RGB ")), exif: None, notes: Vec::new() }
}

fn same(frame: &Frame) -> Frame {
    let mut copy = Frame::black(frame.size);
    copy.pixels_mut().copy_from_slice(frame.pixels());
    copy
}

fn through(still: &Still, painted: &Frame, format: StillFormat) -> (Still, Vec<&'static str>) {
    let mut file = Cursor::new(Vec::new());
    let notes = still.encode(painted, format, 95, &mut file).unwrap();
    let back = Still::decode(file.get_ref()).unwrap();
    assert_eq!(back.format(), format);
    (back, notes)
}

/// What its TIFF says of the fourth channel; 2: it is opacity.
fn extra_samples(still: &Still) -> Option<u32> {
    let mut file = Cursor::new(Vec::new());
    still.encode(&still.content, StillFormat::Tiff, 95, &mut file).unwrap();
    file.set_position(0);
    tiff::decoder::Decoder::new(file).unwrap().get_tag_u32(tiff::tags::Tag::ExtraSamples).ok()
}

#[test]
fn an_untouched_picture_comes_back_with_opacity_and_profile() {
    let opacity: Vec<u8> = (0..SIZE.pixels()).map(|i| (i % 256) as u8).collect();
    let still = still(None, Some(opacity.clone()));
    for format in [StillFormat::Png, StillFormat::WebP, StillFormat::Tiff] {
        let (back, notes) = through(&still, &same(&still.content), format);
        assert_eq!(back.content.pixels(), still.content.pixels(), "{format:?}");
        assert_eq!(back.opacity.as_ref(), Some(&opacity), "{format:?}");
        assert_eq!(back.profile, still.profile, "{format:?}");
        assert!(notes.is_empty(), "{notes:?}");
    }
    assert_eq!(extra_samples(&still), Some(2));
    let (back, notes) = through(&still, &same(&still.content), StillFormat::Jpeg);
    assert!(back.opacity.is_none() && notes.len() == 1, "{notes:?}");
    assert_eq!(back.profile, still.profile);
    // What is transparent is white.
    assert!(back.content.pixels()[0] > 240);
}

#[test]
fn sixteen_bits_come_back_to_the_last_where_nothing_was_painted() {
    for channels in [3, 4] {
        let values: Vec<u16> = (0..SIZE.pixels() * channels).map(|i| (i * 7919 % 65_536) as u16).collect();
        let still = still(Some(values.clone()), None);
        for format in [StillFormat::Png, StillFormat::Tiff] {
            let (back, notes) = through(&still, &same(&still.content), format);
            assert_eq!(back.deep.as_ref(), Some(&values), "{format:?} {channels}");
            assert!(notes.is_empty(), "{notes:?}");
        }
        assert_eq!(extra_samples(&still), (channels == 4).then_some(2));
        let (back, notes) = through(&still, &same(&still.content), StillFormat::WebP);
        assert_eq!((back.deep, back.opacity.is_some()), (None, channels == 4));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }
}

#[test]
fn what_is_painted_over_sixteen_bits_is_what_was_painted_in_eight() {
    let values: Vec<u16> = (0..SIZE.pixels() * 3).map(|i| (i * 7919 % 65_536) as u16).collect();
    let still = still(Some(values), None);
    let mut painted = same(&still.content);
    painted.pixels_mut().iter_mut().for_each(|value| *value = 255 - *value);
    let (back, _) = through(&still, &painted, StillFormat::Tiff);
    let worst = back.content.pixels().iter().zip(painted.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 1, "{worst}");
}

#[test]
fn a_picture_that_lies_on_its_side_is_turned_once() {
    // A JPEG with an EXIF block that says "rotate by 90 degrees": big-endian TIFF, one entry, orientation 6.
    let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder.set_exif_metadata(exif).unwrap();
    // Left half black, right half white: turned clockwise, the upper half is black.
    let pixels: Vec<u8> = (0..16 * 8).map(|i| if i % 16 < 8 { 0 } else { 255 }).flat_map(|v| [v; 3]).collect();
    encoder.write_image(&pixels, 16, 8, ExtendedColorType::Rgb8).unwrap();
    let still = Still::decode(&file).unwrap();
    assert_eq!(still.content.size, FrameSize::new(8, 16));
    assert!(still.content.pixels()[..24].iter().all(|value| *value < 20));
    for format in [StillFormat::Jpeg, StillFormat::Png, StillFormat::WebP] {
        let (back, _) = through(&still, &same(&still.content), format);
        assert_eq!(back.content.size, still.content.size, "{format:?}");
        assert!(back.exif.is_some(), "{format:?}");
    }
}

#[test]
fn the_thumbnail_of_what_was_there_before_does_not_come_out() {
    // One entry, and a second directory at the end of the first.
    let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x02a\0\0\0\0\0\0\x1a\0\0\0\0\0\0".to_vec();
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder.set_exif_metadata(exif.clone()).unwrap();
    encoder.write_image(&[7; 12], 2, 2, ExtendedColorType::Rgb8).unwrap();
    let kept = Still::decode(&file).unwrap().exif.unwrap();
    assert_eq!((&kept[..22], &kept[22..26]), (&exif[..22], &[0; 4][..]));
}

#[test]
fn profiles_of_other_spaces_are_left_out_and_noted() {
    let mut file = Vec::new();
    let mut encoder = PngEncoder::new(&mut file);
    encoder.set_icc_profile(profile(b"GRAY")).unwrap();
    encoder.write_image(&[0, 255], 2, 1, ExtendedColorType::L8).unwrap();
    let still = Still::decode(&file).unwrap();
    assert_eq!((still.profile.is_none(), still.notes().len()), (true, 1));
    assert_eq!(still.content.pixels(), [0, 0, 0, 255, 255, 255]);
}

/// A picture with detail everywhere, as JPEG.
fn jpeg() -> Vec<u8> {
    let mut file = Vec::new();
    let pixels: Vec<u8> = (0..64 * 48 * 3).map(|i| (i * 7919 % 251) as u8).collect();
    JpegEncoder::new_with_quality(&mut file, 90).write_image(&pixels, 64, 48, ExtendedColorType::Rgb8).unwrap();
    file
}

#[test]
fn a_jpeg_without_all_of_its_pixels_is_refused_and_others_are_not() {
    let whole = jpeg();
    for length in [whole.len() / 2, whole.len() * 4 / 5, whole.len() - 200] {
        let error = Still::decode(&whole[..length]).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{length}: {error}");
    }
    let pixels = Still::decode(&whole).unwrap().content;
    // What comes after the end is nobody's, and all is there without the marker of the end.
    let longer = [whole.as_slice(), b"\0\0more\xff"].concat();
    for bytes in [&longer[..], &whole[..whole.len() - 2]] {
        assert_eq!(Still::decode(bytes).unwrap().content.pixels(), pixels.pixels());
    }
}

#[test]
fn a_webp_that_is_shorter_than_it_says_is_refused() {
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file).write_image(&[7; 12], 2, 2, ExtendedColorType::Rgb8).unwrap();
    assert!(Still::decode(&file).is_ok());
    // As of an animation whose later pictures are missing.
    let length = file.len() as u32 + 100;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    assert!(Still::decode(&file).unwrap_err().to_string().contains("cut short"));
}

#[test]
fn a_painting_whose_size_is_not_that_of_its_pixels_is_refused() {
    let still = still(None, None);
    let mut painted = Frame::black(FrameSize::new(1, 1));
    painted.size = still.content.size;
    for format in [StillFormat::Png, StillFormat::Jpeg, StillFormat::Tiff] {
        assert!(still.encode(&painted, format, 90, Cursor::new(Vec::new())).is_err());
    }
}

#[test]
fn exif_data_that_no_jpeg_holds_are_left_out_and_noted() {
    let mut still = still(None, None);
    for (length, is_kept) in [(MOST_JPEG_EXIF_BYTES, true), (MOST_JPEG_EXIF_BYTES + 1, false)] {
        let mut exif = b"MM\0\x2a\0\0\0\x08\0\0\0\0\0\0".to_vec();
        exif.resize(length, 0);
        still.exif = Some(exif);
        let (back, notes) = through(&still, &same(&still.content), StillFormat::Jpeg);
        assert_eq!((back.exif.is_some(), notes.is_empty()), (is_kept, is_kept), "{notes:?}");
        let (back, notes) = through(&still, &same(&still.content), StillFormat::Png);
        assert!(back.exif.is_some() && notes.is_empty(), "{notes:?}");
    }
}

#[test]
fn what_is_no_picture_is_refused() {
    for bytes in [&b""[..], b"no picture", b"\x89PNG\r\n\x1a\nno more", b"GIF89a"] {
        assert!(Still::decode(bytes).is_err());
    }
}

#[test]
fn a_small_file_that_declares_a_huge_picture_is_refused() {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let covered = [kind.as_slice(), data].concat();
        let crc = !covered.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        });
        [&(data.len() as u32).to_be_bytes(), covered.as_slice(), &crc.to_be_bytes()].concat()
    };
    let refusal = |bits: u8, color: u8| {
        let header = chunk(b"IHDR", &[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, bits, color, 0, 0, 0]);
        // Zlib with an empty last block.
        let pixels = chunk(b"IDAT", &[0x78, 0x01, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
        let file = [b"\x89PNG\r\n\x1a\n".as_slice(), &header, &pixels, &chunk(b"IEND", &[])].concat();
        Still::decode(&file).unwrap_err().to_string()
    };
    // 16 bits of red, green, blue and opacity, and one bit of gray.
    for ((bits, color), gigabytes) in [((16, 6), "34.4 GB"), ((1, 0), "12.9 GB")] {
        let text = refusal(bits, color);
        assert!(text.starts_with(&format!("its size is too large: 65535×65535 takes {gigabytes}")), "{text}");
    }
}

#[test]
fn a_picture_that_takes_more_memory_than_there_is_is_refused() {
    let refusal = |free: Option<u64>| {
        let mut file = Vec::new();
        PngEncoder::new(&mut file).write_image(&[0; 6000], 40, 50, ExtendedColorType::Rgb8).unwrap();
        let decoder = image::codecs::png::PngDecoder::new(Cursor::new(file)).unwrap();
        check_size(&decoder, free).err().map(|error| error.to_string())
    };
    // Its pixels, what is painted of them, and the painting.
    assert_eq!((refusal(None), refusal(Some(18_000))), (None, None));
    let text = refusal(Some(17_999)).unwrap();
    assert!(text.starts_with("40×50 takes about 0.0 GB of memory") && text.contains("scale it down"), "{text}");
}
