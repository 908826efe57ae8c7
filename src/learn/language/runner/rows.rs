//! Stages without states: all steps of all lanes at once.

use super::{add, Gradients, Passage, StagedReader};
use crate::engine::experiment::Experiment;
use crate::engine::params::ParamStore;
use crate::engine::staged::rows::{evaluate, Leaves, Table};
use crate::ir::{Graph, NoiseKind, ResultKind};
use crate::learn::language::reader::is_target;
use crate::step::split::{Source, Stage};
use std::borrow::Cow;

impl StagedReader {
    /// The leaves of a stage of rows, without seeds.
    fn leaves<'a>(
        &'a self,
        experiment: &'a Experiment,
        stage: &Stage,
        parameters: &'a ParamStore,
        passage: Passage<'a>,
    ) -> Leaves<'a> {
        let all: Vec<&[f32]> = parameters.iter().map(|p| p.values.as_slice()).collect();
        let noise = |k: &usize| {
            let (slot, values) = (&experiment.step.noises[*k], &self.noises[*k]);
            match (slot.kind, passage.learn) {
                (NoiseKind::Step, _) => Table::rows(values),
                (NoiseKind::Mask, true) => Table::Repeated(Cow::Borrowed(values), passage.steps),
                (NoiseKind::Mask, false) => {
                    let size = slot.dims.iter().product();
                    Table::Shared(Cow::Owned(vec![slot.draw.mean() as f32; size]))
                }
            }
        };
        Leaves {
            params: stage.params.iter().map(|k| all[*k]).collect(),
            inputs: stage
                .inputs
                .iter()
                .map(|source| match source {
                    Source::Input(input) if is_target(&experiment.step, *input) => {
                        Table::scaled(passage.targets)
                    }
                    Source::Input(_) => Table::hot(passage.words),
                    Source::Earlier(number) => Table::rows(&self.tables[*number]),
                })
                .collect(),
            noises: stage.noises.iter().map(noise).collect(),
            seeds: Vec::new(),
        }
    }

    pub(super) fn rows_forward(
        &mut self,
        experiment: &Experiment,
        k: usize,
        graph: &Graph,
        parameters: &ParamStore,
        passage: Passage<'_>,
    ) {
        let stage = &experiment.stages[k].cut;
        let rows = passage.words.len();
        let mut scratch = std::mem::take(&mut self.scratch);
        for number in &stage.outputs {
            scratch.give(std::mem::take(&mut self.tables[*number]));
        }
        let leaves = self.leaves(experiment, stage, parameters, passage);
        let results: Vec<(usize, Vec<f32>)> = evaluate(graph, rows, &leaves, &mut scratch)
            .into_iter()
            .filter_map(|(result, table)| match result {
                ResultKind::Output(id) => {
                    let number = stage.outputs[id.index()];
                    Some((number, table.into_rows(rows, experiment.sizes[number])))
                }
                _ => None,
            })
            .collect();
        drop(leaves);
        for (number, values) in results {
            self.tables[number] = values;
        }
        self.scratch = scratch;
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is what a stage reads and writes"
    )]
    pub(super) fn rows_backward(
        &mut self,
        experiment: &Experiment,
        k: usize,
        graph: &Graph,
        parameters: &ParamStore,
        passage: Passage<'_>,
        waiting: &mut [Option<Vec<f32>>],
        gradients: &mut Gradients,
    ) {
        let stage = &experiment.stages[k].cut;
        let rows = passage.words.len();
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut leaves = self.leaves(experiment, stage, parameters, passage);
        let seeds: Vec<Cow<'_, [f32]>> = stage
            .outputs
            .iter()
            .map(|number| match &waiting[*number] {
                Some(values) => Cow::Borrowed(values.as_slice()),
                None => Cow::Owned(vec![0.0; rows * experiment.sizes[*number]]),
            })
            .collect();
        leaves.seeds = seeds.iter().map(|values| Table::rows(values)).collect();
        let mut earlier: Vec<(usize, Vec<f32>)> = Vec::new();
        for (result, table) in evaluate(graph, rows, &leaves, &mut scratch) {
            match result {
                ResultKind::Gradient(id) => {
                    let size: usize = graph.params[id.index()].dims.iter().product();
                    let values = table.into_rows(1, size);
                    add(&mut gradients[stage.params[id.index()]], Cow::Owned(values));
                }
                ResultKind::InputAdjoint(id) => {
                    if let Source::Earlier(number) = stage.inputs[id.index()] {
                        let values = table.into_rows(rows, experiment.sizes[number]);
                        earlier.push((number, values));
                    }
                }
                ResultKind::Output(_) | ResultKind::Next(_) | ResultKind::AdjointOut(_) => {}
            }
        }
        drop(leaves);
        drop(seeds);
        for (number, values) in earlier {
            add(&mut waiting[number], Cow::Owned(values));
        }
        self.scratch = scratch;
    }
}
