//! What is shown of made-up paintings and motions.

use super::*;
use crate::frame::CHANNELS;
use crate::motion::flow::FlowField;

const SIZE: FrameSize = FrameSize::new(32, 24);

fn painted(seed: u32, of: impl Fn(usize, usize) -> f32, grain: f32) -> Frame {
    let mut frame = Frame::black(SIZE);
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
    for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
        for channel in pixel {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            *channel = (of(index % SIZE.width, index / SIZE.width) + noise * 2.0 * grain) as u8;
        }
    }
    frame
}

/// Everything is believed and moves by `u` pixels to the left, that is: was `u` pixels to the right.
fn all_moves(u: f32) -> Motion {
    Motion::Carried(CarriedMotion {
        flow: FlowField { size: SIZE, vectors: vec![[u, 0.0]; SIZE.pixels()] },
        confidence: vec![1.0; SIZE.pixels()],
        elapsed_seconds: 0.04,
    })
}

fn smoother() -> Smoother {
    Smoother::new(SmootherSettings::default())
}

#[test]
fn what_was_painted_around_something_that_left_does_not_outlast_it() {
    let mut smoother = smoother();
    smoother.smooth(&mut painted(0, |_, _| 80.0, 0.0), &Motion::Reset).unwrap();
    for _ in 0..30 {
        smoother.smooth(&mut painted(0, |_, _| 80.0, 0.0), &all_moves(0.0)).unwrap();
    }
    // The first eight columns change; the painting changes everywhere.
    let confidence = (0..SIZE.pixels()).map(|cell| if cell % SIZE.width < 8 { 0.0 } else { 1.0 }).collect();
    let Motion::Carried(carried) = all_moves(0.0) else { unreachable!() };
    let mut frame = painted(0, |_, _| 180.0, 0.0);
    smoother.smooth(&mut frame, &Motion::Carried(CarriedMotion { confidence, ..carried })).unwrap();
    for _ in 0..10 {
        frame = painted(0, |_, _| 180.0, 0.0);
        smoother.smooth(&mut frame, &all_moves(0.0)).unwrap();
    }
    let level = |x: usize| frame.pixels()[(12 * SIZE.width + x) * CHANNELS];
    assert!(level(12) > 145, "near: {}", level(12));
    assert!(level(28) < 125, "far: {}", level(28));
}

#[test]
fn without_a_past_a_frame_passes_unchanged() {
    let mut smoother = smoother();
    for seed in 0..3 {
        let frame = painted(seed, |_, _| 100.0, 50.0);
        let mut smoothed = painted(seed, |_, _| 100.0, 50.0);
        smoother.smooth(&mut smoothed, &Motion::Reset).unwrap();
        assert_eq!(smoothed.pixels(), frame.pixels());
    }
}

#[test]
fn a_duplicate_repeats_the_output() {
    let mut smoother = smoother();
    let mut first = painted(1, |x, _| x as f32 * 4.0, 20.0);
    smoother.smooth(&mut first, &Motion::Reset).unwrap();
    let mut second = painted(2, |x, _| x as f32 * 4.0, 20.0);
    smoother.smooth(&mut second, &Motion::Duplicate).unwrap();
    assert_eq!(second.pixels(), first.pixels());
}

#[test]
fn a_duplicate_in_the_middle_of_a_scene_repeats_the_output_however_detail_is_given_back() {
    let mut smoother = smoother();
    let mut frame = painted(1, |x, _| x as f32 * 4.0, 60.0);
    smoother.smooth(&mut frame, &Motion::Reset).unwrap();
    for seed in 2..8 {
        let mut frame = painted(seed, |x, _| x as f32 * 4.0, 60.0);
        smoother.smooth(&mut frame, &all_moves(0.0)).unwrap();
        for _ in 0..2 {
            let mut again = painted(seed + 100, |_, _| 0.0, 0.0);
            smoother.smooth(&mut again, &Motion::Duplicate).unwrap();
            assert_eq!(again.pixels(), frame.pixels());
        }
    }
}

#[test]
fn a_carried_frame_does_not_tell_what_lay_in_its_buffer() {
    let carried = [0, 1, 2].map(|seed| {
        let mut smoother = smoother();
        let mut first = painted(9, |x, y| (x * 5 + y * 3) as f32, 40.0);
        smoother.smooth(&mut first, &Motion::Reset).unwrap();
        let mut frames = Vec::new();
        for _ in 0..3 {
            let mut next = painted(seed, |_, _| 128.0, 127.0);
            smoother.carry(&mut next, &all_moves(0.3)).unwrap();
            frames.push(next.pixels().to_vec());
        }
        frames
    });
    assert!(carried.iter().all(|frame| *frame == carried[0]));
}

#[test]
fn frames_do_not_tell_how_many_threads_smoothed_them() {
    let size = FrameSize::new(40, 100);
    let grid = FrameSize::new(20, 50);
    let motion = Motion::Carried(CarriedMotion {
        flow: FlowField { size: grid, vectors: (0..1000).map(|cell| [cell as f32 * 1e-3, 0.4]).collect() },
        confidence: (0..1000).map(|cell| (cell % 7) as f32 / 6.0).collect(),
        elapsed_seconds: 0.04,
    });
    let smoothed = [1, 2, 5].map(|threads| {
        let mut smoother = smoother();
        smoother.move_to(Place::Processor { threads });
        let frame = |seed: usize| {
            let mut frame = Frame::black(size);
            let values = frame.pixels_mut().iter_mut().enumerate();
            values.for_each(|(index, value)| *value = (index * 37 + seed * 91 + index / 120 * 11) as u8);
            frame
        };
        smoother.smooth(&mut frame(0), &Motion::Reset).unwrap();
        let frames = (1..4).map(|seed| {
            let mut frame = frame(seed);
            smoother.smooth(&mut frame, &motion).unwrap();
            frame.pixels().to_vec()
        });
        frames.collect::<Vec<_>>()
    });
    assert!(smoothed.iter().all(|frames| *frames == smoothed[0]));
}

#[test]
fn flicker_of_a_still_picture_falls_to_a_fraction_and_its_brightness_does_not_drift() {
    let mut smoother = smoother();
    let (mut sums, mut squares) = ([0.0_f64; 2], [0.0_f64; 2]);
    let mut brightness = [0.0_f64; 2];
    let pixel = (12 * SIZE.width + 16) * CHANNELS;
    let frames = 200_u32;
    for index in 0..frames {
        let mut frame = painted(index, |x, y| 80.0 + x as f32 + y as f32, 20.0);
        let motion = if index == 0 { Motion::Reset } else { all_moves(0.0) };
        let before = f64::from(frame.pixels()[pixel]);
        brightness[0] += frame.pixels().iter().map(|value| f64::from(*value)).sum::<f64>();
        smoother.smooth(&mut frame, &motion).unwrap();
        brightness[1] += frame.pixels().iter().map(|value| f64::from(*value)).sum::<f64>();
        if index >= 60 {
            for (which, value) in [before, f64::from(frame.pixels()[pixel])].into_iter().enumerate() {
                sums[which] += value;
                squares[which] += value * value;
            }
        }
    }
    let count = f64::from(frames - 60);
    let deviation = |which: usize| (squares[which] / count - (sums[which] / count).powi(2)).sqrt();
    assert!(deviation(1) < 0.35 * deviation(0), "{} against {}", deviation(1), deviation(0));
    let drift = (brightness[1] - brightness[0]) / (f64::from(frames) * SIZE.bytes() as f64);
    assert!(drift.abs() < 0.5, "{drift}");
}

#[test]
fn the_past_moves_with_the_content() {
    let mut smoother = smoother();
    let edge = |at: usize| move |x: usize, _| if x < at { 200.0 } else { 50.0 };
    let mut first = painted(0, edge(20), 0.0);
    smoother.smooth(&mut first, &Motion::Reset).unwrap();
    let mut second = painted(0, edge(17), 0.0);
    let expected = second.pixels().to_vec();
    smoother.smooth(&mut second, &all_moves(3.0)).unwrap();
    for (index, (smoothed, expected)) in second.pixels().iter().zip(&expected).enumerate() {
        assert!(smoothed.abs_diff(*expected) <= 2, "at {index}: {smoothed} against {expected}");
    }
}

#[test]
fn what_is_not_believed_leaves_no_ghost() {
    let mut smoother = smoother();
    let mut first = painted(0, |_, _| 250.0, 0.0);
    smoother.smooth(&mut first, &Motion::Reset).unwrap();
    let mut second = painted(1, |_, _| 60.0, 30.0);
    let expected = second.pixels().to_vec();
    let Motion::Carried(mut carried) = all_moves(0.0) else { panic!("it moves") };
    carried.confidence.fill(0.0);
    smoother.smooth(&mut second, &Motion::Carried(carried)).unwrap();
    assert_eq!(second.pixels(), expected);
}

#[test]
fn a_frame_that_is_not_painted_is_the_past_moved_along() {
    let mut smoother = smoother();
    let edge = |at: usize| move |x: usize, _| if x < at { 200.0 } else { 50.0 };
    smoother.smooth(&mut painted(0, edge(20), 0.0), &Motion::Reset).unwrap();
    for at in [17, 14] {
        let mut carried = Frame::black(SIZE);
        smoother.carry(&mut carried, &all_moves(3.0)).unwrap();
        let expected = painted(0, edge(at), 0.0);
        for (index, (carried, expected)) in carried.pixels().iter().zip(expected.pixels()).enumerate() {
            assert!(carried.abs_diff(*expected) <= 4, "at {index}: {carried} against {expected}");
        }
    }
}

#[test]
fn there_is_nothing_to_carry_into_a_new_scene() {
    let mut smoother = smoother();
    assert!(smoother.carry(&mut Frame::black(SIZE), &all_moves(0.0)).is_err());
    smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Reset).unwrap();
    assert!(smoother.carry(&mut Frame::black(SIZE), &Motion::Reset).is_err());
    assert!(smoother.carry(&mut Frame::black(FrameSize::new(8, 8)), &Motion::Duplicate).is_err());
}

#[test]
fn a_limit_of_gain_that_is_none_gives_no_detail_back() {
    for most_gain in [0.0, -1.0, f32::NAN] {
        let mut smoother = Smoother::new(SmootherSettings { most_gain, ..SmootherSettings::default() });
        for seed in 0..3 {
            let mut frame = painted(seed, |x, _| x as f32 * 4.0, 60.0);
            let motion = if seed == 0 { Motion::Reset } else { all_moves(0.0) };
            smoother.smooth(&mut frame, &motion).unwrap();
        }
    }
}

#[test]
fn a_frame_whose_size_is_not_that_of_its_pixels_is_refused() {
    let mut smoother = smoother();
    smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Reset).unwrap();
    let mut frame = Frame::black(FrameSize::new(8, 8));
    frame.size = SIZE;
    assert!(smoother.smooth(&mut frame, &all_moves(0.0)).is_err());
    assert!(smoother.smooth(&mut frame, &Motion::Reset).is_err());
    assert!(smoother.carry(&mut frame, &all_moves(0.0)).is_err());
}

#[test]
fn motion_of_another_grid_is_refused() {
    let mut smoother = smoother();
    smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Reset).unwrap();
    let Motion::Carried(mut carried) = all_moves(0.0) else { panic!("it moves") };
    carried.confidence.pop();
    assert!(smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Carried(carried)).is_err());
}
