//! How exactly networks calculate, and what this machine's processor is fast at.

/// How exactly a network calculates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 8-bit integers where the network has a form in them and the processor multiplies them faster, 16-bit floats on a GPU where they
    /// paint the same picture, else 32-bit floats.
    #[default]
    Auto,
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// Convolutions in 8-bit integers.
    Int8,
}

impl Precision {
    /// The precisions by name.
    pub const NAMES: [(&str, Self); 4] =
        [("auto", Self::Auto), ("fp32", Self::Fp32), ("fp16", Self::Fp16), ("int8", Self::Int8)];
}

/// Whether this processor has instructions that sum products of 8-bit integers (VNNI). Without them integers gain little, and
/// ONNX Runtime's sums saturate on older processors.
pub fn has_integer_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
