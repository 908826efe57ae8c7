//! Compiled sources on disk, keyed by the hash of all their dependencies.

use super::DeviceError;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// The folder of compiled kernels: `BPMC_CACHE`, else `bpmc` in the user's cache folder, else in the
/// temporary folder.
fn folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = named("BPMC_CACHE") {
        return PathBuf::from(folder);
    }
    let user = named("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| named("HOME").map(|home| PathBuf::from(home).join(".cache")));
    user.unwrap_or_else(std::env::temp_dir).join("bpmc")
}

/// The compiled file of `parts`; `make` creates it if it is missing. `make` gets the folder and the name of a
/// file to write, which is then renamed atomically: other processes find the whole file or none.
pub(super) fn compiled(
    parts: &[&str],
    extension: &str,
    make: impl FnOnce(&std::path::Path) -> Result<(), DeviceError>,
) -> Result<PathBuf, DeviceError> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let name: String = hash
        .finalize()
        .iter()
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect();
    let failed = |reason: std::io::Error, path: &std::path::Path| DeviceError::Absent {
        what: format!(
            "compiled kernels cannot be kept in {}: {reason}",
            path.display()
        ),
        help: "set BPMC_CACHE to a folder that can be written".to_owned(),
    };
    let mut folder = folder();
    if std::fs::create_dir_all(&folder).is_err() {
        folder = std::env::temp_dir().join("bpmc");
        std::fs::create_dir_all(&folder).map_err(|error| failed(error, &folder))?;
    }
    let file = folder.join(format!("{name}.{extension}"));
    if file.is_file() {
        return Ok(file);
    }
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let own = folder.join(format!(
        "{name}-{}-{number}.{extension}",
        std::process::id()
    ));
    make(&own)?;
    std::fs::rename(&own, &file).map_err(|error| failed(error, &file))?;
    Ok(file)
}
