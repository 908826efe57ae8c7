//! The innermost loops of the measurements. On x86-64 they are written in assembly, because they measure the
//! machine and not what a compiler makes of a loop; elsewhere plain arrays are enough.

/// A 256-byte piece of an array, aligned to cache lines.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Line([f32; 64]);

impl Default for Line {
    fn default() -> Line {
        Line([1.0; 64])
    }
}

/// The measuring loops of one vector width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loops {
    /// 512-bit vectors (AVX-512).
    #[cfg(target_arch = "x86_64")]
    Wide,
    /// 256-bit vectors (AVX2 with FMA).
    #[cfg(target_arch = "x86_64")]
    Middle,
    /// Loops over arrays that the compiler vectorizes.
    Plain,
}

/// The number of independent chains of multiply-adds.
const CHAINS: usize = 12;

/// Runs multiply-adds on twelve registers, then restores the state that code without wide vectors expects.
#[cfg(target_arch = "x86_64")]
macro_rules! multiply_add {
    ($register:literal, $rounds:expr) => {
        std::arch::asm!(
            "vxorps xmm0, xmm0, xmm0",
            "vxorps xmm1, xmm1, xmm1",
            "vxorps xmm2, xmm2, xmm2",
            "vxorps xmm3, xmm3, xmm3",
            "vxorps xmm4, xmm4, xmm4",
            "vxorps xmm5, xmm5, xmm5",
            "vxorps xmm6, xmm6, xmm6",
            "vxorps xmm7, xmm7, xmm7",
            "vxorps xmm8, xmm8, xmm8",
            "vxorps xmm9, xmm9, xmm9",
            "vxorps xmm10, xmm10, xmm10",
            "vxorps xmm11, xmm11, xmm11",
            "vxorps xmm12, xmm12, xmm12",
            "2:",
            concat!("vfmadd231ps ", $register, "0, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "1, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "2, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "3, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "4, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "5, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "6, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "7, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "8, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "9, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "10, ", $register, "12, ", $register, "12"),
            concat!("vfmadd231ps ", $register, "11, ", $register, "12, ", $register, "12"),
            "dec {rounds}",
            "jnz 2b",
            "vzeroupper",
            rounds = inout(reg) $rounds => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _,
            options(nomem, nostack),
        )
    };
}

/// Adds 0 to every element of an array, 256 bytes per round.
#[cfg(target_arch = "x86_64")]
macro_rules! add_in_place {
    ($register:literal, $bytes:literal, $start:expr, $end:expr) => {
        std::arch::asm!(
            "vxorps xmm0, xmm0, xmm0",
            "2:",
            concat!("vaddps ", $register, "1, ", $register, "0, [{at}]"),
            concat!("vaddps ", $register, "2, ", $register, "0, [{at} + ", $bytes, "]"),
            concat!("vaddps ", $register, "3, ", $register, "0, [{at} + 2 * ", $bytes, "]"),
            concat!("vaddps ", $register, "4, ", $register, "0, [{at} + 3 * ", $bytes, "]"),
            concat!("vmovaps [{at}], ", $register, "1"),
            concat!("vmovaps [{at} + ", $bytes, "], ", $register, "2"),
            concat!("vmovaps [{at} + 2 * ", $bytes, "], ", $register, "3"),
            concat!("vmovaps [{at} + 3 * ", $bytes, "], ", $register, "4"),
            concat!("add {at}, 4 * ", $bytes),
            "cmp {at}, {end}",
            "jb 2b",
            "vzeroupper",
            at = inout(reg) $start => _,
            end = in(reg) $end,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            options(nostack),
        )
    };
}

impl Loops {
    /// Chooses the widest vectors that this CPU has.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn best() -> Loops {
        if is_x86_feature_detected!("avx512f") {
            Loops::Wide
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Loops::Middle
        } else {
            Loops::Plain
        }
    }

    /// Chooses the widest vectors that this CPU has.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn best() -> Loops {
        Loops::Plain
    }

    /// The vector width in bits.
    pub(super) fn bits(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Loops::Wide => 512,
            #[cfg(target_arch = "x86_64")]
            Loops::Middle => 256,
            Loops::Plain => 128,
        }
    }

    /// Runs multiply-adds in registers; returns the number of operations done.
    pub(super) fn multiply_add(self, rounds: u64) -> f64 {
        let rounds = rounds.max(1);
        match self {
            // SAFETY: `best` asked the CPU for these instructions; all registers are declared.
            #[cfg(target_arch = "x86_64")]
            Loops::Wide => unsafe { multiply_add!("zmm", rounds) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Loops::Middle => unsafe { multiply_add!("ymm", rounds) },
            Loops::Plain => plain_multiply_add(rounds),
        }
        let per_round = 2 * CHAINS * self.bits() / 32;
        per_round as f64 * rounds as f64
    }

    /// Changes every element of the array in place; returns the number of bytes read and written.
    pub(super) fn add_in_place(self, array: &mut [Line]) -> f64 {
        let bytes = std::mem::size_of_val(array);
        if !array.is_empty() {
            let range = array.as_mut_ptr_range();
            match self {
                // SAFETY: `best` asked the CPU for these instructions; the array is not empty, is aligned to
                // 64 bytes and is a whole number of 256 bytes.
                #[cfg(target_arch = "x86_64")]
                Loops::Wide => unsafe {
                    add_in_place!("zmm", "64", range.start, range.end);
                },
                // SAFETY: as above; a round is 128 bytes.
                #[cfg(target_arch = "x86_64")]
                Loops::Middle => unsafe {
                    add_in_place!("ymm", "32", range.start, range.end);
                },
                Loops::Plain => {
                    for line in &mut *array {
                        for value in &mut line.0 {
                            *value += 0.0;
                        }
                    }
                    std::hint::black_box(&mut *array);
                }
            }
        }
        2.0 * bytes as f64
    }
}

fn plain_multiply_add(rounds: u64) {
    let mut sums = [[0.0f32; 4]; CHAINS];
    let factor = std::hint::black_box([0.5f32; 4]);
    for _ in 0..rounds {
        for sum in &mut sums {
            for (value, factor) in sum.iter_mut().zip(&factor) {
                *value = if cfg!(target_arch = "aarch64") {
                    factor.mul_add(*factor, *value)
                } else {
                    *value + factor * factor
                };
            }
        }
    }
    std::hint::black_box(sums);
}

#[cfg(test)]
mod tests {
    use super::{Line, Loops};

    #[test]
    fn all_loops_of_this_processor_count_alike_and_change_nothing() {
        for loops in [Loops::best(), Loops::Plain] {
            assert_eq!(
                loops.multiply_add(10),
                10.0 * 24.0 * loops.bits() as f64 / 32.0
            );
            for lines in [0, 1, 5] {
                let mut array: Vec<Line> = vec![Line([3.0; 64]); lines];
                assert_eq!(loops.add_in_place(&mut array), 512.0 * lines as f64);
                assert!(array.iter().flat_map(|line| line.0).all(|x| x == 3.0));
            }
        }
    }
}
