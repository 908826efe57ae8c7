//! Lists the rule library, so that adding a rule is adding one `.bpm` file.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let folder =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/rules");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("src/rules is part of the crate")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "bpm"))
        .collect();
    files.sort();
    let mut table = String::from("/// Name and text of every rule of the library, by name.\npub static LIBRARY: &[(&str, &str)] = &[\n");
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
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("rules.rs");
    fs::write(out, table).expect("the build folder is writable");
}
