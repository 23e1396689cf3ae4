//! The keyframes of a plan, painted one after the other, in as many passes as asked for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::fill::FillNetwork;
use super::work::{Plan, WorkFolder};
use crate::commands::paint::{check_memory, describe};
use crate::console::Console;
use crate::film::{Filler, Neighbor, Track, keyframe};
use crate::frame::{Frame, FrameSize};
use crate::gatys::painting::{Scale, scale_schedule};
use crate::gatys::targets::{Anchor, Region};
use crate::gatys::{PaintSettings, Painting, Picture, Vgg, match_colors};
use crate::pipeline::Control;

/// What keyframes are painted with.
pub struct Painter<'a> {
    /// The network that sees.
    pub vgg: &'a Vgg,
    /// The painting.
    pub style: Picture,
    /// The weights, with an anchor; the sizes are set for each keyframe.
    pub settings: PaintSettings,
    /// Gradients for a keyframe and pass.
    pub iterations: u64,
    /// Passes over all keyframes.
    pub passes: u64,
    /// The size of the film.
    pub size: FrameSize,
    /// Where keyframes are kept.
    pub work: &'a WorkFolder,
    /// Which they are.
    pub plan: &'a Plan,
}

/// How far it came.
pub struct Painted {
    /// Keyframes and passes that this run painted, and how long that took.
    pub count: u64,
    pub elapsed: Duration,
    /// Whether all are painted.
    pub is_complete: bool,
}

/// Longer side of the first, smallest size.
const SMALLEST_SCALE: usize = 128;
/// How many keyframes back the keyframes lie that one is held to, nearest first (Ruder et al. 2016).
const LONG_TERM: [usize; 3] = [1, 2, 4];

impl Painter<'_> {
    /// Paints what is not painted yet; stops between two gradients when asked to.
    ///
    /// # Errors
    /// If a keyframe cannot be painted or kept.
    pub fn run(&self, fill: &mut FillNetwork, control: &Control, console: Console) -> Result<Painted> {
        let count = self.plan.keyframes.len();
        let todo: Vec<(u64, usize)> = (0..self.passes)
            .flat_map(|pass| {
                let order: Vec<usize> = if pass % 2 == 0 { (0..count).collect() } else { (0..count).rev().collect() };
                order.into_iter().map(move |index| (pass, index))
            })
            .filter(|&(pass, index)| !self.work.is_painted(self.frame(index), pass))
            .collect();
        let cost = |&(pass, index): &(u64, usize)| self.scales(pass, index).iter().map(cost_of).sum::<u64>();
        let mut display = console.progress_of_cost(todo.iter().map(cost).sum());
        let (started, mut spent, mut done) = (Instant::now(), 0, 0);
        if !todo.is_empty() {
            let longest = self.size.width.max(self.size.height);
            check_memory(&self.largest(&todo)?, u32::try_from(longest)?, "--keyframe-size", console)?;
        }
        for &(pass, index) in &todo {
            let mut painting = self.prepare(pass, index, fill)?;
            let mut left = cost(&(pass, index));
            let result = loop {
                if control.is_stopped() {
                    break Ok(false);
                }
                match painting.step() {
                    Ok(Some(progress)) => {
                        let step = progress.size.pixels() as u64;
                        spent += step;
                        left = left.saturating_sub(step);
                        let of_passes = if self.passes > 1 {
                            format!(", pass {} of {}", pass + 1, self.passes)
                        } else {
                            String::new()
                        };
                        let text =
                            format!("keyframe {} of {count}{of_passes}  {}", index + 1, describe(&progress.losses));
                        display.update_cost(spent, &text);
                    }
                    Ok(None) => break Ok(true),
                    Err(_) if control.is_aborted() => break Ok(false),
                    Err(error) => break Err(error),
                }
            };
            let is_finished =
                result.inspect_err(|_| display.end()).with_context(|| format!("paint frame {}", self.frame(index)))?;
            if !is_finished {
                display.end();
                return Ok(Painted { count: done, elapsed: started.elapsed(), is_complete: false });
            }
            self.work.write_painted(self.frame(index), pass, &painting.picture())?;
            spent += left;
            done += 1;
        }
        display.end();
        Ok(Painted { count: done, elapsed: started.elapsed(), is_complete: true })
    }

    fn frame(&self, index: usize) -> u64 {
        self.plan.keyframes[index].frame
    }

    fn is_first(&self, index: usize) -> bool {
        self.plan.keyframes[index].is_new_scene
    }

    /// A scene's first keyframe grows from small to large; the others begin with what is known.
    fn scales(&self, pass: u64, index: usize) -> Vec<Scale> {
        if pass == 0 && self.is_first(index) {
            let longest = self.size.width.max(self.size.height);
            let sides = (SMALLEST_SCALE.min(longest), longest);
            let least_short = self.settings.objective.smallest_side();
            return scale_schedule(self.size, sides, least_short, (2 * self.iterations, self.iterations));
        }
        vec![Scale { size: self.size, iterations: self.iterations }]
    }

    /// A painting that takes as much memory as the largest that is to come: one that is held to others is not looked at in tiles.
    fn largest(&self, todo: &[(u64, usize)]) -> Result<Painting<'_>> {
        let mut settings = self.settings.clone();
        settings.scales = vec![Scale { size: self.size, iterations: self.iterations }];
        if !todo.iter().any(|&(pass, index)| self.plan.is_held(pass, index)) {
            settings.objective.anchor_weight = 0.0;
        }
        let blank = Picture::gray(self.size, 0.5);
        Painting::new(self.vgg, settings, blank.clone(), Vec::new(), &blank)
    }

    fn prepare(&self, pass: u64, index: usize, fill: &mut FillNetwork) -> Result<Painting<'_>> {
        let content = self.work.content(self.frame(index), self.size)?;
        let anchor = self.anchor(pass, index)?;
        let start = match (pass, &anchor) {
            (0, None) => Picture::from_frame(&content),
            (0, Some(anchor)) => keyframe::start(anchor, &self.filled(&content, index, fill)?),
            (_, anchor) => {
                let own = self.work.painted(self.frame(index), pass - 1, self.size)?;
                match anchor {
                    Some(anchor) => halfway(anchor, &own),
                    None => own,
                }
            }
        };
        let mut settings = self.settings.clone();
        settings.scales = self.scales(pass, index);
        if anchor.is_none() {
            settings.objective.anchor_weight = 0.0;
        }
        let region = Region { mask: None, styles: vec![(self.style.clone(), 1.0)] };
        let mut painting = Painting::new(self.vgg, settings, Picture::from_frame(&content), vec![region], &start)?;
        if let Some(anchor) = anchor {
            painting.set_anchor(anchor)?;
        }
        Ok(painting)
    }

    /// The network's painting in the colors of the keyframe before.
    fn filled(&self, content: &Frame, index: usize, fill: &mut FillNetwork) -> Result<Picture> {
        let mut filled = fill.fill(content)?;
        match_colors(&mut filled, &self.work.painted(self.frame(index - 1), 0, self.size)?);
        Ok(filled)
    }

    /// What a keyframe is held to: in the first pass the keyframes before it, in later ones the neighbor that the same pass has
    /// painted already.
    fn anchor(&self, pass: u64, index: usize) -> Result<Option<Anchor>> {
        if !self.plan.is_held(pass, index) {
            return Ok(None);
        }
        if pass % 2 == 1 {
            let track = self.work.links(self.frame(index + 1), self.size)?.forth;
            let painted = self.work.painted(self.frame(index + 1), pass, self.size)?;
            return Ok(keyframe::anchor(&[Neighbor { painted: &painted, track }]));
        }
        let far = if pass == 0 { LONG_TERM.as_slice() } else { &LONG_TERM[..1] };
        let mut found = Vec::new();
        let mut track = Track::still(self.size);
        for back in 1..=far.iter().copied().max().unwrap_or(0) {
            let Some(link) = (index + 1).checked_sub(back).filter(|link| !self.is_first(*link)) else { break };
            track = track.then(&self.work.links(self.frame(link), self.size)?.back);
            if far.contains(&back) {
                found.push((self.work.painted(self.frame(link - 1), pass, self.size)?, track.clone()));
            }
        }
        let neighbors: Vec<Neighbor<'_>> =
            found.iter().map(|(painted, track)| Neighbor { painted, track: track.clone() }).collect();
        Ok(keyframe::anchor(&neighbors))
    }
}

fn cost_of(scale: &Scale) -> u64 {
    scale.size.pixels() as u64 * scale.iterations
}

/// (x + c·a) / (1 + c): as much of the picture as of the anchor where that is sure (Ruder et al. 2016, multi-pass).
fn halfway(anchor: &Anchor, own: &Picture) -> Picture {
    let confidence = anchor.confidence.iter().map(|confidence| confidence / (1.0 + confidence)).collect();
    keyframe::start(&Anchor { picture: anchor.picture.clone(), confidence }, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::film::work::PlannedKeyframe;
    use crate::gatys::{Objective, Optimizer};
    use crate::runtime::SessionOptions;

    #[test]
    fn memory_is_asked_for_the_keyframe_that_takes_most() {
        let folder = tempfile::tempdir().unwrap();
        let (work, _) = WorkFolder::open(&folder.path().join("work"), "a").unwrap();
        let size = FrameSize::new(848, 64);
        let keyframe = |frame: u64, is_new_scene| PlannedKeyframe { frame, is_new_scene };
        let plan = Plan { frames: 9, keyframes: vec![keyframe(0, true), keyframe(4, false), keyframe(8, true)] };
        let settings = PaintSettings {
            objective: Objective { anchor_weight: 100.0, ..Objective::default() },
            optimizer: Optimizer::Lbfgs,
            learning_rate: 1.0,
            scales: Vec::new(),
            style_scale: 1.0,
            session: SessionOptions::default(),
            whole_bytes: 0,
        };
        let style = Picture::gray(size, 0.5);
        let vgg = Vgg::bundled().unwrap();
        let painter = Painter { vgg, style, settings, iterations: 1, passes: 2, size, work: &work, plan: &plan };
        let is_tiled = |todo: &[(u64, usize)]| painter.largest(todo).unwrap().peak_bytes().unwrap().1;
        assert!(is_tiled(&[(0, 0), (0, 2), (1, 2), (1, 1)]), "none of these is held to another");
        assert!(!is_tiled(&[(0, 0), (0, 1)]), "the second one is held to the first");
        assert!(!is_tiled(&[(1, 2), (1, 0)]), "the first one is held to the second in the second pass");
    }
}
