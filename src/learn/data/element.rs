//! Kinds of elements, and numbers of them.

use half::{bf16, f16};

/// What the elements of an array are; bytes in little-endian order.
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

    /// Whether they are whole numbers; truth values are numbers 0 and 1, and no classes.
    pub fn is_whole(self) -> bool {
        matches!(self, Element::Int(_) | Element::Unsigned(_))
    }

    /// The number at the beginning of `bytes`, as a float.
    pub(super) fn real(self, bytes: &[u8]) -> f64 {
        match self {
            Element::F16 => f16::from_le_bytes(first(bytes)).to_f64(),
            Element::Bf16 => bf16::from_le_bytes(first(bytes)).to_f64(),
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

    /// As many numbers as `out` is long.
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
