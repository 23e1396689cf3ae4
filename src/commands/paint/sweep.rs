//! Every combination of some settings, painted and laid side by side: the answer to "which parameters?".

use anyhow::{Context, Result, anyhow};

use super::setup::Setup;
use super::{Outcome, UsageError, check_memory, optimize, with_hint};
use crate::cli::PaintArgs;
use crate::commands::outputs;
use crate::commands::sheet::{Cell, lay_out};
use crate::console::{Console, counted};
use crate::gatys::PaintSettings;
use crate::gatys::objective::MOST_WEIGHT;
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

    /// What its values may be, in words, if `value` is none of them.
    fn refusal(self, value: f32) -> Option<&'static str> {
        let (is_usable, expected) = match self {
            Self::StyleScale => (value > 0.0, "numbers above 0"),
            Self::Iterations => {
                ((1.0..=MOST_ITERATIONS).contains(&value) && value.fract() == 0.0, "whole numbers from 1 to 100000")
            }
            _ => ((0.0..=MOST_WEIGHT).contains(&value), "numbers from 0 to 1000000000"),
        };
        (!(is_usable && value.is_finite())).then_some(expected)
    }

    fn apply(self, value: f32, settings: &mut PaintSettings) {
        match self {
            Self::StyleWeight => settings.objective.style_weight = value,
            Self::ContentWeight => settings.objective.content_weight = value,
            Self::StyleScale => settings.style_scale = value,
            Self::Roughness => settings.objective.roughness_weight = value,
            Self::Iterations => {
                for (index, scale) in settings.scales.iter_mut().enumerate() {
                    scale.iterations = value as u64 * if index == 0 { 2 } else { 1 };
                }
            }
        }
    }
}

/// As many as can be asked for without a sweep.
const MOST_ITERATIONS: f32 = 100_000.0;

/// One setting and its values.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    name: String,
    setting: Setting,
    values: Vec<f32>,
}

/// Paintings on one sheet are at most so many.
const MOST_PAINTINGS: usize = 100;

/// Settings and their values.
#[derive(Debug)]
pub struct Sweep {
    axes: Vec<Axis>,
}

impl Sweep {
    /// `style-weight=5,20; style-scale=0.5,1`.
    ///
    /// # Errors
    /// For a text that is no sweep, and for values that a setting does not take.
    pub fn parse(text: &str) -> Result<Self, UsageError> {
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
            if axes.iter().any(|axis: &Axis| axis.setting == setting.1) {
                return Err(wrong(format!("'{name}' is named twice (expected it once, with all its values)")));
            }
            let number = |value: &str| {
                let number = value.trim().parse().unwrap_or(f32::NAN);
                match setting.1.refusal(number) {
                    Some(expected) => {
                        Err(wrong(format!("'{}' is no value of {name} (expected {expected})", value.trim())))
                    }
                    None => Ok(number),
                }
            };
            let values = values.split(',').map(number).collect::<Result<_, _>>()?;
            axes.push(Axis { name: name.to_owned(), setting: setting.1, values });
        }
        let count: usize = axes.iter().map(|axis| axis.values.len()).product();
        match (axes.is_empty(), count) {
            (true, _) => Err(wrong("nothing is varied (expected for example style-weight=5,20)".to_owned())),
            (_, count) if count > MOST_PAINTINGS => {
                Err(wrong(format!("these are {count} paintings (expected at most {MOST_PAINTINGS})")))
            }
            _ => Ok(Self { axes }),
        }
    }

    /// Paints every combination and writes the sheet.
    ///
    /// # Errors
    /// What kept a painting from being painted.
    pub fn run(&self, args: &PaintArgs, setup: &Setup, control: &Control, console: Console) -> Result<Outcome> {
        let axes = &self.axes;
        let rows = axes.first().map_or(1, |axis| axis.values.len());
        let all = combinations(axes);
        let columns = all.len() / rows;
        let mut cells: Vec<Vec<Cell>> = (0..columns).map(|_| Vec::new()).collect();
        let settings = |values: &[f32]| {
            let mut settings = setup.settings.clone();
            axes.iter().zip(values).for_each(|(axis, value)| axis.setting.apply(*value, &mut settings));
            settings
        };
        let label = |values: &[f32]| -> Vec<String> {
            axes.iter().zip(values).map(|(axis, value)| format!("{} {value}", axis.name)).collect()
        };
        // None is painted in vain for one that cannot be.
        for values in &all {
            let settings = settings(values);
            settings.objective.check(&setup.vgg).map_err(UsageError)?;
            let check = || setup.painting(&settings)?.check_strokes().map_err(with_hint);
            check().with_context(|| format!("paint with {}", label(values).join(" ")))?;
        }
        for (index, values) in all.iter().enumerate() {
            let label = label(values);
            let text = label.join(" ");
            console.line(&format!("{} of {}: {text}", index + 1, all.len()));
            let mut painting = setup.painting(&settings(values))?;
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
        console.line(&format!("{}: {}", args.output.display(), counted(all.len() as u64, "painting")));
        Ok(Outcome::Done)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_every_combination() {
        let axes = Sweep::parse("style-weight=5,20; style-scale=0.5,1,2").unwrap().axes;
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
            ("tv=a", "'a' is no value of tv"),
            ("tv=-1", "numbers from 0 to"),
            ("style-weight=1,inf", "'inf' is no value of style-weight"),
            ("tv=1; style-scale=1,0", "'0' is no value of style-scale (expected numbers above 0)"),
            ("iterations=5,0.5", "'0.5' is no value of iterations (expected whole numbers from 1 to 100000)"),
            ("iterations=0", "whole numbers"),
            ("tv=1; style-weight=5; tv=10", "'tv' is named twice (expected it once"),
            ("iterations=100001", "whole numbers"),
        ] {
            let error = Sweep::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let many = (0..101).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
        assert!(Sweep::parse(&format!("tv={many}")).is_err());
    }
}
