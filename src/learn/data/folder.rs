//! A folder with one `.npy` file for each array.

use super::npy::{self, Fault};
use super::npz::{matches, of_fault};
use super::{DataError, Entry, Header, Place};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The arrays of a folder.
pub(super) fn open(folder: &Path) -> Result<BTreeMap<String, Entry>, DataError> {
    let unreadable = |error| DataError::unreadable(folder, &error);
    let mut entries = BTreeMap::new();
    for file in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        entries.extend(entry(&path));
    }
    if entries.is_empty() {
        return Err(DataError::of(folder, "is a folder without .npy files")
            .help("`np.save(\"FOLDER/x.npy\", x)` writes one"));
    }
    Ok(entries)
}

/// The array of an `.npy` file with its name; `None` for other files.
pub(super) fn entry(path: &Path) -> Option<(String, Entry)> {
    let ends = path.extension().is_some_and(|end| end == "npy");
    let name = path.file_stem().and_then(|name| name.to_str());
    let name = name.filter(|_| ends)?;
    let entry = match header(path) {
        Ok((header, length)) => Entry {
            header: Ok(header),
            place: Place::File(path.to_owned(), length as u64),
        },
        Err(fault) => Entry {
            header: Err(of_fault(path, name, fault)),
            place: Place::Read([].into()),
        },
    };
    Some((name.to_owned(), entry))
}

/// The header of a file, and how long it is.
fn header(path: &Path) -> Result<(Header, usize), Fault> {
    let unreadable = |error: std::io::Error| (format!("cannot be read: {error}"), String::new());
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut prefix = Vec::new();
    file.take(npy::PREFIX as u64)
        .read_to_end(&mut prefix)
        .map_err(unreadable)?;
    let (header, length) = npy::header(&prefix)?;
    matches(&header, length as u64, size)?;
    Ok((header, length))
}
