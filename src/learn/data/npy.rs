//! Headers of arrays in NumPy's format: magic, version, length, and a Python dictionary of type, order and shape.

use super::{Element, Header, MOST_AXES};

/// The first bytes of a file of this format.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is read. NumPy itself stops at 10 000 unless told otherwise.
const LONGEST: usize = 1 << 16;

/// Bytes from the beginning of a file that hold its header, whatever it is.
pub(super) const PREFIX: usize = LONGEST + 12;

/// The fault of an array and its remedy in NumPy, where `NAME` stands for the array.
pub(super) type Fault = (String, String);

fn fault<T>(what: &str, help: &str) -> Result<T, Fault> {
    Err((what.to_owned(), help.to_owned()))
}

const DAMAGED: &str = "write it again with `np.save` or `np.savez`";

/// The header at the beginning of `bytes`, and how long it is. `bytes` are the first [`PREFIX`] of the file, or all.
pub(super) fn header(bytes: &[u8]) -> Result<(Header, usize), Fault> {
    if bytes.first() == Some(&0x80) {
        return fault(
            "this is a pickle, not an array; a pickle can run code and is not read",
            "save numbers: `np.save(\"NAME.npy\", np.asarray(NAME, dtype=np.float32))`",
        );
    }
    if !bytes.starts_with(MAGIC) {
        return fault("this is no array in NumPy's format", DAMAGED);
    }
    let (at, length) = match bytes.get(6..12) {
        Some([1, _, a, b, ..]) => (10, usize::from(u16::from_le_bytes([*a, *b]))),
        Some([2 | 3, _, a, b, c, d]) => (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        Some([version, ..]) => {
            return fault(
                &format!("its header is of version {version}, and there are 1 to 3"),
                DAMAGED,
            )
        }
        _ => return fault("it ends within its header", DAMAGED),
    };
    if length > LONGEST {
        return fault(&format!("its header has {length} bytes, too many"), DAMAGED);
    }
    let Some(text) = bytes.get(at..at + length) else {
        return fault("it ends within its header", DAMAGED);
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return fault("its header is no text", DAMAGED);
    };
    let Some(told) = Told::read(text) else {
        return fault("its header is not as NumPy writes it", DAMAGED);
    };
    let element = element(&told.kind)?;
    if told.dims.len() > MOST_AXES {
        return fault(&format!("it has {} axes", told.dims.len()), DAMAGED);
    }
    // With one axis longer than 1 both orders are the same.
    if told.by_columns && told.dims.iter().filter(|dim| **dim > 1).count() > 1 {
        return fault(
            "its elements are stored column by column (Fortran order)",
            "save `np.ascontiguousarray(NAME)`",
        );
    }
    let header = Header {
        dims: told.dims,
        element,
    };
    if Header::extent(&header.dims, element).is_none() {
        return fault(
            &format!("its header says {header}, more than any memory holds"),
            DAMAGED,
        );
    }
    Ok((header, at + length))
}

/// The type of elements that a header names.
fn element(kind: &Kind) -> Result<Element, Fault> {
    let Kind::Plain(text) = kind else {
        return fault(
            "its elements are records with fields",
            "save each field as an array of its own: `np.savez(\"train.npz\", x=NAME[\"x\"], label=NAME[\"label\"])`",
        );
    };
    let (order, rest) = match text.chars().next() {
        Some(order @ ('<' | '>' | '|' | '=')) => (order, &text[1..]),
        _ => ('|', text.as_str()),
    };
    let code = rest.chars().next().unwrap_or(' ');
    let size = rest.get(code.len_utf8()..).unwrap_or("");
    let found = match (code, size) {
        ('b', "1") | ('?', "") => Element::Bool,
        ('i', "1" | "2" | "4" | "8") => Element::Int(size.parse().unwrap_or(8)),
        ('u', "1" | "2" | "4" | "8") => Element::Unsigned(size.parse().unwrap_or(8)),
        ('f', "2") => Element::F16,
        ('f', "4") => Element::F32,
        ('f', "8") => Element::F64,
        ('O', _) => {
            return fault(
                "its elements are Python objects, which a pickle holds; a pickle can run code and is not read",
                "save numbers of one shape: `np.array(NAME.tolist(), dtype=np.float32)`; sequences of several lengths are padded to the longest, with their lengths in an array `length`",
            )
        }
        ('U' | 'S' | 'a' | 'T', _) => {
            return fault(
                "its elements are texts",
                "save numbers for them: `np.unique(NAME, return_inverse=True)[1].reshape(NAME.shape)`",
            )
        }
        ('c', _) => {
            return fault(
                "its elements are complex numbers",
                "save both parts: `np.stack([NAME.real, NAME.imag], axis=-1)`",
            )
        }
        ('M' | 'm', _) => {
            return fault(
                "its elements are times",
                "save numbers: `NAME.astype(np.int64)`, or differences as floats",
            )
        }
        ('V', _) => {
            return fault(
                "its elements are raw bytes, as those of a type that NumPy itself does not know",
                "save `NAME.astype(np.float32)`",
            )
        }
        ('f', _) => {
            return fault(
                &format!("its elements are floats of {size} bytes"),
                "save `NAME.astype(np.float64)`",
            )
        }
        _ => {
            return fault(
                &format!("its elements are of type `{}`", super::error::cut(text)),
                "save `NAME.astype(np.float32)`",
            )
        }
    };
    if order == '>' && found.bytes() > 1 {
        return fault(
            "its bytes are in big-endian order",
            &format!("save `NAME.astype(np.{})`", found.name()),
        );
    }
    Ok(found)
}

/// The type in a header.
#[derive(Debug, PartialEq)]
enum Kind {
    /// A word such as `<f4`.
    Plain(String),
    /// A list of fields.
    Fields,
}

/// The contents of a header.
#[derive(Debug, PartialEq)]
struct Told {
    kind: Kind,
    by_columns: bool,
    dims: Vec<usize>,
}

impl Told {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`; `None` where it is another thing.
    fn read(text: &str) -> Option<Told> {
        let mut rest = Rest(text);
        rest.take("{")?;
        let (mut kind, mut by_columns, mut dims) = (None, None, None);
        while rest.take("}").is_none() {
            let key = rest.text()?;
            rest.take(":")?;
            match key {
                "descr" => kind = Some(rest.kind()?),
                "fortran_order" => by_columns = Some(rest.truth()?),
                "shape" => dims = Some(rest.dims()?),
                _ => return None,
            }
            if rest.take(",").is_none() {
                rest.take("}")?;
                break;
            }
        }
        rest.0.trim().is_empty().then_some(())?;
        Some(Told {
            kind: kind?,
            by_columns: by_columns?,
            dims: dims?,
        })
    }
}

/// The part of a header that has not been read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, word: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(word)?;
        Some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, rest) = rest[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    fn truth(&mut self) -> Option<bool> {
        let value = self.take("True").is_some();
        (value || self.take("False").is_some()).then_some(value)
    }

    fn kind(&mut self) -> Option<Kind> {
        if let Some(text) = self.text() {
            return Some(Kind::Plain(text.to_owned()));
        }
        self.take("[")?;
        let mut depth = 1;
        let end = self.0.find(|c| {
            depth += match c {
                '[' => 1,
                ']' => -1,
                _ => 0,
            };
            depth == 0
        })?;
        self.0 = &self.0[end + 1..];
        Some(Kind::Fields)
    }

    fn dims(&mut self) -> Option<Vec<usize>> {
        self.take("(")?;
        let mut dims = Vec::new();
        while self.take(")").is_none() {
            let rest = self.0.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            dims.push(rest[..end].parse().ok()?);
            self.0 = &rest[end..];
            // Python 2 wrote long numbers with an L.
            self.take("L");
            if self.take(",").is_none() {
                self.take(")")?;
                break;
            }
        }
        Some(dims)
    }
}
