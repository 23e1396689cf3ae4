//! Paintings by optimization in the library: states, endings and what is refused.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

use impasto::frame::FrameSize;
use impasto::gatys::painting::Scale;
use impasto::gatys::targets::Region;
use impasto::gatys::{Ending, Objective, Optimizer, PaintSettings, Painting, Picture, Statistics, Vgg};
use impasto::runtime::SessionOptions;

fn settings(optimizer: Optimizer, statistics: Statistics) -> PaintSettings {
    let size = FrameSize::new(48, 32);
    PaintSettings {
        objective: Objective { statistics, ..Objective::default() },
        optimizer,
        learning_rate: optimizer.default_learning_rate(),
        scales: vec![Scale { size, iterations: 8 }],
        style_scale: 1.0,
        session: SessionOptions::with_threads(1),
        whole_bytes: u64::MAX,
    }
}

fn regions() -> Vec<Region> {
    vec![Region { mask: None, styles: vec![(Picture::noise(FrameSize::new(48, 48), 5), 1.0)] }]
}

#[test]
fn adam_goes_on_from_a_state_bit_for_bit() {
    let vgg = Vgg::bundled().unwrap();
    let content = Picture::noise(FrameSize::new(48, 32), 9);
    let start = || {
        Painting::new(vgg, settings(Optimizer::Adam, Statistics::Gram), content.clone(), regions(), &content).unwrap()
    };
    let (mut whole, mut first, mut second) = (start(), start(), start());
    while whole.step().unwrap().is_some() {}
    for _ in 0..3 {
        first.step().unwrap();
    }
    second.resume(first.state()).unwrap();
    while second.step().unwrap().is_some() {}
    assert_eq!(whole.picture(), second.picture());
}

#[test]
fn the_best_point_of_lbfgs_is_what_comes_out() {
    let vgg = Vgg::bundled().unwrap();
    let content = Picture::noise(FrameSize::new(48, 32), 9);
    for statistics in [Statistics::Gram, Statistics::Moments] {
        let settings = settings(Optimizer::Lbfgs, statistics);
        let mut painting = Painting::new(vgg, settings.clone(), content.clone(), regions(), &content).unwrap();
        let mut losses = Vec::new();
        while let Some(progress) = painting.step().unwrap() {
            losses.push(progress.losses.total);
        }
        let best = losses.iter().copied().fold(f32::INFINITY, f32::min);
        let mut again = Painting::new(vgg, settings, content.clone(), regions(), &painting.picture()).unwrap();
        let loss = again.step().unwrap().unwrap().losses.total;
        assert!((loss - best).abs() < 1e-3 * best, "{statistics:?}: {loss} {losses:?}");
    }
}

#[test]
fn losses_that_are_no_numbers_end_the_painting_with_the_iteration() {
    let vgg = Vgg::bundled().unwrap();
    let content = Picture::noise(FrameSize::new(48, 32), 9);
    let mut start = content.clone();
    start.planes[7] = f32::NAN;
    for optimizer in [Optimizer::Adam, Optimizer::Lbfgs] {
        let settings = settings(optimizer, Statistics::Gram);
        let mut painting = Painting::new(vgg, settings, content.clone(), regions(), &start).unwrap();
        let error = painting.step().unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Ending::Diverged { iteration: 1, .. })), "{error:#}");
    }
}

#[test]
fn pictures_that_are_too_small_for_a_layer_are_refused() {
    let vgg = Vgg::bundled().unwrap();
    let content = Picture::noise(FrameSize::new(48, 32), 9);
    let mut settings = settings(Optimizer::Adam, Statistics::Gram);
    settings.scales = vec![Scale { size: FrameSize::new(30, 20), iterations: 1 }];
    let mut painting = Painting::new(vgg, settings, content.clone(), regions(), &content).unwrap();
    let text = format!("{:#}", painting.step().unwrap_err());
    assert!(text.contains("too small for relu5_1 (expected at least 32×32)"), "{text}");
}
