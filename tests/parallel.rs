//! Several workers on one stage: nobody hangs, and what comes out does not tell how many there were. The faults of
//! `tests/pipeline.rs` run with several workers too; here is what only they can get wrong.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // A test that panics fails: as it should.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use impasto::pipeline::{Control, Ending, Pipeline, PipelineStats, RunError, Sink, Source, Stage};

/// Far beyond what any of these runs takes: a run that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source, stage or sink from a function.
struct By<F>(F);

impl<F: FnMut() -> Result<Option<usize>> + Send> Source for By<F> {
    type Item = usize;

    fn next(&mut self) -> Result<Option<usize>> {
        (self.0)()
    }
}

impl<F: FnMut(usize) -> Result<usize> + Send> Stage for By<F> {
    type Input = usize;
    type Output = usize;

    fn process(&mut self, item: usize) -> Result<usize> {
        (self.0)(item)
    }
}

/// Keeps what came, after `F` has seen it.
struct Kept<F>(F, Vec<usize>);

impl<F: FnMut(usize) -> Result<()>> Sink for Kept<F> {
    type Input = usize;
    type Output = (Vec<usize>, Ending);

    fn write(&mut self, item: usize) -> Result<()> {
        (self.0)(item)?;
        self.1.push(item);
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<Self::Output> {
        Ok((std::mem::take(&mut self.1), ending))
    }
}

type Outcome = Result<(Vec<usize>, Ending), RunError>;

/// Source, workers and sink; a run that hangs fails the test.
fn run(
    control: &Control,
    capacity: usize,
    source: impl FnMut() -> Result<Option<usize>> + Send + 'static,
    workers: Vec<impl Stage<Input = usize, Output = usize> + 'static>,
    sink: impl FnMut(usize) -> Result<()> + Send + 'static,
) -> (Outcome, PipelineStats) {
    let pipeline = Pipeline::new(control.clone(), capacity);
    let stats = pipeline.stats();
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let mut sink = Kept(sink, Vec::new());
        let _ = done.send(pipeline.run(|wiring| {
            let items = wiring.source("source", By(source))?;
            let items = wiring.parallel("paint", items, workers)?;
            wiring.sink("sink", items, &mut sink)
        }));
    });
    (is_done.recv_timeout(PATIENCE).expect("the run hangs"), stats)
}

/// Counts from 0; ends before `end`.
fn counting(end: usize) -> impl FnMut() -> Result<Option<usize>> + Send + 'static {
    let mut items = 0..end;
    move || Ok(items.next())
}

/// Counts from 0 and tells how many it made.
fn counted(end: usize, made: &Arc<AtomicUsize>) -> impl FnMut() -> Result<Option<usize>> + Send + 'static {
    let made = Arc::clone(made);
    move || {
        let item = made.fetch_add(1, Ordering::SeqCst);
        Ok((item < end).then_some(item))
    }
}

fn workers<F: FnMut(usize) -> Result<usize> + Send + Clone>(count: usize, work: F) -> Vec<By<F>> {
    (0..count).map(|_| By(work.clone())).collect()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never comes to that");
        thread::yield_now();
    }
}

#[test]
fn any_number_of_items_comes_out_complete_and_in_order_whatever_each_takes() {
    for capacity in [0, 2] {
        for count in 1..=5 {
            for items in 0..=50 {
                // Different for each item, alike in each run.
                let work = |item: usize| {
                    let micros = item.wrapping_mul(2_654_435_761) >> 3 & 0xff;
                    if !micros.is_multiple_of(3) {
                        thread::sleep(Duration::from_micros(micros as u64));
                    }
                    Ok(item * 10)
                };
                let (outcome, stats) =
                    run(&Control::new(), capacity, counting(items), workers(count, work), |_| Ok(()));
                let expected: Vec<usize> = (0..items).map(|item| item * 10).collect();
                assert_eq!(outcome.unwrap(), (expected, Ending::Complete), "{count} workers, capacity {capacity}");
                assert!(stats.snapshot().iter().all(|stage| stage.items == items as u64));
            }
        }
    }
}

#[test]
fn a_slow_item_holds_up_only_what_has_no_room() {
    for (capacity, count) in [(0, 2), (0, 5), (2, 2), (2, 3), (8, 4)] {
        let (made, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let source = counted(60, &made);
        let work = {
            let (made, done) = (Arc::clone(&made), Arc::clone(&done));
            move |item| {
                if item == 0 {
                    // The others go on until all credits but that of this item are spent; then the source has filled its
                    // queue, holds one more, and waits.
                    wait_until(|| done.load(Ordering::SeqCst) == count + capacity - 1);
                    wait_until(|| made.load(Ordering::SeqCst) == count + 2 * capacity + 1);
                    thread::sleep(Duration::from_millis(20));
                    assert_eq!(
                        made.load(Ordering::SeqCst),
                        count + 2 * capacity + 1,
                        "that is all that there is room for"
                    );
                }
                done.fetch_add(1, Ordering::SeqCst);
                Ok(item)
            }
        };
        let (outcome, _) = run(&Control::new(), capacity, source, workers(count, work), |_| Ok(()));
        assert_eq!(outcome.unwrap().0, (0..60).collect::<Vec<_>>());
    }
}

#[test]
fn a_sink_that_stands_still_bounds_what_is_made() {
    for (capacity, count) in [(0, 1), (0, 3), (2, 1), (2, 2), (8, 5)] {
        let made = Arc::new(AtomicUsize::new(0));
        let source = counted(60, &made);
        let sink = move |item| {
            if item == 0 {
                // One here, one a worker and those that wait behind them, those that wait before them, one in the source.
                let bound = 1 + count + capacity + capacity + 1;
                wait_until(|| made.load(Ordering::SeqCst) == bound);
                thread::sleep(Duration::from_millis(20));
                assert_eq!(made.load(Ordering::SeqCst), bound);
            }
            Ok(())
        };
        let (outcome, _) = run(&Control::new(), capacity, source, workers(count, Ok), sink);
        assert_eq!(outcome.unwrap().0.len(), 60);
    }
}

/// Says when it is gone.
struct Leaving(Arc<AtomicBool>, Arc<Mutex<Vec<usize>>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Stage for Leaving {
    type Input = usize;
    type Output = usize;

    fn process(&mut self, item: usize) -> Result<usize> {
        self.1.lock().unwrap().push(item);
        match item {
            // A worker goes after its error is known.
            4 => wait_until(|| self.0.load(Ordering::SeqCst)),
            5 => bail!("out of paint"),
            _ => return Ok(item),
        }
        bail!("too late")
    }
}

#[test]
fn of_two_errors_the_one_that_came_first_is_told_with_its_own_frame() {
    for capacity in [0, 2] {
        let (is_gone, begun) = (Arc::default(), Arc::default());
        let stages = (0..2).map(|_| Leaving(Arc::clone(&is_gone), Arc::clone(&begun))).collect();
        let (outcome, _) = run(&Control::new(), capacity, counting(usize::MAX), stages, |_| Ok(()));
        let text = format!("{:#}", anyhow::Error::from(outcome.unwrap_err()));
        assert_eq!(text, "paint failed at frame 5: out of paint");
        let begun = begun.lock().unwrap();
        assert!(begun.contains(&4) && begun.iter().all(|item| *item <= 5), "{begun:?}");
    }
}

#[test]
fn one_worker_that_fails_takes_the_others_along() {
    for capacity in [0, 2] {
        for fails_at in [0, 7] {
            let work = move |item| if item == fails_at { bail!("out of paint") } else { Ok(item) };
            let (outcome, _) = run(&Control::new(), capacity, counting(usize::MAX), workers(4, work), |_| Ok(()));
            let error = outcome.unwrap_err();
            assert!(
                matches!(&error, RunError::Stage { stage: "paint", item: Some(item), .. } if *item == fails_at as u64)
            );
        }
    }
}

#[test]
fn an_abort_ends_workers_that_all_work_or_all_wait() {
    for where_it_stands in ["source", "paint", "sink"] {
        for capacity in [0, 2] {
            let control = Control::new();
            let standing = Arc::new(AtomicUsize::new(0));
            let stand = {
                let (control, standing) = (control.clone(), Arc::clone(&standing));
                move |here| {
                    if here == where_it_stands {
                        standing.fetch_add(1, Ordering::SeqCst);
                        wait_until(|| control.is_aborted());
                    }
                }
            };
            let (at_source, at_paint, at_sink) = (stand.clone(), stand.clone(), stand);
            let mut items = counting(usize::MAX);
            let source = move || {
                at_source("source");
                items()
            };
            let work = move |item| {
                at_paint("paint");
                Ok(item)
            };
            let aborting = {
                let control = control.clone();
                let all = if where_it_stands == "paint" { 3 } else { 1 };
                thread::spawn(move || {
                    wait_until(|| standing.load(Ordering::SeqCst) == all);
                    control.abort();
                })
            };
            let (outcome, _) = run(&control, capacity, source, workers(3, work), move |_| {
                at_sink("sink");
                Ok(())
            });
            aborting.join().unwrap();
            assert!(matches!(outcome, Err(RunError::Aborted)), "{outcome:?}");
        }
    }
}

#[test]
fn a_stop_lets_everything_under_way_come_out() {
    for capacity in [0, 2] {
        for count in 1..=5 {
            let control = Control::new();
            let made = Arc::new(AtomicUsize::new(0));
            let source = counted(usize::MAX, &made);
            let stopping = control.clone();
            let (outcome, _) = run(&control, capacity, source, workers(count, Ok), move |item| {
                if item == 10 {
                    stopping.stop();
                }
                Ok(())
            });
            let all: Vec<usize> = (0..made.load(Ordering::SeqCst)).collect();
            assert!(all.len() > 10);
            assert_eq!(outcome.unwrap(), (all, Ending::Stopped));
        }
    }
}

#[test]
fn when_downstream_leaves_the_workers_leave_without_an_error_of_their_own() {
    for capacity in [0, 2] {
        let sink = |item| if item == 7 { bail!("the disk is full") } else { Ok(()) };
        let (outcome, _) = run(&Control::new(), capacity, counting(usize::MAX), workers(3, Ok), sink);
        let text = format!("{:#}", anyhow::Error::from(outcome.unwrap_err()));
        assert_eq!(text, "sink failed at frame 7: the disk is full");
    }
}

#[test]
fn workers_are_one_stage_in_the_statistics_and_threads_with_names_of_their_own() {
    let named = |count: usize| {
        let names = Arc::new(Mutex::new(BTreeSet::new()));
        let all_begun = Arc::new(std::sync::Barrier::new(count));
        let work = {
            let names = Arc::clone(&names);
            move |item| {
                names.lock().unwrap().insert(thread::current().name().unwrap_or_default().to_owned());
                // Nobody takes a second item before everybody has one.
                if item < count {
                    all_begun.wait();
                }
                thread::sleep(Duration::from_millis(1));
                Ok(item)
            }
        };
        let start = Instant::now();
        let (outcome, stats) = run(&Control::new(), 2, counting(30), workers(count, work), |_| Ok(()));
        let elapsed = start.elapsed();
        outcome.unwrap();
        let rows = stats.snapshot();
        assert_eq!(rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["source", "paint", "sink"]);
        assert_eq!(rows.iter().map(|row| row.workers).collect::<Vec<_>>(), [1, count as u32, 1]);
        let spent = rows[1].busy + rows[1].waiting_for_input + rows[1].waiting_for_output;
        assert!(rows[1].busy >= Duration::from_millis(30) / count as u32, "{rows:?}");
        assert!(spent <= elapsed, "no more than the run took: {rows:?}, {elapsed:?}");
        let names = names.lock().unwrap();
        names.iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(named(1), ["paint"]);
    assert_eq!(named(3), ["paint-1", "paint-2", "paint-3"]);
}

#[test]
fn a_stage_without_workers_is_an_error() {
    let (outcome, _) = run(&Control::new(), 2, counting(3), workers(0, Ok), |_| Ok(()));
    let error = outcome.unwrap_err();
    assert!(matches!(error, RunError::Stage { stage: "paint", item: None, .. }), "{error:?}");
}
