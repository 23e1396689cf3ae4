//! Every iteration's losses: kept, written as CSV or JSON, and drawn.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use super::UsageError;
use crate::chart::{Axis, COLORS, Curve, draw};
use crate::cli::PaintReportArgs;
use crate::commands::outputs;
use crate::gatys::{Losses, Progress};

/// The iterations of a run, in their order, each with the seconds since the start at its end.
#[derive(Debug, Default)]
pub struct Trace {
    iterations: Vec<(Progress, f64)>,
}

/// How a trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceFormat {
    /// A line an iteration, a column a term.
    Csv,
    /// A list of objects.
    Json,
}

/// An iteration in JSON.
#[derive(Serialize)]
struct Row {
    width: usize,
    height: usize,
    iteration: u64,
    seconds: f64,
    total: f32,
    terms: serde_json::Map<String, serde_json::Value>,
}

impl Trace {
    /// Adds an iteration that ended so many seconds after the start.
    pub fn push(&mut self, progress: &Progress, seconds: f64) {
        self.iterations.push((progress.clone(), seconds));
    }

    /// Iterations so far.
    pub fn len(&self) -> usize {
        self.iterations.len()
    }

    /// The losses of the last one.
    pub fn last(&self) -> Option<&Losses> {
        self.iterations.last().map(|(progress, _)| &progress.losses)
    }

    /// The format that a file's name asks for.
    ///
    /// # Errors
    /// [`UsageError`] where it asks for none.
    pub fn format(path: &Path) -> Result<TraceFormat> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("csv") => Ok(TraceFormat::Csv),
            Some("json") => Ok(TraceFormat::Json),
            _ => {
                let text = format!(
                    "the trace '{}' is neither CSV nor JSON (expected .csv or .json at its end)",
                    path.display()
                );
                Err(UsageError(anyhow!(text)).into())
            }
        }
    }

    /// Writes and draws what was asked for.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, args: &PaintReportArgs) -> Result<()> {
        if let Some(path) = &args.trace {
            let text = match Self::format(path)? {
                TraceFormat::Csv => self.csv(),
                TraceFormat::Json => self.json()?,
            };
            outputs::write(path, text.as_bytes(), true)?;
        }
        if let Some(path) = &args.plot {
            let mut bytes = std::io::Cursor::new(Vec::new());
            self.plot().write_to(&mut bytes, image::ImageFormat::Png).context("draw the plot")?;
            outputs::write(path, bytes.get_ref(), true)?;
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let mut text = String::from("width,height,iteration,seconds,total");
        if let Some(losses) = self.last() {
            losses.terms.iter().for_each(|(term, _)| text.push_str(&format!(",{term}")));
        }
        text.push('\n');
        for (Progress { size, iteration, losses, .. }, seconds) in &self.iterations {
            text.push_str(&format!("{},{},{iteration},{seconds:.3},{}", size.width, size.height, losses.total));
            losses.terms.iter().for_each(|(_, loss)| text.push_str(&format!(",{loss}")));
            text.push('\n');
        }
        text
    }

    fn json(&self) -> Result<String> {
        let rows: Vec<Row> = self
            .iterations
            .iter()
            .map(|(Progress { size, iteration, losses, .. }, seconds)| Row {
                width: size.width,
                height: size.height,
                iteration: *iteration,
                seconds: *seconds,
                total: losses.total,
                terms: losses.terms.iter().map(|(term, loss)| (term.to_string(), (*loss).into())).collect(),
            })
            .collect();
        Ok(serde_json::to_string_pretty(&rows).context("write the trace")? + "\n")
    }

    /// The total, and each term, over all iterations.
    fn plot(&self) -> image::RgbImage {
        let values = |value: &dyn Fn(&Losses) -> f32| {
            self.iterations.iter().map(|(progress, _)| Some(f64::from(value(&progress.losses)))).collect()
        };
        let terms = self.last().map_or(&[][..], |losses| &losses.terms);
        let mut curves: Vec<Curve> = terms
            .iter()
            .enumerate()
            .map(|(index, (term, _))| Curve {
                name: term.to_string(),
                color: COLORS[(index + 1) % COLORS.len()],
                values: values(&|losses| losses.terms.get(index).map_or(f32::NAN, |(_, loss)| *loss)),
            })
            .collect();
        curves.push(Curve { name: "total".to_owned(), color: COLORS[0], values: values(&|losses| losses.total) });
        draw("losses", "iteration", Axis::Logarithmic, &curves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;
    use crate::gatys::Layer;
    use crate::gatys::objective::Term;

    #[test]
    fn a_trace_has_a_line_an_iteration_and_a_column_a_term() {
        let mut trace = Trace::default();
        let terms = vec![(Term::Content(Layer::new(4, 2)), 0.25), (Term::Style(Layer::new(1, 1), 0), 0.5)];
        let losses = Losses { terms, total: 0.75 };
        trace.push(&Progress { scale_index: 0, size: FrameSize::new(64, 48), iteration: 1, losses }, 1.5);
        assert_eq!(
            trace.csv(),
            "width,height,iteration,seconds,total,content relu4_2,style relu1_1\n64,48,1,1.500,0.75,0.25,0.5\n"
        );
        let json: serde_json::Value = serde_json::from_str(&trace.json().unwrap()).unwrap();
        assert_eq!(json[0]["terms"]["style relu1_1"], 0.5);
        assert!(Trace::format(Path::new("a.txt")).unwrap_err().is::<UsageError>());
    }
}
