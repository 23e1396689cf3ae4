//! Times of painting: the network, the way into and out of its tensors, and the way from a small painting to a large frame.
//!
//! `cargo bench --bench style`. Read the figures as ratios: packing and unpacking together against `stylize` at the same
//! size, on the same machine, in the same run.

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use impasto::frame::{Frame, FrameSize};
use impasto::runtime::SessionOptions;
use impasto::style::pixels::{ChannelOrder, Layout, Mix, TensorFormat, ValueRange, pack, unpack};
use impasto::style::upscale::GuidedUpscaler;
use impasto::style::{StyleNetwork, StyleOptions};

const SIZE: FrameSize = FrameSize::new(640, 360);
const LARGE: FrameSize = FrameSize::new(3840, 2160);
const FORMAT: TensorFormat =
    TensorFormat { layout: Layout::Nchw, channels: ChannelOrder::Rgb, range: ValueRange::Bytes };

fn textured(size: FrameSize) -> Frame {
    let mut frame = Frame::black(size);
    for (index, value) in frame.pixels_mut().iter_mut().enumerate() {
        *value = (index * 7919 % 256) as u8;
    }
    frame
}

fn pixels(criterion: &mut Criterion) {
    let src = textured(SIZE);
    let mut dst = Frame::black(SIZE);
    let mut tensor = vec![0.0; SIZE.bytes()];
    criterion.bench_function("pack 640x360", |bencher| {
        bencher.iter(|| pack(black_box(src.pixels()), SIZE, (0, 0), &FORMAT, &mut tensor, SIZE));
    });
    for (name, mix) in [
        ("unpack 640x360", Mix::NONE),
        ("unpack 640x360 strength", Mix { strength: 0.7, keep_color: false }),
        ("unpack 640x360 keep color", Mix { strength: 1.0, keep_color: true }),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                unpack(black_box(&tensor), SIZE, &FORMAT, mix, src.pixels(), dst.pixels_mut(), SIZE);
            });
        });
    }
}

fn network(criterion: &mut Criterion) {
    let options = StyleOptions { session: SessionOptions::with_threads(2), ..StyleOptions::default() };
    let spec = "great-wave".parse().expect("a style of the catalog");
    let mut network = StyleNetwork::open(&spec, &options).expect("ONNX Runtime and the bundled network");
    let src = textured(SIZE);
    let mut dst = Frame::black(SIZE);
    criterion.bench_function("stylize 640x360, 2 threads", |bencher| {
        bencher.iter(|| network.stylize(&src, Mix::NONE, &mut dst).expect("a painted frame"));
    });
}

fn upscaling(criterion: &mut Criterion) {
    let frame = textured(LARGE);
    let work_size = LARGE.with_short_side_at_most(540);
    let mut content = Frame::black(work_size);
    let painted = textured(work_size);
    let mut dst = Frame::black(LARGE);
    let mut upscaler = GuidedUpscaler::new();
    let mut group = criterion.benchmark_group("3840x2160 by way of 960x540");
    group.sample_size(20);
    group.bench_function("downscale", |bencher| {
        bencher.iter(|| upscaler.downscale(&frame, &mut content).expect("a small frame"));
    });
    group.bench_function("upscale", |bencher| {
        bencher.iter(|| upscaler.upscale(&frame, &content, &painted, &mut dst).expect("a large frame"));
    });
    group.finish();
}

criterion_group!(benches, pixels, network, upscaling);
criterion_main!(benches);
