//! The backward pass: the first lane, and in it the last step, at which a derivative is not finite.

use super::forward::Seen;
use super::{origin, Culprit};
use crate::engine::bptt::least_memory_interval;
use crate::engine::reference::{evaluate, Leaves};
use crate::engine::BackendError;
use crate::ir::{Graph, ResultKind};
use crate::learn::episodes::{Episodes, Given, LaneResult};
use crate::learn::trainer::TrainError;
use crate::step::autodiff::Options;
use crate::step::{adjoint, Compiled};
use rayon::prelude::*;

/// One lane of the backward pass.
struct Lane<'a> {
    step: &'a Graph,
    adjoint: &'a Graph,
    params: &'a [Vec<f64>],
    given: &'a [Given],
    /// The outputs that have adjoints.
    read: &'a [usize],
    result: &'a LaneResult,
    rounding: bool,
}

/// Runs backwards through all lanes, in 64 bits and then rounded to 32.
pub(super) fn find(
    program: &Compiled,
    episodes: &Episodes,
    params: &[Vec<f64>],
    seen: &Seen,
) -> Result<Option<Culprit>, TrainError> {
    let adjoint = adjoint(&program.step, Options::default())?;
    let read = episodes.read();
    for rounding in [false, true] {
        let found = episodes.pool().install(|| {
            seen.lanes
                .par_iter()
                .enumerate()
                .find_map_first(|(number, result)| {
                    let lane = Lane {
                        step: &program.step,
                        adjoint: &adjoint,
                        params,
                        given: seen.given(number),
                        read: &read,
                        result,
                        rounding,
                    };
                    lane.back(number, seen.first(number).to_vec()).transpose()
                })
        });
        if let Some(found) = found {
            return Ok(Some(found?));
        }
    }
    Ok(None)
}

impl Lane<'_> {
    fn forward(&self, step: usize, states: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, BackendError> {
        let leaves = self.leaves(step, states);
        let results = evaluate(self.step, 1, &leaves)?;
        let kinds = self.step.results().iter().zip(results);
        Ok(kinds
            .filter(|((kind, _), _)| matches!(kind, ResultKind::Next(_)))
            .map(|(_, values)| values)
            .collect())
    }

    fn leaves<'b>(&'b self, step: usize, states: &'b [Vec<f64>]) -> Leaves<'b> {
        Leaves {
            params: self.params,
            inputs: &self.given[step].inputs,
            noises: &self.given[step].noises,
            states,
            ..Leaves::default()
        }
    }

    /// The adjoints of the outputs of a step.
    fn seeds(&self, step: usize) -> Vec<Vec<f64>> {
        let steps = self.given.len();
        let outputs = self.step.outputs.iter().enumerate();
        outputs
            .map(
                |(slot, output)| match self.read.iter().position(|k| *k == slot) {
                    Some(k) => {
                        let all = &self.result.loss.seeds[k];
                        let width = all.len() / steps;
                        all[step * width..(step + 1) * width].to_vec()
                    }
                    None => vec![0.0; output.dims.iter().product()],
                },
            )
            .collect()
    }

    fn back(&self, number: usize, first: Vec<Vec<f64>>) -> Result<Option<Culprit>, BackendError> {
        let steps = self.given.len();
        let interval = least_memory_interval(steps);
        let mut kept = Vec::new();
        let mut states = first;
        for step in 0..steps {
            if step % interval == 0 {
                kept.push(states.clone());
            }
            states = self.forward(step, &states)?;
        }
        let mut adjoint_in: Vec<Vec<f64>> = states.iter().map(|s| vec![0.0; s.len()]).collect();
        let mut end = steps;
        while let Some(first) = kept.pop() {
            let start = kept.len() * interval;
            let mut entering = vec![first];
            for step in start..end - 1 {
                let next = self.forward(step, &entering[step - start])?;
                entering.push(next);
            }
            for step in (start..end).rev() {
                let seeds = self.seeds(step);
                let leaves = Leaves {
                    seeds: &seeds,
                    adjoint_in: &adjoint_in,
                    ..self.leaves(step, &entering[step - start])
                };
                let (bad, results) = origin::find(self.adjoint, &leaves, self.rounding)?;
                if let Some(bad) = bad {
                    return Ok(Some(bad.at(step, number, true, self.rounding)));
                }
                adjoint_in = self
                    .adjoint
                    .results()
                    .iter()
                    .zip(results)
                    .filter(|((kind, _), _)| matches!(kind, ResultKind::AdjointOut(_)))
                    .map(|(_, values)| values)
                    .collect();
            }
            end = start;
        }
        Ok(None)
    }
}
