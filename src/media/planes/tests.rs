//! Every layout there and back.

use super::*;

fn layouts() -> Vec<PictureLayout> {
    let mut layouts: Vec<_> = PictureLayout::RAW.iter().map(|(_, layout)| *layout).collect();
    for depth in [BitDepth::Eight, BitDepth::Ten] {
        for sampling in [Sampling::Yuv420, Sampling::Yuv422, Sampling::Yuv444, Sampling::Mono] {
            layouts.push(PictureLayout::Planar(sampling, depth));
        }
    }
    layouts
}

/// Gray that changes from pixel to pixel, with colour that changes from one chroma sample to the next.
fn picture(size: FrameSize, layout: PictureLayout) -> Frame {
    let mut frame = Frame::black(size);
    let is_gray = matches!(layout, PictureLayout::Planar(Sampling::Mono, _));
    for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
        let (x, y) = (index % size.width, index / size.width);
        let gray = 60 + (x * 7 + y * 13) % 120;
        let tint = if is_gray { 0 } else { (x / 2 * 5 + y / 2 * 3) % 50 };
        *pixel = [(gray + tint) as u8, gray as u8, (gray + 50 - tint) as u8];
        if is_gray {
            *pixel = [gray as u8; 3];
        }
    }
    frame
}

#[test]
fn a_picture_of_any_layout_and_size_comes_back() {
    for size in [FrameSize::new(64, 36), FrameSize::new(33, 17), FrameSize::new(1, 1), FrameSize::new(3, 2)] {
        for layout in layouts() {
            for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
                for range in [ColorRange::Limited, ColorRange::Full] {
                    let coding = YuvCoding { matrix, range };
                    let mut converter = PictureConverter::new(layout, size, coding).unwrap();
                    let frame = picture(size, layout);
                    let mut bytes = vec![0; layout.bytes(size).unwrap()];
                    converter.encode(&frame, &mut bytes).unwrap();
                    let mut back = Frame::black(size);
                    converter.decode(&bytes, &mut back).unwrap();
                    let worst = frame.pixels().iter().zip(back.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                    assert!(worst <= 3, "{layout:?} {size} {coding:?}: {worst}");
                    let mut again = vec![0; bytes.len()];
                    converter.encode(&back, &mut again).unwrap();
                    back.pixels_mut().fill(0);
                    converter.decode(&again, &mut back).unwrap();
                    let worst = frame.pixels().iter().zip(back.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                    assert!(worst <= 4, "twice: {layout:?} {size} {coding:?}: {worst}");
                }
            }
        }
    }
}

#[test]
fn a_frame_whose_size_is_not_that_of_its_pixels_is_refused() {
    let size = FrameSize::new(64, 36);
    for layout in layouts() {
        let coding = YuvCoding { matrix: Matrix::Bt709, range: ColorRange::Limited };
        let mut converter = PictureConverter::new(layout, size, coding).unwrap();
        let mut frame = Frame::black(FrameSize::new(8, 8));
        frame.size = size;
        let mut bytes = vec![0; layout.bytes(size).unwrap()];
        assert!(converter.encode(&frame, &mut bytes).is_err(), "{layout:?}");
        assert!(converter.decode(&bytes, &mut frame).is_err(), "{layout:?}");
    }
}

#[test]
fn black_white_and_primaries_have_the_numbers_of_the_standards() {
    // ITU-R BT.709-6, BT.601-7: Y, Cb and Cr of red in limited range.
    let size = FrameSize::new(2, 2);
    let layout = PictureLayout::Planar(Sampling::Yuv420, BitDepth::Eight);
    let expect = |matrix, range, rgb: [u8; 3], expected: [u8; 3]| {
        let mut converter = PictureConverter::new(layout, size, YuvCoding { matrix, range }).unwrap();
        let mut frame = Frame::black(size);
        frame.pixels_mut().as_chunks_mut::<3>().0.fill(rgb);
        let mut bytes = vec![0; 6];
        converter.encode(&frame, &mut bytes).unwrap();
        for (got, expected) in [bytes[0], bytes[4], bytes[5]].into_iter().zip(expected) {
            assert!(got.abs_diff(expected) <= 1, "{matrix:?} {range:?} {rgb:?}: {bytes:?}");
        }
    };
    expect(Matrix::Bt709, ColorRange::Limited, [0; 3], [16, 128, 128]);
    expect(Matrix::Bt709, ColorRange::Limited, [255; 3], [235, 128, 128]);
    expect(Matrix::Bt709, ColorRange::Full, [255; 3], [255, 128, 128]);
    expect(Matrix::Bt709, ColorRange::Limited, [255, 0, 0], [63, 102, 240]);
    expect(Matrix::Bt601, ColorRange::Limited, [255, 0, 0], [81, 90, 240]);
    expect(Matrix::Bt2020, ColorRange::Limited, [255, 0, 0], [74, 97, 240]);
}

#[test]
fn pictures_of_another_size_are_refused() {
    let coding = YuvCoding { matrix: Matrix::Bt709, range: ColorRange::Limited };
    let mut converter = PictureConverter::new(PictureLayout::Nv12, FrameSize::new(4, 4), coding).unwrap();
    let mut frame = Frame::black(FrameSize::new(4, 4));
    assert!(converter.decode(&[0; 23], &mut frame).is_err());
    assert!(converter.decode(&[0; 24], &mut Frame::black(FrameSize::new(4, 2))).is_err());
    assert!(PictureConverter::new(PictureLayout::Nv12, FrameSize::new(0, 4), coding).is_err());
}

#[test]
fn sizes_are_counted_without_overflow() {
    let huge = FrameSize::new(usize::MAX / 2, 3);
    assert!(layouts().iter().all(|layout| layout.bytes(huge).is_none()));
    let ten = PictureLayout::Planar(Sampling::Yuv420, BitDepth::Ten);
    assert_eq!(ten.bytes(FrameSize::new(3, 3)), Some(2 * (9 + 2 * 4)));
}
