//! Kinds of picture files, and what each can hold.

use std::io::BufReader;
use std::path::Path;

use anyhow::Result;
use image::{ImageFormat, ImageReader};

use crate::input;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillFormat {
    /// 8 or 16 bit, with transparency.
    Png,
    /// 8 bit, with losses.
    Jpeg,
    /// 8 bit, with transparency; read with losses, written without.
    WebP,
    /// 8 or 16 bit, with transparency.
    Tiff,
}

impl StillFormat {
    /// The formats by name.
    pub const NAMES: [(&str, Self); 4] =
        [("png", Self::Png), ("jpeg", Self::Jpeg), ("webp", Self::WebP), ("tiff", Self::Tiff)];

    /// The format that the name of a file asks for.
    pub fn of_path(path: &Path) -> Option<Self> {
        Self::of_extension(&path.extension()?.to_string_lossy())
    }

    /// The format that an extension stands for, whatever its case.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension.to_ascii_lowercase().as_str() {
            "png" => Self::Png,
            "jpg" | "jpeg" => Self::Jpeg,
            "webp" => Self::WebP,
            "tif" | "tiff" => Self::Tiff,
            _ => return None,
        })
    }

    /// The format of a file, as its first bytes say; `None`: it is no picture.
    ///
    /// # Errors
    /// If it cannot be read, or is no regular file.
    pub fn of_file(path: &Path) -> Result<Option<Self>> {
        let reader = ImageReader::new(BufReader::new(input::open(path)?)).with_guessed_format()?;
        Ok(reader.format().and_then(Self::of))
    }

    /// The usual extension, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Tiff => "tif",
        }
    }

    pub(super) fn of(format: ImageFormat) -> Option<Self> {
        Some(match format {
            ImageFormat::Png => Self::Png,
            ImageFormat::Jpeg => Self::Jpeg,
            ImageFormat::WebP => Self::WebP,
            ImageFormat::Tiff => Self::Tiff,
            _ => return None,
        })
    }

    pub(super) fn holds_transparency(self) -> bool {
        self != Self::Jpeg
    }

    pub(super) fn holds_sixteen_bits(self) -> bool {
        matches!(self, Self::Png | Self::Tiff)
    }
}
