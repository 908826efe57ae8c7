//! Files that are replaced in one step: a crash leaves the old one or the new one, whole.

use std::fs::File;
use std::io::{Error, Write};
use std::path::{Path, PathBuf};

/// Puts `bytes` at `path` in one step: a reader, or a crash, sees the old file or the new one. The new one
/// has the permissions of the old.
///
/// # Errors
/// Those of the file system; then the old file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let replacement = Replacement::begin(path)?;
    let mut file = replacement.file()?;
    file.write_all(bytes)?;
    replacement.commit(&file)
}

/// A file that is written bit by bit, and takes the place of another once it is whole.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Replacement {
    /// Makes an empty file beside `path`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(path: &Path) -> Result<Replacement, Error> {
        let temporary = temporary(path);
        File::create(&temporary)?;
        Ok(Replacement {
            path: path.to_owned(),
            temporary,
            committed: false,
        })
    }

    /// The file, to be read and written.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn file(&self) -> Result<File, Error> {
        File::options().read(true).write(true).open(&self.temporary)
    }

    /// Puts the file, which `file` is, in its place in one step, with the permissions of what was there.
    ///
    /// # Errors
    /// Those of the file system; then the old file is as it was.
    pub fn commit(mut self, file: &File) -> Result<(), Error> {
        file.sync_all()?;
        if let Ok(old) = std::fs::metadata(&self.path) {
            std::fs::set_permissions(&self.temporary, old.permissions())?;
        }
        std::fs::rename(&self.temporary, &self.path)?;
        self.committed = true;
        sync_directory(directory(&self.path))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // Best effort: the error to report is the one that came before.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Puts `bytes` at `path`, where nothing is yet, in one step: of two processes that try, one succeeds.
///
/// # Errors
/// Those of the file system; [`std::io::ErrorKind::AlreadyExists`] where something is there.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = temporary(path);
    let written = write_synced(&temporary, bytes).and_then(|()| {
        match std::fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                // This file system has no links: the name is claimed first, and filled in one step.
                File::create_new(path)?;
                std::fs::rename(&temporary, path)
            }
            linked => linked,
        }
    });
    // Best effort: after a rename it is gone, and the error to report is the first one.
    let _ = std::fs::remove_file(&temporary);
    written?;
    sync_directory(directory(path))
}

/// Takes away what a process that was killed in [`replace`] or [`create`] left in `directory`. The caller makes
/// sure that no other process works there.
///
/// # Errors
/// Those of the file system.
pub fn clear_temporaries(directory: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(SUFFIX) && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Ending of files that are not whole yet.
const SUFFIX: &str = ".tmp";

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The temporary path at which a file is written before it gets its name.
fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}{SUFFIX}", std::process::id()));
    directory(path).join(name)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the rename itself durable, where directories can be opened.
fn sync_directory(directory: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_leftovers_go() {
        let folder = std::env::temp_dir().join(format!("bpmc-replace-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.yaml");
        create(&file, b"one").unwrap();
        let again = create(&file, b"two").unwrap_err();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
        replace(&file, b"three").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"three");

        std::fs::write(folder.join(".a.yaml.1.tmp"), "half").unwrap();
        std::fs::write(folder.join(".lock"), "").unwrap();
        clear_temporaries(&folder).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".lock", "a.yaml"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
