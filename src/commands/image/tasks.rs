//! Which pictures are painted in which styles, and where each painting goes.

use std::io::{IsTerminal, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::cli::ImageArgs;
use crate::commands::UsageError;
use crate::commands::inputs::{Kind, find, in_folder, is_folder, is_pattern, refuse_as_outputs};
use crate::commands::style::parse;
use crate::stills::{self, StillFormat};
use crate::style::Catalog;

/// What the extensions of pictures are said to be.
const EXTENSIONS: &str = ".png, .jpg, .webp or .tif";

const PICTURES: Kind = Kind {
    one: "picture",
    several: "pictures",
    is_one: |path| StillFormat::of_path(path).is_some(),
    extensions: EXTENSIONS,
};

/// A style and how its paintings are told from others'.
pub struct NamedStyle {
    /// As asked for.
    pub style: String,
    /// What is put after the name of a file.
    pub suffix: Option<String>,
}

/// The styles asked for, or the first of the catalog.
pub fn styles(args: &ImageArgs) -> Result<Vec<NamedStyle>> {
    let mut asked = args.styles.clone();
    if asked.is_empty() {
        asked.push(Catalog::bundled()?.styles().first().context("the catalog is empty")?.name.clone());
    }
    let is_alone = asked.len() == 1;
    let mut styles: Vec<NamedStyle> = Vec::new();
    for style in asked {
        parse(&style)?;
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

/// Where a picture comes from.
pub enum Input {
    File(PathBuf),
    /// All that came.
    Stdin(Vec<u8>),
}

impl Input {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stdin(_) => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::File(path) => format!("'{}'", path.display()),
            Self::Stdin(_) => "stdin".to_owned(),
        }
    }
}

/// Where a painting goes.
pub enum Target {
    /// A file in a folder that is there.
    File(PathBuf),
    /// A file in a folder that is made for it.
    InFolder(PathBuf),
    Stdout,
}

impl Target {
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::InFolder(path) => Some(path),
            Self::Stdout => None,
        }
    }
}

/// One picture.
pub struct Task {
    pub input: Input,
    pub target: Target,
}

impl Task {
    /// Where its painting in a style goes; `None`: to stdout.
    pub fn painting(&self, style: &NamedStyle) -> Option<PathBuf> {
        self.target.path().map(|path| with_suffix(path, style.suffix.as_deref()))
    }
}

fn usage(text: String) -> anyhow::Error {
    UsageError(anyhow!(text)).into()
}

/// All pictures and where their paintings go; nothing is read yet but stdin.
pub fn tasks(args: &ImageArgs, styles: &[NamedStyle]) -> Result<Vec<Task>> {
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
    let found = find(&args.inputs, &args.output, &PICTURES)?;
    // A pattern means several, however many fit, unless the output is named like one.
    let means_several =
        |input: &Path| input.is_dir() || is_pattern(input) && StillFormat::of_path(&args.output).is_none();
    let is_one_file = matches!(args.inputs.as_slice(), [input] if found.len() == 1 && !means_several(input));
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
    let extension = args.format.map(StillFormat::extension);
    let pairs = in_folder(found, &args.output, extension, &PICTURES)?;
    let tasks = pairs.into_iter();
    Ok(tasks.map(|(path, target)| Task { input: Input::File(path), target: Target::InFolder(target) }).collect())
}

/// Refuses, before anything is painted, paintings that would replace a picture that is to be painted.
pub fn check_inputs(tasks: &[Task], styles: &[NamedStyle]) -> Result<()> {
    let paintings = |task: &Task| styles.iter().filter_map(|style| task.painting(style)).collect();
    let pairs: Vec<_> = tasks.iter().map(|task| (task.input.path(), paintings(task))).collect();
    refuse_as_outputs(&pairs)
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
    let bytes = stills::read_stdin().context("cannot read stdin as a picture")?;
    Ok(vec![Task { input: Input::Stdin(bytes), target }])
}

fn check_extension(path: &Path, format: Option<StillFormat>) -> Result<()> {
    if format.is_none() && StillFormat::of_path(path).is_none() {
        let path = path.display();
        return Err(usage(format!(
            "'{path}' does not end like a picture (expected {EXTENSIONS}, --format, or a folder: '{path}/')"
        )));
    }
    Ok(())
}

/// `photo.jpg` in the style `wave` is `photo-wave.jpg`.
fn with_suffix(path: &Path, suffix: Option<&str>) -> PathBuf {
    let Some(suffix) = suffix else { return path.to_owned() };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{suffix}{extension}"))
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
