//! Pictures of two moments made into pictures of one, before they are taken to RGB: FFmpeg's bwdif on the planes of a
//! pipe. It needs the next picture to finish one, so that it runs a picture behind.

use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};
use ffmpeg_next as ffmpeg;

use ffmpeg::format::Pixel;
use ffmpeg::{Rational, frame};

use super::color::ColorTags;
use super::filter::{self, FilterChain, FilterInput};
use super::planes::{BitDepth, PictureLayout, Sampling, chroma_size};
use super::y4m::Interlacing;
use crate::frame::FrameSize;

/// Whether this FFmpeg can do it.
pub fn is_available() -> bool {
    filter::exists("bwdif")
}

/// Takes planes in and gives planes out, as many pictures as it got.
pub struct Deinterlacer {
    /// One for each order of the fields that may come; each gets every picture, so that all are equally far.
    chains: Vec<(Interlacing, FilterChain)>,
    /// Whether each picture says for itself if it is interlaced.
    is_mixed: bool,
    /// What was put and not taken yet.
    waiting: VecDeque<Waiting>,
    /// Bytes of a row and number of rows of each plane.
    planes: Vec<(usize, usize)>,
    picture: frame::Video,
    finished: frame::Video,
    pictures_put: i64,
}

/// How a picture that was put comes out.
enum Waiting {
    /// As it is.
    Untouched(Vec<u8>),
    /// From the chain of this place.
    Chain(usize),
}

impl Deinterlacer {
    /// A deinterlacer for pictures of `layout` and `size`.
    ///
    /// # Errors
    /// If the layout has no planes, or FFmpeg's filter does not take such pictures.
    pub fn new(layout: PictureLayout, size: FrameSize, interlacing: Interlacing) -> Result<Self> {
        let PictureLayout::Planar(sampling, depth) = layout else {
            anyhow::bail!("only pictures in planes can be deinterlaced");
        };
        let pixel = match (sampling, depth) {
            (Sampling::Yuv420, BitDepth::Eight) => Pixel::YUV420P,
            (Sampling::Yuv422, BitDepth::Eight) => Pixel::YUV422P,
            (Sampling::Yuv444, BitDepth::Eight) => Pixel::YUV444P,
            (Sampling::Mono, BitDepth::Eight) => Pixel::GRAY8,
            (Sampling::Yuv420, BitDepth::Ten) => Pixel::YUV420P10LE,
            (Sampling::Yuv422, BitDepth::Ten) => Pixel::YUV422P10LE,
            (Sampling::Yuv444, BitDepth::Ten) => Pixel::YUV444P10LE,
            (Sampling::Mono, BitDepth::Ten) => Pixel::GRAY10LE,
        };
        let sample_bytes = if depth == BitDepth::Eight { 1 } else { 2 };
        let chroma = chroma_size(sampling, size);
        let mut planes = vec![(size.width * sample_bytes, size.height)];
        if chroma.pixels() > 0 {
            planes.extend([(chroma.width * sample_bytes, chroma.height); 2]);
        }
        let input = FilterInput {
            size,
            pixel,
            time_base: Rational(1, 25),
            sample_aspect_ratio: Rational(1, 1),
            color: ColorTags::of_frame(&frame::Video::empty()),
        };
        let name = pixel.descriptor().map_or("yuv420p", |descriptor| descriptor.name());
        super::init()?;
        let is_mixed = interlacing == Interlacing::Mixed;
        let mut chains = Vec::new();
        for (order, parity) in [(Interlacing::TopFieldFirst, "tff"), (Interlacing::BottomFieldFirst, "bff")] {
            if is_mixed || interlacing == order {
                let filters = format!("bwdif=mode=send_frame:parity={parity}:deint=all,format={name}");
                chains.push((order, FilterChain::new(&input, &filters)?));
            }
        }
        Ok(Self {
            chains,
            is_mixed,
            waiting: VecDeque::new(),
            planes,
            picture: frame::Video::new(pixel, u32::try_from(size.width)?, u32::try_from(size.height)?),
            finished: frame::Video::empty(),
            pictures_put: 0,
        })
    }

    /// Takes a picture. Of mixed pictures `interlacing` counts: one that says it is progressive comes out as it is.
    ///
    /// # Errors
    /// If FFmpeg's filter fails.
    pub fn put(&mut self, bytes: &[u8], interlacing: Interlacing) -> Result<()> {
        let chain = self.chains.iter().position(|(order, _)| *order == interlacing);
        self.waiting.push_back(match chain {
            None if self.is_mixed => Waiting::Untouched(bytes.to_vec()),
            chain => Waiting::Chain(chain.unwrap_or(0)),
        });
        super::ffi::make_writable(&mut self.picture).context("deinterlace a picture")?;
        let mut rest = bytes;
        for (plane, (row_bytes, rows)) in self.planes.iter().enumerate() {
            let stride = self.picture.stride(plane);
            let (src, after) = rest.split_at_checked(row_bytes * rows).context("the picture is too short")?;
            rest = after;
            for (dst, src) in self.picture.data_mut(plane).chunks_mut(stride).zip(src.chunks_exact(*row_bytes)) {
                dst[..*row_bytes].copy_from_slice(src);
            }
        }
        self.picture.set_pts(Some(self.pictures_put));
        self.pictures_put += 1;
        self.chains.iter_mut().try_for_each(|(_, chain)| chain.put_kept(&self.picture)).context("deinterlace a picture")
    }

    /// Says that no more pictures come.
    ///
    /// # Errors
    /// If FFmpeg's filter fails.
    pub fn end(&mut self) -> Result<()> {
        self.chains.iter_mut().try_for_each(|(_, chain)| chain.end()).context("deinterlace the last picture")
    }

    /// Puts the next finished picture into `bytes`; `false` where there is none yet.
    ///
    /// # Errors
    /// If FFmpeg's filter fails.
    pub fn take(&mut self, bytes: &mut Vec<u8>) -> Result<bool> {
        let Some(waiting) = self.waiting.front() else { return Ok(false) };
        let wanted = if let Waiting::Chain(place) = waiting { *place } else { 0 };
        // The one that is wanted last, so that it is what is left.
        let order = (0..self.chains.len()).filter(|place| *place != wanted).chain([wanted]);
        for place in order {
            if self.chains[place].1.take(&mut self.finished).context("deinterlace a picture")?.is_none() {
                return Ok(false);
            }
        }
        if let Some(Waiting::Untouched(untouched)) = self.waiting.pop_front() {
            *bytes = untouched;
            return Ok(true);
        }
        bytes.clear();
        for (plane, (row_bytes, rows)) in self.planes.iter().enumerate() {
            let stride = self.finished.stride(plane);
            ensure!(plane < self.finished.planes() && stride >= *row_bytes, "the deinterlacer changed the format");
            for row in self.finished.data(plane).chunks(stride).take(*rows) {
                bytes.extend_from_slice(&row[..*row_bytes]);
            }
        }
        Ok(true)
    }
}
