//! ONNX Runtime, its providers, and the GPUs that they could use.

use std::path::Path;

use anyhow::{Context, Result};

use super::report::{Check, Section};
use crate::runtime::{
    Device, DeviceError, NvidiaState, Provider, ProviderLibrary, Runtime, RuntimeError, SessionOptions,
};
use crate::style::{Catalog, StyleNetwork, StyleOptions};

/// ONNX Runtime and what it runs networks on; and whether the processor does.
pub fn runtime(library: Option<&ProviderLibrary>) -> (Section, bool) {
    let runtime = match Runtime::load() {
        Ok(runtime) => runtime,
        Err(error) => return (Section { name: "ONNX Runtime", checks: vec![no_runtime(&error)] }, false),
    };
    let mut checks = vec![Check::ok("library", format!("{}, '{}'", runtime.version(), runtime.path().display()))];
    let cpu = Check::from_trial("CPU", trial(&Device::CPU), "install it again with `make setup`, or report it");
    let can_run = cpu.advice.is_none();
    checks.push(cpu);
    let others = Provider::OF_BUILDS.into_iter().filter(|provider| *provider != Provider::Cpu);
    checks.extend(others.filter_map(|provider| provider_check(runtime, provider)));
    checks.extend(library.map(|library| library_check(runtime, library)));
    (Section { name: "ONNX Runtime", checks }, can_run)
}

fn no_runtime(error: &RuntimeError) -> Check {
    let text = error.to_string();
    let (found, advice) = text
        .split_once('\n')
        .unwrap_or((&text, "put ONNX Runtime 1.24 or later there, or run `make setup` in a checkout"));
    Check::broken("library", found, advice.trim())
}

/// How far the bundled network that suits a device gets on it.
fn trial(device: &Device) -> Result<String> {
    let first = Catalog::bundled()?.styles().first().context("the catalog is empty")?;
    let session = SessionOptions { device: device.clone(), ..SessionOptions::default() };
    let options = StyleOptions { session, ..StyleOptions::default() };
    let network = StyleNetwork::open(&first.name.parse()?, &options)?;
    let runs = format!("runs {}", network.bundled().unwrap_or_default());
    Ok(match network.difference_levels() {
        None => runs,
        Some(levels) => {
            format!("{runs} ({}; {levels:.2} levels from the processor's picture)", network.assignment())
        }
    })
}

/// How a provider is; nothing to say of those of other systems.
fn provider_check(runtime: &Runtime, provider: Provider) -> Option<Check> {
    let (name, device) = (provider.to_string(), Device::first_of(provider.clone()));
    let advice = "use another device, or bring its driver up to date";
    Some(match runtime.check(&device) {
        Err(DeviceError::OtherSystem { .. }) => return None,
        Err(DeviceError::NotInBuild { advice, .. }) => {
            Check::absent(name, "not in this build of ONNX Runtime", format!("if you want it: {advice}"))
        }
        // Builds for CUDA have TensorRT's provider, but hardly anybody has TensorRT.
        Err(DeviceError::LibraryMissing { file, hint, .. }) if file.starts_with("libnvinfer") => {
            Check::absent(name, format!("no '{file}'"), format!("if you want it: {hint}"))
        }
        Err(DeviceError::LibraryMissing { file, searched, hint, .. }) => {
            Check::broken(name, format!("'{file}' was not found (looked in {})", searched.join(", ")), hint)
        }
        Err(error) => Check::broken(name, error.to_string(), advice),
        // An engine is built for minutes before the first picture.
        Ok(()) if provider == Provider::TensorRt => {
            Check::ok(name, "its libraries are there (not tried: it takes minutes)")
        }
        Ok(()) => Check::from_trial(name, trial(&device), advice),
    })
}

fn library_check(runtime: &Runtime, library: &ProviderLibrary) -> Check {
    let advice = "check the path, and that the plug-in is made for this version of ONNX Runtime and this machine";
    match runtime.register_library(library) {
        Err(error) => Check::broken(library.name.clone(), error.to_string(), advice),
        Ok(()) => {
            let devices = runtime.plugin_device_names(&library.name).join(", ");
            let tried = trial(&Device::first_of(library.provider())).map(|tried| format!("{devices}: {tried}"));
            Check::from_trial(library.name.clone(), tried, advice)
        }
    }
}

impl Check {
    fn from_trial(name: impl Into<String>, tried: Result<String>, advice: &str) -> Self {
        match tried {
            Ok(found) => Self::ok(name, found),
            Err(error) => Self::broken(name, format!("{error:#}"), advice),
        }
    }
}

/// NVIDIA's driver and GPUs, and CUDA's libraries where either is of use.
pub fn gpus() -> Section {
    let state = NvidiaState::of_this_machine();
    let mut checks = Vec::new();
    match &state.driver {
        Some(driver) => checks.push(Check::ok("driver", format!("NVIDIA {driver}"))),
        None => checks.push(Check::absent("driver", "no driver of NVIDIA", DRIVER_ADVICE)),
    }
    // CUDA counts the fastest GPU first, and only those that it is let see; the driver counts all in the order of their slots.
    let are_numbers_cudas = std::env::var_os("CUDA_VISIBLE_DEVICES").is_none()
        && (state.gpus.windows(2).all(|pair| pair[0].name == pair[1].name)
            || std::env::var("CUDA_DEVICE_ORDER").is_ok_and(|order| order == "PCI_BUS_ID"));
    let number = if are_numbers_cudas { "cuda:" } else { "driver's GPU " };
    checks.extend(state.gpus.iter().map(|gpu| {
        let memory = gpu.memory_mib.map(|mib| format!(", {:.0} GiB", mib as f64 / 1024.0)).unwrap_or_default();
        Check::ok(format!("{number}{}", gpu.index), format!("{}{memory}", gpu.name))
    }));
    let Ok(runtime) = Runtime::load() else { return Section { name: "NVIDIA", checks } };
    let is_of_use = state.driver.is_some() || runtime.providers().contains(&Provider::Cuda);
    let libraries = if is_of_use { runtime.cuda_libraries() } else { Vec::new() };
    for library in libraries {
        let name = library.title;
        checks.push(match &library.found {
            Some(path) if path == Path::new("") => Check::ok(name, format!("{} by the system's loader", library.file)),
            Some(path) => Check::ok(name, format!("'{}'", path.display())),
            None if name == "TensorRT" => {
                let advice = "only --device tensorrt needs it: put the libraries of the PyPI package tensorrt-cu13-libs (version 10) \
                              beside ONNX Runtime's";
                Check::absent(name, format!("no {}", library.file), advice)
            }
            None if runtime.providers().contains(&Provider::Cuda) => {
                Check::broken(name, format!("no {}", library.file), "`make gpu` puts it into .runtime/")
            }
            None => Check::absent(name, format!("no {}", library.file), "`make gpu` puts it into .runtime/, with an ONNX Runtime that uses it"),
        });
    }
    Section { name: "NVIDIA", checks }
}

const DRIVER_ADVICE: &str = "where there is a GPU of NVIDIA: install its driver, 580 or later";
