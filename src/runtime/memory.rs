//! Tensors that stay where they are from run to run, and the memory that they lie in.

use anyhow::{Result, bail};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::value::Tensor;

use super::device::Device;
use super::session::run_error;
use super::tensor::ElementType;

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
