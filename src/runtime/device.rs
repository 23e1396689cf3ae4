//! What can execute a network, as a user names it.
//!
//! A [`DeviceChoice`] is what was asked for, a [`Device`] what a session runs on. Whether it is there is not known here:
//! see [`super::choice`].

use std::str::FromStr;

/// ONNX Runtime's name for what executes nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA's GPUs by CUDA and cuDNN.
    Cuda,
    /// NVIDIA's GPUs by TensorRT, which builds an engine for each size.
    TensorRt,
    /// Intel's processors and GPUs.
    OpenVino,
    /// Any GPU by Vulkan, Metal or Direct3D.
    WebGpu,
    /// Apple's GPU and neural engine.
    CoreMl,
    /// Any GPU of Windows.
    DirectMl,
    /// What a library brings that was loaded under this name, see [`super::Runtime::register_library`].
    Plugin(String),
}

impl Provider {
    /// Those that a build of ONNX Runtime may have.
    pub const OF_BUILDS: [Self; 7] =
        [Self::Cpu, Self::Cuda, Self::TensorRt, Self::OpenVino, Self::WebGpu, Self::CoreMl, Self::DirectMl];

    /// The word for it in a [`DeviceChoice`].
    pub fn word(&self) -> &str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
            Self::WebGpu => "webgpu",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
            Self::Plugin(name) => name,
        }
    }

    /// Whether there may be several devices of it, told apart by number.
    fn is_numbered(&self) -> bool {
        matches!(self, Self::Cuda | Self::TensorRt | Self::Plugin(_))
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
            Self::TensorRt => "TensorRT",
            Self::OpenVino => "OpenVINO",
            Self::WebGpu => "WebGPU",
            Self::CoreMl => "CoreML",
            Self::DirectMl => "DirectML",
            Self::Plugin(name) => name,
        })
    }
}

/// What a session runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// What executes the nodes.
    pub provider: Provider,
    /// Which of its devices, from 0.
    pub index: u32,
}

impl Device {
    /// The processor.
    pub const CPU: Self = Self { provider: Provider::Cpu, index: 0 };

    /// The first device of `provider`.
    pub fn first_of(provider: Provider) -> Self {
        Self { provider, index: 0 }
    }

    /// Whether it is the processor, executed by ONNX Runtime itself.
    pub fn is_cpu(&self) -> bool {
        self.provider == Provider::Cpu
    }

    /// Whether it is one of NVIDIA's GPUs: memory of its own, and units for 16-bit floats.
    pub fn is_nvidia(&self) -> bool {
        matches!(self.provider, Provider::Cuda | Provider::TensorRt)
    }
}

/// `CPU`, `CUDA`, `CUDA:1`.
impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            0 => write!(f, "{}", self.provider),
            index => write!(f, "{}:{index}", self.provider),
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best that works.
    #[default]
    Auto,
    /// This one, and those beside it, or none.
    Given(Device, Vec<Device>),
}

impl DeviceChoice {
    /// One device.
    pub fn one(device: Device) -> Self {
        Self::Given(device, Vec::new())
    }

    /// The devices beside the first.
    pub fn more(&self) -> &[Device] {
        match self {
            Self::Given(_, more) => more,
            Self::Auto => &[],
        }
    }
}

/// Why a text is no choice of a device.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseDeviceError {
    /// No provider is called so, and no library of one can be.
    #[error("'{0}' names no device (expected {words})", words = known_words())]
    Unknown(String),
    /// A number where there is one device only.
    #[error("'{0}' has no numbered devices (expected {0} alone)")]
    NotNumbered(String),
    /// What stands behind the colon is no number.
    #[error("'{0}' is no number of a device (expected 0 or above, for example cuda:1 or cuda:0,1)")]
    Number(String),
    /// A number that stands there twice.
    #[error("device {0} is named twice (expected each once)")]
    Twice(u32),
}

/// `auto`, a provider's word, or the name of a library of one; `:N` behind it for its device number N, `:N,M` for several.
impl FromStr for DeviceChoice {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        if lower == "auto" {
            return Ok(Self::Auto);
        }
        let (word, numbers) = match lower.split_once(':') {
            Some((word, numbers)) => (word, Some(numbers)),
            None => (lower.as_str(), None),
        };
        let known = Provider::OF_BUILDS.into_iter().find(|provider| provider.word() == word);
        let provider = match known {
            Some(provider) => provider,
            None if is_library_name(word) => Provider::Plugin(word.to_owned()),
            None => return Err(ParseDeviceError::Unknown(word.to_owned())),
        };
        if numbers.is_some() && !provider.is_numbered() {
            return Err(ParseDeviceError::NotNumbered(word.to_owned()));
        }
        let mut devices: Vec<Device> = Vec::new();
        for number in numbers.unwrap_or("0").split(',') {
            let index = number.parse().map_err(|_| ParseDeviceError::Number(number.to_owned()))?;
            if devices.iter().any(|device| device.index == index) {
                return Err(ParseDeviceError::Twice(index));
            }
            devices.push(Device { provider: provider.clone(), index });
        }
        let first = devices.remove(0);
        Ok(Self::Given(first, devices))
    }
}

/// Whether a library of providers may be called so.
pub(super) fn is_library_name(name: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_name) && name != "auto" && name != "cpu"
}

/// The words of [`DeviceChoice`], for messages.
pub fn known_words() -> String {
    let words: Vec<&str> = Provider::OF_BUILDS.iter().map(Provider::word).collect();
    format!("auto, {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_word_with_a_number_where_there_may_be_several() {
        let parsed = |text: &str| text.parse::<DeviceChoice>();
        assert_eq!(parsed("auto"), Ok(DeviceChoice::Auto));
        for provider in Provider::OF_BUILDS {
            assert_eq!(parsed(provider.word()), Ok(DeviceChoice::one(Device::first_of(provider))));
        }
        assert_eq!(parsed("CUDA:1"), Ok(DeviceChoice::one(Device { provider: Provider::Cuda, index: 1 })));
        let gpus = [2, 0].map(|index| Device { provider: Provider::TensorRt, index });
        let [first, second] = gpus;
        assert_eq!(parsed("tensorrt:2,0"), Ok(DeviceChoice::Given(first, vec![second])));
        assert_eq!(
            parsed("my_ep:2"),
            Ok(DeviceChoice::one(Device { provider: Provider::Plugin("my_ep".to_owned()), index: 2 }))
        );
        for (text, expected) in [
            ("openvino:1", "openvino alone"),
            ("cpu:0", "cpu alone"),
            ("cuda:x", "cuda:1"),
            ("cuda:", "cuda:1"),
            ("cuda:0,", "cuda:0,1"),
            ("cuda:1,1", "named twice"),
            ("", "auto, cpu, cuda"),
            ("a/b", "auto, cpu, cuda"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_device_is_shown_by_its_name_and_its_number_from_the_second_on() {
        let cuda = |index| Device { provider: Provider::Cuda, index }.to_string();
        assert_eq!([Device::CPU.to_string(), cuda(0), cuda(1)], ["CPU", "CUDA", "CUDA:1"]);
    }
}
