//! The GPUs of this machine and CUDA's libraries, as far as both can be seen without linking to anything.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Runtime, cuda};

/// An NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its number with the driver: `cuda:N`'s only where all GPUs are alike, or `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`.
    pub index: u32,
    /// Its model.
    pub name: String,
    /// Its memory in MiB, where the driver's tool says.
    pub memory_mib: Option<u64>,
}

/// What is known of NVIDIA's driver and its GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NvidiaState {
    /// The driver's version; `None`: there is none.
    pub driver: Option<String>,
    /// The GPUs, in their order.
    pub gpus: Vec<Gpu>,
}

/// A library that networks on NVIDIA's GPUs need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaLibrary {
    /// What it is, in words.
    pub title: &'static str,
    /// The name that it is asked for by.
    pub file: &'static str,
    /// Where it is; an empty path where the system's loader finds it, `None` where nobody does.
    pub found: Option<PathBuf>,
}

/// Where NVIDIA's driver shows itself and its GPUs.
const DRIVER_FOLDER: &str = "/proc/driver/nvidia";

/// How many of NVIDIA's GPUs the driver shows; `None` where it does not tell.
pub fn nvidia_gpu_count() -> Option<usize> {
    gpu_folders(Path::new(DRIVER_FOLDER)).map(|folders| folders.len())
}

/// Whether a driver of NVIDIA shows itself: in `/proc`, or that of Windows below WSL.
pub fn has_nvidia_driver() -> bool {
    nvidia_gpu_count().is_some() || Path::new("/dev/dxg").exists()
}

/// A folder for each GPU, in their order.
fn gpu_folders(driver: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(driver.join("gpus")).ok()?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    Some(folders)
}

impl NvidiaState {
    /// Asks `nvidia-smi`, else what the driver shows in `/proc`. Blocks for up to a second.
    pub fn of_this_machine() -> Self {
        let query = ["--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader,nounits"];
        let answer = Command::new("nvidia-smi").args(query).stdin(Stdio::null()).stderr(Stdio::null()).output();
        match answer {
            Ok(output) if output.status.success() => Self::parse(&String::from_utf8_lossy(&output.stdout)),
            _ => Self::read(Path::new(DRIVER_FOLDER)),
        }
    }

    /// Lines of `0, NVIDIA H100, 81559, 580.65.06`.
    fn parse(text: &str) -> Self {
        let mut state = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let &[index, name, memory, driver] = fields.as_slice() else { continue };
            let Ok(index) = index.parse() else { continue };
            state.driver = Some(driver.to_owned());
            state.gpus.push(Gpu { index, name: name.to_owned(), memory_mib: memory.parse().ok() });
        }
        state
    }

    fn read(folder: &Path) -> Self {
        let version = std::fs::read_to_string(folder.join("version")).unwrap_or_default();
        // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  …"
        let is_version = |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
        let driver = version.split_whitespace().find(is_version).map(str::to_owned);
        let folders = gpu_folders(folder).unwrap_or_default();
        let model = |folder: &PathBuf| {
            let text = std::fs::read_to_string(folder.join("information")).unwrap_or_default();
            let model = text.lines().find_map(|line| line.strip_prefix("Model:"));
            model.map_or_else(|| "unknown model".to_owned(), |model| model.trim().to_owned())
        };
        let gpus = folders.iter().zip(0..).map(|(folder, index)| Gpu { index, name: model(folder), memory_mib: None });
        Self { driver, gpus: gpus.collect() }
    }
}

impl Runtime {
    /// The libraries of CUDA 13, cuDNN 9 and TensorRT 10, which this build of ONNX Runtime may need, and where they are.
    pub fn cuda_libraries(&self) -> Vec<CudaLibrary> {
        const LIBRARIES: [(&str, &str); 7] = [
            ("CUDA", "libcudart.so.13"),
            ("cuBLAS", "libcublas.so.13"),
            ("cuFFT", "libcufft.so.12"),
            ("cuRAND", "libcurand.so.10"),
            ("NVRTC", "libnvrtc.so.13"),
            ("cuDNN", "libcudnn.so.9"),
            ("TensorRT", "libnvinfer.so.10"),
        ];
        cuda::preload(self.folder());
        let place = |file: &str| {
            let beside = self.folder().map(|folder| folder.join(file)).filter(|path| path.is_file());
            beside.or_else(|| ort::util::preload_dylib(file).is_ok().then(PathBuf::new))
        };
        LIBRARIES.into_iter().map(|(title, file)| CudaLibrary { title, file, found: place(file) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_tool_is_understood() {
        let state = NvidiaState::parse("0, NVIDIA H100 80GB HBM3, 81559, 580.65.06\n1, NVIDIA A2, [N/A], 580.65.06\n");
        assert_eq!(state.driver.as_deref(), Some("580.65.06"));
        assert_eq!(state.gpus[0], Gpu { index: 0, name: "NVIDIA H100 80GB HBM3".to_owned(), memory_mib: Some(81559) });
        assert_eq!((state.gpus[1].index, state.gpus[1].memory_mib), (1, None));
        assert_eq!(NvidiaState::parse("No devices were found\n"), NvidiaState::default());
    }

    #[test]
    fn without_the_tool_the_driver_tells_its_version_and_models() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(NvidiaState::read(folder.path()), NvidiaState::default());
        assert_eq!(gpu_folders(folder.path()), None);
        let gpu = folder.path().join("gpus/0000:01:00.0");
        std::fs::create_dir_all(&gpu).unwrap();
        std::fs::write(gpu.join("information"), "Model: \t\t NVIDIA A2\nIRQ: 1\n").unwrap();
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun\nGCC version: gcc 12.2.0";
        std::fs::write(folder.path().join("version"), version).unwrap();
        let state = NvidiaState::read(folder.path());
        assert_eq!(gpu_folders(folder.path()), Some(vec![gpu]));
        assert_eq!(state.driver.as_deref(), Some("580.65.06"));
        assert_eq!(state.gpus, [Gpu { index: 0, name: "NVIDIA A2".to_owned(), memory_mib: None }]);
    }
}
