//! Directories for tests.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

/// An empty directory under a name that no other test has.
pub fn scratch(name: &str) -> PathBuf {
    static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let new = TAKEN
        .lock()
        .expect("nothing panics while it is held")
        .insert(name.to_owned());
    assert!(new, "two tests have the directory `{name}`");
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).expect("it is of an earlier run");
    }
    std::fs::create_dir_all(&directory).expect("the build folder is writable");
    directory
}
