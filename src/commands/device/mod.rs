//! From `--device` and `--provider-library` to what sessions run on, and what there is to say of it.

mod findings;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use self::findings::{Findings, Smoothing};
use super::UsageError;
use crate::cli::DeviceArgs;
use crate::console::Console;
use crate::frame::{Frame, FrameSize};
use crate::motion::MotionSettings;
use crate::pipeline::Control;
use crate::runtime::{self, Device, DeviceChoice, Precision, Provider, Runtime, SessionOptions, Terminator, choose};
use crate::style::{Catalog, NetworkChoice, StyleEngine, StyleOptions, StyleSettings, StyleSpec, Stylizer as _};
use crate::temporal::{DeviceCanvas, Place, Trial};

/// Where networks run, as it was asked for, and once one was opened as it is.
pub struct Compute {
    choice: DeviceChoice,
    threads: usize,
    console: Console,
    findings: Findings,
}

/// On the processor so many networks paint at one time at most, each with its share of the threads: there is less to wait for than
/// with all threads in one network (docs/benchmarks.md), and each takes memory of its own.
const MOST_PARALLEL_ON_PROCESSOR: usize = 4;

/// On one of NVIDIA's GPUs: while one paints, the frames of the others are copied. On an H100 a frame of 1920×1080 takes 3.45 ms there and
/// back and 3.2 ms of copies on the processor, and two networks 2.26 ms of the GPU each (docs/benchmarks.md): the third fills the gaps.
const PARALLEL_ON_GPU: usize = 3;

impl Compute {
    /// Checks what was asked for, and loads the library of providers if there is one.
    ///
    /// # Errors
    /// [`UsageError`] for a device that nobody knows; else what is wrong with the library.
    pub fn new(args: &DeviceArgs, threads: usize, console: Console) -> Result<Self> {
        let choice = choice(args).map_err(|error| UsageError(anyhow!(error)))?;
        if let Some(library) = &args.provider_library {
            Runtime::load()?.register_library(library).context("load --provider-library")?;
        }
        Ok(Self { choice, threads, console, findings: Findings::default() })
    }

    /// Opens the network of a style on the device, which is tried with it; see [`runtime::choose`].
    ///
    /// # Errors
    /// When the device cannot be had, or the style cannot be opened.
    pub fn open(&mut self, spec: &StyleSpec, options: &StyleOptions, settings: StyleSettings) -> Result<StyleEngine> {
        if !self.choice.more().is_empty() {
            return Err(UsageError(anyhow!(
                "pictures go to one device at a time here (expected --device with one number)"
            ))
            .into());
        }
        self.open_with(spec, options, settings, self.threads)
    }

    /// Opens the network of a style several times, to paint frames of `size` at one time: on each device as often as `parallel` says,
    /// else as often as is fast there.
    ///
    /// # Errors
    /// As [`Compute::open`].
    pub fn open_several(
        &mut self,
        spec: &StyleSpec,
        options: &StyleOptions,
        settings: StyleSettings,
        size: FrameSize,
        parallel: Option<usize>,
    ) -> Result<Vec<StyleEngine>> {
        let all = self.threads;
        let share = |count: usize| (all / count.max(1)).max(1);
        let on_processor = parallel.unwrap_or(MOST_PARALLEL_ON_PROCESSOR).min(all);
        let mut first = self.open_with(spec, options, settings, share(on_processor))?;
        let device = self.findings.device.clone();
        let mut count = match (device.is_cpu(), device.is_nvidia(), parallel) {
            (true, _, None) => on_processor,
            (false, true, None) => PARALLEL_ON_GPU,
            (false, false, None) => 1,
            (_, _, Some(count)) => count,
        };
        let mut threads = share(on_processor);
        if device.is_cpu()
            && parallel.is_none()
            && let (Some(needed), Some(free)) = (first.bytes_needed(size), crate::memory::available())
        {
            let fitting = usize::try_from(free / 2 / needed.max(1)).unwrap_or(usize::MAX);
            if fitting < count {
                count = fitting.max(1);
                threads = share(count);
                first = first.beside(&device, threads)?;
            }
        }
        let more = self.choice.more().to_vec();
        let devices: Vec<Device> = std::iter::once(device.clone()).chain(more.iter().cloned()).collect();
        let beside = |first: &StyleEngine, device: &Device| first.beside(device, threads);
        let note = |text: &str| self.console.note(text);
        let mut engines = all_beside(first, &devices, count, parallel.is_some(), beside, note)?;
        self.findings.others = more;
        self.findings.networks = engines.len();
        if device.provider == Provider::TensorRt {
            self.build(&mut engines, size)?;
        }
        Ok(engines)
    }

    /// Has TensorRT build its engine for frames of `size`, where it has none, before the first of them comes.
    fn build(&self, engines: &mut [StyleEngine], size: FrameSize) -> Result<()> {
        self.console.note(&format!("TensorRT looks for its engine for frames of {size}, or builds it"));
        let started = Instant::now();
        for engine in engines {
            engine.stylize(&Frame::black(size), &mut Frame::black(size))?;
        }
        self.console.note(&format!("it is ready after {:.0} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn open_with(
        &mut self,
        spec: &StyleSpec,
        options: &StyleOptions,
        settings: StyleSettings,
        threads: usize,
    ) -> Result<StyleEngine> {
        let attempt = |device: &Device| {
            let session = self.session(device.clone(), if device.is_cpu() { threads } else { self.threads });
            StyleEngine::open(spec, &StyleOptions { session, ..options.clone() }, settings)
        };
        // Without ONNX Runtime there is nothing to choose from, and what else is wrong is told first.
        let Ok(runtime) = Runtime::load() else { return attempt(&Device::CPU) };
        let slow = match &self.choice {
            DeviceChoice::Given(device, _) if device.provider == Provider::TensorRt => Some(device),
            _ => None,
        };
        if let Some(device) = slow {
            runtime.check(device)?;
            let place = engine_cache().map(|folder| format!(" and keeps it in '{}'", folder.display()));
            let place = place.unwrap_or_default();
            self.console
                .note(&format!("TensorRT builds an engine for a new network or size{place}: it may take minutes"));
        }
        let started = Instant::now();
        let chosen = choose(&self.choice, runtime, attempt)?;
        if slow.is_some() {
            self.console.note(&format!("the engine is ready after {:.0} s", started.elapsed().as_secs_f64()));
        }
        let network = chosen.value.network();
        let assignment = network.assignment();
        self.findings = Findings {
            device: chosen.device,
            network: network.bundled(),
            refused: chosen.refused.iter().map(|(device, why)| format!("{device}: {why:#}")).collect(),
            nodes: network.difference_levels().map(|_| (assignment.device_nodes(), assignment.node_count())),
            assignment: assignment.to_string(),
            difference_levels: network.difference_levels().unwrap_or(0.0),
            is_half: network.precision() == Precision::Fp16,
            half_refusal: network.half_refusal().map(str::to_owned),
            ..Findings::default()
        };
        for line in self.findings.details() {
            tracing::info!("{line}");
        }
        Ok(chosen.value)
    }

    /// The device for networks that are not styles, tried with the smaller bundled one.
    ///
    /// # Errors
    /// As [`Compute::open`].
    pub fn session_options(&mut self) -> Result<SessionOptions> {
        let is_cpu = match &self.choice {
            DeviceChoice::Given(device, _) => device.is_cpu(),
            DeviceChoice::Auto => Runtime::load()?.providers() == [Provider::Cpu],
        };
        if !is_cpu {
            let first = Catalog::bundled()?.styles().first().context("the catalog is empty")?;
            let options = StyleOptions { network: NetworkChoice::Lite, ..StyleOptions::default() };
            self.open(&first.name.parse()?, &options, StyleSettings::default())?;
            self.findings.network = None;
        }
        Ok(self.session(self.findings.device.clone(), self.threads))
    }

    /// The same; all sessions that are opened with them end as soon as the run is aborted.
    ///
    /// # Errors
    /// As [`Compute::session_options`].
    pub fn session_options_until_abort(&mut self, control: &Control) -> Result<SessionOptions> {
        let terminator = Terminator::new(Runtime::load()?)?;
        let options = SessionOptions { terminator: Some(terminator.clone()), ..self.session_options()? };
        control.on_abort(move || terminator.terminate());
        Ok(options)
    }

    /// Where painted frames of `size` are smoothed: on the GPU that paints them, if it is NVIDIA's, shows what the processor would, and is
    /// faster; else on the processor.
    pub fn place(&mut self, size: FrameSize) -> Place {
        let on_processor = Place::Processor { threads: self.threads };
        if !self.findings.device.is_nvidia() {
            return on_processor;
        }
        // TensorRT would take its time to build an engine for so little.
        let device = Device { provider: Provider::Cuda, index: self.findings.device.index };
        let (place, smoothing) = match try_canvas(&device, size, self.threads) {
            Ok((canvas, trial)) if trial.is_faster() => {
                (Place::Device(Box::new(canvas)), Smoothing::Device(device, trial))
            }
            Ok((_, trial)) => (on_processor, Smoothing::Processor(device, trial)),
            Err(error) => (on_processor, Smoothing::Refused(format!("{error:#}"))),
        };
        tracing::info!("{smoothing}");
        self.findings.smoothing = Some(smoothing);
        place
    }

    /// What there is to say of where frames are smoothed; `None` where there was no choice.
    pub fn smoothing(&self) -> Option<String> {
        self.findings.smoothing.as_ref().map(ToString::to_string)
    }

    fn session(&self, device: Device, threads: usize) -> SessionOptions {
        SessionOptions { threads, device, engine_cache: engine_cache(), ..SessionOptions::default() }
    }

    /// Says what the network runs on: where that was not asked for and is not the processor, where it is less than was hoped
    /// for, and everything with `details`.
    pub fn tell(&self, details: bool) {
        let Self { findings, console, .. } = self;
        if details {
            findings.details().iter().for_each(|line| console.line(line));
        } else if self.choice == DeviceChoice::Auto && !findings.device.is_cpu() {
            console.note(&findings.line());
        }
        if let Some((there, all)) = findings.nodes
            && there * 2 < all
        {
            let device = &findings.device;
            console.warning(&format!("{device} takes {there} of the network's {all} nodes, the processor the rest"));
        }
        if let Some(why) = findings.half_refusal.as_ref().filter(|_| !details) {
            console.note(&format!("32-bit floats are used, as half precision does not do: {why}"));
        }
        if let Some(refused @ Smoothing::Refused(_)) = findings.smoothing.as_ref().filter(|_| !details) {
            console.note(&refused.to_string());
        }
        if runtime::has_nvidia_driver() && !details {
            findings.refused.iter().for_each(|reason| console.warning(&format!("the GPU is not used: {reason}")));
        }
    }
}

/// `first`, which is of the first device, and further ones beside it until each device has `count`, in turn. Where nobody asked for so
/// many, one on each device is enough: of one that is full it is said how many it has taken.
fn all_beside<T>(
    first: T,
    devices: &[Device],
    count: usize,
    is_asked: bool,
    open: impl Fn(&T, &Device) -> Result<T>,
    note: impl Fn(&str),
) -> Result<Vec<T>> {
    let mut all = vec![first];
    let mut full = vec![false; devices.len()];
    for there in 0..count {
        for (index, device) in devices.iter().enumerate() {
            // The first is there already.
            if full[index] || (there, index) == (0, 0) {
                continue;
            }
            match open(&all[0], device) {
                Ok(one) => all.push(one),
                Err(error) if there == 0 || is_asked => return Err(error),
                Err(error) => {
                    note(&format!("{device} takes no more than {there} at one time: {error:#}"));
                    full[index] = true;
                }
            }
        }
    }
    Ok(all)
}

fn try_canvas(device: &Device, size: FrameSize, threads: usize) -> Result<(DeviceCanvas, Trial)> {
    let mut canvas = DeviceCanvas::open(Runtime::load()?, device, size, MotionSettings::default().grid(size))?;
    let trial = canvas.try_against_processor(threads)?;
    Ok((canvas, trial))
}

/// Where TensorRT keeps its engines, in the folder that the system has for what can be made again.
pub fn engine_cache() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.cache_dir().join("impasto").join("tensorrt"))
}

/// What the two options mean together.
fn choice(args: &DeviceArgs) -> Result<DeviceChoice, String> {
    let library = args.provider_library.as_ref();
    match (&args.device, library) {
        (None, None) => Ok(DeviceChoice::Auto),
        (None, Some(library)) => Ok(DeviceChoice::one(Device::first_of(library.provider()))),
        // A library may be called as a provider that builds have: then it is meant.
        (Some(DeviceChoice::Given(device, more)), Some(library)) if device.provider.word() == library.name => {
            let of_library = |device: &Device| Device { provider: library.provider(), index: device.index };
            Ok(DeviceChoice::Given(of_library(device), more.iter().map(of_library).collect()))
        }
        (Some(_), Some(library)) => {
            let name = &library.name;
            Err(format!(
                "--provider-library {name}=… is of no use with this --device (expected --device {name}, or none)"
            ))
        }
        (Some(DeviceChoice::Given(Device { provider: Provider::Plugin(name), .. }, _)), None) => {
            let words: Vec<&str> = Provider::OF_BUILDS.iter().map(Provider::word).chain(["auto"]).collect();
            let near = words.iter().map(|word| (strsim::damerau_levenshtein(name, word), word)).min();
            let guess = match near {
                // It is next to 'cpu' in letters alone.
                _ if name == "gpu" => Some("did you mean 'auto' or 'cuda'? ".to_owned()),
                near => near.filter(|(distance, _)| *distance <= 2).map(|(_, word)| format!("did you mean '{word}'? ")),
            };
            Err(format!(
                "there is no device '{name}' ({}expected {}, or a name that --provider-library gives)",
                guess.unwrap_or_default(),
                runtime::device::known_words()
            ))
        }
        (Some(choice), None) => Ok(choice.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::ensure;

    use super::*;

    fn chosen(device: Option<&str>, library: Option<&str>) -> Result<DeviceChoice, String> {
        choice(&DeviceArgs {
            device: device.map(|text| text.parse().unwrap()),
            provider_library: library.map(|text| text.parse().unwrap()),
        })
    }

    fn plugin(name: &str, index: u32) -> DeviceChoice {
        DeviceChoice::one(Device { provider: Provider::Plugin(name.to_owned()), index })
    }

    /// What is opened on two GPUs of which each takes so many, three each where it goes, and what is said of it.
    fn on_two(takes: [usize; 2], is_asked: bool) -> (Result<Vec<u32>>, Vec<String>) {
        let devices = [0, 1].map(|index| Device { provider: Provider::Cuda, index });
        let opened = RefCell::new([1, 0]);
        let said = RefCell::new(Vec::new());
        let open = |_: &u32, device: &Device| {
            let there = &mut opened.borrow_mut()[device.index as usize];
            ensure!(*there < takes[device.index as usize], "out of memory");
            *there += 1;
            Ok(device.index)
        };
        let note = |text: &str| said.borrow_mut().push(text.to_owned());
        let all = all_beside(0, &devices, 3, is_asked, open, note);
        (all, said.into_inner())
    }

    #[test]
    fn a_gpu_that_is_full_leaves_the_others_to_take_theirs() {
        let of = |takes| {
            let (all, said) = on_two(takes, false);
            (all.unwrap(), said)
        };
        assert_eq!(of([3, 3]), (vec![0, 1, 0, 1, 0, 1], vec![]));
        let second = "CUDA:1 takes no more than 1 at one time: out of memory".to_owned();
        assert_eq!(of([3, 1]), (vec![0, 1, 0, 0], vec![second]));
        let first = "CUDA takes no more than 1 at one time: out of memory".to_owned();
        assert_eq!(of([1, 3]), (vec![0, 1, 1, 1], vec![first]));
    }

    #[test]
    fn a_gpu_that_takes_none_or_not_as_many_as_were_asked_for_ends_the_run() {
        assert!(on_two([3, 0], false).0.is_err());
        assert!(on_two([3, 2], true).0.is_err());
        assert_eq!(on_two([3, 3], true).0.unwrap().len(), 6);
    }

    #[test]
    fn a_library_is_meant_by_its_name_and_without_one() {
        assert_eq!(chosen(None, None), Ok(DeviceChoice::Auto));
        assert_eq!(chosen(None, Some("webgpu=/a.so")), Ok(plugin("webgpu", 0)));
        assert_eq!(chosen(Some("webgpu"), Some("webgpu=/a.so")), Ok(plugin("webgpu", 0)));
        assert_eq!(chosen(Some("mine:1"), Some("mine=/a.so")), Ok(plugin("mine", 1)));
        assert_eq!(chosen(Some("webgpu"), None), Ok(DeviceChoice::one(Device::first_of(Provider::WebGpu))));
    }

    #[test]
    fn a_library_that_would_not_be_used_and_a_name_that_nobody_knows_are_errors() {
        let error = chosen(Some("cuda"), Some("mine=/a.so")).unwrap_err();
        assert!(error.contains("expected --device mine"), "{error}");
        let error = chosen(Some("cdua"), None).unwrap_err();
        assert!(error.contains("did you mean 'cuda'?") && error.contains("directml"), "{error}");
        let error = chosen(Some("gpu"), None).unwrap_err();
        assert!(error.contains("did you mean 'auto' or 'cuda'?"), "{error}");
        let error = chosen(Some("toaster"), None).unwrap_err();
        assert!(!error.contains("did you mean") && error.contains("--provider-library"), "{error}");
    }
}
