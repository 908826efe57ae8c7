//! One part of the data with its arrays, mapped or in memory.

use super::layout::{Layout, Value, START};
use crate::learn::data::{Array, DataError, Source};
use std::path::PathBuf;

/// Arrays of the values of a [`Layout`], and what says when they count.
#[derive(Clone, Debug)]
pub(super) struct Split {
    /// The path of its file.
    pub path: PathBuf,
    /// The number of sequences.
    pub sequences: usize,
    /// By input.
    pub inputs: Vec<Array>,
    /// By output with a target.
    pub targets: Vec<Array>,
    /// By output with a target: its own weights, or those of all, or none; with their name.
    pub weights: Vec<Option<(String, Array)>>,
    /// By signal.
    pub signals: Vec<Array>,
    /// By state with first values.
    pub starts: Vec<Array>,
    /// Steps of each sequence.
    pub lengths: Option<Array>,
    /// The array that marks where trials begin.
    pub trials: Option<Array>,
}

impl Split {
    /// The arrays that the layout names.
    pub(super) fn open(source: &Source, layout: &Layout) -> Result<Split, DataError> {
        let optional = |name: &str| match source.header(name) {
            Some(_) => source.array(name).map(Some),
            None => Ok(None),
        };
        let arrays = |values: &[Value]| {
            let arrays = values.iter().map(|value| source.array(&value.port.name));
            arrays.collect::<Result<Vec<_>, _>>()
        };
        let common = optional("weight")?;
        let mut weights = Vec::new();
        for value in &layout.targets {
            let own = format!("weight.{}", value.port.name);
            weights.push(match optional(&own)? {
                Some(array) => Some((own, array)),
                None => common.clone().map(|array| ("weight".to_owned(), array)),
            });
        }
        let signals = layout.signals.iter().map(|name| source.array(name));
        let starts = layout.starts.iter();
        let starts = starts.map(|start| source.array(&format!("{START}{}", start.path)));
        Ok(Split {
            path: source.path().to_owned(),
            sequences: layout.sequences,
            inputs: arrays(&layout.inputs)?,
            targets: arrays(&layout.targets)?,
            weights,
            signals: signals.collect::<Result<_, _>>()?,
            starts: starts.collect::<Result<_, _>>()?,
            lengths: optional("length")?,
            trials: optional("trial")?,
        })
    }
}
