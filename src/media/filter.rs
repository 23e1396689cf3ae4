//! A small chain of FFmpeg's filters with one end to put frames in and one to take them out.

use anyhow::{Context, Result};
use ffmpeg_next as ffmpeg;

use ffmpeg::format::Pixel;
use ffmpeg::{Error, Rational, filter, frame};

use super::color::ColorTags;
use super::ffi;
use crate::frame::FrameSize;

/// What goes into a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FilterInput {
    pub size: FrameSize,
    pub pixel: Pixel,
    pub time_base: Rational,
    pub sample_aspect_ratio: Rational,
    pub color: ColorTags,
}

/// A configured chain.
pub struct FilterChain {
    graph: filter::Graph,
}

/// From FFmpeg 7.0 on a buffer source is told matrix and range when it is made.
const FIRST_VERSION_WITH_COLOR_ARGUMENTS: u32 = 10;

impl FilterChain {
    /// Builds `description` (FFmpeg's filter syntax) for frames like `input`.
    pub fn new(input: &FilterInput, description: &str) -> Result<Self> {
        let build = || -> Result<filter::Graph, Error> {
            let mut graph = filter::Graph::new();
            let source = filter::find("buffer").ok_or(Error::FilterNotFound)?;
            let sink = filter::find("buffersink").ok_or(Error::FilterNotFound)?;
            graph.add(&source, "in", &source_arguments(input))?;
            graph.add(&sink, "out", "")?;
            graph.output("in", 0)?.input("out", 0)?.parse(description)?;
            graph.validate()?;
            Ok(graph)
        };
        let graph = build().with_context(|| format!("set up FFmpeg's filters '{description}'"))?;
        Ok(Self { graph })
    }

    /// Puts a frame in; its content moves into the chain.
    pub fn put(&mut self, picture: &frame::Video) -> Result<(), Error> {
        self.graph.get("in").ok_or(Error::Bug)?.source().add(picture)
    }

    /// Puts a frame in that the caller goes on using: before writing to it again it must be made writable.
    pub fn put_kept(&mut self, picture: &frame::Video) -> Result<(), Error> {
        ffi::put_kept(&mut self.graph.get("in").ok_or(Error::Bug)?, picture)
    }

    /// Says that no more frames come.
    pub fn end(&mut self) -> Result<(), Error> {
        self.graph.get("in").ok_or(Error::Bug)?.source().flush()
    }

    /// Takes the next finished frame, if there is one; with the time base of its timestamp.
    pub fn take(&mut self, picture: &mut frame::Video) -> Result<Option<Rational>, Error> {
        let mut context = self.graph.get("out").ok_or(Error::Bug)?;
        let mut sink = context.sink();
        match sink.frame(picture) {
            Ok(()) => Ok(Some(sink.time_base())),
            Err(Error::Eof | Error::Other { errno: ffmpeg::error::EAGAIN }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether this FFmpeg has the filter.
pub fn exists(name: &str) -> bool {
    filter::find(name).is_some()
}

fn source_arguments(input: &FilterInput) -> String {
    let pixel = input.pixel.descriptor().map_or("none", |descriptor| descriptor.name());
    let mut arguments = format!(
        "video_size={}x{}:pix_fmt={pixel}:time_base={}/{}:pixel_aspect={}/{}",
        input.size.width,
        input.size.height,
        input.time_base.numerator(),
        input.time_base.denominator(),
        input.sample_aspect_ratio.numerator(),
        input.sample_aspect_ratio.denominator().max(1),
    );
    if filter::version() >> 16 >= FIRST_VERSION_WITH_COLOR_ARGUMENTS {
        let matrix: ffmpeg::ffi::AVColorSpace = input.color.matrix.into();
        let range: ffmpeg::ffi::AVColorRange = input.color.range.into();
        arguments.push_str(&format!(":colorspace={}:range={}", matrix as i32, range as i32));
    }
    arguments
}
