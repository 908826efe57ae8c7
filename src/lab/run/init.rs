//! Runs that start from given parameters.
//!
//! The directory of such a run has a checkpoint of iteration 0, `init.safetensors`, so that it does not need the given
//! file again.

use super::{find_checkpoint, RunError, Which, MANIFEST};
use crate::learn::checkpoint::Checkpoint;
use crate::learn::data::{sha256, DataError, Source};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The name of the first parameters in a run directory.
pub const INIT: &str = "init.safetensors";

/// The parameters to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// A file with an array for each parameter, or the directory of a run, whose last checkpoint it is.
    pub path: PathBuf,
    /// The permission to lack parameters, which then have the first values of the spec, and to hold other arrays.
    pub partial: bool,
}

/// The origin of the first parameters, in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitFrom {
    /// The file.
    pub file: String,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// The parameters that it gave, if these are not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

/// Tells if an array of a file is part of a checkpoint but no parameter.
fn is_other(name: &str) -> bool {
    name.starts_with("optimizer.") || name.starts_with("state/") || name.starts_with("start.")
}

impl Init {
    /// Puts the values of the file into a checkpoint of iteration 0, but for constants that are `written` in the spec.
    ///
    /// # Errors
    /// Names the parameter that is missing, unknown, of another shape or not finite.
    pub(super) fn read_into(
        &self,
        first: &mut Checkpoint,
        written: &[&str],
    ) -> Result<InitFrom, RunError> {
        let path = match self.path.join(MANIFEST).is_file() {
            true => find_checkpoint(&self.path, Which::Last)?,
            false => self.path.clone(),
        };
        let source = Source::open(&path)?;
        let known = first.parameters.keys().map(String::as_str);
        let known: Vec<&str> = known.collect();
        let unknown = source
            .names()
            .find(|name| !is_other(name) && !known.contains(name));
        if let Some(name) = unknown.filter(|_| !self.partial) {
            return Err(unknown_array(&source, name, &known).into());
        }
        let mut given = Vec::new();
        for (parameter, tensor) in &mut first.parameters {
            if written.contains(&parameter.as_str()) {
                continue;
            }
            if source.header(parameter).is_none() {
                if self.partial {
                    continue;
                }
                let what = format!("has no array `{parameter}`, which is a parameter of the spec");
                let help = format!(
                    "it has {}; `--init-partial` starts the others as the spec says",
                    source.describe()
                );
                return Err(source.fault(&what).help(&help).into());
            }
            let array = source.array(parameter)?;
            if array.header.dims != tensor.dims {
                let what = format!("it is {}, and {:?} is needed", array.header, tensor.dims);
                return Err(source.fault_of(parameter, &what).into());
            }
            array.fill(0, &mut tensor.values);
            if let Some(k) = tensor.values.iter().position(|value| !value.is_finite()) {
                let what = format!("element {k} is {}", tensor.values[k]);
                return Err(source.fault_of(parameter, &what).into());
            }
            given.push(parameter.clone());
        }
        if given.is_empty() {
            let help = format!("it has {}", source.describe());
            return Err(source
                .fault("has no parameter of the spec")
                .help(&help)
                .into());
        }
        let kept = first
            .parameters
            .keys()
            .filter(|name| written.contains(&name.as_str()));
        if given.len() + kept.count() == first.parameters.len() {
            given.clear();
        }
        Ok(InitFrom {
            file: path.display().to_string(),
            sha256: sha256(&path).map_err(|error| RunError::file("read", &path, error))?,
            only: given,
        })
    }
}

fn unknown_array(source: &Source, name: &str, known: &[&str]) -> DataError {
    let all: Vec<String> = known.iter().map(|path| format!("`{path}`")).collect();
    let help = format!(
        "parameters are {}; `--init-partial` ignores other arrays",
        all.join(", ")
    );
    source
        .fault(&format!(
            "has an array `{name}`, which is no parameter of the spec"
        ))
        .help(&help)
}

/// The first state of the run in `directory`, if it started from given parameters.
///
/// # Errors
/// Those of reading a checkpoint.
pub(super) fn first(directory: &Path) -> Result<Option<Checkpoint>, RunError> {
    let path = directory.join(INIT);
    match path.is_file() {
        true => Ok(Some(Checkpoint::read(&path)?)),
        false => Ok(None),
    }
}
