//! ONNX Runtime: finds the library, loads it once per process and opens sessions.
//!
//! The only room that speaks to the `ort` crate. The library is not linked but looked for when the first network is
//! opened, so that the same binary runs on whatever build of ONNX Runtime is put beside it, and so that commands which
//! need no network run without one. Nothing here knows what a network computes.

mod assignment;
pub mod choice;
mod cuda;
pub mod device;
pub mod engines;
mod gpus;
mod library;
mod log;
mod memory;
pub mod plugin;
mod precision;
pub mod providers;
mod session;
mod tensor;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

pub use assignment::Assignment;
pub use choice::{Chosen, Providers, choose};
pub use device::{Device, DeviceChoice, ParseDeviceError, Provider};
pub use gpus::{CudaLibrary, Gpu, NvidiaState, has_nvidia_driver, nvidia_gpu_count};
pub use library::{Library, LibrarySearch, RuntimeError, forbid_telemetry};
use ort::environment::Environment;
use ort::logging::LogLevel;
pub use plugin::{ParseLibraryError, PluginError, ProviderLibrary};
pub use precision::{Precision, has_integer_products};
pub use providers::DeviceError;
pub use session::{Bindings, ModelSource, Session, SessionOptions, Terminator, WeightFiles};
pub use tensor::{ElementType, Tensor, TensorInfo};

/// The ONNX Runtime library of this process.
pub struct Runtime {
    environment: Environment,
    path: PathBuf,
    version: String,
    plugins: plugin::Plugins,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// The runtime of this process; the first call looks for the library and loads it, which takes some 20 ms.
    ///
    /// The library is never unloaded. A failed call leaves nothing behind and may be repeated.
    ///
    /// # Errors
    /// See [`RuntimeError`]: each case names the file and what to do.
    pub fn load() -> Result<&'static Self, RuntimeError> {
        let _loading = LOADING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        let library = LibrarySearch::of_this_process().find()?;
        library::forbid_telemetry();
        let builder = ort::init_from(&library.path)
            .map_err(|source| RuntimeError::Start { path: library.path.clone(), message: source.to_string() })?;
        let environment = builder
            .with_name("impasto")
            .with_telemetry(false)
            .with_logger(Arc::new(log::log_to_tracing))
            .build()
            .map_err(|source| RuntimeError::Start { path: library.path.clone(), message: source.to_string() })?;
        environment.set_log_level(LogLevel::Warning);
        tracing::debug!(path = %library.path.display(), version = %library.version, "loaded ONNX Runtime");
        Ok(RUNTIME.get_or_init(|| Self {
            environment,
            path: library.path,
            version: library.version,
            plugins: plugin::Plugins::default(),
        }))
    }

    /// The library's file, or its bare name where the system's loader found it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The library's version, for example `1.31.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    fn session_builder(&self) -> ort::Result<ort::session::builder::SessionBuilder> {
        ort::session::Session::builder(&self.environment)
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("path", &self.path).field("version", &self.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_loaded_once_and_says_where_from() {
        let runtime = Runtime::load().unwrap();
        assert!(std::ptr::eq(runtime, Runtime::load().unwrap()));
        assert!(runtime.version().starts_with("1."), "{}", runtime.version());
        assert!(runtime.path().to_string_lossy().contains("onnxruntime"), "{}", runtime.path().display());
    }

    #[test]
    fn bytes_that_onnx_runtime_refuses_are_an_error_of_one_line() {
        let source = ModelSource::Bytes { bytes: b"no network", weights: None };
        let error = Session::open(Runtime::load().unwrap(), source, &SessionOptions::default()).unwrap_err();
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }

    #[test]
    fn threads_default_to_the_cores_of_the_machine() {
        assert!(SessionOptions::default().thread_count() >= 1);
        assert_eq!(SessionOptions::with_threads(3).thread_count(), 3);
    }
}
