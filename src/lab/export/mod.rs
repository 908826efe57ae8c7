//! Networks for other programs: a readable module with one operation a line, and the weights beside it.
//!
//! One printer goes over the step graph; a table has a row for each operation and a column for each dialect.

mod onnx;
mod print;
mod proto;
mod python;
mod table;

use crate::ir::{Graph, InputSlot, NoiseKind};
use crate::lab::replay::archive;
use crate::learn::replace::replace;
use crate::step::lower::TRIAL_START;
use std::path::{Path, PathBuf};

/// The program that a network is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A class of Python on NumPy.
    Numpy,
    /// A module of PyTorch.
    Pytorch,
}

/// The kinds of files that an export writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A module of Python, with the weights beside it.
    Module(Dialect),
    /// Models of ONNX: `NETWORK.onnx` of a step, `NETWORK_scan.onnx` of all steps.
    Onnx,
}

impl Dialect {
    /// The text that reads a parameter.
    fn parameter(self, path: &str) -> String {
        format!("p[{path:?}]")
    }

    /// An array with the same number everywhere.
    fn full(self, shape: &str, number: &str) -> String {
        match self {
            Dialect::Numpy => format!("np.full({shape}, {number}, self.dtype)"),
            Dialect::Pytorch => {
                format!("torch.full({shape}, {number}, dtype=dtype, device=device)")
            }
        }
    }
}

/// A network with its parameters, ready for an export.
pub struct Export<'a> {
    /// The name of the network.
    pub name: &'a str,
    /// The step.
    pub step: &'a Graph,
    /// The parameters, by slot.
    pub parameters: &'a [Vec<f64>],
    /// The origin of the parameters, in a few words.
    pub origin: String,
}

/// The reason why a network was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
}

impl Export<'_> {
    /// Writes the network into a folder, which is made where it is missing, and returns their paths.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn write(&self, form: Form, folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
        let failed = |path: &Path, source| ExportError::File {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let stem = print::identifier(self.name);
        let files = match form {
            Form::Module(dialect) => vec![
                (format!("{stem}.npz"), self.weights()),
                (
                    format!("{stem}.py"),
                    python::module(self, dialect).into_bytes(),
                ),
            ],
            Form::Onnx => {
                let step = (format!("{stem}.onnx"), onnx::step_model(self));
                let scan = onnx::scan_model(self);
                let scan = scan.map(|bytes| (format!("{stem}_scan.onnx"), bytes));
                std::iter::once(step).chain(scan).collect()
            }
        };
        let mut paths = Vec::new();
        for (name, bytes) in files {
            let path = folder.join(name);
            replace(&path, &bytes).map_err(|error| failed(&path, error))?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// The parameters as an archive; their values have 32 bits.
    fn weights(&self) -> Vec<u8> {
        let slots = self.step.params.iter().zip(self.parameters);
        let arrays =
            slots.map(|(slot, values)| (slot.path.clone(), slot.dims.clone(), values.as_slice()));
        archive(&arrays.collect::<Vec<_>>(), false)
    }

    /// The inputs that whoever runs the network must give.
    fn inputs(&self) -> impl Iterator<Item = &InputSlot> {
        self.step
            .inputs
            .iter()
            .filter(|slot| slot.path != TRIAL_START)
    }

    fn has_trials(&self) -> bool {
        self.step.inputs.iter().any(|slot| slot.path == TRIAL_START)
    }
}

/// The name of an input outside: its own, that of its signal, or `trial`.
fn input_name(path: &str) -> &str {
    match path {
        TRIAL_START => "trial",
        _ => path.strip_prefix("external.").unwrap_or(path),
    }
}

/// Tells if a noise source has its mean outside training.
fn is_mean(kind: NoiseKind) -> bool {
    kind == NoiseKind::Mask
}
