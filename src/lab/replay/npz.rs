//! Recordings as NumPy reads them: a zip archive, nothing compressed, with one `.npy` a value.
//!
//! Sizes are known before the numbers, so each has its place from the beginning; their check sums are computed from the
//! file at the end. (Format: PKWARE's APPNOTE, with its 64-bit extension for arrays of 4 GiB and more.)

use super::outline::{Format, Outline};
use super::Source;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};

/// An archive with each value as an array `[steps, lanes, dims...]` of its name (f4, or f8 from the reference
/// backend), and `episode.lanes` and `episode.steps`, the numbers of the lanes and steps.
pub struct Npz;

/// From this many bytes on, sizes and places stand in the extension.
const LARGE: u64 = u32::MAX as u64;

/// 1 January 1980, so that equal recordings are equal files.
const DATE: u16 = 0x21;

const CRC: crc::Crc<u32, crc::Table<16>> =
    crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISO_HDLC);

/// One file of the archive.
struct Entry {
    name: String,
    /// NumPy's header of the array.
    header: Vec<u8>,
    /// Bytes of its numbers.
    data: u64,
    /// The offset of the entry.
    at: u64,
}

impl Entry {
    /// Bytes of the file in the archive.
    fn size(&self) -> u64 {
        self.header.len() as u64 + self.data
    }

    /// The offset of NumPy's header.
    fn start(&self) -> u64 {
        self.at + 30 + self.name.len() as u64 + if self.is_large() { 20 } else { 0 }
    }

    fn is_large(&self) -> bool {
        self.size() >= LARGE
    }

    fn end(&self) -> u64 {
        self.start() + self.size()
    }

    /// The fields that the headers in the archive and in its directory share, from the needed version on.
    fn fields(&self, check: u32, extra: usize) -> Vec<u8> {
        let version: u16 = if extra > 0 { 45 } else { 20 };
        // The names are UTF-8.
        let flags: u16 = if self.name.is_ascii() { 0 } else { 1 << 11 };
        let mut out = Vec::new();
        for field in [version, flags, 0, 0, DATE] {
            out.extend(field.to_le_bytes());
        }
        out.extend(check.to_le_bytes());
        let size = self.size().min(LARGE) as u32;
        out.extend(size.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((extra as u16).to_le_bytes());
        out
    }

    /// The header before the array.
    fn local(&self, check: u32) -> Vec<u8> {
        let extra = self.extension(false);
        let mut out = b"PK\x03\x04".to_vec();
        out.extend(self.fields(check, extra.len()));
        out.extend(self.name.as_bytes());
        out.extend(extra);
        out.extend(&self.header);
        out
    }

    /// The entry in the directory.
    fn listed(&self, check: u32) -> Vec<u8> {
        let extra = self.extension(true);
        let mut out = b"PK\x01\x02".to_vec();
        out.extend(45u16.to_le_bytes());
        out.extend(self.fields(check, extra.len()));
        // No comment, disk 0, no attributes.
        out.extend([0; 10]);
        out.extend((self.at.min(LARGE) as u32).to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(extra);
        out
    }

    /// The extension for numbers beyond 32 bits: sizes, and in the directory the offset.
    fn extension(&self, place: bool) -> Vec<u8> {
        let mut numbers = Vec::new();
        if self.is_large() {
            numbers.extend([self.size(), self.size()]);
        }
        if place && self.at >= LARGE {
            numbers.push(self.at);
        }
        if numbers.is_empty() {
            return Vec::new();
        }
        let mut out = 1u16.to_le_bytes().to_vec();
        out.extend((8 * numbers.len() as u16).to_le_bytes());
        out.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        out
    }
}

/// The header of an array in NumPy's format, version 1.0: magic, and a text padded to a multiple of 64 bytes.
fn header(kind: &str, dims: &[usize]) -> Vec<u8> {
    let shape: String = dims.iter().map(|dim| format!("{dim},")).collect();
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.push_str(&" ".repeat(length - 1 - text.len()));
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((length as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out
}

/// An archive of whole arrays, each with its name, dimensions and numbers, of 64 bits if `wide`.
pub fn archive(arrays: &[(String, Vec<usize>, &[f64])], wide: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, dims, values) in arrays {
        let data: Vec<u8> = match wide {
            true => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            false => values
                .iter()
                .flat_map(|x| (*x as f32).to_le_bytes())
                .collect(),
        };
        let entry = Entry {
            name: format!("{name}.npy"),
            header: header(if wide { "<f8" } else { "<f4" }, dims),
            data: data.len() as u64,
            at: out.len() as u64,
        };
        let mut digest = CRC.digest();
        digest.update(&entry.header);
        digest.update(&data);
        let check = digest.finalize();
        out.extend(entry.local(check));
        out.extend(data);
        directory.extend(entry.listed(check));
    }
    let (at, length) = (out.len() as u64, directory.len() as u64);
    out.extend(directory);
    out.extend(end(arrays.len(), length, at));
    out
}

/// The values, then which lanes and steps they are of.
fn entries(outline: &Outline) -> Vec<Entry> {
    let kind = if outline.wide { "<f8" } else { "<f4" };
    let mut all: Vec<Entry> = Vec::new();
    let mut add = |name: &str, header: Vec<u8>, data: u64| {
        let at = all.last().map_or(0, Entry::end);
        all.push(Entry {
            name: format!("{name}.npy"),
            header,
            data,
            at,
        });
    };
    for (k, (name, _)) in outline.arrays.iter().enumerate() {
        add(name, header(kind, &outline.dims(k)), outline.bytes(k));
    }
    for (name, numbers) in [
        ("episode.lanes", &outline.lanes),
        ("episode.steps", &outline.steps),
    ] {
        add(
            name,
            header("<u8", &[numbers.len()]),
            8 * numbers.len() as u64,
        );
    }
    all
}

/// The check sum of `length` bytes from `start` on.
fn check(file: &mut File, start: u64, length: u64) -> Result<u32> {
    file.seek(SeekFrom::Start(start))?;
    let mut left = length;
    let mut digest = CRC.digest();
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let part = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..part])?;
        digest.update(&buffer[..part]);
        left -= part as u64;
    }
    Ok(digest.finalize())
}

impl Format for Npz {
    fn places(&self, outline: &Outline) -> (Vec<u64>, u64) {
        let entries = entries(outline);
        let places = entries.iter().take(outline.arrays.len());
        let places = places.map(|entry| entry.end() - entry.data).collect();
        (places, entries.last().map_or(0, Entry::end))
    }

    fn finish(&self, outline: &Outline, _sources: &[Source], file: &mut File) -> Result<()> {
        let entries = entries(outline);
        if let Some(long) = entries
            .iter()
            .find(|e| u16::try_from(e.name.len()).is_err())
        {
            let message = format!(
                "a name of {} bytes is too long for a zip file",
                long.name.len()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let last = entries.iter().skip(outline.arrays.len());
        for (entry, numbers) in last.zip([&outline.lanes, &outline.steps]) {
            let data: Vec<u8> = numbers
                .iter()
                .flat_map(|n| (*n as u64).to_le_bytes())
                .collect();
            file.seek(SeekFrom::Start(entry.end() - entry.data))?;
            file.write_all(&data)?;
        }
        let mut directory = Vec::new();
        for entry in &entries {
            file.seek(SeekFrom::Start(entry.start()))?;
            file.write_all(&entry.header)?;
            let check = check(file, entry.start(), entry.size())?;
            file.seek(SeekFrom::Start(entry.at))?;
            file.write_all(&entry.local(check))?;
            directory.extend(entry.listed(check));
        }
        let at = entries.last().map_or(0, Entry::end);
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&directory)?;
        file.write_all(&end(entries.len(), directory.len() as u64, at))
    }
}

/// The end of the archive: how many entries the directory has, its length and its place.
fn end(count: usize, length: u64, at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let count = count as u64;
    let many = u64::from(u16::MAX);
    if at >= LARGE || length >= LARGE || count >= many {
        // The record, and where it is.
        out.extend(b"PK\x06\x06");
        out.extend(44u64.to_le_bytes());
        out.extend([45, 0, 45, 0]);
        out.extend([0; 8]);
        for number in [count, count, length, at] {
            out.extend(number.to_le_bytes());
        }
        out.extend(b"PK\x06\x07");
        out.extend([0; 4]);
        out.extend((at + length).to_le_bytes());
        out.extend(1u32.to_le_bytes());
    }
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    let short = (count.min(many) as u16).to_le_bytes();
    out.extend(short);
    out.extend(short);
    out.extend((length.min(LARGE) as u32).to_le_bytes());
    out.extend((at.min(LARGE) as u32).to_le_bytes());
    out.extend([0; 2]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_arrays_end_at_64_bytes() {
        let bytes = header("<f4", &[3, 2, 5]);
        assert_eq!(bytes.len() % 64, 0);
        let text = String::from_utf8_lossy(&bytes[10..]);
        assert!(text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3,2,5,), }"));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn arrays_beyond_4_gib_have_places_beyond_4_gib() {
        let outline = Outline {
            iteration: 1,
            steps: (0..1000).collect(),
            lanes: (0..30).collect(),
            arrays: vec![
                ("w".to_owned(), vec![200, 200]),
                ("m".to_owned(), Vec::new()),
            ],
            wide: false,
        };
        let all = entries(&outline);
        let size = 1000 * 30 * 40_000 * 4 + all[0].header.len() as u64;
        assert_eq!(all[0].size(), size);
        // Version 4.5, sizes in the extension.
        let local = all[0].local(7);
        assert_eq!(local[4..6], [45, 0]);
        assert_eq!(local[18..26], [0xff; 8]);
        assert_eq!(local[35..39], [1, 0, 16, 0]);
        assert_eq!(local[39..47], size.to_le_bytes());
        assert_eq!(
            local.len() as u64 - all[0].header.len() as u64,
            all[0].start()
        );
        // The next one is small, and its place in the directory is not.
        let listed = all[1].listed(7);
        assert_eq!(listed[42..46], [0xff; 4]);
        let extra = &listed[46 + all[1].name.len()..];
        assert_eq!(extra[..4], [1, 0, 8, 0]);
        assert_eq!(extra[4..], all[0].end().to_le_bytes());
        assert!(all[1].local(7).len() < 30 + 5 + 128 + 1);
        let end = end(4, 300, all[3].end());
        assert_eq!(end.len(), 56 + 20 + 22);
    }
}
