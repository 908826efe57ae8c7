//! The files that a run keeps, so that it needs no other: arrays of first values, and an outline of the data.

use super::RunError;
use crate::ir::Draw;
use crate::lang::sema::{Model, FIRST};
use crate::learn::replace::replace;
use std::collections::BTreeMap;
use std::path::Path;

/// The name of the folder of first values in a run directory.
pub const ARRAYS: &str = "arrays";
/// The name of the outline of the data in a run directory.
pub const OUTLINE: &str = "outline.safetensors";

/// The beginning and the end of an initialiser that reads a file.
const CALL: [&str; 2] = ["file(\"", "\")"];

/// Copies the files that first values come from into the directory of a run. Returns the initialisers that read the copies,
/// by the path of the parameter; they are relative to the directory.
pub(super) fn keep(directory: &Path, model: &Model) -> Result<BTreeMap<String, String>, RunError> {
    let mut kept = BTreeMap::new();
    for slot in &model.params {
        let Draw::Given(given) = &slot.init else {
            continue;
        };
        let Some((file, sha256)) = &given.file else {
            continue;
        };
        let name = format!("{ARRAYS}/{}", name(file, sha256));
        let copy = directory.join(&name);
        if !copy.exists() {
            copied(file, &copy)?;
        }
        let [begin, end] = CALL;
        let path = slot.path.strip_suffix(FIRST).unwrap_or(&slot.path);
        kept.insert(path.to_owned(), format!("{begin}{name}{end}"));
    }
    Ok(kept)
}

/// The name of a copy: equal files have one.
fn name(file: &Path, sha256: &str) -> String {
    let ending = file
        .extension()
        .map(|end| format!(".{}", end.to_string_lossy()));
    format!("{}{}", &sha256[..16], ending.unwrap_or_default())
}

/// Copies a file, or the files of a folder.
fn copied(from: &Path, to: &Path) -> Result<(), RunError> {
    if from.is_dir() {
        let entries =
            std::fs::read_dir(from).map_err(|error| RunError::file("read", from, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| RunError::file("read", from, error))?;
            if entry.path().is_file() {
                copied(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
        return Ok(());
    }
    let bytes = std::fs::read(from).map_err(|error| RunError::file("read", from, error))?;
    let folder = to.parent().unwrap_or(to);
    std::fs::create_dir_all(folder)
        .and_then(|()| replace(to, &bytes))
        .map_err(|error| RunError::file("write", to, error))
}

/// A value of the manifest as the override of a run in this directory.
pub(super) fn located(directory: &Path, value: &str) -> String {
    let [begin, end] = CALL;
    let path = value
        .strip_prefix(begin)
        .and_then(|rest| rest.strip_suffix(end));
    match path {
        Some(path) => {
            let path = directory.join(path);
            let whole = std::path::absolute(&path).unwrap_or(path);
            format!("{begin}{}{end}", whole.display())
        }
        None => value.to_owned(),
    }
}
