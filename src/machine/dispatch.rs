//! Dispatch: code compiled for several kinds of CPU, of which the best runs.

/// Compiles the block for several kinds of CPU and returns from the function after running the best. The
/// block depends only on the arguments, and has no value; `<T>` before them makes it generic over
/// [`Real`](crate::ir::Real).
macro_rules! dispatch {
    ($(<$t:ident>)? ($($name:ident: $ty:ty),*) $body:block) => {{
        #[inline(always)]
        fn any $(<$t: $crate::ir::Real>)? ($($name: $ty),*) $body
        #[cfg(target_arch = "x86_64")]
        {
            use $crate::machine::{processor, Processor};
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            unsafe fn widest $(<$t: $crate::ir::Real>)? ($($name: $ty),*) {
                any($($name),*)
            }
            #[target_feature(enable = "avx2,fma")]
            unsafe fn wide $(<$t: $crate::ir::Real>)? ($($name: $ty),*) {
                any($($name),*)
            }
            match processor() {
                // SAFETY: the CPU has AVX-512.
                Processor::Avx512 => return unsafe { widest($($name),*) },
                // SAFETY: the CPU has AVX2 and FMA.
                Processor::Avx2 => return unsafe { wide($($name),*) },
                Processor::Other => {}
            }
        }
        any($($name),*)
    }};
}

pub(crate) use dispatch;
