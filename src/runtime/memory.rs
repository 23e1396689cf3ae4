//! Tensors that stay where they are from run to run, and the memory that they lie in.

use anyhow::{Result, bail};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::value::Tensor;

use super::device::Device;
use super::session::run_error;
use super::tensor::ElementType;

/// Bytes of the processor's memory that can be had without swapping, where the system tells: free ones, and no more than the
/// process's control group and its limit of address space (`ulimit -v`) have left.
pub fn available_memory() -> Option<u64> {
    let free = field("/proc/meminfo", "MemAvailable:")? * KIBIBYTE;
    let of_group = |file: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{file}")).ok()?.trim().parse().ok()
    };
    // Files that were read count as taken, but give way.
    let files = field("/sys/fs/cgroup/memory.stat", "inactive_file").unwrap_or(0);
    let of_group = of_group("max").zip(of_group("current").map(|current| current.saturating_sub(files)));
    let of_addresses = field("/proc/self/limits", "Max address space").zip(field("/proc/self/status", "VmSize:"));
    let of_addresses = of_addresses.map(|(most, taken)| (most, taken * KIBIBYTE));
    let left = of_group.into_iter().chain(of_addresses).map(|(most, taken)| most.saturating_sub(taken));
    left.chain([free]).min()
}

const KIBIBYTE: u64 = 1024;

/// The number behind `name` in one of the system's files; `None` where there is none, or no limit.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// A tensor of a session, in the processor's memory or in its device's.
pub(super) enum BoundTensor {
    F32(Tensor<f32>),
    U8(Tensor<u8>),
}

impl BoundTensor {
    /// Zeroed where the processor reaches it; in a device's memory it holds whatever was there.
    pub fn new(allocator: &Allocator, element_type: ElementType, shape: &[usize]) -> Result<Self> {
        let mut tensor = match element_type {
            ElementType::F32 => Self::F32(Tensor::new(allocator, shape.to_vec()).map_err(run_error)?),
            ElementType::U8 => Self::U8(Tensor::new(allocator, shape.to_vec()).map_err(run_error)?),
            ElementType::Other => bail!("its elements are neither 32-bit floats nor bytes"),
        };
        if allocator.memory_info().is_cpu_accessible() {
            tensor.floats_mut().fill(0.0);
            tensor.bytes_mut().fill(0);
        }
        Ok(tensor)
    }

    pub fn bind_as_input(&self, binding: &mut IoBinding, name: &str) -> ort::Result<()> {
        match self {
            Self::F32(tensor) => binding.bind_input(name, tensor),
            Self::U8(tensor) => binding.bind_input(name, tensor),
        }
    }

    pub fn bind_as_output(&mut self, binding: &mut IoBinding, name: &str) -> ort::Result<()> {
        match self {
            Self::F32(tensor) => binding.bind_output(name, tensor),
            Self::U8(tensor) => binding.bind_output(name, tensor),
        }
    }

    /// Whether type, shape and kind of memory are the same.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => a.shape() == b.shape() && a.memory_info() == b.memory_info(),
            (Self::U8(a), Self::U8(b)) => a.shape() == b.shape() && a.memory_info() == b.memory_info(),
            _ => false,
        }
    }

    pub fn floats(&self) -> &[f32] {
        match self {
            Self::F32(tensor) => tensor.extract_tensor().1,
            Self::U8(_) => &[],
        }
    }

    pub fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Self::F32(tensor) => tensor.extract_tensor_mut().1,
            Self::U8(_) => &mut [],
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::U8(tensor) => tensor.extract_tensor().1,
            Self::F32(_) => &[],
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::U8(tensor) => tensor.extract_tensor_mut().1,
            Self::F32(_) => &mut [],
        }
    }
}

/// Pinned memory of a session on one of NVIDIA's GPUs, which the system never moves: the GPU copies it without a detour. `None`
/// elsewhere, and where there is none to be had.
pub(super) fn pinned(session: &ort::session::Session, device: &Device) -> Option<Allocator> {
    allocator(session, device, AllocationDevice::CUDA_PINNED, MemoryType::CPUOutput)
}

/// The memory of a session's own GPU, which the processor does not reach. `None` elsewhere, and where there is none to be had.
pub(super) fn on_gpu(session: &ort::session::Session, device: &Device) -> Option<Allocator> {
    allocator(session, device, AllocationDevice::CUDA, MemoryType::Default)
}

fn allocator(
    session: &ort::session::Session,
    device: &Device,
    memory: AllocationDevice<'_>,
    kind: MemoryType,
) -> Option<Allocator> {
    if !device.is_nvidia() {
        return None;
    }
    let index = i32::try_from(device.index).ok()?;
    let info = MemoryInfo::new(memory, index, AllocatorType::Device, kind);
    match info.and_then(|info| Allocator::new(session, info)) {
        Ok(allocator) => Some(allocator),
        Err(error) => {
            tracing::debug!("no memory of the GPU's kind: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_a_part_of_what_the_machine_has() {
        let Some(available) = available_memory() else {
            assert!(!std::path::Path::new("/proc/meminfo").exists(), "the system tells");
            return;
        };
        let all = field("/proc/meminfo", "MemTotal:").unwrap() * KIBIBYTE;
        assert!(available > 0 && available < all, "{available} of {all}");
    }

    #[test]
    fn what_has_no_limit_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("limits");
        std::fs::write(&file, "Max data size       unlimited   unlimited\nMax address space   4096   unlimited\n")
            .unwrap();
        let field = |name: &str| field(&file.display().to_string(), name);
        assert_eq!(field("Max address space"), Some(4096));
        assert_eq!(field("Max data size"), None);
        assert_eq!(field("Max open files"), None);
    }
}
