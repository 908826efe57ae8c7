//! Recordings as NumPy reads them: a zip archive, nothing compressed, with one `.npy` a value.

use super::Recording;
use std::io::{Error, ErrorKind};

/// An archive with each value as an array `[steps, lanes, dims...]` of its name (f4, or f8 from the reference
/// backend), and `episode.lanes`, the numbers of the lanes.
///
/// # Errors
/// Where it would be larger than such archives can be, 4 GiB.
pub fn to_npz(recording: &Recording) -> Result<Vec<u8>, Error> {
    let mut archive = Archive::default();
    for series in &recording.series {
        let mut dims = vec![recording.steps, recording.lanes.len()];
        dims.extend(&series.dims);
        let values = series.values.iter();
        let (kind, data): (_, Vec<u8>) = if recording.wide {
            ("<f8", values.flat_map(|x| x.to_le_bytes()).collect())
        } else {
            (
                "<f4",
                values.flat_map(|x| (*x as f32).to_le_bytes()).collect(),
            )
        };
        archive.add(&series.name, &array(kind, &dims, &data))?;
    }
    let lanes = recording.lanes.iter();
    let data: Vec<u8> = lanes
        .flat_map(|lane| (*lane as u64).to_le_bytes())
        .collect();
    archive.add(
        "episode.lanes",
        &array("<u8", &[recording.lanes.len()], &data),
    )?;
    archive.finish()
}

/// An array in NumPy's format, version 1.0: magic, header padded to a multiple of 64 bytes, data.
fn array(kind: &str, dims: &[usize], data: &[u8]) -> Vec<u8> {
    let shape: String = dims.iter().map(|dim| format!("{dim},")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(length - 1 - header.len()));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((length as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

/// A zip archive of stored files.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

impl Archive {
    fn add(&mut self, name: &str, data: &[u8]) -> Result<(), Error> {
        let name = format!("{name}.npy");
        let (offset, size) = (small(self.bytes.len())?, small(data.len())?);
        // Version 2.0, names in UTF-8, stored; 1 January 1980, so that equal recordings are equal files.
        let mut entry = Vec::new();
        entry.extend([20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0]);
        entry.extend(crc32(data).to_le_bytes());
        entry.extend(size.to_le_bytes());
        entry.extend(size.to_le_bytes());
        entry.extend((name.len() as u16).to_le_bytes());
        entry.extend([0, 0]);
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&entry);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(data);
        self.directory.extend(b"PK\x01\x02\x14\x00");
        self.directory.extend(&entry);
        self.directory.extend([0; 10]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.files += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, Error> {
        let (offset, size) = (small(self.bytes.len())?, small(self.directory.len())?);
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(offset.to_le_bytes());
        self.bytes.extend([0, 0]);
        Ok(self.bytes)
    }
}

fn small(size: usize) -> Result<u32, Error> {
    u32::try_from(size).map_err(|_| {
        let text = "an .npz file holds at most 4 GiB here; write .safetensors or fewer lanes";
        Error::new(ErrorKind::FileTooLarge, text)
    })
}

/// CRC-32 of zip archives, bit-reversed polynomial 0xedb88320.
fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !data.iter().fold(!0, |sum, byte| {
        (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ byte)]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut k = 0;
    while k < 256 {
        let mut sum = k as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
            bit += 1;
        }
        table[k] = sum;
        k += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn headers_of_arrays_end_at_64_bytes() {
        let bytes = array("<f4", &[3, 2, 5], &[7; 120]);
        assert_eq!((bytes.len() - 120) % 64, 0);
        let header = String::from_utf8_lossy(&bytes[10..bytes.len() - 120]);
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3,2,5,), }"));
        assert!(header.ends_with('\n'));
    }
}
