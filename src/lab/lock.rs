//! File locks that end with the process that holds them, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the lock file in a directory that only one process may work in.
pub const LOCK: &str = ".lock";

/// The number of attempts to take a lock: [`is_held`] in another process may hold it for a moment.
const TRIES: u32 = 5;
/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(40);

/// The reason why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses the directory.
    #[error("{} is in use by {holder}", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// The description of that process.
        holder: String,
    },
    /// The lock file cannot be created.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// The error of the file system.
        source: Error,
    },
}

/// A lock on a directory, held until it is dropped or the process ends. The operating system releases it even
/// if the process is killed, so no stale lock remains. On file systems without locks it locks nothing.
#[derive(Debug)]
pub struct Lock {
    /// The open lock file; closing it releases the lock.
    _file: File,
}

impl Lock {
    /// Locks `directory`, which must exist.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(directory: &Path) -> Result<Lock, LockError> {
        let path = directory.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| LockError::File {
                path: path.clone(),
                source,
            })?;
        for attempt in 1..=TRIES {
            match file.try_lock() {
                Ok(()) => break,
                // This file system has no locks.
                Err(TryLockError::Error(_)) => break,
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // The description is optional.
                    let _ = file.read_to_string(&mut holder);
                    let holder = match holder.trim() {
                        "" => "another process".to_owned(),
                        words => words.to_owned(),
                    };
                    return Err(LockError::Held {
                        path: directory.to_owned(),
                        holder,
                    });
                }
            }
        }
        // Writing the description is optional, too.
        let _ = file.set_len(0).and_then(|()| {
            let process = std::process::id();
            writeln!(file, "process {process} on {}", host())
        });
        Ok(Lock { _file: file })
    }
}

/// Returns true if a process holds the lock on `directory`.
pub fn is_held(directory: &Path) -> bool {
    File::open(directory.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The name of this machine, or a substitute if it is unknown.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_let_go() {
        let directory = std::env::temp_dir().join(format!("bpmc-lock-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        assert!(!is_held(&directory));
        let lock = Lock::take(&directory).unwrap();
        assert!(is_held(&directory));
        let message = Lock::take(&directory).unwrap_err().to_string();
        let process = format!("is in use by process {} on ", std::process::id());
        assert!(message.contains(&process), "{message}");
        drop(lock);
        assert!(!is_held(&directory));
        drop(Lock::take(&directory).unwrap());
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(matches!(
            Lock::take(&directory),
            Err(LockError::File { .. })
        ));
    }
}
