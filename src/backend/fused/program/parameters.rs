//! What is computed from parameters once an iteration, and the gradients of parameters from sums over steps and lanes.

use crate::backend::fused::assemble::{Assembly, Form, Slot};
use crate::backend::fused::layout::{filled, Layout};
use crate::backend::fused::math::Real;
use crate::backend::fused::partition::Class;
use crate::backend::reference::{evaluate, Leaves};
use crate::backend::BackendError;
use crate::ir::{Graph, Op, ParamSlot, ResultKind, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Values of the shared memory and how to compute them.
#[derive(Clone, Debug)]
pub(super) struct Prologue {
    graph: Graph,
    /// Where each result goes.
    places: Vec<(Slot, Vec<usize>)>,
}

/// Gradients from sums.
#[derive(Clone, Debug)]
pub(super) struct Epilogue {
    graph: Graph,
    /// Where the sums are, which follow the parameters.
    sums: Vec<Slot>,
}

impl Prologue {
    pub(super) fn compute<T: Real>(
        &self,
        parameters: &[Vec<f64>],
        out: &mut [T],
    ) -> Result<(), BackendError> {
        let leaves = Leaves {
            params: parameters,
            ..Leaves::default()
        };
        let values = evaluate(&self.graph, 1, &leaves)?;
        for ((slot, dims), values) in self.places.iter().zip(values) {
            let out = &mut out[slot.at..];
            let turned = |values: &[f64]| -> Vec<f64> {
                let (rows, cols) = (dims[0], dims[1]);
                let mut out = vec![0.0; values.len()];
                for (r, row) in values.chunks_exact(cols).enumerate() {
                    for (c, x) in row.iter().enumerate() {
                        out[c * rows + r] = *x;
                    }
                }
                out
            };
            match slot.form {
                Form::Plain => {
                    for (to, value) in out.iter_mut().zip(values) {
                        *to = T::from_f64(value);
                    }
                }
                Form::Panels(layout) => layout.pack(&values, out, T::from_f64),
                Form::Transposed(layout) => layout.pack(&turned(&values), out, T::from_f64),
                Form::Rows(layout) => put_rows(layout, &values, out),
                Form::TransposedRows(layout) => put_rows(layout, &turned(&values), out),
            }
        }
        Ok(())
    }
}

impl Epilogue {
    /// Gradients by slot.
    pub(super) fn gradients(
        &self,
        parameters: &[Vec<f64>],
        sums: &[f64],
    ) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        let mut params = parameters.to_vec();
        for slot in &self.sums {
            let mut values = vec![0.0; slot.n];
            match slot.form {
                Form::Panels(layout) => layout.unpack(&sums[slot.at..], &mut values, |x| x),
                Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
                    values.copy_from_slice(&sums[slot.at..slot.at + slot.n]);
                }
            }
            params.push(values);
        }
        let leaves = Leaves {
            params: &params,
            ..Leaves::default()
        };
        let values = evaluate(&self.graph, 1, &leaves)?;
        let mut gradients = vec![None; parameters.len()];
        for ((result, _), values) in self.graph.results().iter().zip(values) {
            if let ResultKind::Gradient(id) = result {
                gradients[id.index()] = Some(values);
            }
        }
        Ok(gradients)
    }
}

fn put_rows<T: Real>(layout: Layout, values: &[f64], out: &mut [T]) {
    let rows = out.chunks_exact_mut(filled(layout.cols));
    for (to, from) in rows.zip(values.chunks_exact(layout.cols)) {
        for (to, x) in to.iter_mut().zip(from) {
            *to = T::from_f64(*x);
        }
    }
}

/// Copies a value and what it needs into another graph.
fn copy(
    from: &Graph,
    to: &mut Graph,
    map: &mut BTreeMap<ValueId, ValueId>,
    roots: impl Iterator<Item = ValueId>,
) {
    let mut wanted = BTreeSet::new();
    let mut stack: Vec<ValueId> = roots.collect();
    while let Some(id) = stack.pop() {
        if !map.contains_key(&id) && wanted.insert(id) {
            stack.extend(&from.value(id).operands);
        }
    }
    for id in wanted {
        let value = from.value(id);
        let operands: Vec<ValueId> = value.operands.iter().map(|o| map[o]).collect();
        let copied = to
            .add(value.op.clone(), &operands)
            .expect("a value that fits in one graph fits in its copy");
        map.insert(id, copied);
    }
}

pub(super) fn prologue(graph: &Graph, assembly: &Assembly) -> Prologue {
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    let mut map = BTreeMap::new();
    copy(
        graph,
        &mut out,
        &mut map,
        assembly.prologue.iter().map(|(id, _)| *id),
    );
    let mut places = Vec::new();
    for (k, (id, slot)) in assembly.prologue.iter().enumerate() {
        // Results are numbered, not named: only their order counts here.
        out.set_result(ResultKind::Gradient(crate::ir::ParamId(k as u32)), map[id]);
        places.push((*slot, graph.dims(*id).to_vec()));
    }
    Prologue { graph: out, places }
}

pub(super) fn epilogue(graph: &Graph, classes: &[Class], assembly: &Assembly) -> Epilogue {
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    let mut map = BTreeMap::new();
    let mut sums = Vec::new();
    for (id, at) in &assembly.sums {
        let dims = graph.dims(*id).to_vec();
        let slot = out.add_param(ParamSlot::new(format!("sum {id}"), dims));
        let leaf = out
            .add(Op::Param(slot), &[])
            .expect("a parameter has no operands");
        map.insert(*id, leaf);
        sums.push(*at);
    }
    debug_assert!(assembly
        .sums
        .iter()
        .all(|(id, _)| classes[id.index()] == Class::Sum));
    let gradients: Vec<(ResultKind, ValueId)> = graph
        .results()
        .iter()
        .filter(|(result, _)| matches!(result, ResultKind::Gradient(_)))
        .copied()
        .collect();
    copy(
        graph,
        &mut out,
        &mut map,
        gradients.iter().map(|(_, id)| *id),
    );
    for (result, id) in gradients {
        out.set_result(result, map[&id]);
    }
    Epilogue { graph: out, sums }
}
