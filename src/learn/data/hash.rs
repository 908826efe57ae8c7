//! The hash of files, which says whether they have changed.

use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

/// The SHA-256 of a file, or of the files of a folder in the order of their names, in hexadecimal.
///
/// # Errors
/// Those of the file system.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
        files = entries.collect::<Result<_, _>>()?;
        files.sort();
    }
    let mut digest = Sha256::new();
    for file in files {
        let mut file = std::fs::File::open(file)?;
        std::io::copy(&mut file, &mut Hasher(&mut digest))?;
    }
    let mut text = String::with_capacity(64);
    for byte in digest.finalize() {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    Ok(text)
}

/// A digest that takes what is written.
struct Hasher<'a>(&'a mut Sha256);

impl std::io::Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
