//! Files of arrays for tests.

use flate2::write::DeflateEncoder;
use flate2::Compression;
use std::io::Write;
use std::path::PathBuf;

/// A folder that goes away with the test.
pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("bpmc-arrays-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An array in NumPy's format, with these words in its header.
pub(crate) fn npy(kind: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(length - 1 - header.len()));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((length as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

/// A zip archive of such arrays, stored or deflated.
pub(crate) fn npz(deflated: bool, members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let packed = if deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        } else {
            bytes.clone()
        };
        // Version, flags, method, time and date, checksum, sizes, lengths of the name and of more.
        let mut about = vec![20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0x21, 0];
        about.extend(sum.sum().to_le_bytes());
        about.extend((packed.len() as u32).to_le_bytes());
        about.extend((bytes.len() as u32).to_le_bytes());
        about.extend((name.len() as u16).to_le_bytes());
        about.extend([0, 0]);
        list.extend(b"PK\x01\x02\x14\x00");
        list.extend(&about);
        list.extend([0; 10]);
        list.extend((out.len() as u32).to_le_bytes());
        list.extend(name.as_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(about);
        out.extend(name.as_bytes());
        out.extend(packed);
    }
    let (start, count) = (out.len() as u32, (members.len() as u16).to_le_bytes());
    out.extend(&list);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend((list.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// An array of floats of this name in single precision, for [`npz`].
pub(crate) fn floats(name: &str, shape: &str, values: &[f32]) -> (String, Vec<u8>) {
    let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    (format!("{name}.npy"), npy("'<f4'", "False", shape, &data))
}

/// An array of whole numbers of this name.
pub(crate) fn wholes(name: &str, shape: &str, values: &[i64]) -> (String, Vec<u8>) {
    let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    (format!("{name}.npy"), npy("'<i8'", "False", shape, &data))
}

/// An archive as `np.savez` writes it.
pub(crate) fn saved(arrays: &[(String, Vec<u8>)]) -> Vec<u8> {
    let members: Vec<(&str, Vec<u8>)> = arrays
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    npz(false, &members)
}
