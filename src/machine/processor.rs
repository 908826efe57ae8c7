//! The vector features of the CPU.

use std::sync::OnceLock;

/// The kind of a CPU, by its vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// 512-bit vectors (AVX-512).
    Avx512,
    /// 256-bit vectors with fused multiply-adds (AVX2).
    Avx2,
    /// Any other CPU.
    Other,
}

/// The kind of this CPU.
pub fn processor() -> Processor {
    static FOUND: OnceLock<Processor> = OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let fma = has!("avx2") && has!("fma");
            let wide = has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw");
            if fma && wide {
                return Processor::Avx512;
            }
            if fma {
                return Processor::Avx2;
            }
        }
        Processor::Other
    })
}
