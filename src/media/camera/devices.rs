//! The cameras of this machine: found in Linux's `/sys/class/video4linux`, by number, name and mode.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[cfg(target_os = "linux")]
use crate::media::v4l2;

/// Where Linux lists its video devices.
const DEVICES: &str = "/sys/class/video4linux";

/// A camera of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraDevice {
    /// Its number: the N of `/dev/videoN`.
    pub index: u32,
    /// What the driver calls it.
    pub name: String,
    /// Where it is opened.
    pub path: PathBuf,
}

/// What a camera can give.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraMode {
    /// Its pixel format, in four letters: `YUYV`, `MJPG`.
    pub format: String,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second; empty where the driver does not list them.
    pub frame_rates: Vec<f64>,
}

impl fmt::Display for CameraMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}x{}", self.format, self.width, self.height)?;
        let rates: Vec<String> =
            self.frame_rates.iter().map(|rate| format!("{}", (rate * 100.0).round() / 100.0)).collect();
        if rates.is_empty() { Ok(()) } else { write!(f, " at {} fps", rates.join(", ")) }
    }
}

/// The cameras of this machine by number; empty where the system does not list them (only Linux does).
pub fn list_cameras() -> Vec<CameraDevice> {
    let mut cameras = list_devices(Path::new(DEVICES));
    cameras.retain(is_camera);
    cameras
}

/// The modes of a camera in the driver's order; empty where it does not say.
pub fn camera_modes(camera: &CameraDevice) -> Vec<CameraMode> {
    #[cfg(target_os = "linux")]
    if let Ok(device) = std::fs::File::open(&camera.path) {
        let mode = |mode: v4l2::DeviceMode| CameraMode {
            format: String::from_utf8_lossy(&mode.format).trim_end().to_owned(),
            width: mode.size.0,
            height: mode.size.1,
            frame_rates: mode.frame_rates,
        };
        return v4l2::modes(&device).into_iter().map(mode).collect();
    }
    let _ = camera;
    Vec::new()
}

/// A camera often comes with a second device, for metadata, of the same name.
fn is_camera(device: &CameraDevice) -> bool {
    #[cfg(target_os = "linux")]
    if let Ok(identity) = std::fs::File::open(&device.path).and_then(|device| v4l2::identify(&device)) {
        return identity.capabilities & v4l2::CAPTURES != 0;
    }
    let _ = device;
    // One that cannot be opened may be a camera of another user: opening it says why.
    true
}

fn list_devices(folder: &Path) -> Vec<CameraDevice> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let device = |entry: std::fs::DirEntry| {
        let file = entry.file_name().into_string().ok()?;
        let index = file.strip_prefix("video")?.parse().ok()?;
        let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        Some(CameraDevice { index, name: name.trim().to_owned(), path: Path::new("/dev").join(file) })
    };
    let mut devices: Vec<CameraDevice> = entries.flatten().filter_map(device).collect();
    devices.sort_by_key(|device| device.index);
    devices
}

/// The number of the device that a path leads to.
///
/// # Errors
/// When it leads to nothing, or to no `/dev/videoN`.
pub fn index_of(path: &Path) -> Result<u32> {
    let target = path.canonicalize().with_context(|| format!("there is no such device '{}'", path.display()))?;
    let index = target.to_str().and_then(|target| target.strip_prefix("/dev/video")?.parse().ok());
    index.with_context(|| format!("'{}' is no camera (expected /dev/videoN or a link to one)", path.display()))
}

/// The pixel format to ask a camera for, if it must be named: uncompressed modes of large pictures are slow over USB, and
/// a driver left alone keeps to them. The first mode that has what is asked for, compressed or not, at the highest rate.
pub fn format_for(modes: &[CameraMode], size: Option<(u32, u32)>, frame_rate: Option<f64>) -> Option<[u8; 4]> {
    let fits = |mode: &&CameraMode| size.is_none_or(|size| (mode.width, mode.height) == size);
    let highest = |mode: &CameraMode| mode.frame_rates.iter().copied().fold(0.0, f64::max);
    let wanted = frame_rate.unwrap_or(f64::INFINITY);
    let reached = |mode: &CameraMode| highest(mode).min(wanted);
    let mut best: Option<&CameraMode> = None;
    for mode in modes.iter().filter(fits) {
        // The first of equals stays: drivers list what they are best at first.
        if best.is_none_or(|best| reached(mode) > reached(best)) {
            best = Some(mode);
        }
    }
    best.and_then(|mode| mode.format.as_bytes().try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(format: &str, width: u32, height: u32, frame_rates: &[f64]) -> CameraMode {
        CameraMode { format: format.to_owned(), width, height, frame_rates: frame_rates.to_vec() }
    }

    #[test]
    fn devices_are_listed_by_number_with_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for (file, name) in [("video10", "Late One\n"), ("video2", "HD Webcam: Integrated\n"), ("radio0", "no\n")] {
            std::fs::create_dir(folder.path().join(file)).unwrap();
            std::fs::write(folder.path().join(file).join("name"), name).unwrap();
        }
        let devices = list_devices(folder.path());
        let found: Vec<(u32, &str)> = devices.iter().map(|device| (device.index, device.name.as_str())).collect();
        assert_eq!(found, [(2, "HD Webcam: Integrated"), (10, "Late One")]);
        assert_eq!(devices[1].path, Path::new("/dev/video10"));
        assert!(list_devices(&folder.path().join("absent")).is_empty());
    }

    #[test]
    fn a_large_picture_at_full_rate_is_asked_for_compressed() {
        let modes = [
            mode("YUYV", 640, 480, &[30.0]),
            mode("YUYV", 1280, 720, &[10.0]),
            mode("MJPG", 640, 480, &[30.0]),
            mode("MJPG", 1280, 720, &[30.0]),
        ];
        let format = |size, rate| format_for(&modes, size, rate);
        assert_eq!(format(Some((640, 480)), None), Some(*b"YUYV"));
        assert_eq!(format(Some((1280, 720)), None), Some(*b"MJPG"));
        assert_eq!(format(Some((1280, 720)), Some(5.0)), Some(*b"YUYV"));
        assert_eq!(format(Some((320, 200)), None), None);
    }

    #[test]
    fn a_mode_reads_like_a_line_of_a_list() {
        assert_eq!(mode("MJPG", 1280, 720, &[30.0, 29.97002997]).to_string(), "MJPG 1280x720 at 30, 29.97 fps");
        assert_eq!(mode("GREY", 96, 96, &[]).to_string(), "GREY 96x96");
    }
}
