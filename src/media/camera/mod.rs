//! Live pictures: from a camera of this machine, a GStreamer pipeline, an address or a looped file.
//!
//! A camera is opened and read on a thread of its own, because a driver may never answer: whoever asks for a picture
//! waits as long as it wants and no longer. The thread lets go of the device when the [`Camera`] is dropped, or when its
//! driver answers at last.

mod choice;
mod clip;
mod devices;
mod opencv_capture;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::frame::{Frame, FramePool, FrameSize};
pub use choice::{CameraChoice, ChooseCameraError};
pub use devices::{CameraDevice, CameraMode, camera_modes, list_cameras};

/// How a camera is opened.
#[derive(Debug, Clone)]
pub struct CameraOptions {
    /// Size to ask for.
    pub size: Option<FrameSize>,
    /// Frames a second to ask for.
    pub frame_rate: Option<f64>,
    /// How long the camera may take to open, and then to give a picture.
    pub timeout: Duration,
    /// Where frames come from.
    pub pool: FramePool,
}

/// A picture of a camera, whose timestamp and number are for the taker to set, and when the program got it.
pub type CameraPicture = (Frame, Instant);

/// Why no picture comes.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// It cannot be opened.
    #[error("cannot open the camera '{camera}'")]
    Open {
        /// What was to be opened.
        camera: String,
        /// Why.
        source: anyhow::Error,
    },
    /// It does not answer.
    #[error("the camera '{camera}' has given no picture for {} s (is it covered, asleep or used by another program?)", .waited.as_secs_f64())]
    Silent {
        /// Which one.
        camera: String,
        /// For how long.
        waited: Duration,
    },
    /// It has stopped.
    #[error("the camera '{camera}' has stopped giving pictures (was it unplugged?)")]
    Lost {
        /// Which one.
        camera: String,
        /// What is known of it.
        source: anyhow::Error,
    },
}

/// A source of pictures inside the camera's thread. Blocks; a driver may block forever.
trait Capture {
    /// The next picture and when it came, or `None` if it was told to end.
    fn next(&mut self) -> Result<Option<CameraPicture>>;

    /// Frames a second that it says it gives.
    fn frame_rate(&self) -> Option<f64>;
}

/// An open camera.
pub struct Camera {
    label: String,
    pictures: Receiver<Result<CameraPicture>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    stop: Arc<AtomicBool>,
    timeout: Duration,
    first: Option<CameraPicture>,
    size: FrameSize,
    frame_rate: Option<f64>,
    waiting_since: Instant,
}

impl Camera {
    /// How long a dropped camera is waited for.
    const PATIENCE_AT_END: Duration = Duration::from_secs(1);

    /// Opens a camera and takes its first picture, so that [`Camera::size`] is what comes. Blocks for twice the timeout at
    /// most, or until `give_up` says `true`.
    ///
    /// # Errors
    /// [`CameraError`]: when it cannot be opened, or gives no picture in time.
    pub fn open(
        choice: &CameraChoice,
        options: &CameraOptions,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Self, CameraError> {
        let label = choice.to_string();
        let cannot_open = |source| CameraError::Open { camera: label.clone(), source };
        let silent = || CameraError::Silent { camera: label.clone(), waited: options.timeout };
        let stop = Arc::new(AtomicBool::new(false));
        let (opened_sender, opened) = mpsc::sync_channel(1);
        // The reader hands each picture over at once; where it lies until somebody has time is not decided here.
        let (sender, pictures) = mpsc::sync_channel(1);
        let (ended_sender, ended) = mpsc::sync_channel::<()>(1);
        let pipeline = match choice {
            CameraChoice::Pipeline(pipeline) => Some(pipeline.clone()),
            _ => None,
        };
        // Pictures of a clip may last longer, and it is not gone for that.
        let timeout = if matches!(choice, CameraChoice::Clip(_)) { Duration::MAX } else { options.timeout };
        let (choice, thread_options, thread_stop) = (choice.clone(), options.clone(), Arc::clone(&stop));
        let reader = move || {
            let _ended = ended_sender;
            match open_capture(&choice, &thread_options, &thread_stop) {
                Ok(mut capture) => {
                    let is_wanted = opened_sender.send(Ok(capture.frame_rate())).is_ok();
                    if is_wanted {
                        read_on(capture.as_mut(), &sender, &thread_stop);
                    }
                }
                Err(error) => {
                    // Where nobody waits any more there is nobody to tell.
                    let _ = opened_sender.send(Err(error));
                }
            }
        };
        thread::Builder::new()
            .name("camera-read".to_owned())
            .spawn(reader)
            .context("start a thread")
            .map_err(cannot_open)?;
        let frame_rate = match receive(&opened, options.timeout, give_up) {
            Some(opened) => opened.map_err(cannot_open)?,
            None => {
                stop.store(true, Ordering::SeqCst);
                return Err(match pipeline {
                    Some(pipeline) if !give_up() => cannot_open(anyhow!(opencv_capture::cannot_run(&pipeline))),
                    _ => silent(),
                });
            }
        };
        let mut camera = Self {
            label: label.clone(),
            pictures,
            ended,
            stop,
            timeout,
            first: None,
            size: FrameSize::new(0, 0),
            frame_rate,
            waiting_since: Instant::now(),
        };
        match receive(&camera.pictures, options.timeout, give_up) {
            Some(Ok(first)) => {
                camera.size = first.0.size;
                camera.first = Some(first);
                Ok(camera)
            }
            Some(Err(source)) => Err(cannot_open(source)),
            None => Err(silent()),
        }
    }

    /// Size of the pictures.
    pub fn size(&self) -> FrameSize {
        self.size
    }

    /// Frames a second that the camera says it gives, if it says so; cameras are known to lie.
    pub fn frame_rate(&self) -> Option<f64> {
        self.frame_rate
    }

    /// The next picture, or `None` if none has come within `wait`.
    ///
    /// # Errors
    /// [`CameraError`]: when none has come for as long as the camera's timeout, or none will come any more.
    pub fn next(&mut self, wait: Duration) -> Result<Option<CameraPicture>, CameraError> {
        let received = match self.first.take() {
            Some(first) => Ok(Ok(first)),
            None => self.pictures.recv_timeout(wait),
        };
        let lost = |source| CameraError::Lost { camera: self.label.clone(), source };
        let picture = match received {
            Ok(picture) => picture.map_err(lost)?,
            Err(RecvTimeoutError::Timeout) if self.waiting_since.elapsed() < self.timeout => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                return Err(CameraError::Silent { camera: self.label.clone(), waited: self.timeout });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(lost(anyhow::anyhow!("its thread has ended"))),
        };
        self.waiting_since = Instant::now();
        Ok(Some(picture))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A reader that waits to hand a picture over is freed; one that waits for its driver is left behind after a while.
        let (_, nobody) = mpsc::sync_channel(1);
        self.pictures = nobody;
        let _ = self.ended.recv_timeout(Self::PATIENCE_AT_END);
    }
}

/// Waits for a message in small steps, so that whoever waits can change their mind.
fn receive<T>(receiver: &Receiver<T>, timeout: Duration, give_up: &dyn Fn() -> bool) -> Option<T> {
    const STEP: Duration = Duration::from_millis(50);
    let begin = Instant::now();
    while !give_up() {
        let left = timeout.checked_sub(begin.elapsed())?;
        match receiver.recv_timeout(left.min(STEP)) {
            Ok(message) => return Some(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

fn read_on(capture: &mut dyn Capture, sender: &SyncSender<Result<CameraPicture>>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let picture = match capture.next() {
            Ok(Some(picture)) => Ok(picture),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_last = picture.is_err();
        if sender.send(picture).is_err() || is_last {
            return;
        }
    }
}

fn open_capture(choice: &CameraChoice, options: &CameraOptions, stop: &Arc<AtomicBool>) -> Result<Box<dyn Capture>> {
    match choice {
        CameraChoice::Device { index, .. } => {
            let path = std::path::PathBuf::from(format!("/dev/video{index}"));
            Ok(Box::new(opencv_capture::open_device(*index, &path, options)?))
        }
        CameraChoice::Named(name) => match CameraChoice::parse(name, &list_cameras())? {
            device @ CameraChoice::Device { .. } => open_capture(&device, options, stop),
            other => anyhow::bail!("'{other}' is no camera of this name any more"),
        },
        CameraChoice::Path(path) => {
            let index = devices::index_of(path)?;
            Ok(Box::new(opencv_capture::open_device(index, path, options)?))
        }
        CameraChoice::Pipeline(pipeline) => Ok(Box::new(opencv_capture::open_pipeline(pipeline, options)?)),
        CameraChoice::Url(url) => Ok(Box::new(clip::open_url(url, options, stop)?)),
        CameraChoice::Clip(path) => Ok(Box::new(clip::open_clip(path, options, stop)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(timeout_ms: u64) -> CameraOptions {
        let timeout = Duration::from_millis(timeout_ms);
        CameraOptions { size: None, frame_rate: None, timeout, pool: FramePool::new() }
    }

    fn sample() -> CameraChoice {
        CameraChoice::Clip(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/bunny.mp4").into())
    }

    #[test]
    fn a_file_gives_pictures_in_its_own_time() {
        let mut camera = Camera::open(&sample(), &options(10_000), &|| false).unwrap();
        assert_eq!(camera.size(), FrameSize::new(640, 360));
        assert!((camera.frame_rate().unwrap() - 25.0).abs() < 0.1);
        let mut moments = Vec::new();
        while moments.len() < 4 {
            moments.extend(camera.next(Duration::from_millis(100)).unwrap().map(|(_, captured_at)| captured_at));
        }
        // 25 a second: three periods, less what the first one came late.
        let passed = moments[3] - moments[0];
        assert!(passed >= Duration::from_millis(100), "{passed:?}");
    }

    #[test]
    fn what_is_not_there_is_told_with_the_reason() {
        let absent = CameraChoice::Device { index: 4242, label: "/dev/video4242".to_owned() };
        let error = anyhow::Error::new(Camera::open(&absent, &options(5000), &|| false).err().unwrap());
        let text = format!("{error:#}");
        assert!(text.starts_with("cannot open the camera '/dev/video4242': there is no such device"), "{text}");
        let error = anyhow::Error::new(
            Camera::open(&CameraChoice::Clip("/dev/null".into()), &options(5000), &|| false).err().unwrap(),
        );
        assert!(format!("{error:#}").contains("cannot open the camera '/dev/null'"), "{error:#}");
    }
}
