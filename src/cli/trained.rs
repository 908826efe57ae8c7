//! Networks with their parameters, from a run or from a spec.

use super::screen::Screen;
use super::{spec, Failure};
use crate::driver::Compilation;
use crate::engine::params::ParamStore;
use crate::lab::run::{self, Which};
use crate::learn::trainer::BackendKind;
use crate::step::passes::Selection;
use std::path::Path;

/// A network with its parameters.
pub struct Trained {
    /// The spec, without errors.
    pub compilation: Compilation,
    /// The parameters, by slot.
    pub parameters: Vec<Vec<f64>>,
    /// The seed of the run, or the one asked for.
    pub seed: u64,
    /// The passes of the run, or all.
    pub passes: Selection,
    /// The backend of the run.
    pub backend: Option<BackendKind>,
    /// The origin of the parameters, in a few words.
    pub origin: String,
}

/// Loads the network of a run directory, or of a spec, whose parameters then have their first values.
///
/// # Errors
/// Fails if there is neither, or the spec has errors, which are shown.
pub fn load(
    source: &Path,
    set: &[String],
    checkpoint: Which,
    seed: Option<u64>,
    screen: &Screen,
) -> Result<Trained, Failure> {
    if source.is_dir() {
        if !set.is_empty() {
            let message = "`--set` changes a spec, and a run has the settings it was trained with";
            return Err(Failure::Usage(message.to_owned()));
        }
        let opened = run::open_apart(source).map_err(anyhow::Error::new)?;
        if opened.compilation.program.is_none() {
            spec::program(&opened.compilation, screen)?;
        }
        let checkpoint = opened.checkpoint(checkpoint).map_err(anyhow::Error::new)?;
        let parameters = opened.parameters(&checkpoint).map_err(anyhow::Error::new)?;
        return Ok(Trained {
            parameters,
            seed: seed.unwrap_or(opened.manifest.seed),
            passes: opened.passes(),
            backend: BackendKind::parse(&opened.manifest.backend),
            origin: format!("trained for {} iterations", checkpoint.header.iteration),
            compilation: opened.compilation,
        });
    }
    let compilation = spec::compile(source, set)?;
    let program = spec::program(&compilation, screen)?;
    let train = program.model.train.as_ref();
    let own = train.map_or(0, |train| train.settings.int("seed") as u64);
    let seed = seed.unwrap_or(own);
    Ok(Trained {
        parameters: ParamStore::init(&program.step.params, seed).wide(),
        seed,
        passes: Selection::default(),
        backend: None,
        origin: format!("with its first values of seed {seed}"),
        compilation,
    })
}
