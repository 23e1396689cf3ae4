//! Faults in every place of the pipeline, at every capacity: no hang, and the first error is the one reported.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, bail};
use impasto::pipeline::{Control, Ending, Pipeline, RunError, Sink, Source, Stage};
use proptest::prelude::*;

const CAPACITIES: [usize; 4] = [0, 1, 2, 8];
/// Threads that share the stage after the source.
const WORKERS: [usize; 3] = [1, 2, 5];
const ITEMS: u64 = 20;
/// Far beyond what any of these runs takes: a run that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a place in the pipeline does at one of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Fails,
    Panics,
    /// Blocks until the run is aborted, as a network does that is being terminated.
    Stalls,
    Slow,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    fault: Fault,
    at: u64,
}

const FINE: Place = Place { fault: Fault::None, at: 0 };

#[derive(Clone)]
struct Trouble {
    name: &'static str,
    place: Place,
    control: Control,
}

impl Trouble {
    fn at(&self, item: u64) -> Result<()> {
        if self.place.at != item {
            return Ok(());
        }
        match self.place.fault {
            Fault::None => {}
            Fault::Fails => bail!("{} broke", self.name),
            Fault::Panics => panic!("{} panicked", self.name),
            Fault::Slow => std::thread::sleep(Duration::from_millis(5)),
            Fault::Stalls => {
                while !self.control.is_aborted() {
                    std::thread::yield_now();
                }
                bail!("{} was terminated", self.name);
            }
        }
        Ok(())
    }
}

struct Counting {
    next: u64,
    trouble: Trouble,
}

impl Source for Counting {
    type Item = u64;

    fn next(&mut self) -> Result<Option<u64>> {
        let item = self.next;
        self.trouble.at(item)?;
        self.next += 1;
        Ok((item < ITEMS).then_some(item))
    }
}

#[derive(Clone)]
struct Doubling {
    trouble: Trouble,
}

impl Stage for Doubling {
    type Input = u64;
    type Output = u64;

    fn process(&mut self, item: u64) -> Result<u64> {
        self.trouble.at(item)?;
        Ok(item)
    }
}

struct Collecting {
    items: Vec<u64>,
    endings: Arc<std::sync::Mutex<Vec<Ending>>>,
    trouble: Trouble,
    fails_to_finish: bool,
}

impl Sink for Collecting {
    type Input = u64;
    type Output = Vec<u64>;

    fn write(&mut self, item: u64) -> Result<()> {
        self.trouble.at(item)?;
        self.items.push(item);
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<Vec<u64>> {
        self.endings.lock().unwrap().push(ending);
        if self.fails_to_finish {
            bail!("the sink cannot finish");
        }
        Ok(std::mem::take(&mut self.items))
    }
}

struct Run {
    result: Result<Vec<u64>, RunError>,
    endings: Vec<Ending>,
}

/// What happens from outside while the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FromOutside {
    Nothing,
    Stop,
    Abort,
    AbortBefore,
}

/// How many items wait at each edge, and how many workers share the first stage.
fn shapes() -> impl Iterator<Item = (usize, usize)> {
    CAPACITIES.into_iter().flat_map(|capacity| WORKERS.map(|workers| (capacity, workers)))
}

fn run(shape: (usize, usize), places: [Place; 4], outside: FromOutside, fails_to_finish: bool) -> Run {
    run_edge(Edge::Queue, shape, places, outside, fails_to_finish)
}

/// What lies behind the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Queue,
    Freshest,
}

fn run_edge(
    edge: Edge,
    (capacity, workers): (usize, usize),
    places: [Place; 4],
    outside: FromOutside,
    fails_to_finish: bool,
) -> Run {
    let control = Control::new();
    let trouble = |name, place| Trouble { name, place, control: control.clone() };
    let [source, first, second, sink] = places;
    let source = Counting { next: 0, trouble: trouble("source", source) };
    let first = Doubling { trouble: trouble("first", first) };
    let second = Doubling { trouble: trouble("second", second) };
    let endings = Arc::default();
    let mut sink = Collecting {
        items: Vec::new(),
        endings: Arc::clone(&endings),
        trouble: trouble("sink", sink),
        fails_to_finish,
    };
    let stalls = places.iter().any(|place| place.fault == Fault::Stalls);
    if outside == FromOutside::AbortBefore {
        control.abort();
    }
    let (done, is_done) = mpsc::channel();
    let outer = control.clone();
    let worker = std::thread::spawn(move || {
        let result = Pipeline::new(outer, capacity).run(|wiring| {
            let items = match edge {
                Edge::Queue => wiring.source("source", source)?,
                Edge::Freshest => wiring.live_source("source", source)?,
            };
            let items = wiring.parallel("first", items, vec![first; workers])?;
            let items = wiring.stage("second", items, second)?;
            wiring.sink("sink", items, &mut sink)
        });
        let _ = done.send(result);
    });
    match outside {
        FromOutside::Nothing | FromOutside::AbortBefore => {}
        FromOutside::Stop => control.stop(),
        FromOutside::Abort => control.abort(),
    }
    let result = is_done.recv_timeout(Duration::from_millis(if stalls { 100 } else { PATIENCE.as_millis() as u64 }));
    let result = result.or_else(|_| {
        // Only a stalled stage may need this, and it must be enough.
        assert!(stalls, "capacity {capacity}, {workers} workers, {places:?}, {outside:?}: the run hangs");
        control.abort();
        is_done.recv_timeout(PATIENCE)
    });
    let result = result.unwrap_or_else(|_| {
        panic!("capacity {capacity}, {workers} workers, {places:?}, {outside:?}: abort does not end it")
    });
    worker.join().unwrap();
    let endings = endings.lock().unwrap().clone();
    Run { result, endings }
}

fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_expected = info.payload_as_str().is_some_and(|text| text.ends_with(" panicked"));
            if !is_expected {
                usual(info);
            }
        }));
    });
}

#[test]
fn items_come_out_in_order_at_every_capacity() {
    for shape in shapes() {
        let run = run(shape, [FINE; 4], FromOutside::Nothing, false);
        assert_eq!(run.result.unwrap(), (0..ITEMS).collect::<Vec<_>>());
        assert_eq!(run.endings, [Ending::Complete]);
    }
}

#[test]
fn a_failing_stage_is_named_with_its_item_and_the_sink_is_told() {
    quiet_panics();
    let names = ["source", "first", "second", "sink"];
    for shape in shapes() {
        for (index, name) in names.into_iter().enumerate() {
            for at in [0, 7, ITEMS - 1] {
                for fault in [Fault::Fails, Fault::Panics] {
                    let mut places = [FINE; 4];
                    places[index] = Place { fault, at };
                    let run = run(shape, places, FromOutside::Nothing, false);
                    let text = format!("{:#}", anyhow::Error::from(run.result.unwrap_err()));
                    let expected = match fault {
                        Fault::Fails => format!("{name} failed at frame {at}: {name} broke"),
                        _ => format!("{name} panicked at frame {at}: {name} panicked"),
                    };
                    assert!(text.starts_with(&expected), "capacity and workers {shape:?}: {text}");
                    assert_eq!(run.endings, [Ending::Failed]);
                }
            }
        }
    }
}

#[test]
fn the_first_of_two_errors_is_the_one_reported() {
    for shape in shapes() {
        // The sink fails at the first item; the second stage would fail later.
        let places = [FINE, FINE, Place { fault: Fault::Fails, at: ITEMS - 1 }, Place { fault: Fault::Fails, at: 0 }];
        let run = run(shape, places, FromOutside::Nothing, false);
        let text = format!("{:#}", anyhow::Error::from(run.result.unwrap_err()));
        assert!(text.starts_with("sink failed at frame 0"), "{text}");
    }
}

#[test]
fn a_stalled_stage_ends_on_abort() {
    for shape in shapes() {
        for index in 0..4 {
            let mut places = [FINE; 4];
            places[index] = Place { fault: Fault::Stalls, at: 3 };
            let run = run(shape, places, FromOutside::Nothing, false);
            assert!(matches!(run.result, Err(RunError::Aborted)), "what the abort ended is no error: {:?}", run.result);
            assert_eq!(run.endings, [Ending::Failed]);
        }
    }
}

#[test]
fn stop_finishes_what_is_under_way() {
    for shape in shapes() {
        let slow = Place { fault: Fault::Slow, at: 0 };
        let run = run(shape, [slow, slow, slow, slow], FromOutside::Stop, false);
        let items = run.result.unwrap();
        assert_eq!(items, (0..items.len() as u64).collect::<Vec<_>>());
        assert_eq!(run.endings, [Ending::Stopped]);
    }
}

#[test]
fn an_aborted_run_writes_nothing_and_says_so() {
    for shape in shapes() {
        let run = run(shape, [FINE; 4], FromOutside::AbortBefore, false);
        assert!(matches!(run.result, Err(RunError::Aborted)));
        assert_eq!(run.endings, [Ending::Failed]);
    }
}

#[test]
fn a_sink_that_cannot_finish_fails_the_run() {
    for shape in shapes() {
        let run = run(shape, [FINE; 4], FromOutside::Nothing, true);
        let text = format!("{:#}", anyhow::Error::from(run.result.unwrap_err()));
        assert_eq!(text, "sink failed: the sink cannot finish");
        assert_eq!(run.endings.len(), 1);
    }
}

#[test]
fn hooks_run_on_abort_also_when_they_come_late() {
    let calls = Arc::new(AtomicU64::new(0));
    let control = Control::new();
    let count = |calls: &Arc<AtomicU64>| {
        let calls = Arc::clone(calls);
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    };
    control.on_abort(count(&calls));
    control.abort();
    control.on_abort(count(&calls));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_hook_may_use_the_control_that_calls_it() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let control = Control::new();
        let inner = control.clone();
        let from_late = done.clone();
        control.on_abort(move || {
            inner.abort();
            let late = inner.clone();
            inner.on_abort(move || {
                late.on_abort(move || from_late.send("late").unwrap());
            });
        });
        control.abort();
        done.send("aborted").unwrap();
    });
    let told = || is_done.recv_timeout(PATIENCE).expect("a hook waits for itself");
    assert_eq!([told(), told()], ["late", "aborted"]);
}

#[test]
fn statistics_name_every_stage_and_the_slowest() {
    let control = Control::new();
    let trouble = |name, fault| Trouble { name, place: Place { fault, at: 2 }, control: control.clone() };
    let pipeline = Pipeline::new(control.clone(), 2);
    let stats = pipeline.stats();
    let mut sink = Collecting {
        items: Vec::new(),
        endings: Arc::default(),
        trouble: trouble("sink", Fault::None),
        fails_to_finish: false,
    };
    let source = Counting { next: 0, trouble: trouble("source", Fault::None) };
    let stage = Doubling { trouble: trouble("first", Fault::Slow) };
    pipeline
        .run(|wiring| {
            let items = wiring.source("source", source)?;
            let items = wiring.stage("first", items, stage)?;
            wiring.sink("sink", items, &mut sink)
        })
        .unwrap();
    let names: Vec<_> = stats.snapshot().iter().map(|stage| (stage.name, stage.items)).collect();
    assert_eq!(names, [("source", ITEMS), ("first", ITEMS), ("sink", ITEMS)]);
    assert_eq!(stats.slowest().unwrap().name, "first");
}

#[test]
fn no_capacity_is_too_large_and_a_name_that_no_thread_can_have_is_an_error() {
    let run = run((usize::MAX, 2), [FINE; 4], FromOutside::Nothing, false);
    assert_eq!(run.result.unwrap(), (0..ITEMS).collect::<Vec<_>>());
    let control = Control::new();
    let trouble = |name| Trouble { name, place: FINE, control: control.clone() };
    let mut sink =
        Collecting { items: Vec::new(), endings: Arc::default(), trouble: trouble("sink"), fails_to_finish: false };
    let source = Counting { next: 0, trouble: trouble("source") };
    let result = Pipeline::new(control.clone(), 2).run(|wiring| {
        let items = wiring.source("sou\0rce", source)?;
        wiring.sink("sink", items, &mut sink)
    });
    let error = format!("{:#}", anyhow::Error::from(result.unwrap_err()));
    assert!(error.contains(r"sou\0rce"), "{error}");
}

fn any_place() -> impl Strategy<Value = Place> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        2 => Just(Fault::Slow),
        1 => Just(Fault::Fails),
        1 => Just(Fault::Panics),
        1 => Just(Fault::Stalls),
    ];
    (fault, 0..ITEMS).prop_map(|(fault, at)| Place { fault, at })
}

/// Never ends by itself.
struct Endless(Arc<AtomicU64>);

impl Source for Endless {
    type Item = u64;

    fn next(&mut self) -> Result<Option<u64>> {
        std::thread::yield_now();
        Ok(Some(self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

#[test]
fn a_live_source_ends_when_nobody_takes_any_more() {
    for capacity in CAPACITIES {
        for failing in ["first", "sink"] {
            let control = Control::new();
            let trouble = |name: &'static str| {
                let fault = if name == failing { Fault::Fails } else { Fault::None };
                Trouble { name, place: Place { fault, at: 0 }, control: control.clone() }
            };
            let (first, sink_trouble) = (trouble("first"), trouble("sink"));
            let (done, is_done) = mpsc::channel();
            std::thread::spawn(move || {
                let mut sink = Collecting {
                    items: Vec::new(),
                    endings: Arc::default(),
                    trouble: sink_trouble,
                    fails_to_finish: false,
                };
                let result = Pipeline::new(Control::new(), capacity).run(|wiring| {
                    let items = wiring.live_source("source", Endless(Arc::default()))?;
                    // Whichever item comes first is the one that fails.
                    let items = wiring.stage("first", items, Failing { trouble: first, next: 0 })?;
                    wiring.sink("sink", items, &mut sink)
                });
                let _ = done.send(result.map(|_| ()));
            });
            let error = is_done.recv_timeout(PATIENCE).expect("the run hangs").unwrap_err();
            assert!(matches!(error, RunError::Stage { stage, .. } if stage == failing), "{error:?}");
        }
    }
}

/// Numbers what comes anew, from 0.
struct Failing {
    trouble: Trouble,
    next: u64,
}

impl Stage for Failing {
    type Input = u64;
    type Output = u64;

    fn process(&mut self, _: u64) -> Result<u64> {
        let item = self.next;
        self.trouble.at(item)?;
        self.next += 1;
        Ok(item)
    }
}

#[test]
fn what_a_live_source_lost_and_what_came_out_are_all_that_it_gave() {
    let stats = std::sync::Mutex::new(None);
    for capacity in CAPACITIES {
        let pipeline = Pipeline::new(Control::new(), capacity);
        *stats.lock().unwrap() = Some(pipeline.stats());
        let control = Control::new();
        let trouble = |place| Trouble { name: "any", place, control: control.clone() };
        let mut sink = Collecting {
            items: Vec::new(),
            endings: Arc::default(),
            trouble: trouble(Place { fault: Fault::Slow, at: 0 }),
            fails_to_finish: false,
        };
        let items = pipeline
            .run(|wiring| {
                let items = wiring.live_source("source", Counting { next: 0, trouble: trouble(FINE) })?;
                let items = wiring.stage("first", items, Doubling { trouble: trouble(FINE) })?;
                wiring.sink("sink", items, &mut sink)
            })
            .unwrap();
        let snapshot = stats.lock().unwrap().as_ref().unwrap().snapshot();
        assert_eq!(snapshot[0].items, ITEMS);
        assert_eq!(snapshot[0].lost + items.len() as u64, ITEMS);
        assert_eq!(items.last(), Some(&(ITEMS - 1)), "the last one is never lost");
        assert!(items.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mixture_of_faults_ends_with_a_named_cause_and_one_finish(
        shape in (prop::sample::select(&CAPACITIES[..]), prop::sample::select(&WORKERS[..])),
        places in prop::array::uniform4(any_place()),
        outside in prop::sample::select(vec![FromOutside::Nothing, FromOutside::Nothing, FromOutside::Stop, FromOutside::Abort]),
    ) {
        quiet_panics();
        let run = run(shape, places, outside, false);
        prop_assert_eq!(run.endings.len(), 1);
        let is_faulty = |place: &Place| matches!(place.fault, Fault::Fails | Fault::Panics | Fault::Stalls);
        match run.result {
            Ok(items) => prop_assert_eq!(&items, &(0..items.len() as u64).collect::<Vec<_>>()),
            Err(RunError::Stage { stage, item, .. } | RunError::Panicked { stage, item, .. }) => {
                let index = ["source", "first", "second", "sink"].iter().position(|name| *name == stage);
                let place = places[index.expect("a known stage")];
                prop_assert!(is_faulty(&place));
                prop_assert_eq!(item, Some(place.at));
            }
            Err(RunError::Aborted) => prop_assert!(outside == FromOutside::Abort || places.iter().any(is_faulty)),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_live_run_ends_with_one_finish_whatever_happens(
        shape in (prop::sample::select(&CAPACITIES[..]), prop::sample::select(&WORKERS[..])),
        places in prop::array::uniform4(any_place()),
        outside in prop::sample::select(vec![FromOutside::Nothing, FromOutside::Stop, FromOutside::Abort]),
    ) {
        quiet_panics();
        let run = run_edge(Edge::Freshest, shape, places, outside, false);
        prop_assert_eq!(run.endings.len(), 1);
        if let Ok(items) = run.result {
            prop_assert!(items.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", items);
        }
    }
}
