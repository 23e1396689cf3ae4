//! `impasto pipe`: uncompressed video from stdin, painted, to stdout.
//!
//! stdout is the picture's: all that there is to say goes to stderr, and there is no summary for programs.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, stdin, stdout};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::device::Compute;
use super::mask::Mask;
use super::signals;
use super::stages::{Chain, SmoothedFrame, TemporalStages};
use super::style;
use super::{Outcome, UsageError};
use crate::cli::{OutputFormat, PipeArgs};
use crate::console::{Console, Progress, counted};
use crate::frame::{Frame, FramePool};
use crate::media::{
    NotY4m, PipeFormat, PipeOptions, PipeReader, PipeWriter, Rational, RawVideo, ReaderLeft, ReaderOptions,
};
use crate::pipeline::{Control, Ending, Pipeline, PipelineStats, RunError, Sink, Source};

/// Runs the command.
pub fn run(args: &PipeArgs) -> Result<Outcome> {
    let console = Console::new(args.quiet);
    refuse_terminals()?;
    let control = Control::new();
    stop_on_signals(&control, console)?;
    let started = Instant::now();

    #[cfg(target_os = "linux")]
    widen_pipes();
    let mut compute = Compute::new(&args.run.device, args.run.thread_count(), console)?;
    let pool = FramePool::new();
    let reader = match PipeReader::new(PipeInput::open(&control)?, options(args, &pool)) {
        Err(_) if control.is_stopped() => return Ok(Outcome::Interrupted),
        reader => reader.map_err(with_hint)?,
    };
    let style = style::open_for_clip(&args.style, &args.run, reader.format().size(), &mut compute, &control)?;
    let mask = Mask::for_clip(&args.mask, reader.format().size(), None, &ReaderOptions::default())?;
    let remarks = mask.as_ref().map(Mask::remarks).unwrap_or_default();
    let (label, provider) = (style.label.clone(), style.provider.clone());
    // Without style there is nothing to hold still: the input comes out as it is.
    let (seconds, stride) =
        if args.style.look.strength > 0.0 { (args.temporal.smooth, args.temporal.stride) } else { (0.0, 1) };
    let time_base = reader.format().time_base();
    let temporal =
        TemporalStages::new(seconds, stride, time_base, false)?.placed(|| compute.place(reader.format().size()));
    compute.tell(args.stats);
    let of_mask = mask.as_ref().map(|mask| mask.notes(None, false)).unwrap_or_default();
    for note in style.notes.iter().chain(&of_mask).map(String::as_str).chain(reader.notes().iter().copied()) {
        console.note(note);
    }
    let format = output_format(args, reader.format())?;
    let writer = match PipeWriter::new(stdout(), &format) {
        Err(error) if error.is::<ReaderLeft>() => return Ok(Outcome::Done),
        writer => writer?,
    };

    let pipeline = Pipeline::new(control.clone(), args.run.queue as usize);
    let stats = pipeline.stats();
    let mut sink = PipeSink {
        writer,
        progress: console.progress(None),
        stats: stats.clone(),
        control: control.clone(),
        time_base: format.time_base(),
        frames: 0,
    };
    let source = PipeSource { reader, is_raw: args.raw.is_some(), control: control.clone() };
    let chain = Chain { reader: source, stylizers: style.engines(), pool, temporal, mask };
    let outcome = chain.run(pipeline, &mut sink);
    sink.progress.end();
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => {}
        Err(RunError::Aborted) => return Ok(Outcome::Interrupted),
        Err(RunError::Stage { source, .. }) if source.is::<ReaderLeft>() => {
            console.line("the reader of the output has closed it: the rest was left out");
            return Ok(Outcome::Done);
        }
        Err(error) => return Err(error.into()),
    }
    if args.stats {
        console.stages(&stats.snapshot());
    }
    let size = format.size();
    let fps = sink.frames as f64 / seconds;
    let frames = counted(sink.frames, "frame");
    console.line(&format!("{frames} of {size} in {seconds:.1} s ({fps:.1} fps), {label} on {provider}"));
    Ok(match remarks.damage() {
        _ if control.is_stopped() => Outcome::Interrupted,
        Some(_) => Outcome::Damaged,
        None => Outcome::Done,
    })
}

fn options(args: &PipeArgs, pool: &FramePool) -> PipeOptions {
    let raw = match (args.raw, args.size, args.rate) {
        (Some(layout), Some(size), Some(frame_rate)) => Some(RawVideo { layout, size, frame_rate }),
        _ => None,
    };
    PipeOptions { raw, matrix: args.matrix, range: args.range, pool: pool.clone() }
}

fn output_format(args: &PipeArgs, format: &PipeFormat) -> Result<PipeFormat> {
    match args.output_format {
        None => Ok(format.clone()),
        Some(OutputFormat::Y4m) => format.to_y4m(),
        Some(OutputFormat::Raw(layout)) => Ok(format.to_raw(layout)),
    }
}

/// Pictures in bytes are nothing to type or to read.
fn refuse_terminals() -> Result<()> {
    let hint = if stdin().is_terminal() {
        "stdin is a terminal (expected video: ffmpeg -i in.mp4 -f yuv4mpegpipe - | impasto pipe … ; \
         `impasto video` reads files)"
    } else if stdout().is_terminal() {
        "stdout is a terminal (expected a program or a file: impasto pipe … | ffmpeg -i - out.mp4)"
    } else {
        return Ok(());
    };
    Err(UsageError(anyhow!(hint)).into())
}

/// A pipe holds 64 KB, a fiftieth of a picture of 1080 lines: each program would wake the other as often. The system may
/// refuse, and a file is no pipe: then it stays as it is.
#[cfg(target_os = "linux")]
fn widen_pipes() {
    /// What Linux lets everybody have.
    const PIPE_BYTES: usize = 1 << 20;
    for result in
        [rustix::pipe::fcntl_setpipe_size(stdin(), PIPE_BYTES), rustix::pipe::fcntl_setpipe_size(stdout(), PIPE_BYTES)]
    {
        if let Err(error) = result {
            tracing::debug!("the size of a pipe stays as it is: {error}");
        }
    }
}

/// First Ctrl-C: stop, what has come in is painted and goes out. Second: the system ends the process; there is no
/// file to clean up, and nothing else wakes a thread that waits for the program after this one.
fn stop_on_signals(control: &Control, console: Console) -> Result<()> {
    let is_second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset.
        flag::register_conditional_default(signal, Arc::clone(&is_second)).context("listen for Ctrl-C")?;
        flag::register(signal, Arc::clone(&is_second)).context("listen for Ctrl-C")?;
    }
    let mut signals = Signals::new(signals::that_end()).context("listen for Ctrl-C")?;
    let control = control.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                control.stop();
                console.line("stopping: what has come in is being finished (Ctrl-C again to end at once)");
            }
        })
        .context("start a thread")?;
    Ok(())
}

/// Adds what to do about a stream that is not understood.
fn with_hint(error: anyhow::Error) -> anyhow::Error {
    if error.is::<NotY4m>() {
        anyhow!("{error:#} (ffmpeg writes y4m with -f yuv4mpegpipe; --raw reads pictures without a header)")
    } else {
        error
    }
}

fn ends_inside_frame(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof)
}

/// stdin, which ends where nothing comes in any more once the run has been told to stop: whoever writes may be silent for long.
struct PipeInput {
    file: File,
    control: Control,
}

impl PipeInput {
    /// How often a silent stdin is left to see whether to stop.
    const ATTENTION: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

    fn open(control: &Control) -> Result<Self> {
        // Rust's own handle holds bytes back, which the system does not tell of.
        let file = File::from(stdin().as_fd().try_clone_to_owned().context("open stdin")?);
        Ok(Self { file, control: control.clone() })
    }
}

impl Read for PipeInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut waiting = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut waiting, Some(&Self::ATTENTION)) {
                Ok(0) if self.control.is_stopped() => return Ok(0),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The reader as the pipeline's source.
struct PipeSource<R> {
    reader: PipeReader<R>,
    is_raw: bool,
    control: Control,
}

impl<R: Read + Send> Source for PipeSource<R> {
    type Item = Frame;

    fn next(&mut self) -> Result<Option<Frame>> {
        match self.reader.next_frame() {
            // Ctrl-C goes to every program of a pipe: whoever writes may have been cut off.
            Err(_) if self.control.is_stopped() => Ok(None),
            Err(error) if self.is_raw && ends_inside_frame(&error) => {
                let size = self.reader.format().size();
                bail!("{error:#} (is --size {}x{} that of the pictures?)", size.width, size.height)
            }
            frame => frame,
        }
    }
}

/// The writer as the pipeline's sink, with the progress shown.
struct PipeSink<W> {
    writer: PipeWriter<W>,
    progress: Progress,
    stats: PipelineStats,
    control: Control,
    time_base: Rational,
    frames: u64,
}

impl<W: std::io::Write> Sink for PipeSink<W> {
    type Input = SmoothedFrame;
    type Output = ();

    fn write(&mut self, SmoothedFrame { frame, .. }: SmoothedFrame) -> Result<()> {
        self.writer.write(&frame)?;
        self.frames += 1;
        let seconds = self.frames as f64 * f64::from(self.time_base);
        let media_time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.progress.update(self.frames, media_time, self.stats.slowest().map(|stage| stage.name));
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<()> {
        // Whoever writes to this program may be silent for ever: it is not waited for.
        if ending == Ending::Failed {
            self.control.stop();
        }
        Ok(())
    }
}
