//! Arrays by name from files: `.npz`, a folder of `.npy`, `.safetensors` and `.csv`.
//!
//! [`Source::open`] reads names, shapes and kinds of elements only. [`Source::array`] gives the elements: where the file
//! holds them as they are, it is mapped into memory, so that a file larger than memory can be read; where it is compressed,
//! the array is inflated once. Files are not trusted: a damaged one gives a [`DataError`] and takes no more memory than
//! its own size allows.

mod bytes;
mod csv;
mod element;
mod error;
mod folder;
mod given;
mod hash;
mod npy;
mod npz;
#[cfg(test)]
pub(crate) mod samples;
mod tensors;
#[cfg(test)]
mod tests;

pub use element::Element;
pub use error::DataError;
pub use given::given_array;
pub use hash::sha256;

use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most axes of an array.
const MOST_AXES: usize = 32;

/// A file or folder with arrays.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

/// An array's header and place, or the reason why it cannot be read.
#[derive(Clone, Debug)]
struct Entry {
    header: Result<Header, DataError>,
    place: Place,
}

/// The place of the elements of an array.
#[derive(Clone, Debug)]
enum Place {
    /// From an offset of a file, as they are.
    File(PathBuf, u64),
    /// In a compressed member of the archive.
    Member(npz::Member),
    /// In memory.
    Read(Arc<[u8]>),
}

/// Shape and elements of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sizes of its axes.
    pub dims: Vec<usize>,
    /// The type of its elements.
    pub element: Element,
}

impl Header {
    /// Its number of elements and its bytes; `None` where there are more than a machine can address.
    fn extent(dims: &[usize], element: Element) -> Option<(usize, usize)> {
        let count = dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim))?;
        // A size of 0 hides axes that overflow; no array of NumPy has such.
        let axes = dims.iter().filter(|dim| **dim > 0);
        axes.into_iter()
            .try_fold(element.bytes(), |n, dim| n.checked_mul(*dim))
            .filter(|bytes| isize::try_from(*bytes).is_ok())?;
        Some((count, count * element.bytes()))
    }
}

impl std::fmt::Display for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        write!(f, "[{}] of {}", dims.join(", "), self.element.name())
    }
}

/// An array whose elements can be read.
#[derive(Clone, Debug)]
pub struct Array {
    /// Shape and elements.
    pub header: Header,
    bytes: Bytes,
}

impl Array {
    /// The element with this number, counted row by row, as a float.
    pub fn real(&self, index: usize) -> f64 {
        let size = self.header.element.bytes();
        let bytes = self.bytes.get();
        self.header.element.real(&bytes[index * size..])
    }

    /// The element with this number as a whole number; `None` for floats and for what does not fit.
    pub fn whole(&self, index: usize) -> Option<i64> {
        let size = self.header.element.bytes();
        let bytes = self.bytes.get();
        self.header.element.whole(&bytes[index * size..])
    }

    /// Writes as many elements as `out` is long, from the element with this number on.
    pub fn fill(&self, first: usize, out: &mut [f32]) {
        let size = self.header.element.bytes();
        let bytes = &self.bytes.get()[first * size..(first + out.len()) * size];
        self.header.element.fill(bytes, out);
    }
}

impl Source {
    /// Reads which arrays are there, by what the name of the path ends with; a folder is one of `.npy` files.
    ///
    /// # Errors
    /// [`DataError`], which names the file.
    pub fn open(path: &Path) -> Result<Source, DataError> {
        let about = std::fs::metadata(path).map_err(|error| {
            DataError::unreadable(path, &error).help(
                "a path in a spec is relative to the spec, and one in `--set` to the current directory",
            )
        })?;
        let ending = path.extension().and_then(|end| end.to_str()).unwrap_or("");
        let entries = if about.is_dir() {
            folder::open(path)?
        } else {
            match ending.to_ascii_lowercase().as_str() {
                "npz" => npz::open(path)?,
                "safetensors" => tensors::open(path)?,
                "csv" => csv::open(path)?,
                _ => return Err(unknown(path)),
            }
        };
        if entries.is_empty() {
            return Err(DataError::of(path, "has no arrays in it")
                .help("`np.savez(\"train.npz\", x=x, label=label)` writes a file with two"));
        }
        Ok(Source {
            path: path.to_owned(),
            entries,
        })
    }

    /// One file, which may be a single `.npy` array, called as the file without its ending.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn one_file(path: &Path) -> Result<Source, DataError> {
        if path.extension().is_none_or(|end| end != "npy") {
            return Source::open(path);
        }
        std::fs::metadata(path).map_err(|error| DataError::unreadable(path, &error))?;
        let entry = folder::entry(path);
        Ok(Source {
            path: path.to_owned(),
            entries: entry.into_iter().collect(),
        })
    }

    /// The path of the file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its arrays, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + '_ {
        self.entries.keys().map(String::as_str)
    }

    /// Shape and elements of an array; `None` where there is none of this name.
    ///
    /// # Errors
    /// Where it is of a kind that cannot be read, or damaged.
    pub fn header(&self, name: &str) -> Option<Result<&Header, &DataError>> {
        self.entries.get(name).map(|entry| entry.header.as_ref())
    }

    /// The array of this name, with its elements.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read.
    pub fn array(&self, name: &str) -> Result<Array, DataError> {
        let Some(entry) = self.entries.get(name) else {
            let names: Vec<&str> = self.names().collect();
            let there = error::listed(&names);
            return Err(DataError::of(&self.path, &format!("has no array `{name}`"))
                .help(&format!("it has {there}")));
        };
        let header = entry.header.clone()?;
        let extent = Header::extent(&header.dims, header.element);
        let (_, bytes) = extent.expect("headers are checked where they are read");
        let bytes = match &entry.place {
            Place::File(path, offset) => Bytes::mapped(path, *offset, bytes)?,
            Place::Member(member) => npz::inflate(&self.path, name, member, bytes)?,
            Place::Read(all) => Bytes::Owned(Arc::clone(all), 0),
        };
        Ok(Array { header, bytes })
    }

    /// A fault of the file: `what` goes on from its name.
    pub fn fault(&self, what: &str) -> DataError {
        DataError::of(&self.path, what)
    }

    /// A fault of one of its arrays.
    pub fn fault_of(&self, array: &str, what: &str) -> DataError {
        DataError::of_array(&self.path, array, what)
    }

    /// Its arrays with their shapes, for messages.
    pub fn describe(&self) -> String {
        let rows = self
            .entries
            .iter()
            .map(|(name, entry)| match &entry.header {
                Ok(header) => format!("`{name}` {header}"),
                Err(_) => format!("`{name}` (cannot be read)"),
            });
        let rows: Vec<String> = rows.collect();
        error::shortened(&rows, ", ")
    }
}

/// A path of another kind: what is there instead, and what to do.
fn unknown(path: &Path) -> DataError {
    let error = DataError::of(path, "is not of a kind that can be read");
    match npz::kind_of_file(path) {
        Some("an .npy array") => error.help(
            "it is one array; name the folder that it is in, or write all arrays into one file: `np.savez(\"train.npz\", x=x, label=label)`",
        ),
        Some(kind) => error.help(&format!(
            "it is {kind}; there are .npz, .safetensors, .csv and folders of .npy: `np.savez(\"train.npz\", x=x, label=label)`"
        )),
        None => error.help(
            "there are .npz, .safetensors, .csv and folders of .npy: `np.savez(\"train.npz\", x=x, label=label)`",
        ),
    }
}
