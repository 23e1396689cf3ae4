//! Where live pictures end: the window and its keys on this thread, the outputs on theirs.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::figures::{LastSecond, Times};
use super::keys::{self, Action};
use super::look::{SharedLook, StyleMenu, stepped_smoothing, stepped_strength};
use super::outputs::{Outputs, RecordingPlan, free_name};
use super::quality::Quality;
use super::source::{CaptureRate, Trouble};
use super::stages::ShownFrame;
use super::view::{View, view_size};
use crate::console::{Console, Progress};
use crate::frame::{Frame, FrameSize};
use crate::media::Window;
use crate::output::AtomicFile;
use crate::pipeline::{Control, Ending, PipelineStats, Sink};

/// How long the sink waits for a picture before it looks after the window.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a message stays in the window.
const MESSAGE: Duration = Duration::from_secs(2);

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// After so many pictures.
    pub frames: Option<u64>,
    /// So long after the first picture.
    pub duration: Option<Duration>,
}

/// What is shown beside the picture.
struct Screen {
    window: Window,
    view: View,
    is_split: bool,
    has_overlay: bool,
    has_help: bool,
    is_full_screen: bool,
    message: Option<(String, Instant)>,
    /// The text that the window shows, and whether something else has changed since.
    shown_text: Vec<String>,
    is_outdated: bool,
}

/// What the sink is made of.
pub struct LiveSinkParts {
    /// Where to show pictures, if anywhere.
    pub window: Option<Window>,
    /// Where else they go.
    pub outputs: Outputs,
    /// How the next recording is made.
    pub plan: RecordingPlan,
    /// What the keys change.
    pub look: SharedLook,
    /// The styles to go through.
    pub menu: StyleMenu,
    /// What the network runs on, for the overlay.
    pub provider: String,
    /// The style at the start, as asked for.
    pub style: String,
    /// Chooses the working size, if that is asked for.
    pub quality: Option<Quality>,
    /// Ends the run.
    pub control: Control,
    /// For what people should know.
    pub console: Console,
    /// What the stages did.
    pub stats: PipelineStats,
    /// What keeps pictures from coming.
    pub trouble: Trouble,
    /// How fast they come.
    pub camera_rate: CaptureRate,
    /// When the run ends.
    pub limits: Limits,
}

/// Shows pictures, obeys keys, feeds outputs, keeps figures.
pub struct LiveSink {
    parts: LiveSinkParts,
    screen: Option<Screen>,
    progress: Progress,
    started: Option<Instant>,
    last_shown: Option<(Arc<Frame>, Option<Frame>)>,
    last_second: LastSecond,
    snapshots: Vec<JoinHandle<()>>,
    last_snapshot: u32,
    /// Pictures shown.
    pub frames: u64,
    /// Pictures that the network painted.
    pub painted_frames: u64,
    /// From capture to display.
    pub latency: Times,
    /// The network, with packing, unpacking and scaling.
    pub painting: Times,
    /// From the first to the last picture.
    pub elapsed: Duration,
}

impl LiveSink {
    /// A sink for one run.
    pub fn new(mut parts: LiveSinkParts, has_overlay: bool) -> Self {
        let screen = parts.window.take().map(|window| Screen {
            window,
            view: View::new(),
            is_split: false,
            has_overlay,
            has_help: false,
            is_full_screen: false,
            message: Some(("h: keys".to_owned(), Instant::now())),
            shown_text: Vec::new(),
            is_outdated: false,
        });
        Self {
            progress: parts.console.progress(None),
            parts,
            screen,
            started: None,
            last_shown: None,
            last_second: LastSecond::default(),
            snapshots: Vec::new(),
            last_snapshot: 0,
            frames: 0,
            painted_frames: 0,
            latency: Times::new(),
            painting: Times::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// What has become of the outputs.
    pub fn outputs(&self) -> &Outputs {
        &self.parts.outputs
    }

    /// Shorter side of the picture that the network sees at last.
    pub fn work_size(&self) -> usize {
        self.parts.look.at(Instant::now()).work_size
    }

    /// The style at last.
    pub fn style(&self) -> &str {
        &self.parts.style
    }

    fn is_over(&self) -> bool {
        let is_long_enough = |limit: Duration| self.started.is_some_and(|started| started.elapsed() >= limit);
        self.parts.limits.frames.is_some_and(|limit| self.frames >= limit)
            || self.parts.limits.duration.is_some_and(is_long_enough)
    }

    /// Brings the window up to date, and does what was asked for by keys.
    fn refresh(&mut self) -> Result<()> {
        let lines = self.lines();
        let Some(screen) = &mut self.screen else { return Ok(()) };
        if let Some((painted, content)) = &self.last_shown
            && (screen.is_outdated || screen.shown_text != lines)
        {
            let content = content.as_ref().filter(|_| screen.is_split);
            screen.window.show(screen.view.compose(content, painted, &lines))?;
            screen.is_outdated = false;
            screen.shown_text = lines;
        }
        let mut actions = Vec::new();
        // Keys that were pressed while a slow network painted come one at a time.
        while let Some(character) = screen.window.poll_key()? {
            actions.extend(keys::action_of(character));
        }
        if screen.window.is_closed() {
            actions.push(Action::Quit);
        }
        actions.into_iter().try_for_each(|action| self.act(action))
    }

    /// The text in the corner of the window.
    fn lines(&self) -> Vec<String> {
        let Some(screen) = &self.screen else { return Vec::new() };
        let mut lines = Vec::new();
        if let Some(trouble) = self.parts.trouble.lock().ok().and_then(|trouble| trouble.clone()) {
            lines.push(trouble);
        }
        lines.extend(self.parts.outputs.failed.iter().map(|name| format!("{name} has failed: see the terminal")));
        if let Some((message, since)) = &screen.message
            && since.elapsed() < MESSAGE
        {
            lines.push(message.clone());
        }
        if screen.has_help {
            lines.extend(keys::lines());
        } else if screen.has_overlay {
            lines.extend(self.figures());
        }
        lines
    }

    fn figures(&self) -> Vec<String> {
        let lost = self.parts.stats.snapshot().first().map_or(0, |camera| camera.lost);
        let size = self.last_shown.as_ref().map(|(painted, _)| painted.size).unwrap_or_else(|| FrameSize::new(0, 0));
        let (rate, latency) = self.last_second.rate_and_latency().unwrap_or_default();
        let look = self.parts.look.at(Instant::now());
        let recording = if self.parts.outputs.is_recording() { ", recording" } else { "" };
        vec![
            format!("{rate:.1} fps, latency {} ms, {lost} dropped{recording}", latency.as_millis()),
            format!(
                "{} {:.1}, smooth {:.2} s, size {}",
                self.parts.style, look.strength, look.smoothing_seconds, look.work_size
            ),
            // What the camera says of itself need not be so.
            format!(
                "camera {}x{}, {:.1} fps, {}",
                size.width,
                size.height,
                self.parts.camera_rate.frames_per_second().unwrap_or_default(),
                self.parts.provider
            ),
        ]
    }

    fn say(&mut self, message: String) {
        if let Some(screen) = &mut self.screen {
            screen.message = Some((message, Instant::now()));
        }
    }

    fn act(&mut self, action: Action) -> Result<()> {
        match action {
            Action::NextStyle => self.change_style(1),
            Action::PreviousStyle => self.change_style(-1),
            Action::MoreStrength => self.change_strength(1),
            Action::LessStrength => self.change_strength(-1),
            Action::MoreSmoothing => self.change_smoothing(true),
            Action::LessSmoothing => self.change_smoothing(false),
            Action::KeepColor => {
                let look = self.parts.look.change(|look| look.keep_color = !look.keep_color);
                self.say((if look.keep_color { "colors of the camera" } else { "colors of the style" }).to_owned());
            }
            Action::Mirror => {
                self.parts.look.change(|look| look.mirror = !look.mirror);
            }
            Action::Snapshot => self.save_snapshot(),
            Action::Record => self.start_or_end_recording(),
            Action::Split | Action::Overlay | Action::Help | Action::FullScreen => return self.change_screen(action),
            Action::Quit => self.parts.control.stop(),
        }
        Ok(())
    }

    fn change_screen(&mut self, action: Action) -> Result<()> {
        let Some(screen) = &mut self.screen else { return Ok(()) };
        screen.is_outdated = true;
        match action {
            Action::Split => {
                screen.is_split = !screen.is_split;
                if let Some((painted, _)) = &self.last_shown {
                    screen.window.fit(view_size(painted.size, screen.is_split))?;
                }
            }
            Action::Overlay => screen.has_overlay = !screen.has_overlay,
            Action::Help => screen.has_help = !screen.has_help,
            _ => {
                screen.is_full_screen = !screen.is_full_screen;
                screen.window.set_full_screen(screen.is_full_screen)?;
            }
        }
        Ok(())
    }

    fn change_style(&mut self, steps: isize) {
        let message = match self.parts.menu.step(steps) {
            Some((name, weights)) => {
                self.parts.look.fade_to(weights, Instant::now());
                self.parts.style = name.to_owned();
                name.to_owned()
            }
            None => "this network has one style".to_owned(),
        };
        self.say(message);
    }

    fn change_strength(&mut self, steps: i32) {
        let look = self.parts.look.change(|look| look.strength = stepped_strength(look.strength, steps));
        self.say(format!("strength {:.1}", look.strength));
    }

    fn change_smoothing(&mut self, is_longer: bool) {
        let look = self
            .parts
            .look
            .change(|look| look.smoothing_seconds = stepped_smoothing(look.smoothing_seconds, is_longer));
        self.say(format!("smooth {:.2} s", look.smoothing_seconds));
    }

    fn start_or_end_recording(&mut self) {
        if self.parts.outputs.is_recording() {
            self.parts.outputs.end_recording(Ending::Stopped);
            self.say("recording ended".to_owned());
            return;
        }
        let started = self.parts.plan.open_next().and_then(|recorder| {
            let path = recorder.path().display().to_string();
            self.parts.outputs.record(recorder).map(|()| path)
        });
        match started {
            Ok(path) => self.say(format!("recording {path}")),
            Err(error) => {
                self.parts.console.warning(&format!("{error:#}"));
                self.say("no recording: see the terminal".to_owned());
            }
        }
    }

    /// Encoding takes longer than a picture lasts: it is done beside.
    fn save_snapshot(&mut self) {
        let Some((painted, _)) = &self.last_shown else { return };
        let (painted, console) = (Arc::clone(painted), self.parts.console);
        // One that is still being encoded has its name already.
        let (number, path) = free_name(Path::new("impasto.png"), self.last_snapshot + 1);
        self.last_snapshot = number;
        let name = path.display().to_string();
        let save = move || match write_png(&painted, &path) {
            Ok(()) => console.line(&format!("{}: saved", path.display())),
            Err(error) => console.warning(&format!("{error:#}")),
        };
        self.snapshots.retain(|snapshot| !snapshot.is_finished());
        match std::thread::Builder::new().name("snapshot".to_owned()).spawn(save) {
            Ok(thread) => {
                self.snapshots.push(thread);
                self.say(format!("saving {name}"));
            }
            Err(error) => self.parts.console.warning(&format!("start a thread: {error}")),
        }
    }

    fn after_frame(&mut self) {
        let lost = self.parts.stats.snapshot().first().map_or(0, |camera| camera.lost);
        let recent = self.last_second.rate_and_latency();
        self.progress.update_with(self.frames, || {
            let (rate, latency) = recent.unwrap_or_default();
            format!("{rate:.1} fps  latency {} ms  {lost} dropped", latency.as_millis())
        });
        if self.is_over() {
            self.parts.control.stop();
        }
    }
}

impl Sink for LiveSink {
    type Input = ShownFrame;
    type Output = ();

    fn write(&mut self, shown: ShownFrame) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let ShownFrame { smoothed, captured_at, times } = shown;
        let started = *self.started.get_or_insert_with(Instant::now);
        let painted = Arc::new(smoothed.frame);
        let had_outputs = self.parts.outputs.are_there();
        self.parts.outputs.offer(&painted);
        if had_outputs && self.screen.is_none() && !self.parts.outputs.are_there() {
            // Nothing is left to paint for.
            self.parts.control.stop();
        }
        self.last_shown = Some((painted, smoothed.content));
        if let Some(screen) = &mut self.screen {
            screen.is_outdated = true;
        }
        self.refresh()?;
        let now = Instant::now();
        let latency = now.saturating_duration_since(captured_at);
        self.latency.add(latency);
        self.last_second.add(now, latency);
        self.frames += 1;
        self.elapsed = now.saturating_duration_since(started);
        if smoothed.is_painted {
            self.painted_frames += 1;
            self.painting.add(times.painting);
            if let Some(size) =
                self.parts.quality.as_mut().and_then(|quality| quality.observe(times.slowest().as_secs_f64()))
            {
                self.parts.look.change(|look| look.work_size = size);
            }
        }
        self.after_frame();
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        Some(PATIENCE)
    }

    fn idle(&mut self) -> Result<()> {
        self.refresh()?;
        if self.is_over() {
            self.parts.control.stop();
        }
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<()> {
        self.progress.end();
        self.screen = None;
        self.parts.outputs.finish_all(ending);
        for snapshot in std::mem::take(&mut self.snapshots) {
            // A snapshot that failed has said so.
            let _ = snapshot.join();
        }
        Ok(())
    }
}

fn write_png(frame: &Frame, path: &Path) -> Result<()> {
    let write = || -> Result<()> {
        let file = AtomicFile::create(path, false)?;
        let (width, height) = (u32::try_from(frame.size.width)?, u32::try_from(frame.size.height)?);
        let (color, format) = (image::ColorType::Rgb8, image::ImageFormat::Png);
        image::save_buffer_with_format(file.temporary(), frame.pixels(), width, height, color, format)?;
        Ok(file.commit()?)
    };
    write().with_context(|| format!("cannot save '{}'", path.display()))
}
