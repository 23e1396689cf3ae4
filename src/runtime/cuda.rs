//! CUDA's libraries: found beside ONNX Runtime without help of the environment.
//!
//! Nothing here is linked. A library that was loaded by its path once is found by its name from then on: that is how the
//! provider, which asks by name, gets those in a folder that the system's loader does not know.

use std::path::{Path, PathBuf};

/// In the order of their dependence, without the version behind `.so.`.
const STEMS: &[&str] = &[
    "libcudart",
    "libnvJitLink",
    "libnvrtc-builtins",
    "libnvrtc",
    "libcublasLt",
    "libcublas",
    "libcurand",
    "libcufft",
    "libcudnn_graph",
    "libcudnn_ops",
    "libcudnn_engines_precompiled",
    "libcudnn_engines_runtime_compiled",
    "libcudnn_heuristic",
    "libcudnn_cnn",
    "libcudnn_adv",
    "libcudnn",
    "libnvinfer",
    "libnvonnxparser",
];

/// Libraries that the provider asks for only when it runs: they must be there as well.
const ASKED_FOR_LATE: &[&str] = &["libcudnn.so.9"];

/// The files of `folder` that [`STEMS`] names, in that order.
pub(super) fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let names: Vec<String> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        Err(_) => return Vec::new(),
    };
    let of_stem = |stem: &&str| {
        let mut found: Vec<&String> =
            names.iter().filter(|name| name.strip_prefix(*stem).is_some_and(|rest| rest.starts_with(".so."))).collect();
        found.sort();
        found.into_iter().map(|name| folder.join(name)).collect::<Vec<_>>()
    };
    STEMS.iter().flat_map(of_stem).collect()
}

/// Loads what lies in the folder of ONNX Runtime, once. What cannot be loaded is told by whoever needs it.
pub(super) fn preload(folder: Option<&Path>) {
    static DONE: std::sync::Once = std::sync::Once::new();
    DONE.call_once(|| {
        for file in folder.map(libraries_in).unwrap_or_default() {
            if let Err(error) = ort::util::preload_dylib(&file) {
                tracing::debug!(file = %file.display(), "cannot be loaded: {}", super::library::loader_message(&error));
            }
        }
    });
}

/// The first of the libraries that are asked for late and cannot be loaded.
pub(super) fn missing() -> Option<&'static str> {
    ASKED_FOR_LATE.iter().copied().find(|name| cfg!(target_os = "linux") && ort::util::preload_dylib(*name).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_loaded_before_those_that_need_them() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "libcudnn.so.9",
            "libcudnn_ops.so.9",
            "libcublas.so.13",
            "libcublasLt.so.13",
            "libcudart.so.13",
            "libfoo.so.1",
            "libcublas.so",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<String> = libraries_in(folder.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        let expected =
            ["libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcudnn_ops.so.9", "libcudnn.so.9"];
        assert_eq!(names, expected);
        assert!(libraries_in(Path::new("/no/such/folder")).is_empty());
    }
}
