//! The camera as the pipeline's source: one that comes back if it is asked to, and always in the same size.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::stages::CapturedFrame;
use crate::console::Console;
use crate::frame::{Frame, FrameSize, Timestamp};
use crate::media::{Camera, CameraChoice, CameraError, CameraOptions, CameraPicture};
use crate::pipeline::{Control, Source};
use crate::scale::{Filter, Scaler};

/// How often whoever waits looks whether the run has been stopped.
const STEP: Duration = Duration::from_millis(50);
/// How long to wait before a lost camera is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What keeps pictures from coming, in a line for people; shared with the window.
pub type Trouble = Arc<Mutex<Option<String>>>;

/// The pictures that a camera has given, shared with whoever shows their rate.
#[derive(Debug, Clone, Default)]
pub struct CaptureRate(Arc<Mutex<Captures>>);

#[derive(Debug, Clone, Copy, Default)]
struct Captures {
    /// The last picture, unless the camera was lost since.
    last: Option<Instant>,
    /// From each picture to the next, in all.
    spent: Duration,
    intervals: u32,
}

impl CaptureRate {
    fn add(&self, captured_at: Instant) {
        if let Ok(mut captures) = self.0.lock()
            && let Some(last) = captures.last.replace(captured_at)
        {
            captures.spent += captured_at.saturating_duration_since(last);
            captures.intervals += 1;
        }
    }

    /// The camera is lost: the time until it is back does not count.
    fn break_off(&self) {
        if let Ok(mut captures) = self.0.lock() {
            captures.last = None;
        }
    }

    /// Pictures a second while they came; `None` of fewer than two.
    pub fn frames_per_second(&self) -> Option<f64> {
        let captures = *self.0.lock().ok()?;
        let seconds = captures.spent.as_secs_f64();
        (captures.intervals > 0 && seconds > 0.0).then(|| f64::from(captures.intervals) / seconds)
    }
}

/// What is needed to open the camera again.
pub struct CameraRecipe {
    /// Which camera.
    pub choice: CameraChoice,
    /// How it is opened.
    pub options: CameraOptions,
    /// Whether a camera that is not there is waited for.
    pub reconnect: bool,
}

impl CameraRecipe {
    /// Opens the camera, waiting for it if that is asked for, and for `patience` at most. `None`: stopped while waiting.
    ///
    /// # Errors
    /// When it cannot be opened and is not waited for any longer.
    pub fn open(
        &self,
        patience: Option<Duration>,
        control: &Control,
        console: Console,
    ) -> Result<Option<Camera>, CameraError> {
        let begin = Instant::now();
        let left = || patience.map_or(RETRY, |patience| patience.saturating_sub(begin.elapsed()));
        let mut has_said = false;
        while !control.is_stopped() {
            match Camera::open(&self.choice, &self.options, &|| control.is_stopped()) {
                Ok(camera) => return Ok(Some(camera)),
                Err(_) if control.is_stopped() => break,
                Err(error) if !self.reconnect || left().is_zero() => return Err(error),
                Err(error) => {
                    if !has_said {
                        console.warning(&format!("{:#}; waiting for it", anyhow::Error::new(error)));
                        has_said = true;
                    }
                    pause(RETRY.min(left()), control);
                }
            }
        }
        Ok(None)
    }
}

/// Sleeps, but not longer than the run lasts.
fn pause(time: Duration, control: &Control) {
    let begin = Instant::now();
    while !control.is_stopped() && begin.elapsed() < time {
        thread::sleep(STEP);
    }
}

/// The camera as the pipeline's source.
pub struct LiveSource {
    camera: Option<Camera>,
    recipe: CameraRecipe,
    control: Control,
    console: Console,
    trouble: Trouble,
    rate: CaptureRate,
    size: FrameSize,
    first: Option<Instant>,
    has_begun: bool,
    scaler: Scaler,
}

/// Pictures that a camera and its thread may hold: one taken when it was opened, one handed over, one in hand.
const HELD: usize = 3;

impl LiveSource {
    /// Pictures of `camera`, opened by `recipe`.
    pub fn new(
        camera: Camera,
        recipe: CameraRecipe,
        control: Control,
        console: Console,
        trouble: Trouble,
        rate: CaptureRate,
    ) -> Self {
        let size = camera.size();
        Self {
            camera: Some(camera),
            recipe,
            control,
            console,
            trouble,
            rate,
            size,
            first: None,
            has_begun: false,
            scaler: Scaler::new(),
        }
    }

    fn set_trouble(&self, trouble: Option<String>) {
        if let Ok(mut slot) = self.trouble.lock() {
            *slot = trouble;
        }
    }

    fn reopen(&mut self) {
        self.rate.break_off();
        pause(RETRY, &self.control);
        let opened = Camera::open(&self.recipe.choice, &self.recipe.options, &|| self.control.is_stopped());
        if let Ok(camera) = opened {
            self.console.note(&format!("the camera '{}' is back", self.recipe.choice));
            self.set_trouble(None);
            self.camera = Some(camera);
        }
    }

    /// Outputs cannot change their size: a camera that comes back with another one is scaled.
    fn fit(&mut self, frame: Frame) -> Result<Frame> {
        if frame.size == self.size {
            return Ok(frame);
        }
        let mut fitted = self.recipe.options.pool.take(self.size);
        self.scaler.scale_rgb(frame.size, frame.pixels(), self.size, fitted.pixels_mut(), Filter::CatmullRom)?;
        Ok(fitted)
    }
}

/// Takes what was taken while the window and the outputs were opened. Of a camera that is old; of a clip it is shown until the next
/// picture's time.
fn take_first(camera: &mut Camera, is_clip: bool) -> Result<Option<CameraPicture>, CameraError> {
    let mut newest = None;
    for _ in 0..HELD {
        match camera.next(Duration::ZERO)? {
            Some(picture) => newest = Some(picture),
            None => break,
        }
    }
    Ok(newest.filter(|_| is_clip).map(|(frame, _)| (frame, Instant::now())))
}

impl Source for LiveSource {
    type Item = CapturedFrame;

    fn next(&mut self) -> Result<Option<CapturedFrame>> {
        while !self.control.is_stopped() {
            let Some(camera) = &mut self.camera else {
                self.reopen();
                continue;
            };
            let is_clip = matches!(self.recipe.choice, CameraChoice::Clip(_));
            let has_begun = std::mem::replace(&mut self.has_begun, true);
            let first = if has_begun { Ok(None) } else { take_first(camera, is_clip) };
            match first.and_then(|first| first.map_or_else(|| camera.next(STEP), |first| Ok(Some(first)))) {
                Ok(Some((frame, captured_at))) => {
                    self.rate.add(captured_at);
                    let mut frame = self.fit(frame)?;
                    let first = *self.first.get_or_insert(captured_at);
                    let micros = captured_at.saturating_duration_since(first).as_micros();
                    frame.timestamp = Timestamp { pts: i64::try_from(micros)?, duration: 0 };
                    return Ok(Some(CapturedFrame { frame, captured_at }));
                }
                Ok(None) => {}
                Err(error) if self.recipe.reconnect => {
                    self.console.warning(&format!("{:#}; waiting for it", anyhow::Error::new(error)));
                    self.set_trouble(Some("camera lost, waiting for it".to_owned()));
                    self.camera = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}
