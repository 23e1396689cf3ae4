//! `impasto image`: pictures in, paintings out, one after the other; one that cannot be painted does not stop the rest.

mod tasks;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Write, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::tasks::{Input, NamedStyle, Target, Task, check_inputs, styles, tasks};
use super::device::Compute;
use super::mask::{self, Mask};
use super::signals::{FINISHING, stop_on_signals};
use super::style::{self, OpenStyle};
use super::{Outcome, UsageError, is_named_like_video, outputs, thread_count};
use crate::cli::{ImageArgs, StyleArgs};
use crate::console::Console;
use crate::frame::Frame;
use crate::output;
use crate::pipeline::Control;
use crate::stills::{self, Still, StillFormat};
use crate::style::Stylizer;

/// Runs the command.
pub fn run(args: &ImageArgs) -> Result<Outcome> {
    let console = Console::new(args.quiet);
    let started = Instant::now();
    let styles = styles(args)?;
    let tasks = tasks(args, &styles)?;
    check_inputs(&tasks, &styles)?;
    for painting in tasks.iter().flat_map(|task| styles.iter().filter_map(|style| task.painting(style))) {
        mask::refuse_as_output(&args.mask, "output", &painting)?;
    }
    let mut mask = Mask::for_pictures(&args.mask)?;
    let control = Control::new();
    stop_on_signals(&control, console, FINISHING)?;

    let mut report = Report::default();
    let paintings = tasks.len() * styles.len();
    let mut progress = console.progress_of_pictures(paintings as u64);
    let mut providers = Vec::new();
    let mut compute = Compute::new(&args.device, thread_count(args.threads), console)?;
    for style in &styles {
        if control.is_stopped() {
            break;
        }
        let OpenStyle { mut engine, label, provider, notes, .. } =
            match style::open(&style_args(args, style), &mut compute, &control) {
                Ok(opened) => opened,
                Err(error) if report.is_empty() || error.is::<UsageError>() => return Err(error),
                Err(error) => {
                    report.failed += tasks.len();
                    report.add_failure("not painted".to_owned(), format!("{error:#}"));
                    continue;
                }
            };
        if providers.is_empty() {
            compute.tell(false);
        }
        notes.iter().for_each(|note| console.note(note));
        providers.push(format!("{label} on {provider}"));
        for task in &tasks {
            if control.is_stopped() {
                break;
            }
            match paint(task, style, args, &mut engine, mask.as_mut(), &control) {
                Ok(notes) => {
                    report.painted += 1;
                    report.first = report.first.or_else(|| task.painting(style));
                    notes.into_iter().for_each(|note| report.notes.entry(note).or_default().push(task.input.name()));
                }
                Err(_) if control.is_aborted() => break,
                Err(error) => {
                    report.failed += 1;
                    report.add_failure(task.input.name(), format!("{error:#}"));
                }
            }
            progress.update(report.painted, Duration::ZERO, None);
        }
    }
    progress.end();
    report.tell(&console, paintings);
    console.line(&format!(
        "{} in {:.1} s, {}",
        report.describe(),
        started.elapsed().as_secs_f64(),
        providers.join(", "),
    ));
    Ok(match (control.is_stopped(), report.failures.is_empty()) {
        (true, _) => Outcome::Interrupted,
        (false, true) => Outcome::Done,
        (false, false) => Outcome::Damaged,
    })
}

/// What came of the pictures.
#[derive(Default)]
struct Report {
    painted: u64,
    /// The first painting in a file.
    first: Option<PathBuf>,
    failed: usize,
    /// Names of pictures, and why they were not painted.
    failures: Vec<(String, String)>,
    /// What was left out, and of which pictures.
    notes: BTreeMap<&'static str, Vec<String>>,
}

impl Report {
    /// What cannot be read is not read for the next style either: it is told once.
    fn add_failure(&mut self, name: String, error: String) {
        if !self.failures.contains(&(name.clone(), error.clone())) {
            self.failures.push((name, error));
        }
    }

    fn is_empty(&self) -> bool {
        self.painted == 0 && self.failed == 0
    }

    fn describe(&self) -> String {
        let count = format!("{} {}", self.painted, if self.painted == 1 { "picture" } else { "pictures" });
        match &self.first {
            Some(first) if self.painted == 1 => format!("{}: {count}", first.display()),
            Some(first) => format!("{} and {} more: {count}", first.display(), self.painted - 1),
            None => count,
        }
    }

    fn tell(&self, console: &Console, paintings: usize) {
        for (note, names) in &self.notes {
            let others = match names.len() {
                0 | 1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            console.note(&format!("{}{others}: {note}", names.first().map_or("", String::as_str)));
        }
        let lines: Vec<String> = self.failures.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        match lines.as_slice() {
            [] => {}
            [line] => console.error_line(line),
            lines => {
                let list = lines.join("\n  ");
                console.error_line(&format!("{} of {paintings} pictures failed:\n  {list}", self.failed));
            }
        }
    }
}

fn style_args(args: &ImageArgs, style: &NamedStyle) -> StyleArgs {
    StyleArgs { style: Some(style.style.clone()), look: args.look.clone() }
}

/// Paints one picture in one style; gives back what had to be left out.
fn paint(
    task: &Task,
    style: &NamedStyle,
    args: &ImageArgs,
    engine: &mut dyn Stylizer,
    mask: Option<&mut Mask>,
    control: &Control,
) -> Result<Vec<&'static str>> {
    // The output before the picture: a name that is taken is told before the work.
    let file = match &task.target {
        Target::Stdout => None,
        Target::File(_) => task.painting(style),
        Target::InFolder(path) => {
            let folder = output::folder_of(path);
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder '{}'", folder.display()))?;
            task.painting(style)
        }
    };
    file.as_deref().map(|path| outputs::check(path, args.overwrite)).transpose()?;
    let still = read(&task.input, control)?;
    let file = file.map(|path| outputs::create(&path, args.overwrite)).transpose()?;
    let mut painted = Frame::black(still.content.size);
    engine.stylize(&still.content, &mut painted)?;
    mask.map(|mask| mask.apply(&still.content, &mut painted)).transpose()?;
    let format = args.format.or(task.target.path().and_then(StillFormat::of_path)).unwrap_or(still.format());
    let mut notes = still.notes().to_vec();
    match file {
        Some(file) => {
            let temporary = File::create(file.temporary()).context("cannot write the output")?;
            notes.extend(still.encode(&painted, format, args.quality, temporary).context("cannot write the output")?);
            file.commit().context("cannot give the finished painting its name")?;
        }
        None => {
            let mut bytes = Cursor::new(Vec::new());
            notes.extend(still.encode(&painted, format, args.quality, &mut bytes).context("cannot write the output")?);
            match stdout().write_all(bytes.get_ref()).and_then(|()| stdout().flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                result => result.context("cannot write to stdout")?,
            }
        }
    }
    Ok(notes)
}

/// Reads what is to be painted.
fn read(input: &Input, control: &Control) -> Result<Still> {
    let still = match input {
        Input::File(path) => {
            // A pipe may stay silent, and there is nothing yet that would be lost.
            let bytes = control.opening(|| stills::read_file(File::open(path)?));
            bytes.and_then(|bytes| Still::decode(&bytes))
        }
        Input::Stdin(bytes) => Still::decode(bytes),
    };
    still.map_err(|error| {
        let what = match input {
            _ if error.is::<io::Error>() => "cannot be read",
            Input::File(path) if is_named_like_video(path) => {
                "cannot be read as a picture (`impasto video` takes clips)"
            }
            _ => "cannot be read as a picture",
        };
        error.context(what)
    })
}
