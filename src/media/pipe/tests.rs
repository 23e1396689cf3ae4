//! Pipes of a few bytes.

use proptest::prelude::*;

use super::*;

const RGB: PictureLayout = PictureLayout::Rgb24;

fn raw(layout: PictureLayout, width: usize, height: usize) -> PipeOptions {
    let raw = RawVideo { layout, size: FrameSize::new(width, height), frame_rate: Rational(25, 1) };
    PipeOptions { raw: Some(raw), ..PipeOptions::default() }
}

/// Gives at most so many bytes at a time, as a pipe may.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

/// Everything that comes out for what goes in, or the error.
fn pass(bytes: &[u8], step: usize, options: PipeOptions) -> Result<Vec<u8>> {
    let mut reader = PipeReader::new(Trickle(bytes, step), options)?;
    let mut out = Vec::new();
    let mut writer = PipeWriter::new(&mut out, reader.format())?;
    while let Some(frame) = reader.next_frame()? {
        writer.write(&frame)?;
    }
    drop(writer);
    Ok(out)
}

fn y4m(header: &str, picture: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 {header}\n").into_bytes();
    for _ in 0..count {
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend_from_slice(picture);
    }
    bytes
}

#[test]
fn gray_comes_through_every_layout_as_it_was() {
    for (space, bytes) in [("420jpeg", 6), ("420paldv", 6), ("422", 8), ("444", 12)] {
        let stream = y4m(&format!("W2 H2 F25:1 A4:3 C{space} Xyz"), &vec![128; bytes], 3);
        assert_eq!(pass(&stream, 7, PipeOptions::default()).unwrap(), stream, "{space}");
    }
    let stream = y4m("W2 H2 F25:1 Cmono", &[16, 100, 200, 235], 2);
    assert_eq!(pass(&stream, 1, PipeOptions::default()).unwrap(), stream);
    let stream = y4m("W1 H1 Cmono10", &400_u16.to_le_bytes(), 2);
    let out = pass(&stream, 3, PipeOptions::default()).unwrap();
    let sample = u16::from_le_bytes([out[out.len() - 2], out[out.len() - 1]]);
    assert!(sample.abs_diff(400) <= 2, "{sample}");
}

#[test]
fn a_stream_without_frames_is_a_header() {
    let stream = y4m("W2 H2 F25:1", &[], 0);
    assert_eq!(pass(&stream, 9, PipeOptions::default()).unwrap(), stream);
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_an_error_with_its_number() {
    let stream = y4m("W2 H2 F25:1 Cmono", &[1, 2, 3, 4], 3);
    for missing in 1..=4 {
        let error = pass(&stream[..stream.len() - missing], 5, PipeOptions::default()).unwrap_err().to_string();
        assert!(error.contains("inside frame 2"), "{missing}: {error}");
    }
    let error = pass(&[0; 25], 4, raw(RGB, 2, 2)).unwrap_err().to_string();
    assert!(error.contains("inside frame 2, after 1 of its 12 bytes"), "{error}");
    let eof = pass(&[0; 25], 4, raw(RGB, 2, 2)).unwrap_err();
    assert_eq!(eof.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    for options in [PipeOptions::default(), raw(RGB, 2, 2)] {
        assert!(pass(b"", 4, options).unwrap_err().to_string().contains("the stream is empty"));
    }
}

#[test]
fn a_header_that_lies_about_its_size_costs_no_memory() {
    let stream = y4m("W9000 H9000 F25:1 C420jpeg", &[0; 100_000], 1);
    let mut reader = PipeReader::new(stream.as_slice(), PipeOptions::default()).unwrap();
    let error = reader.next_frame().unwrap_err().to_string();
    assert!(error.contains("after 100000 of its 121500000 bytes"), "{error}");
    assert!(reader.picture.capacity() < 300_000, "{}", reader.picture.capacity());
    let writer = PipeWriter::new(Vec::new(), reader.format()).unwrap();
    assert!(writer.bytes.capacity() < 1000, "{}", writer.bytes.capacity());

    for header in ["W65535 H65535", "W65535 H9000 C444p10"] {
        let error = pass(&y4m(header, &[], 0), 99, PipeOptions::default()).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
    }
    assert!(pass(&[], 99, raw(RGB, 65_535, 65_535)).unwrap_err().to_string().contains("too large"));
}

#[test]
fn the_range_is_taken_from_the_option_then_from_the_header() {
    let header = |line: &str, range| {
        let stream = y4m(line, &[], 0);
        let out = pass(&stream, 99, PipeOptions { range, ..PipeOptions::default() }).unwrap();
        String::from_utf8(out).unwrap()
    };
    let full = Some(ColorRange::Full);
    assert_eq!(header("W2 H2", None), "YUV4MPEG2 W2 H2\n");
    assert_eq!(header("W2 H2", full), "YUV4MPEG2 W2 H2 XCOLORRANGE=FULL\n");
    assert_eq!(header("W2 H2 XCOLORRANGE=FULL", None), "YUV4MPEG2 W2 H2 XCOLORRANGE=FULL\n");
    assert_eq!(header("W2 H2 XCOLORRANGE=FULL", Some(ColorRange::Limited)), "YUV4MPEG2 W2 H2 XCOLORRANGE=LIMITED\n");
    // White of full range is 255, of limited range 235.
    let white = |options: PipeOptions| {
        let stream = y4m("W1 H1 Cmono", &[235], 1);
        let mut reader = PipeReader::new(stream.as_slice(), options).unwrap();
        reader.next_frame().unwrap().unwrap().pixels()[0]
    };
    assert_eq!(white(PipeOptions::default()), 255);
    assert_eq!(white(PipeOptions { range: full, ..PipeOptions::default() }), 235);
}

#[test]
fn a_cut_off_interlaced_stream_gives_all_its_whole_pictures_before_the_error() {
    let mut stream = y4m("W8 H8 F25:1 It C422", &[128; 128], 4);
    stream.truncate(stream.len() - 100);
    let mut reader = PipeReader::new(stream.as_slice(), PipeOptions::default()).unwrap();
    for _ in 0..3 {
        assert!(reader.next_frame().unwrap().is_some());
    }
    let error = reader.next_frame().unwrap_err().to_string();
    assert!(error.contains("ends inside frame 3"), "{error}");
    assert!(reader.next_frame().unwrap().is_none());
}

#[test]
fn in_a_mixed_stream_progressive_pictures_stay_as_they_are() {
    // Rows that change at every line, and from one picture to the next: what a deinterlacer makes even.
    let lines = |first: u8| -> Vec<u8> {
        (0..64).map(|at| if at / 8 % 2 == 0 { first } else { 240 - first }).chain([128; 64]).collect()
    };
    let pictures = [("I1pp", lines(60)), ("Itii", lines(180)), ("I1pp", lines(60)), ("I1pp", lines(180))];
    let mut stream = b"YUV4MPEG2 W8 H8 F25:1 Im C422\n".to_vec();
    for (kind, picture) in &pictures {
        stream.extend([format!("FRAME {kind}\n").as_bytes(), picture].concat());
    }
    let out = pass(&stream, 999, PipeOptions::default()).unwrap();
    let given = out[out.len() - 4 * 134..].chunks_exact(134).map(|frame| &frame[6..]);
    let is_untouched: Vec<bool> = given.zip(&pictures).map(|(given, (_, picture))| given == picture).collect();
    assert_eq!(is_untouched, [true, false, true, true]);
}

#[test]
fn in_a_mixed_stream_each_picture_says_which_field_comes_first() {
    let picture = |seed: usize| -> Vec<u8> { (0..128).map(|at| ((at * 37 + seed * 91) % 200) as u8 + 20).collect() };
    let passed = |header: &str, frame: &str| {
        let mut stream = format!("YUV4MPEG2 W8 H8 F25:1 {header} C422\n").into_bytes();
        (0..4).for_each(|seed| stream.extend([frame.as_bytes(), b"\n", &picture(seed)].concat()));
        pass(&stream, 999, PipeOptions::default()).unwrap()
    };
    let (top, bottom) = (passed("It", "FRAME"), passed("Ib", "FRAME"));
    assert_ne!(top, bottom);
    assert_eq!((passed("Im", "FRAME Itii"), passed("Im", "FRAME Ibii")), (top, bottom));
}

#[test]
fn interlaced_pictures_come_out_progressive_and_all_of_them() {
    for (flag, count) in [("t", 5), ("b", 1), ("m", 2)] {
        let stream = y4m(&format!("W8 H8 F25:1 I{flag} C422"), &[128; 128], count);
        let out = pass(&stream, 999, PipeOptions::default()).unwrap();
        assert_eq!(out, y4m("W8 H8 F25:1 Ip C422", &[128; 128], count), "{flag}");
    }
    let stream = y4m("W8 H8 F25:1 It Cmono10", &[0; 128], 2);
    let out = pass(&stream, 999, PipeOptions::default()).unwrap();
    assert_eq!(out.len(), stream.len());
}

#[test]
fn formats_change_only_if_asked() {
    let reader = PipeReader::new([0; 12].as_slice(), raw(RGB, 2, 2)).unwrap();
    let y4m = reader.format().to_y4m().unwrap();
    let header = String::from_utf8(y4m.header.as_ref().unwrap().to_line()).unwrap();
    assert_eq!(header, "YUV4MPEG2 W2 H2 F25:1 Ip A1:1 C444\n");
    assert_eq!(y4m.to_raw(RGB), *reader.format());
}

#[test]
fn a_reader_that_has_gone_away_is_told_from_other_errors() {
    struct Closed(io::ErrorKind);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let reader = PipeReader::new([0; 12].as_slice(), raw(RGB, 2, 2)).unwrap();
    let frame = Frame::black(FrameSize::new(2, 2));
    for (kind, has_left) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
        let error = PipeWriter::new(Closed(kind), reader.format()).unwrap().write(&frame).unwrap_err();
        assert_eq!(error.is::<ReaderLeft>(), has_left);
    }
}

proptest! {
    #[test]
    fn rgb_comes_out_as_it_went_in(
        width in 1..9_usize, height in 1..9_usize, count in 1..4_usize, step in 1..50_usize, seed in any::<u8>(),
    ) {
        let length = width * height * 3 * count;
        let bytes: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(37).wrapping_add(seed)).collect();
        for layout in [PictureLayout::Rgb24, PictureLayout::Bgr24] {
            prop_assert_eq!(&pass(&bytes, step, raw(layout, width, height)).unwrap(), &bytes);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic_or_take_much_memory(
        rest in "( [WHFIACX][-+0-9a-z:=]{0,6}){0,8}",
        frames in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut bytes = format!("YUV4MPEG2 W5 H3{rest}\nFRAME\n").into_bytes();
        bytes.extend(frames);
        if let Ok(mut reader) = PipeReader::new(bytes.as_slice(), PipeOptions::default()) {
            while let Ok(Some(_)) = reader.next_frame() {}
            prop_assert!(reader.picture.capacity() <= 2 * PipeReader::<&[u8]>::FIRST_GROWTH_BYTES);
        }
    }
}
