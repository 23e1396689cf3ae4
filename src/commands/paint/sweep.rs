//! Every combination of some settings, painted and laid side by side: the answer to "which parameters?".

use anyhow::{Context, Result, anyhow};

use super::setup::Setup;
use super::{Outcome, UsageError, check_memory, optimize};
use crate::cli::PaintArgs;
use crate::commands::outputs;
use crate::commands::sheet::{Cell, lay_out};
use crate::console::Console;
use crate::gatys::PaintSettings;
use crate::pipeline::Control;

/// A setting that can be varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    StyleWeight,
    ContentWeight,
    StyleScale,
    Roughness,
    Iterations,
}

impl Setting {
    const NAMES: [(&str, Self); 5] = [
        ("style-weight", Self::StyleWeight),
        ("content-weight", Self::ContentWeight),
        ("style-scale", Self::StyleScale),
        ("tv", Self::Roughness),
        ("iterations", Self::Iterations),
    ];

    fn apply(self, value: f32, settings: &mut PaintSettings) {
        match self {
            Self::StyleWeight => settings.objective.style_weight = value,
            Self::ContentWeight => settings.objective.content_weight = value,
            Self::StyleScale => settings.style_scale = value,
            Self::Roughness => settings.objective.roughness_weight = value,
            Self::Iterations => {
                for (index, scale) in settings.scales.iter_mut().enumerate() {
                    scale.iterations = (value.max(1.0) as u64) * if index == 0 { 2 } else { 1 };
                }
            }
        }
    }
}

/// One setting and its values.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    name: String,
    setting: Setting,
    values: Vec<f32>,
}

/// Paintings on one sheet are at most so many.
const MOST_PAINTINGS: usize = 100;

/// `style-weight=5,20; style-scale=0.5,1`.
fn parse(text: &str) -> Result<Vec<Axis>, UsageError> {
    let wrong = |what: String| UsageError(anyhow!("sweep '{text}': {what}"));
    let mut axes = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, values) =
            part.split_once('=').ok_or_else(|| wrong(format!("'{part}' has no values (expected NAME=A,B)")))?;
        let name = name.trim();
        let setting = Setting::NAMES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let names = Setting::NAMES.map(|(name, _)| name).join(", ");
            wrong(format!("'{name}' cannot be varied (expected one of {names})"))
        })?;
        let values = values
            .split(',')
            .map(|value| value.trim().parse::<f32>().ok().filter(|value| value.is_finite() && *value >= 0.0))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong(format!("'{values}' are no numbers of at least 0")))?;
        axes.push(Axis { name: name.to_owned(), setting: setting.1, values });
    }
    let count: usize = axes.iter().map(|axis| axis.values.len()).product();
    match (axes.is_empty(), count) {
        (true, _) => Err(wrong("nothing is varied (expected for example style-weight=5,20)".to_owned())),
        (_, count) if count > MOST_PAINTINGS => {
            Err(wrong(format!("these are {count} paintings (expected at most {MOST_PAINTINGS})")))
        }
        _ => Ok(axes),
    }
}

/// The combinations: the last axis varies fastest.
fn combinations(axes: &[Axis]) -> Vec<Vec<f32>> {
    axes.iter().fold(vec![Vec::new()], |before, axis| {
        before
            .iter()
            .flat_map(|values| axis.values.iter().map(move |value| [values.as_slice(), &[*value]].concat()))
            .collect()
    })
}

/// Paints every combination and writes the sheet.
///
/// # Errors
/// [`UsageError`] for a text that is no sweep; else what kept a painting from being painted.
pub fn run(args: &PaintArgs, setup: &Setup, text: &str, control: &Control, console: Console) -> Result<Outcome> {
    let axes = parse(text)?;
    let rows = axes.first().map_or(1, |axis| axis.values.len());
    let all = combinations(&axes);
    let columns = all.len() / rows;
    let mut cells: Vec<Vec<Cell>> = (0..columns).map(|_| Vec::new()).collect();
    for (index, values) in all.iter().enumerate() {
        let mut settings = setup.settings.clone();
        axes.iter().zip(values).for_each(|(axis, value)| axis.setting.apply(*value, &mut settings));
        let label: Vec<String> =
            axes.iter().zip(values).map(|(axis, value)| format!("{} {value}", axis.name)).collect();
        let text = label.join(" ");
        console.line(&format!("{} of {}: {text}", index + 1, all.len()));
        let mut painting = setup.painting(&settings)?;
        if index == 0 {
            check_memory(&painting, args.search.size.unwrap_or_else(|| args.preset.size()), "--size", console)?;
        }
        let mut last = None;
        optimize(&mut painting, control, console, |progress, _| {
            last = Some(progress.losses.clone());
            Ok(())
        })
        .with_context(|| format!("paint with {text}"))?;
        if control.is_stopped() {
            console.line("interrupted: nothing was written");
            return Ok(Outcome::Interrupted);
        }
        let losses = last.map(|losses| format!("content {:.3}\nstyle {:.3}", losses.content(), losses.style()));
        let frame = super::finished(args, setup, &painting.picture())?;
        cells[index % columns]
            .push(Cell { name: label.into_iter().chain(losses).collect::<Vec<_>>().join("\n"), picture: frame });
    }
    let size = setup.settings.scales.last().context("no size is asked for")?.size;
    let sheet = lay_out(&cells, size, rows);
    let mut frame =
        crate::frame::Frame::black(crate::frame::FrameSize::new(sheet.width() as usize, sheet.height() as usize));
    frame.pixels_mut().copy_from_slice(sheet.as_raw());
    let bytes = super::encode(&frame, &args.output, None)?;
    outputs::write(&args.output, &bytes, args.overwrite)?;
    console.line(&format!("{}: {} paintings", args.output.display(), all.len()));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_every_combination() {
        let axes = parse("style-weight=5,20; style-scale=0.5,1,2").unwrap();
        assert_eq!(axes[1].setting, Setting::StyleScale);
        let all = combinations(&axes);
        assert_eq!(all.len(), 6);
        assert_eq!([all[0].as_slice(), all[1].as_slice(), all[3].as_slice()], [[5.0, 0.5], [5.0, 1.0], [20.0, 0.5]]);
    }

    #[test]
    fn what_is_no_sweep_is_told() {
        for (text, expected) in [
            ("", "nothing is varied"),
            ("style-weight", "no values"),
            ("brush=1", "cannot be varied"),
            ("tv=a", "no numbers"),
            ("tv=-1", "no numbers"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let many = (0..101).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
        assert!(parse(&format!("tv={many}")).is_err());
    }
}
