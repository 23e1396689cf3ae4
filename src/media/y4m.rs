//! YUV4MPEG2, the format in which programs hand uncompressed video to each other: a line of parameters, then a line and
//! the bytes of a picture for each frame. mjpegtools' yuv4mpeg(5) describes it.
//!
//! The crate `y4m` was looked at and left: it takes a stream that ends inside a frame for one that ends well, allocates
//! what a header claims before anything has come, and knows neither gray of ten bits nor interlacing. What cannot be
//! said again is kept as it came: parameters that mean nothing here are passed on.

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result, bail, ensure};
use ffmpeg_next::Rational;

use super::planes::{BitDepth, ColorRange, PictureLayout, Sampling};
use crate::frame::FrameSize;

/// What a stream begins with.
const MAGIC: &[u8] = b"YUV4MPEG2";
/// What each frame begins with.
const FRAME_MAGIC: &[u8] = b"FRAME";
/// The longest line of parameters that is read.
const MAX_LINE_BYTES: u64 = 4096;
const RANGE_KEY: &[u8] = b"XCOLORRANGE=";

/// The stream does not begin as one of y4m does.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stream is no y4m: it begins with '{begins_with}' (expected 'YUV4MPEG2 ')")]
pub struct NotY4m {
    begins_with: String,
}

/// Which lines of a picture belong to which moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interlacing {
    /// All to one; also where the stream does not say.
    Progressive,
    /// The upper of each two to the earlier.
    TopFieldFirst,
    /// The lower of each two to the earlier.
    BottomFieldFirst,
    /// Told for each frame.
    Mixed,
}

/// Every way of the format to say how its pictures are laid out; the first that fits is written.
const COLOR_SPACES: &[(&[u8], PictureLayout)] = {
    use BitDepth::{Eight, Ten};
    use PictureLayout::Planar;
    use Sampling::{Mono, Yuv420, Yuv422, Yuv444};
    &[
        (b"420mpeg2", Planar(Yuv420, Eight)),
        (b"420jpeg", Planar(Yuv420, Eight)),
        (b"420paldv", Planar(Yuv420, Eight)),
        (b"420", Planar(Yuv420, Eight)),
        (b"422", Planar(Yuv422, Eight)),
        (b"444", Planar(Yuv444, Eight)),
        (b"mono", Planar(Mono, Eight)),
        (b"420p10", Planar(Yuv420, Ten)),
        (b"422p10", Planar(Yuv422, Ten)),
        (b"444p10", Planar(Yuv444, Ten)),
        (b"mono10", Planar(Mono, Ten)),
    ]
};

/// The first line of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Y4mHeader {
    /// Letter and value of each parameter, in order.
    parameters: Vec<Vec<u8>>,
    size: FrameSize,
    frame_rate: Rational,
    interlacing: Interlacing,
    layout: PictureLayout,
    range: Option<ColorRange>,
}

impl Y4mHeader {
    /// A header for progressive pictures of square pixels; `None` where the format has no such layout.
    pub fn new(size: FrameSize, frame_rate: Rational, layout: PictureLayout, range: ColorRange) -> Option<Self> {
        let (name, _) = COLOR_SPACES.iter().find(|(_, known)| *known == layout)?;
        let rate = format!("F{}:{}", frame_rate.numerator(), frame_rate.denominator());
        let texts = [format!("W{}", size.width), format!("H{}", size.height), rate, "Ip".into(), "A1:1".into()];
        let mut parameters: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
        parameters.push([b"C", *name].concat());
        let interlacing = Interlacing::Progressive;
        let mut header = Self { parameters, size, frame_rate, interlacing, layout, range: None };
        // Limited is what every reader takes it for, and some know no word for it.
        if range == ColorRange::Full {
            header.set_range(range);
        }
        Some(header)
    }

    /// Understands a line, without its end.
    ///
    /// # Errors
    /// [`NotY4m`] if it does not begin as it should; else what is missing, wrong or unknown.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let rest = line.strip_prefix(MAGIC).filter(|rest| rest.is_empty() || rest.starts_with(b" "));
        let Some(rest) = rest else {
            bail!(NotY4m { begins_with: line[..line.len().min(16)].escape_ascii().to_string() });
        };
        let parameters: Vec<Vec<u8>> =
            rest.split(|byte| *byte == b' ').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect();
        let value = |letter: u8| {
            parameters.iter().rev().find_map(|parameter| parameter.strip_prefix(&[letter]).map(<[u8]>::to_vec))
        };
        let side = |letter: u8, name: &str| -> Result<usize> {
            let value = value(letter).with_context(|| format!("the y4m header has no {name}"))?;
            number(&value).filter(|side| (1..=65_535).contains(side)).map(|side| side as usize).with_context(|| {
                format!("the y4m header has a {name} of '{}' (expected 1 to 65535)", value.escape_ascii())
            })
        };
        let size = FrameSize::new(side(b'W', "width")?, side(b'H', "height")?);
        let frame_rate = match value(b'F') {
            None => Rational(0, 0),
            Some(value) => ratio(&value).with_context(|| {
                format!("the y4m header has a frame rate of '{}' (expected one like 25:1)", value.escape_ascii())
            })?,
        };
        let interlacing = match value(b'I').as_deref() {
            Some(b"t") => Interlacing::TopFieldFirst,
            Some(b"b") => Interlacing::BottomFieldFirst,
            Some(b"m") => Interlacing::Mixed,
            None | Some(b"p" | b"?") => Interlacing::Progressive,
            Some(other) => {
                bail!("the y4m header has an interlacing of '{}' (expected p, t, b, m or ?)", other.escape_ascii())
            }
        };
        let layout = match value(b'C') {
            None => PictureLayout::Planar(Sampling::Yuv420, BitDepth::Eight),
            Some(value) => COLOR_SPACES
                .iter()
                .find_map(|(name, layout)| (*name == value).then_some(*layout))
                .with_context(|| unknown_color_space(&value))?,
        };
        let range = parameters.iter().find_map(|parameter| match parameter.strip_prefix(RANGE_KEY) {
            Some(b"FULL") => Some(ColorRange::Full),
            Some(b"LIMITED") => Some(ColorRange::Limited),
            _ => None,
        });
        Ok(Self { parameters, size, frame_rate, interlacing, layout, range })
    }

    /// The line, with its end.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = MAGIC.to_vec();
        for parameter in &self.parameters {
            line.push(b' ');
            line.extend_from_slice(parameter);
        }
        line.push(b'\n');
        line
    }

    /// Size of the pictures.
    pub fn size(&self) -> FrameSize {
        self.size
    }

    /// Frames a second; a part is 0 where the stream does not say.
    pub fn frame_rate(&self) -> Rational {
        self.frame_rate
    }

    /// How lines and moments go together.
    pub fn interlacing(&self) -> Interlacing {
        self.interlacing
    }

    /// How the pictures are laid out.
    pub fn layout(&self) -> PictureLayout {
        self.layout
    }

    /// Which numbers are black and white, if the stream says so.
    pub fn range(&self) -> Option<ColorRange> {
        self.range
    }

    /// Says that the pictures are progressive.
    pub fn set_progressive(&mut self) {
        self.interlacing = Interlacing::Progressive;
        self.replace(b"I", b"Ip".to_vec());
    }

    /// Says which numbers are black and white.
    pub fn set_range(&mut self, range: ColorRange) {
        self.range = Some(range);
        let name: &[u8] = if range == ColorRange::Full { b"FULL" } else { b"LIMITED" };
        self.replace(RANGE_KEY, [RANGE_KEY, name].concat());
    }

    /// Puts `parameter` in the place of those that begin with `prefix`, or at the end.
    fn replace(&mut self, prefix: &[u8], parameter: Vec<u8>) {
        let place = self.parameters.iter().position(|known| known.starts_with(prefix));
        self.parameters.retain(|known| !known.starts_with(prefix));
        self.parameters.insert(place.unwrap_or(self.parameters.len()).min(self.parameters.len()), parameter);
    }
}

fn unknown_color_space(value: &[u8]) -> String {
    let names: Vec<String> = COLOR_SPACES.iter().map(|(name, _)| name.escape_ascii().to_string()).collect();
    format!("the y4m header has a colour space of '{}' (expected {})", value.escape_ascii(), names.join(", "))
}

fn number(digits: &[u8]) -> Option<i32> {
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_plain)?.parse().ok()
}

fn ratio(text: &[u8]) -> Option<Rational> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some(Rational(number(&text[..colon])?, number(&text[colon + 1..])?))
}

/// Reads the first line of a stream.
///
/// # Errors
/// If the stream is empty, cannot be read, or does not begin with a header that can be understood.
pub fn read_header(input: &mut impl BufRead) -> Result<Y4mHeader> {
    let line = read_line(input).context("cannot read the stream")?;
    ensure!(!line.is_empty(), "the stream is empty");
    let header = Y4mHeader::parse(line.strip_suffix(b"\n").unwrap_or(&line))?;
    ensure!(
        line.ends_with(b"\n"),
        "the stream ends inside its header, or its header is longer than {MAX_LINE_BYTES} bytes"
    );
    Ok(header)
}

/// What the line before a frame says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLine {
    /// In a stream of mixed frames: how its lines and moments go together; never mixed.
    pub interlacing: Interlacing,
}

impl FrameLine {
    /// `I` and three letters: how it is shown (`b` and `B`: the lower field first), how it was sampled in time (`p`, `i`), and how in
    /// space.
    fn parse(parameters: &[u8]) -> Self {
        let told = parameters.split(|byte| *byte == b' ').find_map(|parameter| parameter.strip_prefix(b"I"));
        let interlacing = match told.unwrap_or_default() {
            [_, b'p', ..] => Interlacing::Progressive,
            [b'b' | b'B', ..] => Interlacing::BottomFieldFirst,
            _ => Interlacing::TopFieldFirst,
        };
        Self { interlacing }
    }
}

/// Reads the line before a frame; `None` at the end of the stream.
///
/// # Errors
/// If the stream cannot be read or no frame begins here.
pub fn read_frame_line(input: &mut impl BufRead, frame_index: u64) -> Result<Option<FrameLine>> {
    let line = read_line(input).with_context(|| format!("cannot read frame {frame_index} of the stream"))?;
    if line.is_empty() {
        return Ok(None);
    }
    match line.strip_prefix(FRAME_MAGIC) {
        Some(rest) if line.ends_with(b"\n") && (rest == b"\n" || rest.starts_with(b" ")) => {
            Ok(Some(FrameLine::parse(rest.trim_ascii_end())))
        }
        _ if FRAME_MAGIC.starts_with(&line) => bail!("the stream ends inside the header of frame {frame_index}"),
        _ => bail!(
            "frame {frame_index} begins with '{}' (expected 'FRAME': the stream is damaged, or its frames have another \
             size than its header says)",
            line[..line.len().min(16)].escape_ascii()
        ),
    }
}

/// A line with its end, but not more of it than is sensible.
fn read_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Puts the line before a frame into `bytes`.
pub fn write_frame_line(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(FRAME_MAGIC);
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Y4mHeader> {
        Y4mHeader::parse(line.as_bytes())
    }

    #[test]
    fn a_header_of_ffmpeg_is_understood() {
        let header =
            parse("YUV4MPEG2 W1920 H1080 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED").unwrap();
        assert_eq!(header.size(), FrameSize::new(1920, 1080));
        assert_eq!((header.frame_rate().0, header.frame_rate().1), (30000, 1001));
        assert_eq!(header.interlacing(), Interlacing::Progressive);
        assert_eq!(header.layout(), PictureLayout::Planar(Sampling::Yuv420, BitDepth::Eight));
        assert_eq!(header.range(), Some(ColorRange::Limited));
    }

    #[test]
    fn a_header_of_vapoursynth_is_understood() {
        let header = parse("YUV4MPEG2 C422p10 F24000:1001 Ip A0:0 W640 H360 XLENGTH=240").unwrap();
        assert_eq!((header.size(), header.range()), (FrameSize::new(640, 360), None));
        assert_eq!(header.layout(), PictureLayout::Planar(Sampling::Yuv422, BitDepth::Ten));
        assert!(header.to_line().ends_with(b" XLENGTH=240\n"));
    }

    #[test]
    fn what_is_left_out_has_its_usual_meaning() {
        let header = parse("YUV4MPEG2 H2 W4").unwrap();
        assert_eq!(header.size(), FrameSize::new(4, 2));
        assert_eq!(header.layout(), PictureLayout::Planar(Sampling::Yuv420, BitDepth::Eight));
        assert_eq!((header.interlacing(), header.range()), (Interlacing::Progressive, None));
        assert_eq!(header.frame_rate().0, 0);
    }

    #[test]
    fn what_changes_is_said_and_the_rest_is_passed_on() {
        let mut header = parse("YUV4MPEG2 W4 H2 F25:1 It A12:11 C422 Xhello").unwrap();
        assert_eq!(header.interlacing(), Interlacing::TopFieldFirst);
        header.set_progressive();
        header.set_range(ColorRange::Full);
        assert_eq!(header.to_line(), b"YUV4MPEG2 W4 H2 F25:1 Ip A12:11 C422 Xhello XCOLORRANGE=FULL\n");
        header.set_range(ColorRange::Limited);
        assert_eq!(header.to_line(), b"YUV4MPEG2 W4 H2 F25:1 Ip A12:11 C422 Xhello XCOLORRANGE=LIMITED\n");
    }

    #[test]
    fn wrong_headers_are_refused_with_what_was_expected() {
        let cases = [
            ("RIFF1234", "it begins with 'RIFF1234'"),
            ("YUV4MPEG22 W4 H2", "no y4m"),
            ("YUV4MPEG2 W4", "no height"),
            ("YUV4MPEG2 W0 H2", "width of '0'"),
            ("YUV4MPEG2 W4 H99999999999999999999", "height of '99999999999999999999'"),
            ("YUV4MPEG2 W+4 H2", "width of '+4'"),
            ("YUV4MPEG2 W4 H2 F25", "frame rate of '25'"),
            ("YUV4MPEG2 W4 H2 C411", "colour space of '411' (expected 420mpeg2"),
            ("YUV4MPEG2 W4 H2 Ix", "interlacing of 'x'"),
        ];
        for (line, expected) in cases {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(parse("RIFF").unwrap_err().is::<NotY4m>());
    }

    #[test]
    fn the_line_before_a_frame_may_have_parameters() {
        for (line, interlacing) in [
            ("FRAME\n", Some(Interlacing::TopFieldFirst)),
            ("FRAME Itii Xa=b\n", Some(Interlacing::TopFieldFirst)),
            ("FRAME IBii\n", Some(Interlacing::BottomFieldFirst)),
            ("FRAME I1pp\n", Some(Interlacing::Progressive)),
            ("FRAME XIp I1pp Xa=b\n", Some(Interlacing::Progressive)),
            ("", None),
        ] {
            let expected = interlacing.map(|interlacing| FrameLine { interlacing });
            assert_eq!(read_frame_line(&mut line.as_bytes(), 3).unwrap(), expected, "{line}");
        }
        for (line, expected) in [("FRA", "ends inside the header of frame 3"), ("FRAMES\n", "frame 3 begins with")] {
            let error = read_frame_line(&mut line.as_bytes(), 3).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Y4mHeader::parse(&bytes);
            let _ = read_header(&mut bytes.as_slice());
            let _ = read_frame_line(&mut bytes.as_slice(), 0);
        }

        #[test]
        fn no_line_that_looks_like_a_header_makes_it_panic(rest in "( [WHFIACX][-+0-9a-z:=]{0,12}){0,8}") {
            let _ = parse(&format!("YUV4MPEG2{rest}"));
        }

        #[test]
        fn a_header_comes_out_as_it_went_in(
            width in 1..=65_535_usize,
            height in 1..=65_535_usize,
            rate in (0..=i32::MAX, 0..=i32::MAX),
            interlacing in "[ptbm?]",
            space in 0..COLOR_SPACES.len(),
            comment in "X[!-~]{0,40}",
        ) {
            let (name, layout) = COLOR_SPACES[space];
            let name = name.escape_ascii();
            let line = format!(
                "YUV4MPEG2 W{width} H{height} F{}:{} I{interlacing} A1:1 C{name} {comment}\n", rate.0, rate.1
            );
            let header = read_header(&mut line.as_bytes()).unwrap();
            prop_assert_eq!(header.to_line(), line.into_bytes());
            prop_assert_eq!(header.size(), FrameSize::new(width, height));
            prop_assert_eq!(header.layout(), layout);
            prop_assert_eq!((header.frame_rate().0, header.frame_rate().1), rate);
        }
    }
}
