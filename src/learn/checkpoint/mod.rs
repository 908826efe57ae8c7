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

/// Version of the layout described above.
pub const FORMAT: u64 = 1;

/// What a checkpoint says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name of the spec.
    pub spec: String,
    /// Hash of the resolved spec, as the driver spells it.
    pub spec_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Iterations completed.
    pub iteration: u64,
    /// Version of bpmc that wrote it.
    pub version: String,
    /// The optimizer whose moments it holds.
    pub optimizer: Option<OptimizerHeader>,
    /// What belongs to the next record of the metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// How well the run does, and when it did best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<BestTracker>,
    /// What averages of the parameters are of; they are moments of the name `average`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub averaging: Option<Averaging>,
    /// How often the run went back to a checkpoint after a number that is not finite; later episodes are
    /// others for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rollbacks: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How well a run does: the mean reward of an episode, or the loss, smoothed over iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestTracker {
    /// Sum of the values, each weighed less the longer ago it was.
    pub sum: f64,
    /// Sum of the weights.
    pub weight: f64,
    /// The best smoothed value at a checkpoint so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestSoFar>,
}

/// The best smoothed value at a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSoFar {
    /// Of which iteration.
    pub iteration: u64,
    /// The value.
    pub value: f64,
}

/// What averages of the parameters are of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Averaging {
    /// Whether steps are averaged from now on.
    pub begun: bool,
    /// Steps averaged so far.
    pub steps: u64,
    /// What the validation text cost at the end of each epoch, until the averages began; empty where they begin at
    /// an epoch told in advance.
    pub validations: Vec<f64>,
}

/// Iterations done since the last record of the metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// How many.
    pub iterations: u64,
    /// Sums over them, in the order of the record's fields.
    pub sums: Vec<f64>,
}

/// The optimizer of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerHeader {
    /// Its name.
    pub name: String,
    /// Steps it has taken.
    pub steps: u64,
}

/// An array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Its values, the last dimension contiguous.
    pub values: Vec<f32>,
}

/// All that is needed to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What it says about itself.
    pub header: Header,
    /// Parameters by path.
    pub parameters: BTreeMap<String, Tensor>,
    /// States that outlive an episode, by path; the first dimension is the lane.
    pub states: BTreeMap<String, Tensor>,
    /// Moments of the optimizer by their name and the parameter's path.
    pub moments: BTreeMap<(String, String), Tensor>,
}

/// Why a checkpoint could not be written, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system said no to reading.
    #[error("cannot read the checkpoint {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// The file system said no to writing.
    #[error("cannot write the checkpoint {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// Not a whole, undamaged safetensors file.
    #[error("the checkpoint {} is truncated or damaged: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A safetensors file of something else.
    #[error("{} is a safetensors file, but not a checkpoint of bpmc", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint in a layout this version does not know.
    #[error("the checkpoint {} has format {found}; this version reads format {FORMAT}", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A parameter of the spec that the checkpoint lacks.
    #[error("the checkpoint has no parameter `{parameter}`, which the spec declares")]
    MissingParameter {
        /// Its path.
        parameter: String,
    },
    /// A parameter of the checkpoint that the spec lacks.
    #[error("the checkpoint has a parameter `{parameter}`, which the spec does not declare")]
    ExtraParameter {
        /// Its path.
        parameter: String,
    },
    /// A state that outlives episodes, and that the checkpoint lacks.
    #[error("the checkpoint has no state `{state}`, which outlives episodes in the spec")]
    MissingState {
        /// Its path.
        state: String,
    },
    /// A parameter or moment of another shape.
    #[error("`{name}` is {saved:?} in the checkpoint and {wanted:?} in the spec")]
    ShapeMismatch {
        /// The parameter or moment.
        name: String,
        /// Its dimensions in the checkpoint.
        saved: Vec<usize>,
        /// Its dimensions in the spec.
        wanted: Vec<usize>,
    },
    /// Moments of another optimizer, or none.
    #[error("the checkpoint was written with {}, and the spec trains with `{wanted}`", saved.as_ref().map_or("no optimizer".to_owned(), |name| format!("the optimizer `{name}`")))]
    OtherOptimizer {
        /// The optimizer of the checkpoint.
        saved: Option<String>,
        /// The optimizer of the spec.
        wanted: &'static str,
    },
    /// A moment that the optimizer keeps with these settings, and that the checkpoint lacks.
    #[error("the checkpoint has no moment `{moment}` of `{parameter}`: the optimizer had other settings")]
    MissingMoment {
        /// Name of the moment.
        moment: &'static str,
        /// Path of the parameter.
        parameter: String,
    },
}

impl Checkpoint {
    /// What a run looks like now. The header's `optimizer` is filled in here.
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

    /// What it is of, a line each: network, spec, seed, version, optimizer, and every parameter with its
    /// dimensions. Two checkpoints of one run differ in none of them.
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

    /// Its bytes as a file; equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// Those of the format's writer.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        file::encode(self)
    }

    /// Writes it to `path`: either the whole file is there afterwards, or what was there before.
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

    /// Puts the saved values into `parameters`, all of them or, after an error, none.
    ///
    /// # Errors
    /// Where the checkpoint and the store do not have the same parameters of the same shapes.
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

    /// Puts the saved moments and step count into `optimizer`, which was built for the trained parameters of
    /// `parameters`; after an error it is unchanged.
    ///
    /// # Errors
    /// Where the checkpoint is of another optimizer, or lacks a moment.
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

    /// What is remembered of a parameter under a name.
    ///
    /// # Errors
    /// Where that is missing, or of another shape.
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
