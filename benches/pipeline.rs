//! What the pipeline itself costs: items without work through three threads.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)] // Benches: a failure may stop them.

use std::hint::black_box;

use anyhow::Result;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use impasto::pipeline::{Control, Ending, Pipeline, Sink, Source, Stage};

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

criterion_group!(benches, pipeline);
criterion_main!(benches);
