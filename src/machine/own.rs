//! The program that runs this library, for those who start it again: cells of sweeps, environments, benchmarks.

use std::path::PathBuf;
use std::sync::OnceLock;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the command `bpmc` where the library runs inside another program, a Python interpreter for instance.
/// The first call decides.
pub fn set_program(path: PathBuf) {
    // Whoever comes second runs in the same process and names the same command.
    let _ = PROGRAM.set(path);
}

/// The path of the command `bpmc`: the one that was set, or else the running program.
///
/// # Errors
/// Those of the system.
pub fn program() -> std::io::Result<PathBuf> {
    match PROGRAM.get() {
        Some(path) => Ok(path.clone()),
        None => std::env::current_exe(),
    }
}
