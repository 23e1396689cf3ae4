//! A virtual camera: pictures into a v4l2loopback device, from which meeting programs take them as from a webcam.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::planes::{BitDepth, PictureConverter, PictureLayout, Sampling, YuvCoding};
use super::v4l2::{self, FourCc};
use super::{ColorRange, Matrix};
use crate::frame::{Frame, FrameSize};

/// The device, ready for pictures of one size.
pub struct VirtualCamera {
    path: PathBuf,
    device: File,
    picture: CameraPicture,
}

impl VirtualCamera {
    /// Opens `path`, a device of v4l2loopback, for frames of `size`.
    ///
    /// # Errors
    /// When there is no such device, it is none that takes pictures, or it insists on another size or format.
    pub fn open(path: &Path, size: FrameSize) -> Result<Self> {
        let open = || -> Result<(File, CameraPicture)> {
            let device = OpenOptions::new().read(true).write(true).open(path).map_err(explain)?;
            let identity = v4l2::identify(&device).map_err(|_| NotAVideoDevice)?;
            if identity.capabilities & v4l2::TAKES_OUTPUT == 0 {
                bail!(
                    "'{}' takes no pictures, it gives some: it is a camera (expected a device of v4l2loopback)",
                    identity.card
                );
            }
            let picture = negotiate(size, |format, size| {
                let (bytes_per_line, bytes) = format.bytes(size);
                let size = (u32::try_from(size.width)?, u32::try_from(size.height)?);
                v4l2::set_output_format(
                    &device,
                    format.four_cc(),
                    size,
                    u32::try_from(bytes_per_line)?,
                    u32::try_from(bytes)?,
                )
                .context("the device refuses the size")
            })?;
            Ok((device, picture))
        };
        let (device, picture) = open().with_context(|| format!("open the virtual camera '{}'", path.display()))?;
        Ok(Self { path: path.to_owned(), device, picture })
    }

    /// The device.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a frame to whoever watches. Blocks while the device takes it.
    ///
    /// # Errors
    /// When the frame has another size, or the device is gone.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        let bytes = self.picture.convert(frame)?;
        self.device.write_all(bytes).with_context(|| format!("write to the virtual camera '{}'", self.path.display()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it is no video device (expected a device of v4l2loopback, like /dev/video10)")]
struct NotAVideoDevice;

fn explain(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!(
            "there is no such device (`sudo modprobe v4l2loopback exclusive_caps=1 video_nr=10` makes /dev/video10; the \
             module comes with the package v4l2loopback-dkms)"
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("this user may not use it (members of the group 'video' may)")
        }
        _ if error.raw_os_error() == Some(16) => {
            anyhow::anyhow!("another program writes to it (choose another device)")
        }
        _ => error.into(),
    }
}

/// The formats that meeting programs take, the most widely taken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CameraFormat {
    /// 4:2:2, luma and the two differences in turn.
    Yuyv,
    /// 4:2:0 in three planes.
    Yuv420,
}

impl CameraFormat {
    const ALL: [Self; 2] = [Self::Yuyv, Self::Yuv420];

    fn four_cc(self) -> FourCc {
        match self {
            Self::Yuyv => *b"YUYV",
            Self::Yuv420 => *b"YU12",
        }
    }

    /// Bytes of a row (of luma, where planes are apart) and of a picture. Sizes are even.
    fn bytes(self, size: FrameSize) -> (usize, usize) {
        match self {
            Self::Yuyv => (size.width * 2, size.pixels() * 2),
            Self::Yuv420 => (size.width, size.pixels() * 3 / 2),
        }
    }
}

/// Finds a format that the device takes. `ask` sets one and tells what the device makes of it: one that a program is
/// watching keeps to what that was told.
fn negotiate(
    size: FrameSize,
    ask: impl Fn(CameraFormat, FrameSize) -> Result<(FourCc, (u32, u32))>,
) -> Result<CameraPicture> {
    // Both formats have one chroma sample for two columns, and one of them for two rows.
    let size = FrameSize::new(size.width & !1, size.height & !1);
    ensure!(size.pixels() > 0, "a picture of {size} is too small for a virtual camera");
    let mut answer = ask(CameraFormat::Yuyv, size)?;
    if answer.0 != CameraFormat::Yuyv.four_cc() {
        answer = ask(CameraFormat::Yuv420, size)?;
    }
    let (four_cc, (width, height)) = answer;
    let taken = FrameSize::new(width as usize, height as usize);
    let format = CameraFormat::ALL.into_iter().find(|format| format.four_cc() == four_cc).with_context(|| {
        format!("the device insists on pictures in {} (expected YUYV or YU12)", String::from_utf8_lossy(&four_cc))
    })?;
    ensure!(
        taken == size,
        "the device insists on pictures of {taken}, ours are {size} (is another program watching it? close that one first)"
    );
    CameraPicture::new(format, size)
}

/// Turns frames into what the device takes: BT.601, limited range, as webcams give.
struct CameraPicture {
    format: CameraFormat,
    size: FrameSize,
    converter: PictureConverter,
    planes: Vec<u8>,
    bytes: Vec<u8>,
    cropped: Option<Frame>,
}

impl CameraPicture {
    fn new(format: CameraFormat, size: FrameSize) -> Result<Self> {
        let sampling = match format {
            CameraFormat::Yuyv => Sampling::Yuv422,
            CameraFormat::Yuv420 => Sampling::Yuv420,
        };
        let layout = PictureLayout::Planar(sampling, BitDepth::Eight);
        let converter =
            PictureConverter::new(layout, size, YuvCoding { matrix: Matrix::Bt601, range: ColorRange::Limited })?;
        let planes = vec![0; layout.bytes(size).context("the picture is too large")?];
        Ok(Self { format, size, converter, planes, bytes: Vec::new(), cropped: None })
    }

    fn convert(&mut self, frame: &Frame) -> Result<&[u8]> {
        let is_odd = frame.size != self.size;
        if is_odd {
            let even = FrameSize::new(frame.size.width & !1, frame.size.height & !1);
            ensure!(even == self.size, "a frame of {} does not fit a virtual camera of {}", frame.size, self.size);
            let cropped = self.cropped.get_or_insert_with(|| Frame::black(self.size));
            let rows = frame.pixels().chunks_exact(frame.size.width * 3);
            for (target, source) in cropped.pixels_mut().chunks_exact_mut(self.size.width * 3).zip(rows) {
                target.copy_from_slice(&source[..self.size.width * 3]);
            }
        }
        let frame = self.cropped.as_ref().filter(|_| is_odd).unwrap_or(frame);
        self.converter.encode(frame, &mut self.planes)?;
        if self.format == CameraFormat::Yuv420 {
            return Ok(&self.planes);
        }
        let (luma, chroma) = self.planes.split_at(self.size.pixels());
        let (blue, red) = chroma.split_at(self.size.pixels() / 2);
        self.bytes.clear();
        let pairs = luma.as_chunks::<2>().0.iter().zip(blue).zip(red);
        self.bytes.extend(pairs.flat_map(|((luma, blue), red)| [luma[0], *blue, luma[1], *red]));
        Ok(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(size: FrameSize, rgb: [u8; 3]) -> Frame {
        let mut frame = Frame::black(size);
        frame.pixels_mut().as_chunks_mut::<3>().0.fill(rgb);
        frame
    }

    #[test]
    fn a_red_picture_has_the_numbers_of_a_webcam() {
        // BT.601, limited range: red is Y 81, Cb 90, Cr 240.
        let size = FrameSize::new(4, 2);
        let mut yuyv = CameraPicture::new(CameraFormat::Yuyv, size).unwrap();
        let bytes = yuyv.convert(&filled(size, [255, 0, 0])).unwrap().to_vec();
        assert_eq!(bytes.len(), 16);
        for quad in bytes.as_chunks::<4>().0 {
            for (value, expected) in quad.iter().zip([81_u8, 90, 81, 240]) {
                assert!(value.abs_diff(expected) <= 1, "{quad:?}");
            }
        }
        let mut planar = CameraPicture::new(CameraFormat::Yuv420, size).unwrap();
        let bytes = planar.convert(&filled(size, [255, 0, 0])).unwrap();
        assert_eq!(bytes.len(), 12);
        assert!(bytes[..8].iter().all(|luma| luma.abs_diff(81) <= 1) && bytes[10].abs_diff(240) <= 1, "{bytes:?}");
    }

    #[test]
    fn an_odd_size_loses_its_last_row_and_column() {
        let mut picture = negotiate(FrameSize::new(5, 3), |format, size| {
            Ok((format.four_cc(), (size.width as u32, size.height as u32)))
        })
        .unwrap();
        assert_eq!(picture.convert(&filled(FrameSize::new(5, 3), [9, 9, 9])).unwrap().len(), 4 * 2 * 2);
        assert!(picture.convert(&filled(FrameSize::new(8, 2), [9, 9, 9])).is_err());
    }

    #[test]
    fn a_device_that_is_watched_keeps_its_format_and_size() {
        let insists = |four_cc: FourCc, size| move |_, _| Ok((four_cc, size));
        let size = FrameSize::new(640, 360);
        assert_eq!(negotiate(size, insists(*b"YU12", (640, 360))).unwrap().format, CameraFormat::Yuv420);
        let error = negotiate(size, insists(*b"MJPG", (640, 360))).err().unwrap().to_string();
        assert!(error.contains("insists on pictures in MJPG"), "{error}");
        let error = negotiate(size, insists(*b"YUYV", (1280, 720))).err().unwrap().to_string();
        assert!(error.contains("pictures of 1280×720, ours are 640×360"), "{error}");
    }

    #[test]
    fn what_is_no_virtual_camera_is_told_apart() {
        let error =
            |path: &str| format!("{:#}", VirtualCamera::open(Path::new(path), FrameSize::new(4, 2)).err().unwrap());
        let text = error("/dev/video4242");
        assert!(text.starts_with("open the virtual camera '/dev/video4242': there is no such device"), "{text}");
        assert!(text.contains("v4l2loopback"), "{text}");
        assert!(error("/dev/null").contains("it is no video device"), "{}", error("/dev/null"));
    }
}
