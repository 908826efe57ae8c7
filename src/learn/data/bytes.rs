//! The bytes of an array, mapped or in memory.

use super::DataError;
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Bytes that many readers share.
#[derive(Clone, Debug)]
pub(super) enum Bytes {
    /// So many from an offset of a mapped file.
    Mapped(Arc<Mmap>, usize, usize),
    /// The bytes of an array in memory, from an offset on.
    Owned(Arc<[u8]>, usize),
}

impl Bytes {
    /// Part of a file.
    pub(super) fn mapped(path: &Path, offset: u64, length: usize) -> Result<Bytes, DataError> {
        let map = map(path)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        if from.checked_add(length).is_none_or(|end| end > map.len()) {
            return Err(DataError::of(
                path,
                &format!("has {} bytes now, fewer than when it was opened", map.len()),
            )
            .help("leave the file as it is while it is read"));
        }
        Ok(Bytes::Mapped(Arc::new(map), from, length))
    }

    pub(super) fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map, from, length) => &map[*from..from + length],
            Bytes::Owned(all, from) => &all[*from..],
        }
    }
}

/// A whole file in memory as the system pages it in.
pub(super) fn map(path: &Path) -> Result<Mmap, DataError> {
    let unreadable = |error| DataError::unreadable(path, &error);
    let file = File::open(path).map_err(unreadable)?;
    // SAFETY: the map is only read. Whoever changes the file meanwhile changes what is read, as with any reader; a file
    // made shorter ends the program, which the docs say.
    unsafe { Mmap::map(&file) }.map_err(unreadable)
}
