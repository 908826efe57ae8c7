//! Files that are replaced in one step: a crash leaves the old one or the new one, whole.

use std::fs::File;
use std::io::{Error, Write};
use std::path::Path;

/// Puts `bytes` at `path` in one step: a reader, or a crash, sees the old file or the new one. The new one
/// has the permissions of the old.
///
/// # Errors
/// Those of the file system; then the old file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(name);
    let written = write_synced(&temporary, bytes)
        .and_then(|()| match std::fs::metadata(path) {
            Ok(old) => std::fs::set_permissions(&temporary, old.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error to report is the first one.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    sync_directory(directory)
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
