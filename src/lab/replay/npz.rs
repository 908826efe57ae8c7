//! Recordings as NumPy reads them: a zip archive, nothing compressed, with one `.npy` a value.

use super::Recording;
use std::io::{Cursor, Error, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// An archive with each value as an array `[steps, lanes, dims...]` of its name (f4, or f8 from the reference
/// backend), and `episode.lanes`, the numbers of the lanes.
///
/// # Errors
/// Where the archive cannot be made, as when a name is too long for one.
pub fn to_npz(recording: &Recording) -> Result<Vec<u8>, Error> {
    let mut archive = Archive(ZipWriter::new(Cursor::new(Vec::new())));
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
    Ok(archive.0.finish()?.into_inner())
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

/// A zip archive of stored files, all of 1 January 1980, so that equal recordings are equal files.
struct Archive(ZipWriter<Cursor<Vec<u8>>>);

impl Archive {
    fn add(&mut self, name: &str, data: &[u8]) -> Result<(), Error> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(u32::try_from(data.len()).is_err());
        self.0.start_file(format!("{name}.npy"), options)?;
        self.0.write_all(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_arrays_end_at_64_bytes() {
        let bytes = array("<f4", &[3, 2, 5], &[7; 120]);
        assert_eq!((bytes.len() - 120) % 64, 0);
        let header = String::from_utf8_lossy(&bytes[10..bytes.len() - 120]);
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3,2,5,), }"));
        assert!(header.ends_with('\n'));
    }
}
