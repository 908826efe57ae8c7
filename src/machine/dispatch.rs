//! Code compiled for several processors, of which the best is run.

/// Compiles the block for several processors and returns from the function with the best of them. The block is a function
/// of the arguments alone, and without a value; `<T>` before them makes it generic over [`Real`](crate::machine::math::Real).
macro_rules! dispatch {
    ($(<$t:ident>)? ($($name:ident: $ty:ty),*) $body:block) => {{
        #[inline(always)]
        fn any $(<$t: $crate::machine::math::Real>)? ($($name: $ty),*) $body
        #[cfg(target_arch = "x86_64")]
        {
            use $crate::machine::{processor, Processor};
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            unsafe fn widest $(<$t: $crate::machine::math::Real>)? ($($name: $ty),*) {
                any($($name),*)
            }
            #[target_feature(enable = "avx2,fma")]
            unsafe fn wide $(<$t: $crate::machine::math::Real>)? ($($name: $ty),*) {
                any($($name),*)
            }
            match processor() {
                // SAFETY: the processor has AVX-512.
                Processor::Avx512 => return unsafe { widest($($name),*) },
                // SAFETY: the processor has AVX2 and FMA.
                Processor::Avx2 => return unsafe { wide($($name),*) },
                Processor::Other => {}
            }
        }
        any($($name),*)
    }};
}

pub(crate) use dispatch;
