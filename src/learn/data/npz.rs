//! Archives as `np.savez` and `np.savez_compressed` write them: a zip of `.npy` files.

use super::bytes::{map, Bytes};
use super::npy::{self, Fault};
use super::{DataError, Entry, Header, Place};
use crate::machine::memory;
use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// Bytes that one byte of a deflated member can stand for at most.
const MOST_INFLATION: u64 = 1032;

/// The kind of a file that has another ending than it should, by its first bytes.
pub(super) fn kind_of_file(path: &Path) -> Option<&'static str> {
    let mut start = [0; 8];
    let mut file = File::open(path).ok()?;
    let length = file.read(&mut start).ok()?;
    let kinds: [(&[u8], &str); 6] = [
        (npy::MAGIC, "an .npy array"),
        (b"\x89HDF", "an HDF5 file"),
        (
            b"PK\x03\x04",
            "a zip archive; if NumPy wrote it, let its name end with .npz",
        ),
        (b"\x80", "a pickle, which can run code and is not read"),
        (b"MATLAB", "a file of MATLAB"),
        (b"PAR1", "a Parquet file"),
    ];
    let found = kinds
        .iter()
        .find(|(magic, _)| start[..length].starts_with(magic));
    found.map(|(_, kind)| *kind)
}

/// The arrays of an archive.
pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Entry>, DataError> {
    let mut archive = archive(path)?;
    // The map finds members; a truncated one must not be seen later than here.
    let file = map(path)?;
    let mut entries = BTreeMap::new();
    for number in 0..archive.len() {
        let member = archive
            .by_index_raw(number)
            .map_err(|error| broken(path, &error))?;
        let Some(name) = member.name().strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        let found = if member.encrypted() {
            Err((
                "it is encrypted".to_owned(),
                "write the archive without a password".to_owned(),
            ))
        } else {
            let (size, packed) = (member.size(), member.compressed_size());
            let range = member.data_start().and_then(|start| range(start, packed));
            let bytes = range.clone().and_then(|range| file.get(range));
            match (member.compression(), range, bytes) {
                (CompressionMethod::Stored, Some(range), Some(bytes)) => {
                    stored(bytes, range.start as u64, size, path)
                }
                (CompressionMethod::DEFLATE, Some(range), Some(bytes)) => {
                    deflated(bytes, range, (size, member.crc32()))
                }
                (CompressionMethod::Stored | CompressionMethod::DEFLATE, ..) => Err(damaged()),
                (other, ..) => Err((
                    format!("it is compressed by {other}"),
                    "write it with `np.savez` or `np.savez_compressed`".to_owned(),
                )),
            }
        };
        let entry = match found {
            Ok((header, place)) => Entry {
                header: Ok(header),
                place,
            },
            Err(fault) => Entry {
                header: Err(of_fault(path, &name, fault)),
                place: Place::Read([].into()),
            },
        };
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// A fault of an array, with its name in the NumPy call that mends it.
pub(super) fn of_fault(path: &Path, name: &str, (what, help): Fault) -> DataError {
    let variable = if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        super::error::cut(name)
    } else {
        "x".to_owned()
    };
    DataError::of_array(path, name, &what).help(&help.replace("NAME", &variable))
}

fn damaged() -> Fault {
    (
        "the archive is damaged there".to_owned(),
        "copy or write the file again".to_owned(),
    )
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> DataError {
    DataError::of(path, &format!("is no sound zip archive ({error})"))
        .help("copy or write the file again: `np.savez(\"train.npz\", x=x, label=label)`")
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, DataError> {
    let file = File::open(path).map_err(|error| DataError::unreadable(path, &error))?;
    match ZipArchive::new(BufReader::new(file)) {
        Ok(archive) => Ok(archive),
        Err(error) => Err(match kind_of_file(path) {
            Some(kind) if kind.starts_with("a zip") => {
                let bytes = std::fs::metadata(path).map_or(0, |about| about.len());
                DataError::of(
                    path,
                    &format!("is only the beginning of a zip archive, or damaged: no sound list of members at its end ({bytes} bytes)"),
                )
                .help("it was probably cut off while it was copied or written; do so again")
            }
            Some(kind) => DataError::of(path, &format!("is no .npz archive, but {kind}"))
                .help("write it with `np.savez(\"train.npz\", x=x, label=label)`"),
            None => broken(path, &error),
        }),
    }
}

/// So many bytes of a file from an offset.
fn range(start: u64, length: u64) -> Option<Range<usize>> {
    let start = usize::try_from(start).ok()?;
    Some(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// A member whose bytes lie in the file as they are.
fn stored(bytes: &[u8], start: u64, size: u64, path: &Path) -> Result<(Header, Place), Fault> {
    if bytes.len() as u64 != size {
        return Err(damaged());
    }
    let (header, length) = npy::header(&bytes[..bytes.len().min(npy::PREFIX)])?;
    matches(&header, length as u64, size)?;
    Ok((header, Place::File(path.to_owned(), start + length as u64)))
}

/// A compressed member; its header is inflated.
fn deflated(
    packed: &[u8],
    range: Range<usize>,
    (size, sum): (u64, u32),
) -> Result<(Header, Place), Fault> {
    if size / MOST_INFLATION > packed.len() as u64 {
        return Err(damaged());
    }
    let mut prefix = Vec::new();
    // What is wrong after the header is told where the array is read.
    let read = DeflateDecoder::new(packed)
        .take(npy::PREFIX as u64)
        .read_to_end(&mut prefix);
    if read.is_err() && prefix.len() < 12 {
        return Err(damaged());
    }
    let (header, length) = npy::header(&prefix)?;
    matches(&header, length as u64, size)?;
    let member = Member {
        range,
        header: length,
        sum,
    };
    Ok((header, Place::Member(member)))
}

/// Checks that a member has as many bytes as its header says.
pub(super) fn matches(header: &Header, length: u64, size: u64) -> Result<(), Fault> {
    let extent = Header::extent(&header.dims, header.element);
    let (_, bytes) = extent.expect("headers are checked where they are read");
    if length + bytes as u64 == size {
        return Ok(());
    }
    Err((
        format!(
            "its header says {header}, which is {bytes} bytes, and {} are there",
            size.saturating_sub(length)
        ),
        "copy or write the file again".to_owned(),
    ))
}

/// A compressed member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its bytes in the file.
    range: Range<usize>,
    /// Bytes of its header, inflated.
    header: usize,
    /// The checksum of all of it, inflated.
    sum: u32,
}

/// The elements of a compressed member, so many bytes.
pub(super) fn inflate(
    path: &Path,
    name: &str,
    member: &Member,
    bytes: usize,
) -> Result<Bytes, DataError> {
    let too_large = || {
        let free = memory::free().unwrap_or(0) / 1_000_000;
        let what = format!(
            "inflated it takes {} MB, and {free} MB of memory are free",
            bytes / 1_000_000
        );
        DataError::of_array(path, name, &what).help(&format!(
            "write it with `np.savez` instead of `np.savez_compressed`: then it is read from the file piece by piece; or as a smaller type: `{name}.astype(np.float16)`"
        ))
    };
    let at_fault =
        |what: &str| DataError::of_array(path, name, what).help("copy or write the file again");
    if memory::free().is_some_and(|free| bytes as u64 > free) {
        return Err(too_large());
    }
    let file = map(path)?;
    let Some(packed) = file.get(member.range.clone()) else {
        return Err(at_fault("the file is shorter than when it was opened"));
    };
    let mut all = Vec::new();
    let size = member.header + bytes;
    all.try_reserve_exact(size).map_err(|_| too_large())?;
    let read = DeflateDecoder::new(packed)
        .take(size as u64 + 1)
        .read_to_end(&mut all);
    if let Err(error) = read {
        return Err(at_fault(&format!("it cannot be inflated ({error})")));
    }
    let mut sum = flate2::Crc::new();
    sum.update(&all);
    if all.len() != size || sum.sum() != member.sum {
        return Err(at_fault("inflated it is not what was written"));
    }
    Ok(Bytes::Owned(all.into(), member.header))
}
