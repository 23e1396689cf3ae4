//! From a decoder's pictures to RGB, through a chain of FFmpeg's filters that is another one where the pictures become others.

use anyhow::{Context, Result};
use ffmpeg_next as ffmpeg;

use ffmpeg::{Rational, frame};

use super::color::ColorTags;
use super::ffi;
use super::filter::{self, FilterChain, FilterInput};
use super::to_rgb::{Conversion, describe_chain, of_opacity, with_square_pixels};
use crate::frame::FrameSize;

/// Converts pictures one after the other.
pub struct Converter {
    chain: Option<Chain>,
    converted: frame::Video,
    /// Filters that turn pictures upright.
    rotation: Option<&'static str>,
    /// The shape of the pixels by the container, which counts before that by the coded pictures.
    container_shape: Option<Rational>,
    /// Whether pictures of other pixels are stretched to square ones.
    square_pixels: bool,
    /// Whether pictures that have opacity are given as it.
    opacity: bool,
    /// Whether an interlaced picture has come.
    is_interlaced: bool,
}

/// Filters, and what decided about them.
struct Chain {
    input: FilterInput,
    is_interlaced: bool,
    /// Whether they leave pictures as they are, for those that nobody sees.
    is_bare: bool,
    filters: FilterChain,
}

impl Converter {
    /// A converter that has seen nothing yet.
    pub fn new(
        rotation: Option<&'static str>,
        container_shape: Option<Rational>,
        square_pixels: bool,
        opacity: bool,
    ) -> Self {
        Self {
            chain: None,
            converted: frame::Video::empty(),
            rotation,
            container_shape,
            square_pixels,
            opacity,
            is_interlaced: false,
        }
    }

    /// Makes ready for pictures from elsewhere in the file; those that are on their way are lost.
    pub fn forget(&mut self) {
        self.chain = None;
    }

    /// What a picture of `size` is like, whose timestamp counts in `time_base`.
    pub fn look_at(&mut self, picture: &mut frame::Video, size: FrameSize, time_base: Rational) -> FilterInput {
        self.is_interlaced |= picture.is_interlaced();
        if let Some(shape) = self.container_shape {
            ffi::set_aspect_ratio(picture, shape);
        }
        FilterInput {
            size,
            pixel: picture.format(),
            time_base,
            sample_aspect_ratio: picture.aspect_ratio(),
            color: ColorTags::of_frame(picture),
        }
    }

    /// Whether an interlaced picture has come.
    pub fn is_interlaced(&self) -> bool {
        self.is_interlaced
    }

    /// Whether pictures are passed by.
    pub fn is_bare(&self) -> bool {
        self.chain.as_ref().is_some_and(|chain| chain.is_bare)
    }

    /// Whether the filters are those for such pictures, which are passed by if `is_bare`.
    pub fn takes(&self, input: &FilterInput, is_bare: bool) -> bool {
        self.chain.as_ref().is_some_and(|chain| {
            (&chain.input, chain.is_interlaced, chain.is_bare) == (input, self.is_interlaced, is_bare)
        })
    }

    /// Whether the pixels of such pictures have another shape than those before, as far as both are known.
    pub fn is_other_shape(&self, input: &FilterInput) -> bool {
        let is_other = |shape: Rational| shape != input.sample_aspect_ratio && shape.numerator() > 0;
        let shape = self.chain.as_ref().map(|chain| chain.input.sample_aspect_ratio);
        shape.is_some_and(is_other) && input.sample_aspect_ratio.numerator() > 0
    }

    /// Sets up the filters for such pictures, scaled to `size`; for the first ones of a video without it, which decide it. The filters
    /// before have to be at their end.
    ///
    /// # Errors
    /// If FFmpeg cannot set them up.
    pub fn open(&mut self, input: FilterInput, size: Option<FrameSize>) -> Result<Conversion> {
        let mut conversion = describe_chain(&input, self.is_interlaced, self.rotation, size, filter::exists);
        if self.opacity {
            conversion = of_opacity(conversion);
        }
        if self.square_pixels {
            conversion.filters = with_square_pixels(&conversion.filters, size.is_none());
        }
        let filters = FilterChain::new(&input, &conversion.filters)?;
        self.chain = Some(Chain { input, is_interlaced: self.is_interlaced, is_bare: false, filters });
        Ok(conversion)
    }

    /// The same for pictures that are passed by: each comes out as it is.
    ///
    /// # Errors
    /// If FFmpeg cannot set them up.
    pub fn open_bare(&mut self, input: FilterInput) -> Result<()> {
        let filters = FilterChain::new(&input, "null")?;
        self.chain = Some(Chain { input, is_interlaced: self.is_interlaced, is_bare: true, filters });
        Ok(())
    }

    /// Puts in a picture that the filters take; its content moves into them.
    ///
    /// # Errors
    /// If FFmpeg fails.
    pub fn put(&mut self, picture: &frame::Video) -> Result<()> {
        match &mut self.chain {
            Some(chain) => chain.filters.put(picture).context("convert a frame"),
            None => Ok(()),
        }
    }

    /// Says that no more pictures come that these filters take.
    ///
    /// # Errors
    /// If FFmpeg fails.
    pub fn end(&mut self) -> Result<()> {
        match &mut self.chain {
            Some(chain) => chain.filters.end().context("drain FFmpeg's filters"),
            None => Ok(()),
        }
    }

    /// Goes on to the next finished picture, if there is one; with the time base of its timestamp.
    ///
    /// # Errors
    /// If FFmpeg fails.
    pub fn take(&mut self) -> Result<Option<Rational>> {
        match &mut self.chain {
            Some(chain) => chain.filters.take(&mut self.converted).context("convert a frame"),
            None => Ok(None),
        }
    }

    /// The finished picture.
    pub fn converted(&self) -> &frame::Video {
        &self.converted
    }
}
