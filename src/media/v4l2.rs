//! Linux's video devices, asked directly: what they are called, which modes a camera has, and pictures into a loopback.
//!
//! OpenCV reads cameras but can neither list their modes nor write to a device. The structures are those of
//! `linux/videodev2.h`, which is a stable interface; the only `unsafe` here is the call itself.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{self, Updater, opcode};

/// `V4L2_CAP_VIDEO_CAPTURE`: pictures come out of it.
pub const CAPTURES: u32 = 0x1;
/// `V4L2_CAP_VIDEO_OUTPUT`: pictures go into it.
pub const TAKES_OUTPUT: u32 = 0x2;
const DEVICE_CAPABILITIES: u32 = 0x8000_0000;

const BUFFER_CAPTURE: u32 = 1;
const BUFFER_OUTPUT: u32 = 2;
const FIELD_NONE: u32 = 1;
const COLORSPACE_SRGB: u32 = 8;
const YCBCR_601: u32 = 1;
const RANGE_LIMITED: u32 = 2;
const DISCRETE: u32 = 1;

/// Four letters that name a pixel format.
pub type FourCc = [u8; 4];

#[repr(C)]
#[derive(Clone, Copy)]
struct Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    device_capabilities: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct FormatDescription {
    index: u32,
    kind: u32,
    flags: u32,
    description: [u8; 32],
    pixel_format: FourCc,
    media_bus_code: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SizeDescription {
    index: u32,
    pixel_format: FourCc,
    kind: u32,
    /// Width and height where sizes are discrete; else least, most and step of each.
    numbers: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct IntervalDescription {
    index: u32,
    pixel_format: FourCc,
    width: u32,
    height: u32,
    kind: u32,
    /// Numerator and denominator of the seconds; where they are not discrete, of the least, the most and the step.
    numbers: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Format {
    kind: u32,
    /// The kernel's union holds pointers, and lies as they must.
    body: FormatBody,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct FormatBody {
    width: u32,
    height: u32,
    pixel_format: FourCc,
    field: u32,
    bytes_per_line: u32,
    bytes: u32,
    colorspace: u32,
    private: u32,
    flags: u32,
    ycbcr_encoding: u32,
    quantization: u32,
    transfer: u32,
    rest: [u8; 152],
}

/// `V4L2_PIX_FMT_PRIV_MAGIC`: the fields behind `private` are set.
const PRIVATE_MAGIC: u32 = 0xfeed_cafe;

/// What a device is and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The driver's name for it.
    pub card: String,
    /// [`CAPTURES`], [`TAKES_OUTPUT`] and more.
    pub capabilities: u32,
}

/// A size and the rates at which a camera gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceMode {
    /// The camera's pixel format.
    pub format: FourCc,
    /// Columns and rows.
    pub size: (u32, u32),
    /// Frames a second, as the camera lists them.
    pub frame_rates: Vec<f64>,
}

/// What a device says it is.
pub fn identify(device: &File) -> io::Result<Identity> {
    let mut capability = Capability {
        driver: [0; 16],
        card: [0; 32],
        bus_info: [0; 32],
        version: 0,
        capabilities: 0,
        device_capabilities: 0,
        reserved: [0; 3],
    };
    call::<{ opcode::read::<Capability>(b'V', 0) }, _>(device, &mut capability)?;
    let capabilities = if capability.capabilities & DEVICE_CAPABILITIES != 0 {
        capability.device_capabilities
    } else {
        capability.capabilities
    };
    Ok(Identity { card: text(&capability.card), capabilities })
}

/// Every mode of a camera, in the device's order.
pub fn modes(device: &File) -> Vec<DeviceMode> {
    formats(device).into_iter().flat_map(|format| modes_of(device, format)).collect()
}

fn formats(device: &File) -> Vec<FourCc> {
    list(|index| {
        let mut description = FormatDescription {
            index,
            kind: BUFFER_CAPTURE,
            flags: 0,
            description: [0; 32],
            pixel_format: [0; 4],
            media_bus_code: 0,
            reserved: [0; 3],
        };
        call::<{ opcode::read_write::<FormatDescription>(b'V', 2) }, _>(device, &mut description)?;
        Ok(description.pixel_format)
    })
}

fn modes_of(device: &File, format: FourCc) -> Vec<DeviceMode> {
    list(|index| {
        let mut size = SizeDescription { index, pixel_format: format, kind: 0, numbers: [0; 6], reserved: [0; 2] };
        call::<{ opcode::read_write::<SizeDescription>(b'V', 74) }, _>(device, &mut size)?;
        // A range is told by its largest.
        let [width, height] =
            if size.kind == DISCRETE { [size.numbers[0], size.numbers[1]] } else { [size.numbers[1], size.numbers[4]] };
        Ok(DeviceMode { format, size: (width, height), frame_rates: frame_rates(device, format, width, height) })
    })
}

fn frame_rates(device: &File, format: FourCc, width: u32, height: u32) -> Vec<f64> {
    list(|index| {
        let mut interval = IntervalDescription {
            index,
            pixel_format: format,
            width,
            height,
            kind: 0,
            numbers: [0; 6],
            reserved: [0; 2],
        };
        call::<{ opcode::read_write::<IntervalDescription>(b'V', 75) }, _>(device, &mut interval)?;
        // Seconds a frame, turned over; of a range the shortest.
        Ok(f64::from(interval.numbers[1]) / f64::from(interval.numbers[0].max(1)))
    })
}

/// More than any device has: a driver that never says "no more" ends here.
const MOST_ENTRIES: u32 = 256;

fn list<T>(entry: impl Fn(u32) -> io::Result<T>) -> Vec<T> {
    (0..MOST_ENTRIES).map_while(|index| entry(index).ok()).collect()
}

/// Asks a device to take pictures of `size` in `format`; what it will take instead, if it has a mind of its own.
pub fn set_output_format(
    device: &File,
    format: FourCc,
    size: (u32, u32),
    bytes_per_line: u32,
    bytes: u32,
) -> io::Result<(FourCc, (u32, u32))> {
    let body = FormatBody {
        width: size.0,
        height: size.1,
        pixel_format: format,
        field: FIELD_NONE,
        bytes_per_line,
        bytes,
        colorspace: COLORSPACE_SRGB,
        private: PRIVATE_MAGIC,
        flags: 0,
        ycbcr_encoding: YCBCR_601,
        quantization: RANGE_LIMITED,
        transfer: 0,
        rest: [0; 152],
    };
    let mut format = Format { kind: BUFFER_OUTPUT, body };
    call::<{ opcode::read_write::<Format>(b'V', 5) }, _>(device, &mut format)?;
    Ok((format.body.pixel_format, (format.body.width, format.body.height)))
}

fn call<const OPCODE: ioctl::Opcode, T>(device: &File, argument: &mut T) -> io::Result<()> {
    // SAFETY: each opcode is made of the type that it is called with, whose layout is the kernel's (see the tests), and
    // of which every bit pattern is valid.
    unsafe { ioctl::ioctl(device.as_fd(), Updater::<OPCODE, T>::new(argument)) }.map_err(io::Error::from)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_calls_have_the_numbers_of_the_kernels_header() {
        // VIDIOC_QUERYCAP, _ENUM_FMT, _S_FMT, _ENUM_FRAMESIZES, _ENUM_FRAMEINTERVALS of linux/videodev2.h on x86-64 and
        // arm64: direction, size of the structure, 'V', number.
        assert_eq!(opcode::read::<Capability>(b'V', 0), 0x8068_5600);
        assert_eq!(opcode::read_write::<FormatDescription>(b'V', 2), 0xc040_5602);
        assert_eq!(opcode::read_write::<Format>(b'V', 5), 0xc0d0_5605);
        assert_eq!(opcode::read_write::<SizeDescription>(b'V', 74), 0xc02c_564a);
        assert_eq!(opcode::read_write::<IntervalDescription>(b'V', 75), 0xc034_564b);
        assert_eq!(std::mem::offset_of!(Format, body), 8);
    }

    #[test]
    fn what_is_no_video_device_says_so() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(identify(&file).unwrap_err().raw_os_error(), Some(25)); // ENOTTY
        assert!(modes(&file).is_empty());
    }

    #[test]
    fn names_end_at_the_first_zero() {
        assert_eq!(text(b"Webcam\0\0old"), "Webcam");
    }
}
