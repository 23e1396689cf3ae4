//! Where live pictures go beside the window: a recording, a virtual camera, a stream. Each works on a thread of its own and
//! loses pictures rather than holding the window up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::console::{Console, counted};
use crate::frame::Frame;
use crate::media::{EncoderSettings, Recorder, StreamOut, StreamTarget, VideoInfo, Written};
use crate::output::is_taken;
use crate::pipeline::{Branch, Control, Ending, Offered, Sink};

/// Pictures that may wait for an output: a third of a second of a hiccup at 25 a second.
const WAITING: usize = 8;

/// An output on its thread.
pub type OutputBranch = Branch<Arc<Frame>, Done>;

/// What an output leaves.
#[derive(Debug)]
pub enum Done {
    /// A file, unless there was no picture for it.
    Recording(Option<Written>),
    /// Pictures that went out, and where to.
    Pictures {
        /// Where to.
        to: String,
        /// How many.
        frames: u64,
        /// How many came while it was broken off.
        missing: u64,
    },
}

/// The outputs of a run.
pub struct Outputs {
    console: Console,
    control: Control,
    /// Those that have no more pictures to come and are being completed.
    finishing: Vec<OutputBranch>,
    branches: Vec<OutputBranch>,
    recording: Option<OutputBranch>,
    /// Recordings that had no name yet when they began: where each lies until then, and what it is to be called.
    unnamed: Vec<(PathBuf, PathBuf)>,
    /// Recordings that are done.
    pub recordings: Vec<Written>,
    /// Pictures that are missing in outputs, by their names.
    pub lost: Vec<(&'static str, u64)>,
    /// Those that have failed, by their names.
    pub failed: Vec<&'static str>,
}

impl Outputs {
    /// No output.
    pub fn new(console: Console, control: Control) -> Self {
        Self {
            console,
            control,
            finishing: Vec::new(),
            branches: Vec::new(),
            recording: None,
            unnamed: Vec::new(),
            recordings: Vec::new(),
            lost: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Starts a recording.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn record(&mut self, recorder: Recorder) -> Result<()> {
        self.unnamed.extend(recorder.temporary().map(|temporary| (temporary.to_owned(), recorder.path().to_owned())));
        let branch = Branch::start("record", WAITING, RecordSink(Some(recorder))).context("start a thread")?;
        self.recording = Some(branch);
        Ok(())
    }

    /// Whether a recording runs.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Ends the recording, if one runs; what becomes of it is said when it is complete, which nobody waits for.
    pub fn end_recording(&mut self, ending: Ending) {
        if let Some(branch) = self.recording.take() {
            self.finish(branch, ending);
        }
    }

    /// Adds an output that runs to the end.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn add<S>(&mut self, name: &'static str, sink: S) -> Result<()>
    where
        S: Sink<Input = Arc<Frame>, Output = Done> + Send + 'static,
    {
        self.branches.push(Branch::start(name, WAITING, sink).context("start a thread")?);
        Ok(())
    }

    /// Whether a picture goes anywhere.
    pub fn are_there(&self) -> bool {
        self.recording.is_some() || !self.branches.is_empty()
    }

    /// Hands a picture to all of them. One that has failed is told about and left out from then on.
    pub fn offer(&mut self, frame: &Arc<Frame>) {
        self.collect();
        if self.recording.as_mut().is_some_and(|branch| branch.offer(Arc::clone(frame)) == Offered::Failed) {
            self.end_recording(Ending::Failed);
        }
        let branches = std::mem::take(&mut self.branches);
        for mut branch in branches {
            if branch.offer(Arc::clone(frame)) == Offered::Failed {
                self.finish(branch, Ending::Failed);
            } else {
                self.branches.push(branch);
            }
        }
    }

    /// Ends all of them; blocks until files are complete, or the run is given up: what has its name plays then as well.
    pub fn finish_all(&mut self, ending: Ending) {
        self.end_recording(ending);
        for branch in std::mem::take(&mut self.branches) {
            self.finish(branch, ending);
        }
        while !self.finishing.is_empty() && !self.control.is_aborted() {
            std::thread::sleep(STEP);
            self.collect();
        }
        if !self.finishing.is_empty() {
            self.give_up_unnamed();
        }
    }

    /// Removes recordings that have no name: nothing of them is on the disk that plays, and their threads end with the process.
    fn give_up_unnamed(&mut self) {
        for (temporary, path) in std::mem::take(&mut self.unnamed) {
            if std::fs::remove_file(&temporary).is_ok() {
                self.console.error_line(&format!("'{}' was not written", path.display()));
            }
        }
    }

    fn finish(&mut self, mut branch: OutputBranch, ending: Ending) {
        branch.end(ending);
        self.finishing.push(branch);
    }

    /// Says what became of those that are complete.
    fn collect(&mut self) {
        for branch in std::mem::take(&mut self.finishing) {
            if branch.is_finished() {
                self.tell(branch);
            } else {
                self.finishing.push(branch);
            }
        }
    }

    fn tell(&mut self, branch: OutputBranch) {
        let (name, mut lost) = (branch.name(), branch.lost());
        match branch.finish(Ending::Complete) {
            Ok(Done::Recording(Some(written))) => {
                let (path, frames) = (written.path.display(), counted(written.frames, "frame"));
                self.console.line(&format!("{path}: {frames} recorded"));
                self.recordings.push(written);
            }
            Ok(Done::Recording(None)) => self.console.line("nothing was recorded: there was no picture"),
            Ok(Done::Pictures { to, frames, missing }) => {
                lost += missing;
                self.console.line(&format!("{to}: {} sent", counted(frames, "frame")));
            }
            Err(error) => {
                self.failed.push(name);
                self.console.error_line(&format!("{error:#}"));
            }
        }
        if lost > 0 {
            self.lost.push((name, lost));
        }
    }
}

/// How often whoever waits for outputs looks for them.
const STEP: Duration = Duration::from_millis(20);

struct RecordSink(Option<Recorder>);

impl Sink for RecordSink {
    type Input = Arc<Frame>;
    type Output = Done;

    fn write(&mut self, frame: Arc<Frame>) -> Result<()> {
        self.0.as_mut().context("the recording has ended")?.write(&frame)
    }

    /// What is there plays, however the run ended.
    fn finish(&mut self, _: Ending) -> Result<Done> {
        Ok(Done::Recording(self.0.take().map(Recorder::finish).transpose()?.flatten()))
    }
}

/// A virtual camera as an output.
#[cfg(target_os = "linux")]
pub struct VirtualCameraSink {
    /// The device.
    pub camera: crate::media::VirtualCamera,
    /// Pictures so far.
    pub frames: u64,
}

#[cfg(target_os = "linux")]
impl Sink for VirtualCameraSink {
    type Input = Arc<Frame>;
    type Output = Done;

    fn write(&mut self, frame: Arc<Frame>) -> Result<()> {
        self.frames += 1;
        self.camera.write(&frame)
    }

    fn finish(&mut self, _: Ending) -> Result<Done> {
        Ok(Done::Pictures { to: self.camera.path().display().to_string(), frames: self.frames, missing: 0 })
    }
}

/// A stream as an output: where it breaks off, it is opened again.
pub struct StreamSink {
    target: StreamTarget,
    info: VideoInfo,
    bits_per_second: u64,
    threads: usize,
    console: Console,
    stream: Option<StreamOut>,
    frames: u64,
    /// Pictures that came while it was broken off.
    missing: u64,
    retry_at: Option<Instant>,
}

impl StreamSink {
    /// How long to wait before a broken stream is opened again.
    const RETRY: Duration = Duration::from_secs(2);

    /// Opens the stream. Blocks until the other end answers.
    ///
    /// # Errors
    /// As [`StreamOut::open`].
    pub fn open(
        target: StreamTarget,
        info: VideoInfo,
        bits_per_second: u64,
        threads: usize,
        console: Console,
    ) -> Result<Self> {
        let stream = Some(StreamOut::open(&target, &info, bits_per_second, threads)?);
        Ok(Self { target, info, bits_per_second, threads, console, stream, frames: 0, missing: 0, retry_at: None })
    }
}

impl Sink for StreamSink {
    type Input = Arc<Frame>;
    type Output = Done;

    fn write(&mut self, frame: Arc<Frame>) -> Result<()> {
        if self.stream.is_none() && self.retry_at.is_none_or(|retry_at| Instant::now() >= retry_at) {
            match StreamOut::open(&self.target, &self.info, self.bits_per_second, self.threads) {
                Ok(stream) => {
                    self.console.note(&format!("the stream to '{}' goes on", self.target));
                    self.stream = Some(stream);
                }
                Err(error) => {
                    tracing::info!("{error:#}");
                    self.retry_at = Some(Instant::now() + Self::RETRY);
                }
            }
        }
        let Some(stream) = &mut self.stream else {
            self.missing += 1;
            return Ok(());
        };
        match stream.write(&frame) {
            Ok(()) => self.frames += 1,
            Err(error) => {
                self.console.warning(&format!("{error:#}; trying again every {} s", Self::RETRY.as_secs()));
                self.missing += 1;
                self.stream = None;
                self.retry_at = Some(Instant::now() + Self::RETRY);
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: Ending) -> Result<Done> {
        if let Some(stream) = self.stream.take()
            && let Err(error) = stream.finish()
        {
            // Receivers of live pictures leave when they like.
            tracing::info!("{error:#}");
        }
        Ok(Done::Pictures { to: self.target.to_string(), frames: self.frames, missing: self.missing })
    }
}

/// How a recording is encoded and where it lies.
#[derive(Debug, Clone)]
pub struct RecordingPlan {
    /// What was asked for; the first recording gets this name, later ones a number.
    pub path: Option<PathBuf>,
    /// How pictures are encoded.
    pub settings: EncoderSettings,
    /// What the pictures are like.
    pub info: VideoInfo,
    /// Whether the first may replace a file.
    pub overwrite: bool,
    /// Recordings so far.
    pub recordings: u32,
}

impl RecordingPlan {
    /// Opens the next recording: the one that was asked for, or one with the first free number.
    ///
    /// # Errors
    /// As [`Recorder::create`].
    pub fn open_next(&mut self) -> Result<Recorder> {
        let (path, overwrite) = match &self.path {
            Some(path) if self.recordings == 0 => (path.clone(), self.overwrite),
            Some(path) => (free_name(path, 1).1, false),
            None => (free_name(Path::new("impasto.mkv"), 1).1, false),
        };
        let recorder = Recorder::create(&path, &self.info, &self.settings, overwrite)?;
        self.recordings += 1;
        Ok(recorder)
    }
}

/// `stem-N.ext` with the first number from `first` on that is free, and that number.
pub fn free_name(path: &Path, first: u32) -> (u32, PathBuf) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let name = |number: u32| (number, path.with_file_name(format!("{stem}-{number}.{extension}")));
    (first..).map(name).find(|(_, path)| !is_taken(path)).unwrap_or_else(|| name(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;

    #[test]
    fn later_recordings_get_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("show.mkv");
        let mut plan = RecordingPlan {
            path: Some(path.clone()),
            settings: EncoderSettings::default(),
            info: VideoInfo::plain(FrameSize::new(32, 16), 25),
            overwrite: false,
            recordings: 0,
        };
        for name in ["show.mkv", "show-1.mkv", "show-2.mkv"] {
            let mut recorder = plan.open_next().unwrap();
            assert_eq!(recorder.path().file_name().unwrap(), name);
            recorder.write(&Frame::black(FrameSize::new(32, 16))).unwrap();
            assert_eq!(recorder.finish().unwrap().unwrap().frames, 1);
        }
    }
}
