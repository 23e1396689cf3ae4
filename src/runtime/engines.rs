//! Where TensorRT keeps what it builds: engines and the timings that it chose them by.
//!
//! Building takes minutes, so it must happen once; a stale engine is an error or another picture, so that whatever one
//! depends on is in the name of its folder. Sizes are not: ONNX Runtime writes those that an engine takes beside it, and
//! builds it anew for one that it does not.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::gpus::NvidiaState;
use super::session::{ModelSource, SessionOptions, WeightFiles};
use super::{Runtime, library};

/// Whatever an engine depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineKey {
    /// Checksum of the network and its weights, in hexadecimal.
    pub model_sha256: String,
    /// The type of its arithmetic.
    pub precision: &'static str,
    /// ONNX Runtime's version.
    pub onnx_runtime: String,
    /// TensorRT's version.
    pub tensorrt: String,
    /// The GPU's model.
    pub gpu: String,
}

impl EngineKey {
    /// The name of a folder for it: versions and GPU to be read by people, then a checksum of everything.
    pub fn folder_name(&self) -> String {
        let Self { model_sha256, precision, onnx_runtime, tensorrt, gpu } = self;
        let all = [model_sha256, *precision, onnx_runtime, tensorrt, gpu].join("\n");
        let readable = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
        };
        let parts = [*precision, onnx_runtime, tensorrt, gpu].map(readable).join("_");
        format!("{parts}_{}", &hexadecimal(&Sha256::digest(all.as_bytes()))[..16])
    }
}

/// The folder of a network's engines below [`SessionOptions::engine_cache`]; `None` where there is none.
pub(super) fn folder(runtime: &Runtime, source: ModelSource<'_>, options: &SessionOptions) -> Option<PathBuf> {
    let cache = options.engine_cache.as_ref()?;
    let gpus = NvidiaState::of_this_machine().gpus;
    let key = EngineKey {
        model_sha256: checksum(source).ok()?,
        precision: if options.is_half { "fp16" } else { "fp32" },
        onnx_runtime: runtime.version().to_owned(),
        tensorrt: library::tensorrt_version("libnvinfer.so.10").unwrap_or_else(|| "10".to_owned()),
        gpu: gpus.get(options.device.index as usize)?.name.clone(),
    };
    let folder = cache.join(key.folder_name());
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Some(folder),
        Err(error) => {
            tracing::warn!("engines are not kept: '{}' cannot be created: {error}", folder.display());
            None
        }
    }
}

/// Checksum of a network; weights in files of their own count by size and time, as they may have gigabytes.
fn checksum(source: ModelSource<'_>) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let files = match source {
        ModelSource::Bytes { bytes, weights } => {
            hash.update(bytes);
            let files = |weights: &WeightFiles| weights.names.iter().map(|name| weights.folder.join(name)).collect();
            weights.map_or_else(Vec::new, files)
        }
        ModelSource::File(path) => {
            hash.update(std::fs::read(path)?);
            files_of_weights(path)
        }
    };
    for file in files {
        let about = file.metadata()?;
        let modified = about.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        hash.update(format!("{}\n{}\n{modified:?}\n", file.display(), about.len()));
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// Files beside a network whose names begin as its own does: `net.onnx.data`, `net.weights`.
fn files_of_weights(model: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(stem)) = (model.parent(), model.file_stem().and_then(|stem| stem.to_str())) else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_of_model = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        path != model && path.is_file() && name.starts_with(stem)
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_of_model).collect();
    files.sort();
    files
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EngineKey {
        EngineKey {
            model_sha256: "ab".repeat(32),
            precision: "fp32",
            onnx_runtime: "1.31.1".to_owned(),
            tensorrt: "10.13.2".to_owned(),
            gpu: "NVIDIA H100 80GB HBM3".to_owned(),
        }
    }

    #[test]
    fn whatever_an_engine_depends_on_gives_it_another_folder() {
        let name = key().folder_name();
        assert!(name.starts_with("fp32_1.31.1_10.13.2_NVIDIA-H100-80GB-HBM3_"), "{name}");
        assert_eq!(name, key().folder_name());
        let others = [
            EngineKey { model_sha256: "cd".repeat(32), ..key() },
            EngineKey { precision: "fp16", ..key() },
            EngineKey { onnx_runtime: "1.32.0".to_owned(), ..key() },
            EngineKey { tensorrt: "10.14.0".to_owned(), ..key() },
            EngineKey { gpu: "NVIDIA A2/x".to_owned(), ..key() },
        ];
        for other in others {
            assert_ne!(other.folder_name(), name);
            assert!(!other.folder_name().contains(['/', '\\', ' ']), "{}", other.folder_name());
        }
    }

    #[test]
    fn a_network_with_other_weights_is_another_network() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("net.onnx");
        std::fs::write(&model, "graph").unwrap();
        let of_file = || checksum(ModelSource::File(&model)).unwrap();
        let alone = of_file();
        assert_eq!(alone, checksum(ModelSource::Bytes { bytes: b"graph", weights: None }).unwrap());
        std::fs::write(folder.path().join("net.onnx.data"), "weights").unwrap();
        let with_weights = of_file();
        assert_ne!(with_weights, alone);
        std::fs::write(folder.path().join("net.onnx.data"), "more weights").unwrap();
        assert_ne!(of_file(), with_weights);
        std::fs::write(folder.path().join("another.data"), "not its own").unwrap();
        std::fs::remove_file(folder.path().join("net.onnx.data")).unwrap();
        assert_eq!(of_file(), alone);
        assert!(checksum(ModelSource::File(&folder.path().join("missing"))).is_err());
    }

    #[test]
    fn a_network_in_memory_with_other_weights_beside_it_is_another_network() {
        let folder = tempfile::tempdir().unwrap();
        let weights = WeightFiles { folder: folder.path().to_owned(), names: vec!["net.onnx.data".into()] };
        let of_bytes = |weights| checksum(ModelSource::Bytes { bytes: b"graph", weights });
        assert!(of_bytes(Some(&weights)).is_err(), "the file is missing");
        let file = folder.path().join("net.onnx.data");
        std::fs::write(&file, "weights").unwrap();
        let first = of_bytes(Some(&weights)).unwrap();
        assert_eq!(of_bytes(Some(&weights)).unwrap(), first);
        assert_ne!(of_bytes(None).unwrap(), first);
        // Retrained: as long as before, and later.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_ne!(of_bytes(Some(&weights)).unwrap(), first);
    }

    #[test]
    fn without_a_cache_or_a_gpu_nothing_is_kept() {
        let runtime = Runtime::load().unwrap();
        let source = ModelSource::Bytes { bytes: b"graph", weights: None };
        assert_eq!(folder(runtime, source, &SessionOptions::default()), None);
        let cache = tempfile::tempdir().unwrap();
        let device = super::super::Device { provider: super::super::Provider::TensorRt, index: 1000 };
        let options = SessionOptions { device, engine_cache: Some(cache.path().to_owned()), ..Default::default() };
        assert_eq!(folder(runtime, source, &options), None);
    }
}
