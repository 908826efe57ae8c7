//! Lists the library of rules and cells and the specs of the paper, so that adding one is adding one `.bpm` file, and tells
//! the linker where the libraries of CUDA are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("src/lang/library");
    let cells = folder.join("cells");
    let systems = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("specs/gallery/systems");
    let text = table("LIBRARY", "rule of the library", &folder)
        + &table("CELLS", "cell of the library", &cells)
        + &table("SYSTEMS", "published system", &systems);
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("rules.rs");
    fs::write(out, text).expect("the build folder is writable");

    let specs =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("specs/paper");
    let mut table = String::from(
        "/// Path within `specs/paper` and text of every spec of the paper, by path.\npub static PRESETS: &[(&str, &str)] = &[\n",
    );
    for experiment in sorted(&specs) {
        if experiment.is_dir() {
            println!("cargo:rerun-if-changed={}", experiment.display());
            let folder = experiment.file_name().expect("it is in a folder");
            for file in sorted(&experiment) {
                let name = file.file_name().expect("it is in a folder");
                let path = format!("{}/{}", folder.to_string_lossy(), name.to_string_lossy());
                add(&mut table, &path, &file);
            }
        }
    }
    table.push_str("];\n");
    println!("cargo:rerun-if-changed={}", specs.display());
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("presets.rs");
    fs::write(out, table).expect("the build folder is writable");

    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        println!("cargo:rerun-if-env-changed=CUDA_LINK_DIR");
        if let Ok(folder) = env::var("CUDA_LINK_DIR") {
            println!("cargo:rustc-link-search=native={folder}");
        }
    }
}

/// What is in a folder, in order.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is part of the crate")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

/// Adds the row of one `.bpm` file.
fn add(table: &mut String, name: &str, file: &Path) {
    if file.extension().is_some_and(|end| end == "bpm") {
        let path = file.display().to_string();
        writeln!(table, "    ({name:?}, include_str!({path:?})),").expect("writing to a string");
    }
}

/// A table of name and text of each `.bpm` file in a folder.
fn table(constant: &str, what: &str, folder: &Path) -> String {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut table = format!(
        "/// Name and text of every {what}, by name.\npub static {constant}: &[(&str, &str)] = &[\n"
    );
    for file in sorted(folder) {
        let name = file.file_stem().expect("it is in a folder");
        add(&mut table, &name.to_string_lossy(), &file);
    }
    table.push_str("];\n");
    table
}
