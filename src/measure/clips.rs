//! Whole clips: whether they belong together, and what they measure from their first frame to their last.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::figures::{Figures, PerClip};
use super::meter::Meter;
use super::source::FrameSource;
use super::truth::TrueFlows;
use crate::media::shown;
use crate::motion::flow::FlowEstimator;

/// Measures clips to their end; `on_frame` hears how many frames are done and when the last one is shown. Gives the
/// figures, and a sentence for each clip that is damaged: its figures are those of what could be decoded.
///
/// # Errors
/// If the clips differ in size or number of frames, have fewer than two, are too small for flow to be estimated, do not
/// fit the known flow, or cannot be read.
pub fn measure(
    mut sources: PerClip<FrameSource>,
    truth: Option<TrueFlows>,
    mut on_frame: impl FnMut(u64, Duration),
) -> Result<(Figures, Vec<String>)> {
    check_sizes(&sources, truth.is_none())?;
    let flows = truth.as_ref().map(|truth| (truth.folder().to_owned(), truth.count() as u64));
    let mut meter = Meter::new(truth)?;
    let mut count = 0;
    loop {
        let frames = sources.as_mut().try_map(FrameSource::next_frame)?;
        let time = frames.input.as_ref().map_or(Duration::ZERO, |frame| sources.input.media_time(frame));
        let has_ended = frames.as_ref().into_values().any(Option::is_none);
        let is_beyond_flows = flows.as_ref().is_some_and(|(_, flows)| count > *flows);
        let (false, false, Some(frames)) = (has_ended, is_beyond_flows, frames.transpose()) else { break };
        meter.add(frames)?;
        count += 1;
        on_frame(count, time);
    }
    check_counts(&mut sources)?;
    let count = sources.input.frames_given();
    if let Some((folder, flows)) = flows {
        ensure!(
            flows + 1 == count,
            "'{}' holds {flows} flows (expected {} for {count} frames: one from each to the next)",
            folder.display(),
            count - 1
        );
    }
    let damage = |source: &FrameSource| Some(format!("'{}' is damaged: {}", shown(source.path()), source.damage()?));
    Ok((meter.finish(), sources.as_ref().into_values().filter_map(damage).collect()))
}

fn check_sizes(sources: &PerClip<FrameSource>, is_estimated: bool) -> Result<()> {
    let input = &sources.input;
    for source in sources.as_ref().into_values() {
        ensure!(
            source.size() == input.size(),
            "'{}' is {} and '{}' is {} (expected the same size: a clip and what was painted from it)",
            shown(source.path()),
            source.size(),
            shown(input.path()),
            input.size()
        );
    }
    ensure!(
        !is_estimated || input.size().short_side() >= FlowEstimator::MIN_SIDE,
        "'{}' is {} (expected at least {} pixels a side, for motion to be found)",
        shown(input.path()),
        input.size(),
        FlowEstimator::MIN_SIDE
    );
    Ok(())
}

fn check_counts(sources: &mut PerClip<FrameSource>) -> Result<()> {
    let counts = sources.as_mut().try_map(FrameSource::count_all)?;
    let frames = |count: u64| format!("{count} {}", if count == 1 { "frame" } else { "frames" });
    for (source, count) in sources.as_ref().zip(counts).into_values() {
        if count != counts.input {
            bail!(
                "'{}' has {} and '{}' has {} (expected as many: a clip and what was painted from it)",
                shown(source.path()),
                frames(count),
                shown(sources.input.path()),
                frames(counts.input)
            );
        }
    }
    ensure!(
        counts.input >= 2,
        "'{}' has {} (expected at least 2: what is measured lies between frames)",
        shown(sources.input.path()),
        frames(counts.input)
    );
    Ok(())
}
