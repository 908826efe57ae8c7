//! Locks on files that end with the process that holds them, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the lock in a directory that only one process may work in.
pub const LOCK: &str = ".lock";

/// Times that a lock is tried: [`is_held`] of another process may hold it for a moment.
const TRIES: u32 = 5;
/// Time between tries.
const PAUSE: Duration = Duration::from_millis(40);

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process works there.
    #[error("{} is in use by {holder}", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who works there, in words.
        holder: String,
    },
    /// The lock file cannot be made.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: Error,
    },
}

/// A lock on a directory, until it is dropped or the process ends. The operating system lets go of it even
/// where the process is killed, so that no lock is ever left over. File systems without locks give none.
#[derive(Debug)]
pub struct Lock {
    /// Closing it lets go.
    _file: File,
}

impl Lock {
    /// Locks `directory`, which exists.
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
                // There are no locks here: nothing to hold.
                Err(TryLockError::Error(_)) => break,
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // The words are a help only.
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
        // The words are a help only, too.
        let _ = file.set_len(0).and_then(|()| {
            let process = std::process::id();
            writeln!(file, "process {process} on {}", host())
        });
        Ok(Lock { _file: file })
    }
}

/// Whether a process holds the lock on `directory`.
pub fn is_held(directory: &Path) -> bool {
    File::open(directory.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Name of this machine, as far as it is known.
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
