//! What happens to a frame around the network: conversions, mixing, guided upscaling, and the pipeline's own cost.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)] // Benches: a failure may stop them.

use std::hint::black_box;

use anyhow::Result;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use impasto::frame::{Frame, FrameSize};
use impasto::pipeline::{Control, Ending, Pipeline, Sink, Source, Stage};
use impasto::style::Mix;
use impasto::style::pixels::{ChannelOrder, Layout, TensorFormat, ValueRange, mix_in_place, pack, unpack};
use impasto::style::upscale::GuidedUpscaler;

const SIZE: FrameSize = FrameSize::new(640, 360);
const LARGE: FrameSize = FrameSize::new(1920, 1080);

fn textured(size: FrameSize) -> Frame {
    let mut frame = Frame::black(size);
    for (index, byte) in frame.pixels_mut().iter_mut().enumerate() {
        *byte = (index.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    frame
}

fn conversions(criterion: &mut Criterion) {
    let frame = textured(SIZE);
    let mut painted = Frame::black(SIZE);
    let mut tensor = vec![0.0; SIZE.bytes()];
    let mut group = criterion.benchmark_group("640x360");
    group.throughput(Throughput::Elements(SIZE.pixels() as u64));
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let format = TensorFormat { layout, channels: ChannelOrder::Rgb, range: ValueRange::Bytes };
        group.bench_function(format!("pack {layout}"), |bencher| {
            bencher.iter(|| pack(black_box(frame.pixels()), SIZE, (0, 0), &format, &mut tensor, SIZE));
        });
        group.bench_function(format!("unpack {layout}"), |bencher| {
            bencher.iter(|| {
                unpack(black_box(&tensor), SIZE, &format, Mix::NONE, frame.pixels(), painted.pixels_mut(), SIZE);
            });
        });
    }
    group.bench_function("mix", |bencher| {
        let mix = Mix { strength: 0.7, keep_color: true };
        bencher.iter(|| mix_in_place(black_box(frame.pixels()), painted.pixels_mut(), mix));
    });
    group.finish();
}

fn upscaling(criterion: &mut Criterion) {
    let frame = textured(LARGE);
    let mut content = Frame::black(SIZE);
    let mut upscaler = GuidedUpscaler::new();
    upscaler.downscale(&frame, &mut content).expect("sizes are not 0");
    let painted = textured(SIZE);
    let mut dst = Frame::black(LARGE);
    criterion.bench_function("downscale 1920x1080 to 640x360", |bencher| {
        bencher.iter(|| upscaler.downscale(black_box(&frame), &mut content).expect("sizes are not 0"));
    });
    criterion.bench_function("guided upscale 640x360 to 1920x1080", |bencher| {
        bencher.iter(|| upscaler.upscale(black_box(&frame), &content, &painted, &mut dst).expect("sizes are not 0"));
    });
}

struct Numbers(u64);

impl Source for Numbers {
    type Item = u64;

    fn next(&mut self) -> Result<Option<u64>> {
        self.0 = self.0.saturating_sub(1);
        Ok((self.0 > 0).then_some(self.0))
    }
}

struct Same;

impl Stage for Same {
    type Input = u64;
    type Output = u64;

    fn process(&mut self, item: u64) -> Result<u64> {
        Ok(item)
    }
}

struct Sum(u64);

impl Sink for Sum {
    type Input = u64;
    type Output = u64;

    fn write(&mut self, item: u64) -> Result<()> {
        self.0 += item;
        Ok(())
    }

    fn finish(&mut self, _: Ending) -> Result<u64> {
        Ok(self.0)
    }
}

fn pipeline(criterion: &mut Criterion) {
    const ITEMS: u64 = 1000;
    let mut group = criterion.benchmark_group("pipeline of three threads");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("1000 empty items", |bencher| {
        bencher.iter(|| {
            let sum = Pipeline::new(Control::new(), Pipeline::DEFAULT_CAPACITY).run(|wiring| {
                let items = wiring.source("source", Numbers(ITEMS))?;
                let items = wiring.stage("stage", items, Same)?;
                wiring.sink("sink", items, &mut Sum(0))
            });
            black_box(sum.expect("nothing fails"))
        });
    });
    group.finish();
}

criterion_group!(benches, conversions, upscaling, pipeline);
criterion_main!(benches);
