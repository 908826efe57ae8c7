//! Files of arrays for tests.

mod format;

pub(crate) use format::{npy, npz};

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
