//! What a user writes to choose a camera, and which camera that is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::devices::CameraDevice;
use crate::media::without_secrets;

/// Where live pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraChoice {
    /// A device of this machine.
    Device {
        /// The N of `/dev/videoN`.
        index: u32,
        /// What to call it.
        label: String,
    },
    /// A device by its name or a part of it, looked for each time that it is opened: it may come later, and come back under another number.
    Named(String),
    /// A device that is no `/dev/videoN`: a link to one.
    Path(PathBuf),
    /// An address: RTSP, HTTP, whatever FFmpeg opens.
    Url(String),
    /// A GStreamer pipeline.
    Pipeline(String),
    /// A video file, played over and over in its own time.
    Clip(PathBuf),
}

/// Why a text chooses no camera.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChooseCameraError {
    /// Nothing of this name.
    #[error("there is no camera '{wanted}' ({}; a device path, a file, a URL or a GStreamer pipeline will do, too)", list(.names))]
    Absent {
        /// What was asked for.
        wanted: String,
        /// What there is.
        names: Vec<String>,
    },
    /// Several of this name.
    #[error("several cameras are called '{wanted}' ({}; say which by its number)", list(.names))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Those that it may mean.
        names: Vec<String>,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "this machine has none".to_owned() } else { format!("expected one of {}", names.join(", ")) }
}

impl CameraChoice {
    /// What `text` means where there are these cameras: a number, a path under `/dev`, an address with `://`, a GStreamer
    /// pipeline with `!`, a file, or a camera's name or a part of it, whatever the letter case.
    ///
    /// # Errors
    /// When it is none of these, or a part of several names.
    pub fn parse(text: &str, cameras: &[CameraDevice]) -> Result<Self, ChooseCameraError> {
        let labeled = |index: u32| {
            let name = cameras.iter().find(|camera| camera.index == index).map(|camera| camera.name.as_str());
            let label = name.map_or_else(|| format!("/dev/video{index}"), |name| format!("{name} (/dev/video{index})"));
            Self::Device { index, label }
        };
        if let Ok(index) = text.parse() {
            return Ok(labeled(index));
        }
        if let Some(index) = text.strip_prefix("/dev/video").and_then(|index| index.parse().ok()) {
            return Ok(labeled(index));
        }
        if text.starts_with("/dev/") {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        if crate::media::is_url(Path::new(text)) {
            return Ok(Self::Url(text.to_owned()));
        }
        if Path::new(text).is_file() {
            return Ok(Self::Clip(PathBuf::from(text)));
        }
        if text.contains('!') {
            return Ok(Self::Pipeline(text.to_owned()));
        }
        let wanted = text.to_lowercase();
        let named = |matches: &dyn Fn(&str) -> bool| -> Vec<&CameraDevice> {
            cameras.iter().filter(|camera| matches(&camera.name.to_lowercase())).collect()
        };
        let exact = named(&|name| name == wanted);
        let found = if exact.is_empty() && !wanted.is_empty() { named(&|name| name.contains(&wanted)) } else { exact };
        let names = |cameras: &[&CameraDevice]| {
            cameras.iter().map(|camera| format!("{} '{}'", camera.index, camera.name)).collect()
        };
        match found.as_slice() {
            [camera] => Ok(labeled(camera.index)),
            // A pipeline of one element: all that give pictures are called so.
            [] if text.split_whitespace().next().is_some_and(|first| first.ends_with("src")) => {
                Ok(Self::Pipeline(text.to_owned()))
            }
            [] => Err(ChooseCameraError::Absent {
                wanted: text.to_owned(),
                names: names(&cameras.iter().collect::<Vec<_>>()),
            }),
            several => Err(ChooseCameraError::Ambiguous { wanted: text.to_owned(), names: names(several) }),
        }
    }

    /// As [`CameraChoice::parse`], for who waits for a camera that is not there: one that `text` names is looked for again at each try.
    ///
    /// # Errors
    /// As [`CameraChoice::parse`], but for a name that no camera has.
    pub fn parse_patiently(text: &str, cameras: &[CameraDevice]) -> Result<Self, ChooseCameraError> {
        let is_name = text.parse::<u32>().is_err() && !text.starts_with("/dev/") && !text.is_empty();
        match Self::parse(text, cameras) {
            Ok(Self::Device { .. }) | Err(ChooseCameraError::Absent { .. }) if is_name => {
                Ok(Self::Named(text.to_owned()))
            }
            found => found,
        }
    }

    /// Whether it can be asked for a size and a rate.
    pub fn has_modes(&self) -> bool {
        matches!(self, Self::Device { .. } | Self::Named(_) | Self::Path(_) | Self::Pipeline(_))
    }
}

impl fmt::Display for CameraChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { label, .. } | Self::Named(label) => f.write_str(label),
            Self::Path(path) | Self::Clip(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(&without_secrets(url)),
            Self::Pipeline(pipeline) => f.write_str(&pipeline_without_secrets(pipeline)),
        }
    }
}

/// A pipeline as it may stand in a terminal: its addresses without passwords.
pub fn pipeline_without_secrets(pipeline: &str) -> String {
    pipeline.split(' ').map(without_secrets).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cameras() -> Vec<CameraDevice> {
        [(0, "HD Webcam: Integrated"), (2, "HD Webcam"), (4, "Elgato Cam Link")]
            .map(|(index, name)| CameraDevice {
                index,
                name: name.to_owned(),
                path: PathBuf::from(format!("/dev/video{index}")),
            })
            .to_vec()
    }

    fn parse(text: &str) -> Result<CameraChoice, ChooseCameraError> {
        CameraChoice::parse(text, &cameras())
    }

    fn index(text: &str) -> Option<u32> {
        match parse(text) {
            Ok(CameraChoice::Device { index, .. }) => Some(index),
            _ => None,
        }
    }

    #[test]
    fn a_camera_is_chosen_by_number_path_name_or_part_of_it() {
        assert_eq!(
            ["0", "7", "/dev/video4", "hd webcam", "integrated", "cam link"].map(index),
            [Some(0), Some(7), Some(4), Some(2), Some(0), Some(4)]
        );
        assert_eq!(parse("4").unwrap().to_string(), "Elgato Cam Link (/dev/video4)");
        assert_eq!(parse("/dev/v4l/by-id/x"), Ok(CameraChoice::Path("/dev/v4l/by-id/x".into())));
    }

    #[test]
    fn a_name_is_waited_for_and_everything_else_is_what_it_is() {
        let parse = |text| CameraChoice::parse_patiently(text, &cameras());
        for name in ["gopro", "cam link"] {
            assert_eq!(parse(name), Ok(CameraChoice::Named(name.to_owned())));
        }
        assert!(matches!(parse("7"), Ok(CameraChoice::Device { index: 7, .. })));
        assert!(matches!(parse("rtsp://10.0.0.5/live"), Ok(CameraChoice::Url(_))));
        assert!(matches!(parse("cam"), Err(ChooseCameraError::Ambiguous { .. })));
    }

    #[test]
    fn addresses_pipelines_and_files_are_told_from_names() {
        assert!(matches!(parse("rtsp://10.0.0.5/live"), Ok(CameraChoice::Url(_))));
        assert!(matches!(parse("videotestsrc ! appsink"), Ok(CameraChoice::Pipeline(_))));
        assert!(matches!(parse("v4l2src device=/dev/video0"), Ok(CameraChoice::Pipeline(_))));
        let network = parse("rtspsrc location=rtsp://me:secret@10.0.0.5/live ! decodebin ! appsink").unwrap();
        assert!(matches!(network, CameraChoice::Pipeline(_)));
        assert_eq!(network.to_string(), "rtspsrc location=rtsp://…@10.0.0.5/live ! decodebin ! appsink");
        assert!(matches!(parse(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), Ok(CameraChoice::Clip(_))));
    }

    #[test]
    fn what_is_no_camera_is_answered_with_those_that_there_are() {
        let error = parse("gopro").unwrap_err().to_string();
        assert!(error.contains("no camera 'gopro'") && error.contains("4 'Elgato Cam Link'"), "{error}");
        let error = parse("cam").unwrap_err().to_string();
        assert!(error.starts_with("several cameras are called 'cam'"), "{error}");
        let error = CameraChoice::parse("", &[]).unwrap_err().to_string();
        assert!(error.contains("this machine has none"), "{error}");
    }
}
