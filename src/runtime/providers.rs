//! Which providers this build of ONNX Runtime has, why one of them cannot be used, and how a session gets one.
//!
//! Every reason names the file that is missing and the package that brings it: the most frequent trouble with GPUs is a
//! library that is not where it is looked for.

use std::path::{Path, PathBuf};

use ort::ep::{self, ExecutionProvider as _};
use ort::session::builder::SessionBuilder;

use super::device::{Device, Provider};
use super::session::SessionOptions;
use super::{Runtime, cuda, log};

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The provider is of another operating system.
    #[error("{provider} is of {system} only")]
    OtherSystem {
        /// The provider.
        provider: Provider,
        /// Where it is to be had.
        system: &'static str,
    },
    /// ONNX Runtime was built without it.
    #[error(
        "the ONNX Runtime in use, '{}' ({version}), has no {provider} (it has {}; {advice})", .library.display(), .has.join(", ")
    )]
    NotInBuild {
        /// The provider.
        provider: Provider,
        /// ONNX Runtime's library.
        library: PathBuf,
        /// Its version.
        version: String,
        /// The providers that it has.
        has: Vec<String>,
        /// What brings a build that has it.
        advice: String,
    },
    /// A library that the provider needs is missing.
    #[error("{provider} needs '{file}', which was not found (looked in {}; {hint})", .searched.join(", "))]
    LibraryMissing {
        /// The provider.
        provider: Provider,
        /// The name of the file.
        file: String,
        /// Places, in words.
        searched: Vec<String>,
        /// What brings it.
        hint: String,
    },
    /// There are fewer devices.
    #[error("there is no device {index} of {provider} ({})", match .count { 0 => "none was found".to_owned(), 1 => "there is one, 0".to_owned(), count => format!("there are {count}, 0 to {}", count - 1) })]
    NoSuchDevice {
        /// The provider.
        provider: Provider,
        /// Which one was asked for.
        index: u32,
        /// How many there are.
        count: usize,
    },
    /// No library of providers was loaded under this name.
    #[error(
        "'{name}' names no device (expected {}, or the name of a library of providers)",
        super::device::known_words()
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// ONNX Runtime's own words.
    #[error("{provider} does not start: {message}")]
    Refused {
        /// The provider.
        provider: Provider,
        /// Why.
        message: String,
    },
    /// A network was opened for the device, but none of its nodes runs there.
    #[error("{device} takes no node of the network: all {nodes} would run on the processor")]
    Unused {
        /// The device.
        device: Device,
        /// The network's nodes.
        nodes: usize,
    },
}

/// What brings a build of ONNX Runtime with the provider, in words.
pub(super) fn package_of(provider: &Provider) -> String {
    let wheel = |name: &str| format!("the PyPI package {name} brings one that does: set ORT_DYLIB_PATH to its library");
    match provider {
        Provider::Cuda | Provider::TensorRt => {
            "`make gpu` puts one that does into .runtime/, from the PyPI package onnxruntime-gpu".to_owned()
        }
        Provider::OpenVino => wheel("onnxruntime-openvino"),
        Provider::WebGpu => wheel("onnxruntime-webgpu"),
        Provider::DirectMl => wheel("onnxruntime-directml"),
        Provider::CoreMl => wheel("onnxruntime for macOS"),
        Provider::Cpu | Provider::Plugin(_) => "another build is needed".to_owned(),
    }
}

/// What brings a shared library that was not found, in words.
pub(super) fn source_of(file: &str) -> String {
    let package = |name: &str| format!("the PyPI package {name} brings it; `make gpu` puts it into .runtime/");
    let stem = file.split('.').next().unwrap_or(file);
    match stem {
        "libcuda" | "libnvidia-ml" => "it comes with NVIDIA's driver, which is not installed here".to_owned(),
        "libcublas" | "libcublasLt" => package("nvidia-cublas"),
        "libcudart" => package("nvidia-cuda-runtime"),
        "libcufft" => package("nvidia-cufft"),
        "libcurand" => package("nvidia-curand"),
        "libnvrtc" => package("nvidia-cuda-nvrtc"),
        "libnvJitLink" => package("nvidia-nvjitlink"),
        "libnvinfer" | "libnvonnxparser" | "libnvinfer_plugin" => {
            let major = file.rsplit('.').next().filter(|major| major.parse::<u32>().is_ok()).unwrap_or("10");
            format!("TensorRT {major}: the PyPI package tensorrt-cu13-libs of that version brings it")
        }
        "libvulkan" => "Debian's package libvulkan1 brings it".to_owned(),
        _ if stem.starts_with("libcudnn") => package("nvidia-cudnn-cu13"),
        _ if stem.starts_with("libonnxruntime_providers_cuda")
            || stem.starts_with("libonnxruntime_providers_tensorrt") =>
        {
            package("onnxruntime-gpu")
        }
        _ if stem.starts_with("libonnxruntime_providers") => {
            "it lies beside libonnxruntime in the package that brings that".to_owned()
        }
        _ if stem.starts_with("libopenvino") => "the PyPI package onnxruntime-openvino brings it".to_owned(),
        _ => "it belongs to the package that brings the provider".to_owned(),
    }
}

/// The file that the loader's words say is missing: `libcublas.so.13: cannot open shared object file: …`.
pub(super) fn missing_file(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(": cannot open shared object file")?;
    let name = before.rsplit([' ', ':']).next()?;
    (!name.is_empty()).then_some(name)
}

/// What there is to read in an error of ONNX Runtime: without the place in its source, and from its log where the error says
/// no more than that something failed.
fn words_of(message: &str, log: &str) -> String {
    let line = super::session::first_line(message);
    let line = match super::session::first_line(log) {
        logged if line.starts_with("Failed to load provider") && !logged.is_empty() => logged,
        _ => line,
    };
    if let Some((_, failure)) = line.split_once("CUDA failure ") {
        let failure = failure.split(" ; ").next().unwrap_or(failure).trim();
        return match failure.starts_with("35:") {
            true => format!("CUDA failure {failure} (for CUDA 13, NVIDIA's driver 580 or later is needed)"),
            false => format!("CUDA failure {failure}"),
        };
    }
    let start = [" was false. ", "[ERROR] ", " with error: "]
        .iter()
        .filter_map(|mark| Some(line.rfind(mark)? + mark.len()))
        .max();
    line[start.unwrap_or(0)..].trim().to_owned()
}

/// Its own library, beside ONNX Runtime's, for providers that have one.
fn own_library(provider: &Provider) -> Option<String> {
    let name = match provider {
        Provider::Cuda => "cuda",
        Provider::TensorRt => "tensorrt",
        Provider::OpenVino => "openvino",
        _ => return None,
    };
    Some(match std::env::consts::OS {
        "windows" => format!("onnxruntime_providers_{name}.dll"),
        "macos" => format!("libonnxruntime_providers_{name}.dylib"),
        _ => format!("libonnxruntime_providers_{name}.so"),
    })
}

impl Runtime {
    /// The providers that this build has, the processor first. Whether they work is another question: see [`Runtime::check`].
    pub fn providers(&self) -> Vec<Provider> {
        Provider::OF_BUILDS.into_iter().filter(|provider| self.is_in_build(provider)).collect()
    }

    fn is_in_build(&self, provider: &Provider) -> bool {
        let found = match provider {
            Provider::Cpu => Ok(true),
            Provider::Cuda => ep::CUDA::is_available(),
            Provider::TensorRt => ep::TensorRT::is_available(),
            Provider::OpenVino => ep::OpenVINO::is_available(),
            Provider::WebGpu => ep::WebGPU::is_available(),
            Provider::CoreMl => ep::CoreML::is_available(),
            Provider::DirectMl => ep::DirectML::is_available(),
            Provider::Plugin(_) => Ok(false),
        };
        found.unwrap_or(false)
    }

    /// The folder of ONNX Runtime's library; `None` where the system's loader found it.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.path().parent().filter(|folder| folder.is_absolute())
    }

    /// Whether sessions can be opened for a device, as far as that is known without a network. Loads the provider's
    /// libraries, which stay loaded; blocks for up to a second.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self, device: &Device) -> Result<(), DeviceError> {
        let provider = || device.provider.clone();
        let system = match device.provider {
            Provider::Cpu => return Ok(()),
            Provider::CoreMl => ("macos", "macOS"),
            Provider::DirectMl => ("windows", "Windows"),
            _ => (std::env::consts::OS, ""),
        };
        if system.0 != std::env::consts::OS {
            return Err(DeviceError::OtherSystem { provider: provider(), system: system.1 });
        }
        if let Provider::Plugin(name) = &device.provider {
            let count = self.plugin_devices(name).ok_or_else(|| DeviceError::Unknown { name: name.clone() })?.len();
            if device.index as usize >= count {
                return Err(DeviceError::NoSuchDevice { provider: provider(), index: device.index, count });
            }
        } else if !self.is_in_build(&device.provider) {
            return Err(DeviceError::NotInBuild {
                provider: provider(),
                library: self.path().to_owned(),
                version: self.version().to_owned(),
                has: self.providers().iter().map(ToString::to_string).collect(),
                advice: package_of(&device.provider),
            });
        }
        if let (Some(file), Some(folder)) = (own_library(&device.provider), self.folder())
            && !folder.join(&file).is_file()
        {
            let hint = source_of(&file);
            let searched = vec![format!("'{}'", folder.display())];
            return Err(DeviceError::LibraryMissing { provider: provider(), file, searched, hint });
        }
        let is_nvidia = device.is_nvidia();
        if is_nvidia {
            // Where the system shows its GPUs, a number too large is told in plain words.
            if let Some(count) = super::nvidia_gpu_count().filter(|count| device.index as usize >= *count) {
                return Err(DeviceError::NoSuchDevice { provider: provider(), index: device.index, count });
            }
            cuda::preload(self.folder());
        }
        let trial = self.session_builder().map_err(|error| (error, String::new())).and_then(|builder| {
            let (result, log) = log::recorded(|| {
                self.append(builder, &SessionOptions { device: device.clone(), ..SessionOptions::default() }, None)
            });
            result.map(drop).map_err(|error| (error, log))
        });
        trial.map_err(|(error, log)| self.reason(device, &error.to_string(), &log))?;
        if let (true, Some(missing)) = (is_nvidia, cuda::missing()) {
            return Err(self.library_missing(provider(), missing));
        }
        Ok(())
    }

    /// What an error of ONNX Runtime comes from, with its log of the time.
    pub(super) fn reason(&self, device: &Device, message: &str, log: &str) -> DeviceError {
        let provider = device.provider.clone();
        match missing_file(message).or_else(|| missing_file(log)) {
            Some(file) => self.library_missing(provider, file),
            None => DeviceError::Refused { provider, message: words_of(message, log) },
        }
    }

    fn library_missing(&self, provider: Provider, file: &str) -> DeviceError {
        let mut searched: Vec<String> =
            self.folder().map(|folder| format!("'{}'", folder.display())).into_iter().collect();
        if std::env::var_os("LD_LIBRARY_PATH").is_some_and(|path| !path.is_empty()) {
            searched.push("LD_LIBRARY_PATH".to_owned());
        }
        searched.push("the system's folders".to_owned());
        DeviceError::LibraryMissing { provider, file: file.to_owned(), searched, hint: source_of(file) }
    }

    /// Gives a session that is being built the provider of its device, before the processor. `engines`: where TensorRT keeps what it
    /// builds.
    pub(super) fn append(
        &self,
        mut builder: SessionBuilder,
        options: &SessionOptions,
        engines: Option<&Path>,
    ) -> ort::Result<SessionBuilder> {
        let device = &options.device;
        let index = i32::try_from(device.index).unwrap_or(i32::MAX);
        match &device.provider {
            // Said in so many words: where no provider is, ONNX Runtime takes those of plug-ins by itself.
            Provider::Cpu => {
                let is_cpu = |device: &ort::device::Device<'_>| device.ep().is_ok_and(|name| name == ep::CPU::NAME);
                builder = builder.with_devices(self.environment().devices().find(is_cpu), None)?;
            }
            Provider::Cuda => ep::CUDA::default().with_device_id(index).register(&mut builder)?,
            Provider::TensorRt => {
                let mut provider = ep::TensorRT::default().with_device_id(index).with_fp16(options.is_half);
                if let Some(folder) = engines.and_then(Path::to_str) {
                    provider = provider.with_engine_cache(true).with_engine_cache_path(folder);
                    provider = provider.with_timing_cache(true).with_timing_cache_path(folder);
                }
                provider.register(&mut builder)?;
                // What TensorRT does not take stays on the GPU.
                ep::CUDA::default().with_device_id(index).register(&mut builder)?;
            }
            Provider::OpenVino => {
                let provider = |unit: &str| {
                    let provider = ep::OpenVINO::default().with_device_type(unit);
                    provider.with_num_threads(options.thread_count())
                };
                // Intel's GPU where there is one; OpenVINO does not choose by itself among what may be missing.
                if provider("GPU").register(&mut builder).is_err() {
                    provider("CPU").register(&mut builder)?;
                }
            }
            Provider::WebGpu => ep::WebGPU::default().register(&mut builder)?,
            Provider::CoreMl => ep::CoreML::default().register(&mut builder)?,
            Provider::DirectMl => {
                // DirectML allocates for itself.
                builder = builder.with_memory_pattern(false)?;
                ep::DirectML::default().with_device_id(index).register(&mut builder)?;
            }
            Provider::Plugin(name) => {
                let devices = self.plugin_devices(name).unwrap_or_default();
                builder = builder.with_devices(devices.into_iter().nth(device.index as usize), None)?;
            }
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_name_the_missing_file_and_that_its_package() {
        let words = "[ONNXRuntimeError] : 1 : FAIL : Failed to load library /x/libonnxruntime_providers_cuda.so with error: \
                     libcublasLt.so.13: cannot open shared object file: No such file or directory";
        assert_eq!(missing_file(words), Some("libcublasLt.so.13"));
        assert_eq!(missing_file("no such device"), None);
        for (file, part) in [
            ("libcublasLt.so.13", "nvidia-cublas"),
            ("libcudnn_ops.so.9", "nvidia-cudnn-cu13"),
            ("libcuda.so.1", "driver"),
            ("libnvinfer.so.10", "TensorRT 10"),
            ("libopenvino.so.2541", "onnxruntime-openvino"),
            ("libonnxruntime_providers_cuda.so", "onnxruntime-gpu"),
            ("libonnxruntime_providers_shared.so", "beside libonnxruntime"),
        ] {
            assert!(source_of(file).contains(part), "{file}: {}", source_of(file));
        }
    }

    #[test]
    fn an_error_is_told_without_places_in_the_source_of_others() {
        let message = "/src/webgpu_context.cc:65 Context::Initialize(const Config&) status == Success was false. Failed to get \
                       a WebGPU adapter: No supported adapters.\nmore";
        assert_eq!(words_of(message, ""), "Failed to get a WebGPU adapter: No supported adapters.");
        let log = "/src/factory.cc:141 ParseDeviceType() [ERROR] [OpenVINO] Device GPU is not available";
        assert_eq!(words_of("Failed to load provider X", log), "[OpenVINO] Device GPU is not available");
        assert_eq!(words_of("no memory", log), "no memory");
        let message = "/src/info.cc:63 Parse() Failed to parse provider option \"device_id\": CUDA failure 35: CUDA driver version is \
                       insufficient for CUDA runtime version ; GPU=-1 ; hostname=x ; expr=cudaGetDeviceCount(&n);";
        assert_eq!(
            words_of(message, ""),
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version (for CUDA 13, NVIDIA's driver 580 or \
             later is needed)"
        );
    }

    #[test]
    fn a_missing_library_is_told_with_places_and_package() {
        let error = DeviceError::LibraryMissing {
            provider: Provider::Cuda,
            file: "libcudnn.so.9".to_owned(),
            searched: vec!["'/opt/impasto'".to_owned(), "the system's folders".to_owned()],
            hint: source_of("libcudnn.so.9"),
        };
        assert_eq!(
            error.to_string(),
            "CUDA needs 'libcudnn.so.9', which was not found (looked in '/opt/impasto', the system's folders; \
             the PyPI package nvidia-cudnn-cu13 brings it; `make gpu` puts it into .runtime/)"
        );
        let count = |count| DeviceError::NoSuchDevice { provider: Provider::Cuda, index: 7, count }.to_string();
        assert_eq!(count(0), "there is no device 7 of CUDA (none was found)");
        assert_eq!(count(2), "there is no device 7 of CUDA (there are 2, 0 to 1)");
    }

    #[test]
    fn the_processor_can_always_be_had_and_what_the_build_lacks_is_an_error() {
        let runtime = Runtime::load().unwrap();
        assert_eq!(runtime.check(&Device::CPU), Ok(()));
        assert!(runtime.providers().contains(&Provider::Cpu));
        for provider in Provider::OF_BUILDS {
            if !runtime.providers().contains(&provider) {
                let error = runtime.check(&Device::first_of(provider.clone())).unwrap_err();
                assert!(matches!(error, DeviceError::NotInBuild { .. } | DeviceError::OtherSystem { .. }), "{error}");
            }
        }
        let unknown = Device::first_of(Provider::Plugin("nonsense".to_owned()));
        assert!(runtime.check(&unknown).unwrap_err().to_string().contains("'nonsense'"));
    }
}
