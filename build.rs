//! Lists the library of rules and cells, so that adding one is adding one `.bpm` file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let folder =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/rules");
    let cells = folder.join("cells");
    let text = table("LIBRARY", "rule", &folder) + &table("CELLS", "cell", &cells);
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("rules.rs");
    fs::write(out, text).expect("the build folder is writable");
}

/// A table of name and text of each `.bpm` file in a folder.
fn table(constant: &str, what: &str, folder: &Path) -> String {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the library is part of the crate")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "bpm"))
        .collect();
    files.sort();
    let mut table = format!(
        "/// Name and text of every {what} of the library, by name.\npub static {constant}: &[(&str, &str)] = &[\n"
    );
    for file in files {
        let name = file
            .file_stem()
            .expect("it has an extension")
            .to_string_lossy()
            .into_owned();
        writeln!(
            table,
            "    ({name:?}, include_str!({:?})),",
            file.display().to_string()
        )
        .expect("writing to a string");
    }
    table.push_str("];\n");
    table
}
