//! Which vectors the processor has.

use std::sync::OnceLock;

/// What vectors the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// 512 bits.
    Avx512,
    /// 256 bits, with fused multiply-adds.
    Avx2,
    /// Anything else.
    Other,
}

/// The processor this runs on.
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
