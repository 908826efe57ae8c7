//! Checkpoints: a safetensors file with parameters under their spec paths, states that outlive an episode
//! under `state/PATH`, and the moments of the optimizer under `optimizer.MOMENT/PATH`.
//!
//! One metadata key, `bpmc`, holds a JSON object ([`Header`], a format number and a checksum of everything
//! else); a single key, because the format's writer does not order several. Equal checkpoints are equal
//! files. A file is written beside its final name, synced and renamed, so that a crash leaves the old one.

mod file;

use super::optim::Optimizer;
use crate::engine::params::{ParamStore, Parameter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version of the layout described above.
pub const FORMAT: u64 = 1;

/// The header of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The name of the spec.
    pub spec: String,
    /// The hash of the resolved spec.
    pub spec_hash: String,
    /// The seed of the run.
    pub seed: u64,
    /// The number of completed iterations.
    pub iteration: u64,
    /// The version of bpmc that wrote it.
    pub version: String,
    /// The optimizer whose moments it holds.
    pub optimizer: Option<OptimizerHeader>,
    /// The sums for the next record of the metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// The smoothed reward or loss of the run, with its best value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<BestTracker>,
    /// The state of averaging; the averages are the moments named `average`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub averaging: Option<Averaging>,
    /// The number of rollbacks after a non-finite number; later episodes depend on it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rollbacks: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The mean reward per episode, or the loss, smoothed over iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestTracker {
    /// The sum of the values, with weights that decay with age.
    pub sum: f64,
    /// The sum of the weights.
    pub weight: f64,
    /// The best smoothed value at a checkpoint so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestSoFar>,
    /// The lowest validation loss so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest: Option<f64>,
    /// Validations since then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
}

/// The best smoothed value at a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSoFar {
    /// The iteration.
    pub iteration: u64,
    /// The value.
    pub value: f64,
}

/// The state of parameter averaging.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Averaging {
    /// True if steps are averaged from now on.
    pub begun: bool,
    /// The number of averaged steps.
    pub steps: u64,
    /// The validation loss at the end of each epoch before averaging began; empty if averaging begins at a
    /// fixed epoch.
    pub validations: Vec<f64>,
}

/// The iterations since the last record of the metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The number of iterations.
    pub iterations: u64,
    /// The sums over them, in the order of the record's fields. JSON has `null` for a score that is not a number.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub sums: Vec<f64>,
    /// By sum, the number of iterations that had such a number; empty where all had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<u64>,
}

fn numbers_or_nan<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let numbers = Vec::<Option<f64>>::deserialize(from)?;
    let wide = numbers.into_iter().map(|number| number.unwrap_or(f64::NAN));
    Ok(wide.collect())
}

/// The optimizer of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerHeader {
    /// The name.
    pub name: String,
    /// The number of steps taken.
    pub steps: u64,
}

/// An array of f32 values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The dimensions.
    pub dims: Vec<usize>,
    /// The values, last dimension contiguous.
    pub values: Vec<f32>,
}

/// Everything needed to continue a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The header.
    pub header: Header,
    /// The parameters by path.
    pub parameters: BTreeMap<String, Tensor>,
    /// The states that outlive an episode, by path; the first dimension is the lane.
    pub states: BTreeMap<String, Tensor>,
    /// The moments of the optimizer, by their name and the parameter's path.
    pub moments: BTreeMap<(String, String), Tensor>,
}

/// The reason why a checkpoint could not be written, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file could not be read.
    #[error("cannot read the checkpoint {}: {source}", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file could not be written.
    #[error("cannot write the checkpoint {}: {source}", path.display())]
    Unwritable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file is not a whole, undamaged safetensors file.
    #[error("the checkpoint {} is truncated or damaged: {reason}", path.display())]
    Corrupt {
        /// The path of the file.
        path: PathBuf,
        /// The error in the file.
        reason: String,
    },
    /// The file is a safetensors file of something else.
    #[error("{} is a safetensors file, but not a checkpoint of bpmc", path.display())]
    NotOurs {
        /// The path of the file.
        path: PathBuf,
    },
    /// The checkpoint has a layout that this version does not know.
    #[error("the checkpoint {} has format {found}; this version reads format {FORMAT}", path.display())]
    OtherFormat {
        /// The path of the file.
        path: PathBuf,
        /// The format number.
        found: u64,
    },
    /// The checkpoint lacks a parameter of the spec.
    #[error("the checkpoint has no parameter `{parameter}`, which the spec declares")]
    MissingParameter {
        /// The path of the parameter.
        parameter: String,
    },
    /// The spec lacks a parameter of the checkpoint.
    #[error("the checkpoint has a parameter `{parameter}`, which the spec does not declare")]
    ExtraParameter {
        /// The path of the parameter.
        parameter: String,
    },
    /// The checkpoint lacks a state that outlives episodes.
    #[error("the checkpoint has no state `{state}`, which outlives episodes in the spec")]
    MissingState {
        /// The path of the state.
        state: String,
    },
    /// A parameter or moment has another shape.
    #[error("`{name}` is {saved:?} in the checkpoint and {wanted:?} in the spec")]
    ShapeMismatch {
        /// The name of the parameter or moment.
        name: String,
        /// The dimensions in the checkpoint.
        saved: Vec<usize>,
        /// The dimensions in the spec.
        wanted: Vec<usize>,
    },
    /// The checkpoint has moments of another optimizer, or none.
    #[error("the checkpoint was written with {}, and the spec trains with `{wanted}`", saved.as_ref().map_or("no optimizer".to_owned(), |name| format!("the optimizer `{name}`")))]
    OtherOptimizer {
        /// The optimizer of the checkpoint.
        saved: Option<String>,
        /// The optimizer of the spec.
        wanted: &'static str,
    },
    /// The checkpoint lacks a moment that the optimizer needs with these settings.
    #[error("the checkpoint has no moment `{moment}` of `{parameter}`: the optimizer had other settings")]
    MissingMoment {
        /// The name of the moment.
        moment: &'static str,
        /// The path of the parameter.
        parameter: String,
    },
}

impl Checkpoint {
    /// Captures the current state of a run. It fills in the header's `optimizer`.
    pub fn capture(
        mut header: Header,
        parameters: &ParamStore,
        optimizer: Option<&dyn Optimizer>,
    ) -> Checkpoint {
        header.optimizer = optimizer.map(|optimizer| OptimizerHeader {
            name: optimizer.name().to_owned(),
            steps: optimizer.state().steps,
        });
        let mut moments = BTreeMap::new();
        for moment in optimizer.iter().flat_map(|o| &o.state().moments) {
            for (parameter, values) in parameters.trained().zip(&moment.values) {
                let tensor = Tensor {
                    dims: parameter.dims.clone(),
                    values: values.clone(),
                };
                moments.insert((moment.name.to_owned(), parameter.path.clone()), tensor);
            }
        }
        let tensors = parameters.iter().map(|parameter| {
            let tensor = Tensor {
                dims: parameter.dims.clone(),
                values: parameter.values.clone(),
            };
            (parameter.path.clone(), tensor)
        });
        Checkpoint {
            header,
            parameters: tensors.collect(),
            states: BTreeMap::new(),
            moments,
        }
    }

    /// A description in lines: network, spec, seed, version, optimizer, and every parameter with its
    /// dimensions. Checkpoints of the same run agree in all of them.
    pub fn describe(&self) -> String {
        let header = &self.header;
        let optimizer = header.optimizer.as_ref();
        let mut lines = vec![
            format!("network {}", header.spec),
            format!("spec {}", header.spec_hash),
            format!("seed {}", header.seed),
            format!("bpmc {}", header.version),
            format!(
                "optimizer {}",
                optimizer.map_or("none", |o| o.name.as_str())
            ),
        ];
        let rows = self.parameters.iter();
        lines.extend(rows.map(|(path, tensor)| format!("parameter {path} {:?}", tensor.dims)));
        lines.join("\n")
    }

    /// The checkpoint as bytes of a file; equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// Errors of the format's writer.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        file::encode(self)
    }

    /// Writes the checkpoint to `path` atomically: there is the whole new file or the old one.
    ///
    /// # Errors
    /// [`CheckpointError::Unwritable`].
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        file::encode(self)
            .and_then(|bytes| crate::learn::replace::replace(path, &bytes))
            .map_err(|source| CheckpointError::Unwritable {
                path: path.to_owned(),
                source,
            })
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`CheckpointError`] up to `OtherFormat`.
    pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
        let bytes = std::fs::read(path).map_err(|source| CheckpointError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        file::decode(&bytes).map_err(|problem| problem.at(path))
    }

    /// Copies the saved values into `parameters`; after an error, none of them.
    ///
    /// # Errors
    /// Fails if the checkpoint and the store have different parameters or shapes.
    pub fn restore_parameters(&self, parameters: &mut ParamStore) -> Result<(), CheckpointError> {
        for parameter in parameters.iter() {
            let saved = self.parameters.get(&parameter.path).ok_or_else(|| {
                CheckpointError::MissingParameter {
                    parameter: parameter.path.clone(),
                }
            })?;
            same_shape(&parameter.path, saved, &parameter.dims)?;
        }
        for path in self.parameters.keys() {
            if parameters.find(path).is_none() {
                return Err(CheckpointError::ExtraParameter {
                    parameter: path.clone(),
                });
            }
        }
        for parameter in parameters.iter_mut() {
            if let Some(saved) = self.parameters.get(&parameter.path) {
                parameter.values.copy_from_slice(&saved.values);
            }
        }
        Ok(())
    }

    /// Copies the saved moments and step count into `optimizer`, which was built for the trained parameters
    /// of `parameters`; after an error it is unchanged.
    ///
    /// # Errors
    /// Fails if the checkpoint belongs to another optimizer, or lacks a moment.
    pub fn restore_optimizer(
        &self,
        parameters: &ParamStore,
        optimizer: &mut dyn Optimizer,
    ) -> Result<(), CheckpointError> {
        let wanted = optimizer.name();
        let saved = self.header.optimizer.as_ref();
        let Some(saved) = saved.filter(|saved| saved.name == wanted) else {
            return Err(CheckpointError::OtherOptimizer {
                saved: saved.map(|saved| saved.name.clone()),
                wanted,
            });
        };
        let mut state = optimizer.state().clone();
        state.steps = saved.steps;
        for moment in &mut state.moments {
            for (parameter, values) in parameters.trained().zip(&mut moment.values) {
                let saved = self.moment(moment.name, parameter)?;
                values.copy_from_slice(&saved.values);
            }
        }
        *optimizer.state_mut() = state;
        Ok(())
    }

    /// The moment `name` of a parameter.
    ///
    /// # Errors
    /// Fails if it is missing, or has another shape.
    pub fn moment(
        &self,
        name: &'static str,
        parameter: &Parameter,
    ) -> Result<&Tensor, CheckpointError> {
        let key = (name.to_owned(), parameter.path.clone());
        let missing = || CheckpointError::MissingMoment {
            moment: name,
            parameter: parameter.path.clone(),
        };
        let saved = self.moments.get(&key).ok_or_else(missing)?;
        same_shape(&parameter.path, saved, &parameter.dims)?;
        Ok(saved)
    }
}

fn same_shape(name: &str, saved: &Tensor, wanted: &[usize]) -> Result<(), CheckpointError> {
    if saved.dims == wanted {
        return Ok(());
    }
    Err(CheckpointError::ShapeMismatch {
        name: name.to_owned(),
        saved: saved.dims.clone(),
        wanted: wanted.to_vec(),
    })
}

#[cfg(test)]
mod tests;
