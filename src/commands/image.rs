//! `impasto image`: pictures in, paintings out, one after the other; one that cannot be painted does not stop the rest.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, ErrorKind, IsTerminal, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use walkdir::WalkDir;

use super::device::Compute;
use super::signals::{FINISHING, stop_on_signals};
use super::style::{self, OpenStyle};
use super::{Outcome, UsageError, is_named_like_video, outputs, thread_count};
use crate::cli::{ImageArgs, StyleArgs};
use crate::console::Console;
use crate::frame::Frame;
use crate::output::{self, AtomicFile};
use crate::pipeline::Control;
use crate::stills::{Still, StillFormat};
use crate::style::{Catalog, Stylizer};

/// What the extensions of pictures are said to be.
const EXTENSIONS: &str = ".png, .jpg, .webp or .tif";

/// Runs the command.
pub fn run(args: &ImageArgs) -> Result<Outcome> {
    let console = Console::new(args.quiet);
    let started = Instant::now();
    let styles = styles(args)?;
    let tasks = tasks(args, &styles)?;
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
                Err(error) if report.is_empty() => return Err(error),
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
            match paint(task, style, args, &mut engine) {
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

/// A style and how its paintings are told from others'.
struct NamedStyle {
    /// As asked for.
    style: String,
    /// What is put after the name of a file.
    suffix: Option<String>,
}

/// The styles asked for, or the first of the catalog.
fn styles(args: &ImageArgs) -> Result<Vec<NamedStyle>> {
    let mut asked = args.styles.clone();
    if asked.is_empty() {
        asked.push(Catalog::bundled()?.styles().first().context("the catalog is empty")?.name.clone());
    }
    let is_alone = asked.len() == 1;
    let mut styles: Vec<NamedStyle> = Vec::new();
    for style in asked {
        let suffix = (!is_alone).then(|| suffix(&style));
        if let Some(other) = styles.iter().find(|other| other.suffix == suffix) {
            let text = format!("the paintings of styles '{}' and '{style}' would have the same name", other.style);
            return Err(usage(text + " (expected each style once)"));
        }
        styles.push(NamedStyle { style, suffix });
    }
    Ok(styles)
}

/// The words of a style that may stand in a file's name: the path of a style or network without its folders and extension.
fn suffix(style: &str) -> String {
    let name = style.rsplit(['/', '\\']).next().unwrap_or(style).replace(".onnx", "").replace(".style", "");
    name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }).collect()
}

fn style_args(args: &ImageArgs, style: &NamedStyle) -> StyleArgs {
    StyleArgs { style: Some(style.style.clone()), look: args.look.clone() }
}

/// Where a picture comes from.
enum Input {
    File(PathBuf),
    /// All that came.
    Stdin(Vec<u8>),
}

impl Input {
    fn name(&self) -> String {
        match self {
            Self::File(path) => format!("'{}'", path.display()),
            Self::Stdin(_) => "stdin".to_owned(),
        }
    }
}

/// Where a painting goes.
enum Target {
    /// A file in a folder that is there.
    File(PathBuf),
    /// A file in a folder that is made for it.
    InFolder(PathBuf),
    Stdout,
}

impl Target {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::InFolder(path) => Some(path),
            Self::Stdout => None,
        }
    }
}

/// One picture.
struct Task {
    input: Input,
    target: Target,
}

impl Task {
    /// Where its painting in a style goes; `None`: to stdout.
    fn painting(&self, style: &NamedStyle) -> Option<PathBuf> {
        self.target.path().map(|path| with_suffix(path, style.suffix.as_deref()))
    }
}

/// A picture that was found, and its place below the folder of the output.
struct Found {
    path: PathBuf,
    place: PathBuf,
}

fn usage(text: String) -> anyhow::Error {
    UsageError(anyhow!(text)).into()
}

/// All pictures and where their paintings go; nothing is read yet but stdin.
fn tasks(args: &ImageArgs, styles: &[NamedStyle]) -> Result<Vec<Task>> {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && stdout().is_terminal() {
        return Err(usage(
            "stdout is a terminal (expected a program or a file: impasto image … -o - > out.png)".into(),
        ));
    }
    if to_stdout && styles.len() > 1 {
        return Err(usage(format!("{} paintings do not fit into one stdout (expected one --style)", styles.len())));
    }
    if args.inputs.iter().any(|input| input.as_os_str() == "-") {
        return from_stdin(args, to_stdout);
    }
    let mut found = Vec::new();
    for input in &args.inputs {
        find(input, &args.output, &mut found)?;
    }
    let is_one_file = matches!(args.inputs.as_slice(), [input] if found.len() == 1 && !input.is_dir());
    if to_stdout {
        let [one] = found.as_slice() else {
            return Err(usage(format!("{} pictures do not fit into one stdout (expected one)", found.len())));
        };
        return Ok(vec![Task { input: Input::File(one.path.clone()), target: Target::Stdout }]);
    }
    if is_one_file && !is_folder(&args.output) {
        check_extension(&args.output, args.format)?;
        let tasks = found.into_iter().map(|one| one.path);
        let target = || Target::File(args.output.clone());
        return Ok(tasks.map(|path| Task { input: Input::File(path), target: target() }).collect());
    }
    if args.output.is_file() {
        let text = "the output '{}' is a file (expected a folder for several pictures)";
        return Err(usage(text.replace("{}", &args.output.display().to_string())));
    }
    if format_of(&args.output).is_some() && !args.output.is_dir() {
        let text = "the output '{}' is named like a picture (expected a folder for several pictures: '{}/')";
        return Err(usage(text.replace("{}", &args.output.display().to_string())));
    }
    let mut taken: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut tasks = Vec::new();
    for Found { path, place } in found {
        let mut target = args.output.join(place);
        if let Some(format) = args.format {
            target.set_extension(format.extension());
        }
        if let Some(other) = taken.insert(target.clone(), path.clone()) {
            let (a, b, target) = (other.display(), path.display(), target.display());
            return Err(usage(format!("'{a}' and '{b}' would both become '{target}' (paint them into two folders)")));
        }
        tasks.push(Task { input: Input::File(path), target: Target::InFolder(target) });
    }
    Ok(tasks)
}

fn from_stdin(args: &ImageArgs, to_stdout: bool) -> Result<Vec<Task>> {
    if args.inputs.len() > 1 {
        return Err(usage("stdin ('-') is one picture (expected no other inputs beside it)".into()));
    }
    if stdin().is_terminal() {
        return Err(usage("stdin is a terminal (expected a picture: impasto image - -o out.png < in.png)".into()));
    }
    let target = if to_stdout {
        Target::Stdout
    } else if is_folder(&args.output) {
        let folder = args.output.display();
        return Err(usage(format!("the picture from stdin has no name for the folder '{folder}' (expected a file)")));
    } else {
        check_extension(&args.output, args.format)?;
        Target::File(args.output.clone())
    };
    let mut bytes = Vec::new();
    stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
    Ok(vec![Task { input: Input::Stdin(bytes), target }])
}

fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR])
}

fn check_extension(path: &Path, format: Option<StillFormat>) -> Result<()> {
    if format.is_none() && format_of(path).is_none() {
        let path = path.display();
        return Err(usage(format!(
            "'{path}' does not end like a picture (expected {EXTENSIONS}, --format, or a folder: '{path}/')"
        )));
    }
    Ok(())
}

fn format_of(path: &Path) -> Option<StillFormat> {
    StillFormat::of_extension(&path.extension()?.to_string_lossy())
}

/// The pictures that `input` means: itself, those in and below a folder by name, or those that fit a pattern.
fn find(input: &Path, output: &Path, found: &mut Vec<Found>) -> Result<()> {
    let before = found.len();
    if input.is_dir() {
        // Links to folders are not followed: they could lead back.
        // Nor are paintings painted again that went into a folder in there.
        let is_shown = |entry: &walkdir::DirEntry| {
            let is_output = || entry.file_type().is_dir() && outputs::is_same(entry.path(), output);
            entry.depth() == 0 || !(entry.file_name().to_string_lossy().starts_with('.') || is_output())
        };
        for entry in WalkDir::new(input).sort_by_file_name().into_iter().filter_entry(is_shown) {
            let entry = entry.with_context(|| format!("cannot read the folder '{}'", input.display()))?;
            if !entry.file_type().is_dir() && format_of(entry.path()).is_some() {
                let place = entry.path().strip_prefix(input).unwrap_or(entry.path()).to_owned();
                found.push(Found { path: entry.into_path(), place });
            }
        }
        if found.len() == before {
            bail!("the folder '{}' holds no pictures (expected {EXTENSIONS})", input.display());
        }
        return Ok(());
    }
    let pattern = input.to_string_lossy();
    if !input.exists() && pattern.contains(['*', '?', '[']) {
        let paths = glob::glob(&pattern).map_err(|error| usage(format!("'{pattern}' is no pattern: {error}")))?;
        for path in paths {
            let path = path.with_context(|| format!("cannot read what fits '{pattern}'"))?;
            if path.is_file() && format_of(&path).is_some() {
                found.push(by_name(path));
            }
        }
        if found.len() == before {
            bail!("no picture fits '{pattern}' (expected {EXTENSIONS})");
        }
        return Ok(());
    }
    found.push(by_name(input.to_owned()));
    Ok(())
}

fn by_name(path: PathBuf) -> Found {
    let place = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
    Found { path, place }
}

/// Paints one picture in one style; gives back what had to be left out.
fn paint(task: &Task, style: &NamedStyle, args: &ImageArgs, engine: &mut dyn Stylizer) -> Result<Vec<&'static str>> {
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
    let file = file.map(|path| create(&path, &task.input, args)).transpose()?;
    let still = match &task.input {
        Input::File(path) => Still::decode(&std::fs::read(path).context("cannot be read")?),
        Input::Stdin(bytes) => Still::decode(bytes),
    }
    .with_context(|| match &task.input {
        Input::File(path) if is_named_like_video(path) => "cannot be read as a picture (`impasto video` takes clips)",
        _ => "cannot be read as a picture",
    })?;
    let mut painted = Frame::black(still.content.size);
    engine.stylize(&still.content, &mut painted)?;
    let format = args.format.or(task.target.path().and_then(format_of)).unwrap_or(still.format());
    let mut notes = still.notes().to_vec();
    match file {
        Some(file) => {
            let temporary = std::fs::File::create(file.temporary()).context("cannot write the output")?;
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

/// `photo.jpg` in the style `wave` is `photo-wave.jpg`.
fn with_suffix(path: &Path, suffix: Option<&str>) -> PathBuf {
    let Some(suffix) = suffix else { return path.to_owned() };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{suffix}{extension}"))
}

fn create(path: &Path, input: &Input, args: &ImageArgs) -> Result<AtomicFile> {
    if let Input::File(input) = input
        && outputs::is_same(input, path)
    {
        bail!("its painting would replace it (choose another folder or name)");
    }
    outputs::create(path, args.overwrite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paintings_are_named_after_picture_and_style() {
        let cases = [
            ("great-wave", "out/a.b-great-wave.jpg"),
            ("wave:0.6,scream:0.4", "out/a.b-wave-0.6-scream-0.4.jpg"),
            ("models/my net.onnx#2", "out/a.b-my-net-2.jpg"),
            ("own/my.style", "out/a.b-my.jpg"),
        ];
        for (style, expected) in cases {
            assert_eq!(with_suffix(Path::new("out/a.b.jpg"), Some(&suffix(style))), Path::new(expected));
        }
        assert_eq!(with_suffix(Path::new("out/a.b.jpg"), None), Path::new("out/a.b.jpg"));
    }
}
