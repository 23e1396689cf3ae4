//! Which device is taken: the one that was asked for or none, else the best that works.
//!
//! "Works" is not believed but tried: whoever chooses brings an attempt, which opens a network on the device and runs it.
//! What is there is a [`Providers`], so that tests can have a machine of their own.

use anyhow::Result;

use super::Runtime;
use super::device::{Device, DeviceChoice, Provider};
use super::providers::DeviceError;

/// What choosing asks of a machine.
pub trait Providers {
    /// Those that its build of ONNX Runtime has.
    fn in_build(&self) -> Vec<Provider>;

    /// Whether sessions can be opened for a device, as far as that is known without a network.
    ///
    /// # Errors
    /// The reason why not.
    fn check(&self, device: &Device) -> Result<(), DeviceError>;

    /// Whether device number `index` of the library of providers that was loaded as `name` is a GPU.
    fn library_has_gpu(&self, name: &str, index: u32) -> bool;

    /// Whether a device is a GPU. OpenVINO's may be one, and is taken for a processor.
    fn is_gpu(&self, device: &Device) -> bool {
        match &device.provider {
            Provider::Cuda | Provider::TensorRt | Provider::CoreMl | Provider::DirectMl | Provider::WebGpu => true,
            Provider::Cpu | Provider::OpenVino => false,
            Provider::Plugin(name) => self.library_has_gpu(name, device.index),
        }
    }
}

impl Providers for Runtime {
    fn in_build(&self) -> Vec<Provider> {
        self.providers()
    }

    fn check(&self, device: &Device) -> Result<(), DeviceError> {
        Runtime::check(self, device)
    }

    fn library_has_gpu(&self, name: &str, index: u32) -> bool {
        self.plugin_has_gpu(name, index)
    }
}

/// What is taken where nothing is asked for, the fastest first. TensorRT is not among them: it builds an engine for minutes
/// before the first frame, which nobody expects who did not ask for it.
pub const AUTO_ORDER: [Provider; 6] =
    [Provider::Cuda, Provider::CoreMl, Provider::DirectMl, Provider::OpenVino, Provider::WebGpu, Provider::Cpu];

/// A device that works.
#[derive(Debug)]
pub struct Chosen<T> {
    /// The device.
    pub device: Device,
    /// What the attempt brought.
    pub value: T,
    /// Devices that would have been better and did not work, with the reasons; for [`DeviceChoice::Auto`] only.
    pub refused: Vec<(Device, anyhow::Error)>,
}

/// Takes the first device of the choice with which `attempt` succeeds; of several that were asked for the first, if none of them
/// is in the way.
///
/// # Errors
/// When the device that was asked for cannot be had, or the attempt fails on the processor as well.
pub fn choose<T>(
    choice: &DeviceChoice,
    providers: &impl Providers,
    mut attempt: impl FnMut(&Device) -> Result<T>,
) -> Result<Chosen<T>> {
    if let DeviceChoice::Given(device, more) = choice {
        for device in std::iter::once(device).chain(more) {
            providers.check(device)?;
        }
        return Ok(Chosen { device: device.clone(), value: attempt(device)?, refused: Vec::new() });
    }
    let in_build = providers.in_build();
    let mut refused = Vec::new();
    for provider in AUTO_ORDER.into_iter().filter(|provider| *provider != Provider::Cpu && in_build.contains(provider))
    {
        let device = Device::first_of(provider);
        match providers.check(&device).map_err(anyhow::Error::from).and_then(|()| attempt(&device)) {
            Ok(value) => return Ok(Chosen { device, value, refused }),
            Err(error) => refused.push((device, error)),
        }
    }
    Ok(Chosen { device: Device::CPU, value: attempt(&Device::CPU)?, refused })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Provider::{Cpu, Cuda, OpenVino, TensorRt, WebGpu};

    /// A machine whose build has some providers, of which some are in working order.
    struct Machine {
        in_build: Vec<Provider>,
        in_order: Vec<Provider>,
    }

    impl Providers for Machine {
        fn in_build(&self) -> Vec<Provider> {
            self.in_build.clone()
        }

        fn check(&self, device: &Device) -> Result<(), DeviceError> {
            let provider = device.provider.clone();
            if !self.in_build.contains(&provider) {
                let has = self.in_build.iter().map(ToString::to_string).collect();
                let (library, version) = ("/opt/libonnxruntime.so".into(), "1.31.1".to_owned());
                let advice = super::super::providers::package_of(&provider);
                return Err(DeviceError::NotInBuild { provider, library, version, has, advice });
            }
            match self.in_order.contains(&provider) {
                true => Ok(()),
                false => Err(DeviceError::Refused { provider, message: "broken".to_owned() }),
            }
        }

        fn library_has_gpu(&self, name: &str, index: u32) -> bool {
            (name, index) == ("mixed", 1)
        }
    }

    fn machine(in_build: &[Provider], in_order: &[Provider]) -> Machine {
        Machine { in_build: in_build.to_vec(), in_order: in_order.to_vec() }
    }

    fn auto(machine: &Machine, works: &[Provider]) -> Chosen<()> {
        let attempt = |device: &Device| match works.contains(&device.provider) {
            true => Ok(()),
            false => Err(anyhow::anyhow!("another picture")),
        };
        choose(&DeviceChoice::Auto, machine, attempt).unwrap()
    }

    #[test]
    fn the_best_that_works_is_taken_and_the_better_ones_keep_their_reasons() {
        let all = [Cpu, Cuda, TensorRt, OpenVino, WebGpu];
        assert_eq!(auto(&machine(&all, &all), &all).device, Device::first_of(Cuda));
        let chosen = auto(&machine(&all, &[Cpu, OpenVino, WebGpu]), &[Cpu, WebGpu]);
        assert_eq!(chosen.device, Device::first_of(WebGpu));
        let reasons: Vec<String> = chosen.refused.iter().map(|(device, why)| format!("{device}: {why:#}")).collect();
        assert_eq!(reasons, ["CUDA: CUDA does not start: broken", "OpenVINO: another picture"]);
    }

    #[test]
    fn a_build_for_the_processor_alone_leaves_nothing_to_try() {
        let chosen = auto(&machine(&[Cpu], &[Cpu]), &[Cpu]);
        assert_eq!((chosen.device, chosen.refused.len()), (Device::CPU, 0));
    }

    #[test]
    fn tensorrt_is_never_taken_unasked() {
        let chosen = auto(&machine(&[Cpu, TensorRt], &[Cpu, TensorRt]), &[Cpu, TensorRt]);
        assert_eq!(chosen.device, Device::CPU);
    }

    #[test]
    fn a_gpu_is_told_by_its_provider_and_of_a_library_by_what_that_says_itself() {
        let machine = machine(&[Cpu], &[Cpu]);
        let gpus: Vec<Provider> = Provider::OF_BUILDS
            .into_iter()
            .filter(|provider| machine.is_gpu(&Device::first_of(provider.clone())))
            .collect();
        assert_eq!(gpus, [Cuda, TensorRt, WebGpu, Provider::CoreMl, Provider::DirectMl]);
        let of_library = |index| machine.is_gpu(&Device { provider: Provider::Plugin("mixed".to_owned()), index });
        assert_eq!([0, 1].map(of_library), [false, true]);
    }

    #[test]
    fn what_fails_on_the_processor_too_is_the_error() {
        let machine = machine(&[Cpu, Cuda], &[Cpu, Cuda]);
        let failed =
            choose(&DeviceChoice::Auto, &machine, |device| -> Result<()> { anyhow::bail!("no file on {device}") });
        assert_eq!(failed.unwrap_err().to_string(), "no file on CPU");
    }

    #[test]
    fn a_device_that_was_asked_for_is_taken_or_an_error_and_nothing_else_is_tried() {
        let machine = machine(&[Cpu, OpenVino], &[Cpu]);
        let ask = |provider: Provider| {
            let mut tried = Vec::new();
            let choice = DeviceChoice::one(Device::first_of(provider));
            let result = choose(&choice, &machine, |device| {
                tried.push(device.clone());
                Ok(())
            });
            (result.map(|chosen| chosen.device).map_err(|error| format!("{error:#}")), tried.len())
        };
        assert_eq!(ask(Cpu), (Ok(Device::CPU), 1));
        assert_eq!(ask(OpenVino), (Err("OpenVINO does not start: broken".to_owned()), 0));
        let (error, tried) = ask(Cuda);
        let error = error.unwrap_err();
        for part in ["/opt/libonnxruntime.so", "1.31.1", "has no CUDA", "CPU, OpenVINO", "make gpu", "onnxruntime-gpu"]
        {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert_eq!(tried, 0);
    }
}
