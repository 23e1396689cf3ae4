//! Providers in libraries of their own, which ONNX Runtime loads at run time.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Mutex;

use super::device::{Provider, is_library_name};
use super::providers::{missing_file, source_of};
use super::{Runtime, library, log};

/// A library of providers, and the name that its devices go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderLibrary {
    /// Small letters, digits, `-` and `_`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// Why a text is no library with its name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseLibraryError {
    /// What stands before the `=` is no name for a device.
    #[error("'{0}' cannot be a name (expected small letters, digits, - and _, and neither auto nor cpu)")]
    Name(String),
    /// One of both is missing.
    #[error("expected NAME=PATH, for example webgpu=/opt/libonnxruntime_providers_webgpu.so")]
    Incomplete,
}

/// `NAME=PATH`.
impl FromStr for ProviderLibrary {
    type Err = ParseLibraryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if is_library_name(name) && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: PathBuf::from(path) })
            }
            Some((name, path)) if !path.is_empty() => Err(ParseLibraryError::Name(name.to_owned())),
            _ => Err(ParseLibraryError::Incomplete),
        }
    }
}

/// Why a library of providers cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PluginError {
    /// There is no such file.
    #[error("there is no provider library '{}' (expected the file of a plug-in for ONNX Runtime)", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be loaded.
    #[error("the provider library '{}' cannot be loaded: {message}", .path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// The loader's words, with what brings a library that is missing.
        message: String,
    },
    /// The file is a library, but another one.
    #[error("'{}' is a library but no plug-in for ONNX Runtime (expected it to export CreateEpFactories)", .path.display())]
    NotAPlugin {
        /// The file.
        path: PathBuf,
    },
    /// ONNX Runtime does not take it.
    #[error("ONNX Runtime {version} does not take the provider library '{}': {message}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// ONNX Runtime's version.
        version: String,
        /// ONNX Runtime's words.
        message: String,
    },
    /// It was loaded and found nothing that it could use.
    #[error("the provider library '{}' finds no device that it could use on this machine", .path.display())]
    NoDevice {
        /// The file.
        path: PathBuf,
    },
}

/// The libraries that were loaded: their names, and their providers by ONNX Runtime's names.
pub(super) type Plugins = Mutex<Vec<(String, Vec<String>)>>;

impl Runtime {
    /// Loads a library of providers, so that its devices can be asked for as [`Provider::Plugin`]. It stays loaded. Loading
    /// one a second time under its name does nothing.
    ///
    /// # Errors
    /// See [`PluginError`]: each case names the file.
    pub fn register_library(&self, given: &ProviderLibrary) -> Result<(), PluginError> {
        let path = std::path::absolute(&given.path).unwrap_or_else(|_| given.path.clone());
        let mut plugins = self.plugins.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if plugins.iter().any(|(name, _)| *name == given.name) {
            return Ok(());
        }
        if !path.is_file() {
            return Err(PluginError::Missing { path });
        }
        let count = self.environment().devices().count();
        let (registered, log) = log::recorded(|| self.environment().register_ep_library(given.name.as_str(), &path));
        if let Err(error) = registered {
            return Err(self.plugin_trouble(path, &error.to_string(), &log));
        }
        // What is new at the end of the list is the library's.
        let mut providers: Vec<String> =
            self.environment().devices().skip(count).filter_map(|device| device.ep().ok().map(str::to_owned)).collect();
        providers.dedup();
        if providers.is_empty() {
            return Err(PluginError::NoDevice { path });
        }
        plugins.push((given.name.clone(), providers));
        Ok(())
    }

    /// The devices of a library that was loaded under this name; GPUs first, then other accelerators, then processors.
    pub(super) fn plugin_devices(&self, name: &str) -> Option<Vec<ort::device::Device<'_>>> {
        let plugins = self.plugins.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (_, providers) = plugins.iter().find(|(known, _)| known == name)?;
        let is_of_library = |device: &ort::device::Device<'_>| {
            device.ep().is_ok_and(|provider| providers.iter().any(|known| known == provider))
        };
        let mut devices: Vec<_> = self.environment().devices().filter(is_of_library).collect();
        devices.sort_by_key(|device| match device.hardware_device().ty() {
            ort::memory::DeviceType::GPU => 0,
            ort::memory::DeviceType::NPU => 1,
            _ => 2,
        });
        Some(devices)
    }

    /// Whether device number `index` of the library that was loaded under this name is a GPU.
    pub(super) fn plugin_has_gpu(&self, name: &str, index: u32) -> bool {
        let devices = self.plugin_devices(name).unwrap_or_default();
        let device = usize::try_from(index).ok().and_then(|index| devices.get(index));
        device.is_some_and(|device| device.hardware_device().ty() == ort::memory::DeviceType::GPU)
    }

    /// The devices of a library that was loaded under this name, in words, in the order of their numbers.
    pub fn plugin_device_names(&self, name: &str) -> Vec<String> {
        let describe = |device: ort::device::Device<'_>| {
            let hardware = device.hardware_device();
            let vendor = hardware.vendor().unwrap_or_default().to_owned();
            let provider = device.ep().unwrap_or_default().trim_end_matches("ExecutionProvider").to_owned();
            format!("{vendor} {:?} by {provider}", hardware.ty()).trim().to_owned()
        };
        self.plugin_devices(name).unwrap_or_default().into_iter().map(describe).collect()
    }

    /// Why a library was refused: ONNX Runtime's words are the same for much of it.
    fn plugin_trouble(&self, path: PathBuf, message: &str, log: &str) -> PluginError {
        match library::exports(&path, &[c"CreateEpFactories", c"GetProvider"]) {
            Err(message) => {
                let hint = missing_file(&message).map(|file| format!(" ({})", source_of(file))).unwrap_or_default();
                PluginError::NotALibrary { path, message: message.clone() + &hint }
            }
            Ok(false) => PluginError::NotAPlugin { path },
            Ok(true) => {
                let line = super::session::first_line(message);
                let message = if line.is_empty() { super::session::first_line(log) } else { line };
                PluginError::Refused { path, version: self.version().to_owned(), message }
            }
        }
    }
}

impl ProviderLibrary {
    /// What its devices are asked for by.
    pub fn provider(&self) -> Provider {
        Provider::Plugin(self.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn register(name: &str, path: &Path) -> PluginError {
        let library = ProviderLibrary { name: name.to_owned(), path: path.to_owned() };
        Runtime::load().unwrap().register_library(&library).unwrap_err()
    }

    #[test]
    fn a_library_is_a_name_and_a_path() {
        let library: ProviderLibrary = "webgpu=/a/b=c.so".parse().unwrap();
        assert_eq!((library.name.as_str(), library.path.as_path()), ("webgpu", Path::new("/a/b=c.so")));
        for (text, expected) in [
            ("/a/b.so", "NAME=PATH"),
            ("x=", "NAME=PATH"),
            ("=x", "small letters"),
            ("cpu=x", "small letters"),
            ("A=x", "small letters"),
        ] {
            let error = text.parse::<ProviderLibrary>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_library_that_cannot_be_used_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.so");
        assert_eq!(register("a", &missing), PluginError::Missing { path: missing });
        let text = folder.path().join("text.so");
        std::fs::write(&text, "not a library").unwrap();
        assert!(matches!(register("b", &text), PluginError::NotALibrary { path, .. } if path == text));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_library_is_no_plug_in() {
        // Any library will do: ONNX Runtime's own has no factories of providers.
        let own = Runtime::load().unwrap().path().to_owned();
        if own.is_absolute() {
            assert_eq!(register("c", &own), PluginError::NotAPlugin { path: own });
        }
    }
}
