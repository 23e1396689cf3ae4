//! Cameras of this machine and GStreamer pipelines, through OpenCV.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use opencv::core::{LogLevel, Mat, MatTraitConst, MatTraitConstManual};
use opencv::videoio::{self, VideoCapture, VideoCaptureTrait, VideoCaptureTraitConst};

use super::choice::pipeline_without_secrets;
use super::devices::{self, CameraDevice};
use super::{CameraOptions, CameraPicture, Capture};
use crate::frame::{CHANNELS, Frame, FramePool, FrameSize};

/// A camera that OpenCV reads.
pub struct OpenCvCapture {
    capture: VideoCapture,
    picture: Mat,
    pool: FramePool,
    frame_rate: Option<f64>,
}

/// Opens `/dev/video<index>`, which `path` leads to.
pub fn open_device(index: u32, path: &Path, options: &CameraOptions) -> Result<OpenCvCapture> {
    check_device(path)?;
    let index = i32::try_from(index)?;
    let backend = if cfg!(target_os = "linux") { videoio::CAP_V4L2 } else { videoio::CAP_ANY };
    let mut capture = opened(|| VideoCapture::new(index, backend))?
        .context("it is no camera, or another program is using it (close that one, or choose another camera)")?;
    let size = options.size.map(|size| (size.width as u32, size.height as u32));
    if size.is_some() || options.frame_rate.is_some() {
        let device = CameraDevice { index: index as u32, name: String::new(), path: path.to_owned() };
        if let Some(format) = devices::format_for(&devices::camera_modes(&device), size, options.frame_rate) {
            capture.set(videoio::CAP_PROP_FOURCC, f64::from(i32::from_le_bytes(format)))?;
        }
    }
    if let Some(size) = options.size {
        capture.set(videoio::CAP_PROP_FRAME_WIDTH, size.width as f64)?;
        capture.set(videoio::CAP_PROP_FRAME_HEIGHT, size.height as f64)?;
    }
    if let Some(frame_rate) = options.frame_rate {
        capture.set(videoio::CAP_PROP_FPS, frame_rate)?;
    }
    // Two pictures in the driver, one being filled and one ready: what waits there is old when it is read.
    capture.set(videoio::CAP_PROP_BUFFERSIZE, 2.0)?;
    OpenCvCapture::new(capture, options)
}

/// Opens a GStreamer pipeline; one without an `appsink` at its end gets one that keeps the freshest picture.
pub fn open_pipeline(pipeline: &str, options: &CameraOptions) -> Result<OpenCvCapture> {
    let pipeline = complete_pipeline(pipeline, options);
    let capture = opened(|| VideoCapture::from_file(&pipeline, videoio::CAP_GSTREAMER))?
        .with_context(|| cannot_run(&pipeline))?;
    OpenCvCapture::new(capture, options)
}

/// What is said of a pipeline that does not begin; OpenCV may also wait for one without end.
pub fn cannot_run(pipeline: &str) -> String {
    format!(
        "GStreamer cannot run '{}' (`gst-launch-1.0` tells more; is the package of one of its elements missing?)",
        pipeline_without_secrets(pipeline)
    )
}

/// Puts what is asked for and the conversion to what OpenCV takes before the `appsink`; OpenCV would take planes for gray.
fn complete_pipeline(pipeline: &str, options: &CameraOptions) -> String {
    const FRESHEST: &str = "appsink drop=true max-buffers=1 sync=false";
    // A file has all its pictures at once: it is played at its own rate.
    const OF_FILE: &str = "appsink drop=true max-buffers=1 sync=true";
    let pipeline = pipeline.trim().trim_end_matches('!').trim_end();
    let (before, sink) = match pipeline.find("appsink") {
        None => (pipeline, if pipeline.contains("filesrc") { OF_FILE } else { FRESHEST }),
        Some(sink) => match pipeline[..sink].rsplit_once('!') {
            Some((before, between)) if between.trim().is_empty() => (before.trim_end(), &pipeline[sink..]),
            // It stands for itself, and is linked elsewhere by its name.
            _ => return pipeline.to_owned(),
        },
    };
    let mut pipeline = before.to_owned();
    // OpenCV would take the bytes of a JPEG for a row of gray.
    if before.rsplit('!').next().is_some_and(|last| last.trim_start().starts_with("image/jpeg")) {
        pipeline.push_str(" ! jpegdec");
    }
    let mut asked = String::new();
    if let Some(size) = options.size {
        asked.push_str(&format!(",width={},height={}", size.width, size.height));
    }
    if let Some(frame_rate) = options.frame_rate {
        // GStreamer wants a fraction.
        asked.push_str(&format!(",framerate={}/1000", (frame_rate * 1000.0).round()));
    }
    if !asked.is_empty() {
        // An element of its own: caps cannot stand behind caps.
        pipeline.push_str(&format!(" ! capsfilter caps=video/x-raw{asked}"));
    }
    format!("{pipeline} ! videoconvert ! video/x-raw,format=BGR ! {sink}")
}

/// What the system says better than OpenCV, which only says no.
fn check_device(path: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let names: Vec<String> = devices::list_cameras()
                .into_iter()
                .map(|camera| format!("{} '{}'", camera.index, camera.name))
                .collect();
            if names.is_empty() {
                bail!("there is no such device, and no other camera either (is it plugged in?)");
            }
            bail!("there is no such device (expected one of {})", names.join(", "))
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            bail!("this user may not use '{}' (members of the group 'video' may)", path.display())
        }
        Err(error) => Err(error).with_context(|| format!("open '{}'", path.display())),
    }
}

/// `None` where OpenCV cannot open it.
fn opened(open: impl FnOnce() -> opencv::Result<VideoCapture>) -> Result<Option<VideoCapture>> {
    // OpenCV would write its own story to the terminal.
    opencv::core::set_log_level(LogLevel::LOG_LEVEL_SILENT)?;
    match open() {
        Ok(capture) => Ok(Some(capture).filter(|capture| capture.is_opened().unwrap_or(false))),
        Err(error) => {
            tracing::debug!("OpenCV: {error}");
            Ok(None)
        }
    }
}

impl OpenCvCapture {
    fn new(capture: VideoCapture, options: &CameraOptions) -> Result<Self> {
        let frame_rate = capture.get(videoio::CAP_PROP_FPS).ok().filter(|rate| (1.0..=1000.0).contains(rate));
        Ok(Self { capture, picture: Mat::default(), pool: options.pool.clone(), frame_rate })
    }
}

impl Capture for OpenCvCapture {
    fn next(&mut self) -> Result<Option<CameraPicture>> {
        ensure!(self.capture.grab().context("read the camera")?, "no more pictures come");
        // Before it is decoded: a picture is as old as its capture.
        let captured_at = Instant::now();
        ensure!(
            self.capture.retrieve_def(&mut self.picture).context("read the camera")?,
            "a picture cannot be decoded"
        );
        Ok(Some((to_frame(&self.picture, &self.pool)?, captured_at)))
    }

    fn frame_rate(&self) -> Option<f64> {
        self.frame_rate
    }
}

/// OpenCV's blue, green, red, or gray, to a frame.
fn to_frame(picture: &Mat, pool: &FramePool) -> Result<Frame> {
    let size = picture.size()?;
    ensure!(size.width > 0 && size.height > 0, "the camera gives an empty picture");
    ensure!(
        picture.depth() == opencv::core::CV_8U && picture.is_continuous(),
        "the camera gives pictures that are not 8 bits a channel"
    );
    let mut frame = pool.take(FrameSize::new(size.width as usize, size.height as usize));
    let bytes = picture.data_bytes()?;
    let target = frame.pixels_mut().as_chunks_mut::<CHANNELS>().0;
    match picture.channels() {
        3 => {
            for ([red, green, blue], source) in target.iter_mut().zip(bytes.as_chunks::<CHANNELS>().0) {
                [*blue, *green, *red] = *source;
            }
        }
        1 => {
            for (pixel, gray) in target.iter_mut().zip(bytes) {
                *pixel = [*gray; CHANNELS];
            }
        }
        channels => bail!("the camera gives pictures of {channels} channels (expected 3 or 1)"),
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_pipeline_is_completed_with_what_is_asked_for_and_a_sink() {
        let mut options = CameraOptions {
            size: Some(FrameSize::new(320, 180)),
            frame_rate: Some(29.97),
            timeout: Duration::from_secs(1),
            pool: FramePool::new(),
        };
        let completed = complete_pipeline("videotestsrc is-live=true ! ", &options);
        assert_eq!(
            completed,
            "videotestsrc is-live=true ! capsfilter caps=video/x-raw,width=320,height=180,framerate=29970/1000 \
             ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
        );
        (options.size, options.frame_rate) = (None, None);
        assert!(!complete_pipeline("v4l2src", &options).contains("capsfilter"));
        assert!(complete_pipeline("filesrc location=a.mkv ! decodebin", &options).ends_with("sync=true"));
        let own = "appsink name=a videotestsrc ! a.";
        assert_eq!(complete_pipeline(own, &options), own);
        for jpeg in ["v4l2src ! image/jpeg,width=640 ! appsink", "v4l2src ! image/jpeg,width=640 ! jpegdec ! appsink"] {
            assert_eq!(
                complete_pipeline(jpeg, &options),
                "v4l2src ! image/jpeg,width=640 ! jpegdec ! videoconvert ! video/x-raw,format=BGR ! appsink"
            );
        }
        options.size = Some(FrameSize::new(96, 64));
        assert_eq!(
            complete_pipeline("v4l2src ! tee name=t ! fakesink t. ! queue ! appsink name=a", &options),
            "v4l2src ! tee name=t ! fakesink t. ! queue ! capsfilter caps=video/x-raw,width=96,height=64 \
             ! videoconvert ! video/x-raw,format=BGR ! appsink name=a"
        );
    }

    #[test]
    fn colors_change_places() {
        let picture =
            Mat::from_slice_2d(&[[opencv::core::Vec3b::from([1, 2, 3]), opencv::core::Vec3b::from([4, 5, 6])]])
                .unwrap();
        let frame = to_frame(&picture, &FramePool::new()).unwrap();
        assert_eq!(frame.pixels(), [3, 2, 1, 6, 5, 4]);
        assert!(to_frame(&Mat::default(), &FramePool::new()).is_err());
    }
}
