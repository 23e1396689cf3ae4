//! `impasto measure`: how steady and how sharp a painted clip is, and how much of a style it has.

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use serde::Serialize;

use super::device::Compute;
use super::losses::{self, JudgedFrame, PaintingFigures};
use super::painting::refuse_learnt;
use super::{Outcome, UsageError, outputs};
use crate::cli::MeasureArgs;
use crate::console::{self, Console, counted};
use crate::measure::{self, Figures, FrameFigures, FrameSource, PerClip, SharpnessBase, TrueFlows};
use crate::media::shown;
use crate::output;

/// Runs the command.
pub fn run(args: &MeasureArgs) -> Result<Outcome> {
    let console = Console::new(args.quiet);
    if args.style.is_none() && (args.device.device.is_some() || args.device.provider_library.is_some()) {
        let text =
            "--device and --provider-library are for the network that judges a style (expected --style with them)";
        return Err(UsageError(anyhow::anyhow!(text)).into());
    }
    let paths = PerClip { input: &args.input, output: &args.output, reference: args.reference.as_ref() };
    let truth = args.flow.as_deref().map(TrueFlows::open).transpose()?;
    if let Some(plot) = &args.plot {
        let masks = truth.iter().flat_map(TrueFlows::mask_paths);
        let others = args.style.iter().chain(&args.flow).map(PathBuf::as_path).chain(masks);
        let inputs: Vec<&Path> = paths.into_values().map(PathBuf::as_path).chain(others).collect();
        check_plot(plot, &inputs, args.overwrite)?;
    }
    if let Some(style) = &args.style {
        refuse_learnt(style)?;
    }
    let sources = paths.try_map(|path| FrameSource::open(path))?;
    let mut judge = match &args.style {
        Some(style) => {
            let mut compute = Compute::new(&args.device, super::thread_count(None), console)?;
            let session = compute.session_options()?;
            compute.tell(false);
            Some(losses::prepare(style, sources.input.size(), &session)?)
        }
        None => None,
    };
    let mut notes = Vec::new();
    for source in sources.as_ref().into_values() {
        notes.extend(source.notes().iter().map(|note| format!("'{}': {note}", shown(source.path()))));
    }
    if let Some(truth) = &truth {
        let masks: Vec<_> = truth.mask_paths().map(|path| format!("'{}'", path.display())).collect();
        notes.push(match masks.as_slice() {
            [] => "there are no masks: hidden pixels count as well".to_owned(),
            masks => format!("masked by {}", masks.join(" and ")),
        });
    }
    for note in &notes {
        console.note(note);
    }

    let mut progress = console.progress(sources.input.expected_frames());
    let measured = measure::measure(sources, truth, |frames, time| progress.update(frames, time, None));
    progress.end();
    let (figures, damage) = measured?;
    for damage in &damage {
        console.warning(damage);
    }
    notes.extend(damage);
    let painting = match &mut judge {
        Some(judge) => {
            let every = args.loss_every.unwrap_or_else(|| losses::default_every(figures.frame_count));
            let mut progress = console.progress(Some(figures.frame_count.div_ceil(every.get())));
            let clips = paths.map(PathBuf::as_path);
            let judged = losses::judge(judge, clips, every, |frames| {
                progress.update(frames, Duration::ZERO, Some("judge"));
            });
            progress.end();
            Some(judged?)
        }
        None => None,
    };
    let painting = painting.as_ref();

    if let Some(plot) = &args.plot {
        draw(&figures, painting, plot, args.overwrite)?;
    }
    let text = if args.json {
        let summary = Summary {
            input: shown(&args.input),
            output: shown(&args.output),
            reference: args.reference.as_deref().map(shown),
            flow: args.flow.as_deref().map(shown),
            style: args.style.as_deref().map(shown),
            figures: &figures,
            painting,
            notes,
        };
        serde_json::to_string_pretty(&summary).context("write the figures")? + "\n"
    } else if args.csv {
        csv(&figures, painting)
    } else {
        table(&figures, painting, args)
    };
    console::data(&text).context("write the figures to stdout")?;
    Ok(Outcome::Done)
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    input: String,
    output: String,
    reference: Option<String>,
    /// The folder of known flow; `null`: estimated.
    flow: Option<String>,
    /// The painting whose style is asked for.
    style: Option<String>,
    #[serde(flatten)]
    figures: &'a Figures,
    #[serde(flatten)]
    painting: Option<&'a PaintingFigures>,
    notes: Vec<String>,
}

/// Refuses, before anything is measured, a picture that could not be written or would replace or fall among what is measured.
fn check_plot(plot: &Path, inputs: &[&Path], overwrite: bool) -> Result<()> {
    outputs::check_png(plot, "plot")?;
    outputs::check(plot, overwrite)?;
    let folder = output::folder_of(plot);
    let folder = folder.canonicalize().with_context(|| format!("cannot find the folder '{}'", folder.display()))?;
    for input in inputs {
        let is_among = input.canonicalize().is_ok_and(|input| input == folder);
        ensure!(!is_among, "the plot '{}' would lie in '{}' (choose another name)", plot.display(), input.display());
        let is_input = outputs::is_same(input, plot);
        ensure!(!is_input, "the plot would replace '{}', which is measured (choose another name)", input.display());
    }
    Ok(())
}

/// A chart of the warping error, and one of each loss below.
fn draw(figures: &Figures, painting: Option<&PaintingFigures>, path: &Path, overwrite: bool) -> Result<()> {
    let errors: Vec<_> = figures.frames.iter().map(|frame| frame.to_next.as_ref()?.warping_error).collect();
    let mut charts = vec![measure::plot("warping error", &errors)];
    if let Some(painting) = painting {
        let mut chart = |name: &str, loss: fn(&JudgedFrame) -> PerClip<f64>| {
            let mut values = painting.over_time(loss);
            values.resize(errors.len(), None);
            charts.push(measure::plot(name, &values));
        };
        chart("style loss", |judged| judged.style_loss);
        chart("content loss", |judged| judged.content_loss);
    }
    let mut bytes = Cursor::new(Vec::new());
    stack(&charts).write_to(&mut bytes, image::ImageFormat::Png).context("draw the plot")?;
    outputs::write(path, bytes.get_ref(), overwrite)
}

/// Pictures of one width, one below the other.
fn stack(pictures: &[RgbImage]) -> RgbImage {
    let width = pictures.first().map_or(0, RgbImage::width);
    let mut stacked = RgbImage::new(width, pictures.iter().map(RgbImage::height).sum());
    let mut top = 0;
    for picture in pictures {
        image::imageops::replace(&mut stacked, picture, 0, top);
        top += i64::from(picture.height());
    }
    stacked
}

fn table(figures: &Figures, painting: Option<&PaintingFigures>, args: &MeasureArgs) -> String {
    let mut text = String::new();
    if args.per_frame {
        text.push_str(&frame_table(figures, painting));
        text.push('\n');
    }
    let origin = match &args.flow {
        Some(folder) => format!("flow of '{}'", folder.display()),
        None => "estimated flow".to_owned(),
    };
    let _ = writeln!(
        text,
        "{} of {}×{}, {} measured, {} across cuts and {} without flow left out",
        counted(figures.frame_count, "frame"),
        figures.width,
        figures.height,
        counted(figures.pair_count, "pair"),
        figures.pairs_across_cuts,
        figures.pairs_without_flow
    );
    let _ = writeln!(
        text,
        "{origin}, certain on {:.1} % of the pixels; {:.1} % at rest",
        figures.reliable_share * 100.0,
        figures.static_share * 100.0
    );
    if let Some(painting) = painting {
        let (count, every) = (painting.judged_frames.len(), painting.loss_every);
        let _ = match every.get() {
            1 => writeln!(text, "style and content of every frame"),
            every => writeln!(text, "style and content of {}, one in {every}", counted(count as u64, "frame")),
        };
    }
    text.push('\n');
    let has_reference = figures.sharpness.reference.is_some();
    let _ = write!(text, "{:<16}{:>12}{:>12}", "", "input", "output");
    text.push_str(if has_reference { "   reference   output/reference\n" } else { "\n" });
    let losses = |loss: fn(&PaintingFigures) -> PerClip<f64>| painting.map(loss);
    let (style, content) = (losses(|painting| painting.style_loss), losses(|painting| painting.content_loss));
    let mut rows = vec![
        ("warping error", figures.warping_error, figures.warping_error_over_reference),
        ("e_stab", figures.e_stab, figures.e_stab_over_reference),
        ("flicker, levels", figures.flicker_levels, figures.flicker_over_reference),
        ("sharpness", Some(figures.sharpness), figures.sharpness.over_reference()),
    ];
    if painting.is_some() {
        rows.push(("style loss", style, style.and_then(PerClip::over_reference)));
        rows.push(("content loss", content, content.and_then(PerClip::over_reference)));
    }
    for (name, values, over_reference) in rows {
        let _ = write!(text, "{name:<16}");
        match values {
            Some(values) => values.into_values().for_each(|value| text.push_str(&format!("{:>12}", short(value)))),
            None => text.push_str(&format!("{:>12}", "-").repeat(if has_reference { 3 } else { 2 })),
        }
        if has_reference {
            let ratio = over_reference.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let _ = write!(text, "{ratio:>19}");
        }
        text.push('\n');
    }
    for (name, value) in [("ghost, levels", figures.ghost_levels), ("drift, levels", figures.drift_levels)] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<16}{:>12}{:>12}", "", short(value));
        }
    }
    if figures.sharpness_base == SharpnessBase::Input
        && let Some(ratio) = figures.sharpness_ratio
    {
        let _ = writeln!(text, "\nthe output is {ratio:.3} times as sharp as the input (there is no reference)");
    }
    text
}

/// Four significant digits.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    match usize::try_from(digits) {
        Ok(digits) if digits > 8 => format!("{value:.3e}"),
        Ok(digits) => format!("{value:.digits$}"),
        Err(_) => format!("{value:.0}"),
    }
}

/// The columns of a frame and what it measures; `None` where there is nothing.
fn columns(frame: &FrameFigures, painting: Option<&PaintingFigures>) -> Vec<(String, Option<f64>)> {
    let pair = frame.to_next.as_ref();
    let mut columns = vec![
        ("reliable_share".to_owned(), pair.map(|pair| pair.reliable_share)),
        ("static_share".to_owned(), pair.map(|pair| pair.static_share)),
    ];
    let has_reference = frame.sharpness.reference.is_some();
    let mut measures = vec![
        ("warping_error", pair.and_then(|pair| pair.warping_error)),
        ("flicker_levels", pair.and_then(|pair| pair.flicker_levels)),
        ("sharpness", Some(frame.sharpness)),
    ];
    if let Some(painting) = painting {
        let judged = painting.of_frame(frame.frame);
        measures.push(("style_loss", judged.map(|judged| judged.style_loss)));
        measures.push(("content_loss", judged.map(|judged| judged.content_loss)));
    }
    for (measure, values) in measures {
        columns.push((format!("input_{measure}"), values.map(|values| values.input)));
        columns.push((format!("output_{measure}"), values.map(|values| values.output)));
        if has_reference {
            columns.push((format!("reference_{measure}"), values.and_then(|values| values.reference)));
        }
    }
    if has_reference {
        columns.push(("ghost_levels".to_owned(), pair.and_then(|pair| pair.ghost_levels)));
    }
    columns.push(("sharpness_ratio".to_owned(), frame.sharpness_ratio));
    columns
}

fn is_cut(frame: &FrameFigures) -> Option<bool> {
    frame.to_next.as_ref().map(|pair| pair.cut)
}

fn csv(figures: &Figures, painting: Option<&PaintingFigures>) -> String {
    let mut text = String::from("frame,cut_follows");
    if let Some(frame) = figures.frames.first() {
        columns(frame, painting).iter().for_each(|(name, _)| text.push_str(&format!(",{name}")));
    }
    text.push('\n');
    for frame in &figures.frames {
        let _ = write!(text, "{},{}", frame.frame, is_cut(frame).map_or_else(String::new, |cut| cut.to_string()));
        for (_, value) in columns(frame, painting) {
            text.push_str(&value.map_or_else(|| ",".to_owned(), |value| format!(",{value}")));
        }
        text.push('\n');
    }
    text
}

fn frame_table(figures: &Figures, painting: Option<&PaintingFigures>) -> String {
    let mut text = String::new();
    for (index, frame) in figures.frames.iter().enumerate() {
        let columns = columns(frame, painting);
        if index == 0 {
            text.push_str("frame");
            columns.iter().for_each(|(name, _)| text.push_str(&format!("  {name}")));
            text.push('\n');
        }
        let _ = write!(text, "{:>5}", frame.frame);
        for (name, value) in &columns {
            let value = value.map_or_else(|| "-".to_owned(), short);
            let _ = write!(text, "  {value:>width$}", width = name.len());
        }
        text.push_str(if is_cut(frame) == Some(true) { "  cut\n" } else { "\n" });
    }
    text
}
