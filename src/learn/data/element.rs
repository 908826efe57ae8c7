//! Kinds of elements, and numbers of them.

/// The type of the elements of an array; bytes in little-endian order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// A truth value in a byte.
    Bool,
    /// A whole number with a sign, of so many bytes.
    Int(u8),
    /// A whole number without a sign, of so many bytes.
    Unsigned(u8),
    /// Half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

/// The first bytes as an array; the caller has checked that they are there.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

/// The value of an IEEE number of half precision: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let size = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 {
        size
    } else {
        -size
    }
}

impl Element {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Element::Bool => 1,
            Element::Int(bytes) | Element::Unsigned(bytes) => usize::from(bytes),
            Element::F16 | Element::Bf16 => 2,
            Element::F32 => 4,
            Element::F64 => 8,
        }
    }

    /// Its name in NumPy.
    pub fn name(self) -> &'static str {
        match self {
            Element::Bool => "bool",
            Element::Int(1) => "int8",
            Element::Int(2) => "int16",
            Element::Int(4) => "int32",
            Element::Int(_) => "int64",
            Element::Unsigned(1) => "uint8",
            Element::Unsigned(2) => "uint16",
            Element::Unsigned(4) => "uint32",
            Element::Unsigned(_) => "uint64",
            Element::F16 => "float16",
            Element::Bf16 => "bfloat16",
            Element::F32 => "float32",
            Element::F64 => "float64",
        }
    }

    /// Tells if the elements are whole numbers; truth values are numbers 0 and 1, and no classes.
    pub fn is_whole(self) -> bool {
        matches!(self, Element::Int(_) | Element::Unsigned(_))
    }

    /// The number at the beginning of `bytes`, as a float.
    pub(super) fn real(self, bytes: &[u8]) -> f64 {
        match self {
            Element::F16 => half(u16::from_le_bytes(first(bytes))),
            Element::Bf16 => {
                let bits = u32::from(u16::from_le_bytes(first(bytes)));
                f64::from(f32::from_bits(bits << 16))
            }
            Element::F32 => f64::from(f32::from_le_bytes(first(bytes))),
            Element::F64 => f64::from_le_bytes(first(bytes)),
            Element::Bool => f64::from(u8::from(bytes[0] != 0)),
            Element::Unsigned(8) => u64::from_le_bytes(first(bytes)) as f64,
            Element::Int(_) | Element::Unsigned(_) => self.whole(bytes).unwrap_or(0) as f64,
        }
    }

    /// The whole number at the beginning of `bytes`; `None` for floats and for what an i64 cannot hold.
    pub(super) fn whole(self, bytes: &[u8]) -> Option<i64> {
        Some(match self {
            Element::Bool => i64::from(bytes[0] != 0),
            Element::Int(1) => i64::from(i8::from_le_bytes(first(bytes))),
            Element::Int(2) => i64::from(i16::from_le_bytes(first(bytes))),
            Element::Int(4) => i64::from(i32::from_le_bytes(first(bytes))),
            Element::Int(_) => i64::from_le_bytes(first(bytes)),
            Element::Unsigned(1) => i64::from(bytes[0]),
            Element::Unsigned(2) => i64::from(u16::from_le_bytes(first(bytes))),
            Element::Unsigned(4) => i64::from(u32::from_le_bytes(first(bytes))),
            Element::Unsigned(_) => i64::try_from(u64::from_le_bytes(first(bytes))).ok()?,
            Element::F16 | Element::Bf16 | Element::F32 | Element::F64 => return None,
        })
    }

    /// Reads as many numbers as `out` is long.
    pub(super) fn fill(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            // The common case, as one copy.
            Element::F32 => {
                for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *out = f32::from_le_bytes(first(bytes));
                }
            }
            _ => {
                for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(self.bytes())) {
                    *out = self.real(bytes) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn numbers_of_half_precision() {
        let known = [
            (0x0000, 0.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x0400, 6.103_515_625e-5),
            (0x3555, 0.333_251_953_125),
            (0x3c00, 1.0),
            (0x7bff, 65_504.0),
            (0x7c00, f64::INFINITY),
            (0xc000, -2.0),
            (0xfc00, f64::NEG_INFINITY),
        ];
        for (bits, value) in known {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }
}
