//! What paints the places that no keyframe shows: a style network, the one that comes nearest to the painting.

use anyhow::{Context, Result, anyhow};

use crate::cli::LookArgs;
use crate::commands::{UsageError, style};
use crate::console::Console;
use crate::film::Filler;
use crate::frame::{Frame, FrameSize};
use crate::gatys::{Judge, Picture, match_colors};
use crate::pipeline::Control;
use crate::runtime::{Precision, SessionOptions};
use crate::style::{Catalog, NetworkMisuse, StyleEngine, StyleOptions, StyleSettings, Stylizer};

/// A network that paints frames of any size at once.
pub struct FillNetwork {
    engine: StyleEngine,
    /// The style, as asked for or chosen.
    pub label: String,
}

/// Shorter side of what the network sees at most, in pixels.
const WORK_SIZE: usize = 2160;

impl FillNetwork {
    /// The network of a style, as the look asks for it.
    ///
    /// # Errors
    /// If there is no such style or it cannot be opened.
    pub fn open(name: &str, session: &SessionOptions, look: &LookArgs) -> Result<Self> {
        let settings = StyleSettings { strength: 1.0, keep_color: false, work_size: WORK_SIZE };
        let options = StyleOptions {
            session: session.clone(),
            network: look.network.network,
            precision: look.precision.precision,
            style_folder: style::folder(),
            ..StyleOptions::default()
        };
        let engine = StyleEngine::open(&style::parse(name)?, &options, settings).map_err(|error| {
            match error.downcast_ref::<NetworkMisuse>() {
                // The painting of the film is none for the network that fills.
                Some(NetworkMisuse::NoStyleImage) => UsageError(anyhow!("{error:#} (choose another --fill)")).into(),
                _ => style::misused(error),
            }
        })?;
        Ok(Self { engine, label: name.to_owned() })
    }

    /// How exactly it calculates; never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.engine.network().precision()
    }

    /// Of the styles that come with impasto, the one whose painting of `content`, in the colors of `painting`, has the least
    /// style loss. Blocks for a second or two a style; `None` when it was stopped.
    ///
    /// # Errors
    /// If a network or the judge cannot be opened.
    pub fn nearest(
        painting: &Picture,
        content: &Frame,
        session: &SessionOptions,
        look: &LookArgs,
        control: &Control,
        console: Console,
    ) -> Result<Option<Self>> {
        let styles = Catalog::bundled()?.styles();
        let mut display = console.progress_of_cost(styles.len() as u64);
        let scaled = crate::gatys::painting::style_size(painting.size, content.size, 1.0);
        let mut judge = Judge::new(&painting.scaled(scaled)?, content.size, session)?;
        let mut best: Option<(f32, Self)> = None;
        for (index, style) in styles.iter().enumerate() {
            if control.is_stopped() {
                display.end();
                return Ok(None);
            }
            display.update_cost(index as u64, "looking for the style that is nearest to the painting");
            let mut network = Self::open(&style.name, session, look)?;
            let mut painted = network.fill(content)?;
            match_colors(&mut painted, painting);
            let loss = judge.look(&painted)?.style_loss;
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, network));
            }
        }
        display.end();
        Ok(Some(best.context("the catalog is empty")?.1))
    }
}

/// The smallest picture that a judge looks at has a shorter side of this many pixels.
pub const SMALLEST: usize = 32;

/// Whether frames of `size` can be painted by optimization at all.
pub fn is_large_enough(size: FrameSize) -> bool {
    size.short_side() >= SMALLEST
}

impl Filler for FillNetwork {
    fn fill(&mut self, content: &Frame) -> Result<Picture> {
        let mut painted = Frame::black(content.size);
        self.engine.stylize(content, &mut painted)?;
        Ok(Picture::from_frame(&painted))
    }
}
