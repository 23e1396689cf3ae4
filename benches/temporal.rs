//! Times of what finds motion and of what uses it, on a real clip.
//!
//! `cargo bench --bench temporal`. Read the figures as ratios: both together against `stylize` of the bench `style` at the
//! same size, on the same machine.

#![allow(missing_docs, clippy::expect_used)]

use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use impasto::frame::Frame;
use impasto::media::{ReaderOptions, VideoReader};
use impasto::motion::{Motion, MotionEstimator, MotionSettings};
use impasto::temporal::{Smoother, SmootherSettings};

/// Enough for motion of all kinds, and few enough to stay in memory.
const FRAMES: usize = 24;

fn clip() -> Vec<Frame> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/bunny.mp4");
    let mut reader = VideoReader::open(&path, ReaderOptions::default()).expect("open the bundled clip");
    (0..FRAMES).map(|_| reader.next_frame().expect("decode").expect("the clip is longer")).collect()
}

/// The frames forward, then backward: going round would be a scene cut.
fn place(step: usize) -> usize {
    let place = step % (2 * FRAMES - 2);
    place.min(2 * FRAMES - 2 - place)
}

fn temporal(criterion: &mut Criterion) {
    let frames = clip();
    let mut group = criterion.benchmark_group("640x360");
    let mut estimator = MotionEstimator::new(MotionSettings::default(), 0.04).expect("prepare optical flow");
    let mut step = 0;
    let mut next = || {
        step += 1;
        let mut frame = frames[place(step)].clone();
        frame.timestamp.pts = step as i64;
        frame
    };
    group.bench_function("motion", |bencher| {
        bencher.iter_batched(&mut next, |frame| estimator.analyze(&frame).expect("analyze"), BatchSize::PerIteration);
    });
    let motions: Vec<Motion> = (0..2 * FRAMES).map(|_| estimator.analyze(&next()).expect("analyze")).collect();
    let mut smoother = Smoother::new(SmootherSettings::default());
    smoother.smooth(&mut frames[0].clone(), &Motion::Reset).expect("begin");
    let mut step = 0;
    group.bench_function("smooth", |bencher| {
        bencher.iter_batched(
            || {
                step += 1;
                (frames[place(step)].clone(), &motions[step % motions.len()])
            },
            |(mut frame, motion)| smoother.smooth(&mut frame, motion).expect("smooth"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, temporal);
criterion_main!(benches);
