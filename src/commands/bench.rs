//! `impasto bench`: how fast this machine paints, stage by stage and in all.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Outcome;
use super::device::Compute;
use super::file_sink::FileSink;
use super::signals;
use super::stages::{Chain, StageFigures, TemporalStages};
use super::style;
use crate::cli::{BenchArgs, TemporalArgs};
use crate::console::{self, Console, counted};
use crate::frame::{Frame, FramePool, FrameSize, Timestamp};
use crate::media::{Cut, EncoderSettings, ReaderOptions, VideoInfo, VideoReader, VideoWriter, WriterOptions};
use crate::pipeline::{Control, Pipeline, Stage};
use crate::style::{Mix, StyleEngine, Stylizer};

/// Synthetic frames where no number is asked for.
const DEFAULT_FRAMES: u64 = 100;
/// Different pictures kept in memory; longer clips are measured by going round.
const MAX_PICTURES: usize = 24;
/// Runs that are not measured: buffers are allocated and the processor warms up.
const WARM_UP: usize = 3;

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("create a folder for the bench")?;
    remove_on_signals(folder.path())?;
    let threads = args.run.thread_count();
    let control = Control::new();
    let mut compute = Compute::new(&args.run.device, threads, Console::new(false))?;
    let size = match &args.clip {
        Some(clip) => VideoReader::open(clip, ReaderOptions::default())?.info().size,
        None => args.size,
    };
    let style = style::open_for_clip(&args.style, &args.run, size, &mut compute, &control)?;
    compute.tell(false);
    let (label, network_name, provider) = (style.label.clone(), style.network, style.provider.clone());
    let mut engines = style.engines();

    let synthetic = folder.path().join("synthetic.mkv");
    let clip = match &args.clip {
        Some(clip) => clip.as_path(),
        None => {
            write_synthetic_clip(&synthetic, args.size, args.frames.unwrap_or(DEFAULT_FRAMES), threads)?;
            &synthetic
        }
    };
    let cut = Cut { frames: args.frames, ..Cut::default() };
    let reader_options = ReaderOptions { cut, threads, ..ReaderOptions::default() };
    let (decode, pictures, info, count) = measure_decode(clip, &reader_options)?;

    let network_before = measure_network(&mut engines, &pictures, count)?;
    let stylize = measure_stylize(&mut engines, &pictures, count)?;
    let temporal = TemporalStages::new(args.temporal.smooth, 1, info.time_base, false)?;
    let temporal = temporal.placed(|| compute.place(info.size));
    let (motion, smooth) = measure_smoothing(temporal, &pictures, count)?;
    let encoder = args.encoding.settings(threads);
    let encode = measure_encode(&folder.path().join("encode.mkv"), &pictures, count, &info, &encoder)?;
    let output = folder.path().join("chain.mkv");
    let TemporalArgs { smooth: seconds, stride, .. } = args.temporal;
    let temporal = TemporalStages::new(seconds, stride, info.time_base, false)?;
    let temporal = temporal.placed(|| compute.place(info.size));
    let (chain, stages) =
        measure_chain(clip, &reader_options, &mut engines, &output, &encoder, args.run.queue as usize, temporal)?;
    // The machine may have changed its pace meanwhile: the network is measured on both sides of the chain.
    let network_after = measure_network(&mut engines, &pictures, count)?;

    let network = Timing::mean("network", &network_before.network, &network_after.network);
    let pack = Timing::mean("pack", &network_before.pack, &network_after.pack);
    let unpack = Timing::mean("unpack", &network_before.unpack, &network_after.unpack);
    let figures = Figures {
        style: &label,
        network: network_name,
        provider: &provider,
        threads,
        networks: engines.len(),
        smoothing: compute.smoothing(),
        queue: args.run.queue,
        width: size.width,
        height: size.height,
        frames: count,
        chain_over_network: chain.fps / network.fps,
        packing_over_network: (pack.milliseconds + unpack.milliseconds) / network.milliseconds,
        timings: vec![decode, motion, pack, network, unpack, stylize, smooth, encode, chain],
        stages,
    };
    if args.json {
        let text = serde_json::to_string_pretty(&figures).context("write the figures")?;
        console::data(&format!("{text}\n")).context("write the figures to stdout")?;
    } else {
        console::data(&table(&figures)).context("write the figures to stdout")?;
    }
    Ok(Outcome::Done)
}

/// Ctrl-C ends a bench at once, but for what lies in its folder.
fn remove_on_signals(folder: &Path) -> Result<()> {
    let mut signals = Signals::new(signals::that_end()).context("listen for Ctrl-C")?;
    let folder = folder.to_owned();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if let Err(error) = std::fs::remove_dir_all(&folder) {
                    tracing::debug!("'{}' stays: {error}", folder.display());
                }
                if let Err(error) = emulate_default_handler(signal) {
                    tracing::debug!("signal {signal}: {error}");
                }
            }
        })
        .context("start a thread")?;
    Ok(())
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Figures<'a> {
    style: &'a str,
    /// The catalog's name of the network; none for one in a file.
    network: Option<&'a str>,
    provider: &'a str,
    threads: usize,
    /// That paint at one time.
    networks: usize,
    /// Where frames were smoothed, and why; none where there was no choice but the processor.
    smoothing: Option<String>,
    queue: u32,
    width: usize,
    height: usize,
    frames: u64,
    /// Frame rate of the whole chain over that of the network alone.
    chain_over_network: f64,
    /// Time of packing and unpacking over that of the network alone.
    packing_over_network: f64,
    timings: Vec<Timing>,
    /// Where the chain's stages spent their time.
    stages: Vec<StageFigures>,
}

/// One thing measured alone.
#[derive(Debug, Clone, Serialize)]
struct Timing {
    name: &'static str,
    frames: u64,
    /// Mean time of a frame.
    milliseconds: f64,
    fps: f64,
}

impl Timing {
    fn new(name: &'static str, frames: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64().max(1e-9) / frames.max(1) as f64;
        Self { name, frames, milliseconds: seconds * 1e3, fps: 1.0 / seconds }
    }

    fn mean(name: &'static str, first: &Self, second: &Self) -> Self {
        let frames = first.frames + second.frames;
        let total = first.milliseconds * first.frames as f64 + second.milliseconds * second.frames as f64;
        Self::new(name, frames, Duration::from_secs_f64(total / 1e3))
    }
}

fn table(figures: &Figures<'_>) -> String {
    let mut text = format!(
        "{}{} on {}, {}, {} at one time, {} of {}×{}\n\nalone       ms/frame       fps\n",
        figures.style,
        figures.network.map(|network| format!(" by {network}")).unwrap_or_default(),
        figures.provider,
        counted(figures.threads as u64, "thread"),
        counted(figures.networks as u64, "network"),
        counted(figures.frames, "frame"),
        figures.width,
        figures.height
    );
    for timing in &figures.timings {
        text.push_str(&format!("{:<10} {:>9.2} {:>9.1}\n", timing.name, timing.milliseconds, timing.fps));
    }
    if let Some(smoothing) = &figures.smoothing {
        text.push_str(&format!("\n{smoothing}\n"));
    }
    text.push_str(&format!(
        "\nthe whole chain reaches {:.0} % of the network's frame rate; packing and unpacking take {:.1} % of its time\n",
        figures.chain_over_network * 100.0,
        figures.packing_over_network * 100.0
    ));
    text
}

/// Decodes the clip and keeps its first pictures.
fn measure_decode(clip: &Path, options: &ReaderOptions) -> Result<(Timing, Vec<Frame>, VideoInfo, u64)> {
    let start = Instant::now();
    let mut reader = VideoReader::open(clip, options.clone())?;
    let mut pictures = Vec::new();
    let mut count = 0;
    while let Some(frame) = reader.next_frame()? {
        count += 1;
        if pictures.len() < MAX_PICTURES {
            pictures.push(frame);
        }
    }
    Ok((Timing::new("decode", count, start.elapsed()), pictures, reader.info().clone(), count))
}

struct NetworkTimings {
    pack: Timing,
    network: Timing,
    unpack: Timing,
}

/// The networks without what surrounds them, at the working size, and the conversions before and after one.
fn measure_network(engines: &mut [StyleEngine], pictures: &[Frame], count: u64) -> Result<NetworkTimings> {
    let (Some(first), Some(engine)) = (pictures.first(), engines.first()) else {
        bail!("there are no frames to measure")
    };
    let content = Frame::black(engine.work_size(first.size));
    let mut painted = Frame::black(content.size);
    // The first run allocates.
    for engine in engines.iter_mut() {
        engine.network_mut().stylize(&content, Mix::NONE, &mut painted)?;
    }
    let network = time_together("network", engines, count, |engine, _| engine.network_mut().run_again())?;
    let Some(engine) = engines.first_mut() else { bail!("there is no network to measure") };
    let pack = time("pack", count, || engine.network_mut().pack_again(&content))?;
    let unpack = time("unpack", count, || engine.network_mut().unpack_again(&content, Mix::NONE, &mut painted))?;
    Ok(NetworkTimings { pack, network, unpack })
}

/// The mean time of `count` calls, after some that do not count.
fn time(name: &'static str, count: u64, mut work: impl FnMut() -> Result<()>) -> Result<Timing> {
    for _ in 0..WARM_UP {
        work()?;
    }
    let start = Instant::now();
    for _ in 0..count {
        work()?;
    }
    Ok(Timing::new(name, count, start.elapsed()))
}

/// As [`time`], with all engines at work at one time: the time of a frame is that of all over their number.
fn time_together(
    name: &'static str,
    engines: &mut [StyleEngine],
    count: u64,
    work: impl Fn(&mut StyleEngine, usize) -> Result<()> + Sync,
) -> Result<Timing> {
    let rounds = (count as usize).div_ceil(engines.len().max(1));
    let run = |engines: &mut [StyleEngine], rounds: usize| -> Result<()> {
        thread::scope(|scope| {
            let work = &work;
            let run = |engine: &mut StyleEngine| (0..rounds).try_for_each(|round| work(engine, round));
            let threads: Vec<_> = engines.iter_mut().map(|engine| scope.spawn(move || run(engine))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("{name} panicked")))
        })
    };
    run(engines, WARM_UP)?;
    let start = Instant::now();
    run(engines, rounds)?;
    Ok(Timing::new(name, (rounds * engines.len()) as u64, start.elapsed()))
}

fn measure_stylize(engines: &mut [StyleEngine], pictures: &[Frame], count: u64) -> Result<Timing> {
    let pool = FramePool::new();
    time_together("stylize", engines, count, |engine, round| {
        let Some(picture) = pictures.get(round % pictures.len().max(1)) else {
            bail!("there are no frames to measure")
        };
        engine.stylize(picture, &mut pool.take(picture.size))
    })
}

/// What finds the motion, and what uses it; on the content itself, which costs the same as on painted frames.
fn measure_smoothing(mut temporal: TemporalStages, pictures: &[Frame], count: u64) -> Result<(Timing, Timing)> {
    let (mut finding, mut using) = (Duration::ZERO, Duration::ZERO);
    for index in 0..WARM_UP + count as usize {
        let Some(picture) = there_and_back(pictures, index) else { bail!("there are no frames to measure") };
        let mut content = picture.clone();
        content.timestamp.pts = index as i64 * picture.timestamp.duration.max(1);
        let start = Instant::now();
        let analyzed = temporal.motion.process(content)?;
        let found = start.elapsed();
        temporal.smooth.process(analyzed.into_painted())?;
        if index >= WARM_UP {
            finding += found;
            using += start.elapsed() - found;
        }
    }
    Ok((Timing::new("motion", count, finding), Timing::new("smooth", count, using)))
}

/// The pictures forward, then backward, and so on: going round instead would be a scene cut, which costs next to nothing.
fn there_and_back(pictures: &[Frame], index: usize) -> Option<&Frame> {
    let last = pictures.len().checked_sub(1)?;
    let place = index % (2 * last).max(1);
    pictures.get(place.min(2 * last - place))
}

fn measure_encode(
    output: &Path,
    pictures: &[Frame],
    count: u64,
    info: &VideoInfo,
    encoder: &EncoderSettings,
) -> Result<Timing> {
    let options = WriterOptions { encoder: encoder.clone(), ..WriterOptions::default() };
    let mut writer = VideoWriter::create(output, info, None, &options)?;
    let mut picture = Frame::black(info.size);
    let duration = pictures.first().map_or(1, |picture| picture.timestamp.duration.max(1));
    let start = Instant::now();
    for index in 0..count {
        picture.pixels_mut().copy_from_slice(pictures[index as usize % pictures.len()].pixels());
        picture.timestamp = Timestamp { pts: index as i64 * duration, duration };
        writer.write(&picture)?;
    }
    writer.finish(true)?;
    Ok(Timing::new("encode", count, start.elapsed()))
}

/// The same stages on the same threads as `impasto video`.
fn measure_chain(
    clip: &Path,
    options: &ReaderOptions,
    engines: &mut [StyleEngine],
    output: &Path,
    encoder: &EncoderSettings,
    queue: usize,
    temporal: TemporalStages,
) -> Result<(Timing, Vec<StageFigures>)> {
    let pool = FramePool::new();
    let start = Instant::now();
    let reader = VideoReader::open(clip, ReaderOptions { pool: pool.clone(), ..options.clone() })?;
    let info = reader.info().clone();
    let writer_options = WriterOptions { encoder: encoder.clone(), ..WriterOptions::default() };
    let writer = VideoWriter::create(output, &info, Some(&reader), &writer_options)?;
    let pipeline = Pipeline::new(Control::new(), queue);
    let stats = pipeline.stats();
    let progress = Console::new(true).progress(None);
    let mut sink = FileSink::new(writer, options.cut.frames, info.time_base, progress, stats.clone());
    let chain = Chain { reader, stylizers: engines.iter_mut().collect(), pool, temporal, mask: None };
    let written = chain.run(pipeline, &mut sink)?;
    let frames = written.map_or(0, |written| written.frames);
    let stages = stats.snapshot().iter().map(StageFigures::from).collect();
    Ok((Timing::new("chain", frames, start.elapsed()), stages))
}

/// A picture that moves and has detail everywhere: waves of several scales that drift, with a little grain.
fn write_synthetic_clip(path: &Path, size: FrameSize, frames: u64, threads: usize) -> Result<()> {
    let info = VideoInfo::plain(size, 25);
    let encoder = EncoderSettings { threads, ..EncoderSettings::default() };
    let mut writer = VideoWriter::create(path, &info, None, &WriterOptions { encoder, ..WriterOptions::default() })?;
    let mut frame = Frame::black(size);
    for index in 0..frames {
        paint_waves(&mut frame, index);
        frame.timestamp = Timestamp { pts: index as i64, duration: 1 };
        writer.write(&frame)?;
    }
    writer.finish(true)?;
    Ok(())
}

fn paint_waves(frame: &mut Frame, index: u64) {
    let FrameSize { width, height } = frame.size;
    let time = index as f32 * 0.05;
    let mut grain = 0x9e37_79b9_u32 ^ index as u32;
    let unit = 1.0 / height.max(1) as f32;
    for (position, pixel) in frame.pixels_mut().as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = ((position % width) as f32 * unit, (position / width) as f32 * unit);
        grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (grain >> 28) as f32;
        let wave = |fx: f32, fy: f32, phase: f32| ((x * fx + y * fy + phase).sin() + 1.0) * 60.0;
        *pixel = [
            (wave(7.0, 3.0, time) + wave(40.0, -25.0, -time) + noise) as u8,
            (wave(5.0, -9.0, -time) + wave(70.0, 30.0, time) + noise) as u8,
            (wave(-4.0, 6.0, time) + wave(20.0, 90.0, -time) + noise) as u8,
        ];
    }
}
