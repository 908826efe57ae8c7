//! What is computed from parameters once an iteration, and the gradients of parameters from sums over steps and lanes.

use crate::engine::reference::{evaluate, Leaves};
use crate::engine::BackendError;
use crate::ir::{Graph, Op, ParamId, ParamSlot, ResultKind, ValueId};
use crate::machine::math::Real;
use crate::program::build::partition::Class;
use crate::program::build::{Assembly, Form, Slot};
use crate::program::layout::{filled, PANEL};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Values of the shared memory and how to compute them.
#[derive(Clone, Debug)]
pub(crate) struct Prologue {
    /// What is not a parameter itself.
    pub graph: Graph,
    /// Where values go, in the order of their places.
    pub places: Vec<Placed>,
}

/// A value in the shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub slot: Slot,
    pub dims: Vec<usize>,
    pub origin: Origin,
}

/// Where a value comes from. Matrices that are multiplied at once are joined and cut, which is worth a way of its own.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// This parameter, or this sum, as it is.
    Leaf(usize),
    /// These parameters side by side.
    Concat(Vec<usize>),
    /// So many columns of this sum, from one on.
    Slice {
        sum: usize,
        start: usize,
        width: usize,
    },
    /// This result of the graph.
    Result(usize),
}

/// Gradients from sums.
#[derive(Clone, Debug)]
pub(crate) struct Epilogue {
    /// What is not a sum itself. Its parameters are those of the network, then the sums.
    pub graph: Graph,
    /// Where the sums are.
    pub sums: Vec<Slot>,
    /// Parameters of the network.
    pub parameters: usize,
    /// By parameter that has a gradient; leaves are sums.
    pub gradients: Vec<(usize, Origin)>,
}

/// The results of a graph of parameters; `param` is asked for those that it reads.
fn results<S: Real>(
    graph: &Graph,
    param: impl Fn(usize) -> Result<Vec<f64>, BackendError>,
) -> Result<Vec<Vec<S>>, BackendError> {
    if graph.results().is_empty() {
        return Ok(Vec::new());
    }
    let mut params: Vec<Vec<f64>> = vec![Vec::new(); graph.params.len()];
    for id in graph.ids() {
        if let Op::Param(id) = &graph.value(id).op {
            params[id.index()] = param(id.index())?;
        }
    }
    let leaves = Leaves {
        params: &params,
        ..Leaves::default()
    };
    let values = evaluate(graph, 1, &leaves)?.into_iter();
    Ok(values
        .map(|values| values.into_iter().map(S::from_f64).collect())
        .collect())
}

fn wide<S: Real>(values: &[S]) -> Vec<f64> {
    values.iter().map(|x| x.to_f64()).collect()
}

/// A parameter of a graph, which must have as many elements as it says.
fn parameter<'a, S: Real>(
    graph: &Graph,
    parameters: &'a [impl AsRef<[S]>],
    k: usize,
) -> Result<&'a [S], BackendError> {
    let values = parameters.get(k).map_or(&[][..], AsRef::as_ref);
    let wanted = graph.params[k].dims.iter().product();
    let what = || format!("parameter `{}`", graph.params[k].path);
    BackendError::check_size(what, wanted, values.len())?;
    Ok(values)
}

impl Prologue {
    /// Writes the values to their places in `out`; the threads of the pool share the work.
    pub(crate) fn compute<S: Real, T: Real>(
        &self,
        parameters: &[impl AsRef<[S]>],
        out: &mut [T],
    ) -> Result<(), BackendError> {
        let graph = &self.graph;
        let computed: Vec<Vec<S>> =
            results(graph, |k| Ok(wide(parameter::<S>(graph, parameters, k)?)))?;
        let mut jobs = Vec::with_capacity(self.places.len());
        let mut rest = out;
        // From the last to the first, each to where the one after it begins.
        for placed in self.places.iter().rev() {
            let from: Vec<&[S]> = match &placed.origin {
                Origin::Leaf(k) => vec![parameter(graph, parameters, *k)?],
                Origin::Concat(parts) => {
                    let parts = parts.iter().map(|k| parameter(graph, parameters, *k));
                    parts.collect::<Result<_, _>>()?
                }
                Origin::Result(k) => vec![computed[*k].as_slice()],
                Origin::Slice { .. } => unreachable!("only sums are cut"),
            };
            let (before, own) = rest.split_at_mut(placed.slot.at);
            jobs.push((placed, from, own));
            rest = before;
        }
        jobs.into_par_iter().for_each(|(placed, from, out)| {
            let (form, dims) = (placed.slot.form, &placed.dims);
            match from.as_slice() {
                [whole] => put(form, dims, whole, out),
                parts => put(form, dims, &joined(parts, dims), out),
            }
        });
        Ok(())
    }
}

impl Epilogue {
    /// Gradients by slot, in memory that `take` gives for so many elements; the threads of the pool share the work.
    pub(crate) fn gradients<S: Real>(
        &self,
        parameters: &[impl AsRef<[S]>],
        sums: &[S],
        mut take: impl FnMut(usize) -> Vec<S>,
    ) -> Result<Vec<Option<Vec<S>>>, BackendError> {
        let graph = &self.graph;
        let computed: Vec<Vec<S>> = results(graph, |k| {
            let Some(number) = k.checked_sub(self.parameters) else {
                return Ok(wide(parameter::<S>(graph, parameters, k)?));
            };
            let slot = self.sums[number];
            let mut values = vec![0.0; slot.n];
            from_sums(slot, sums, &mut values, S::to_f64);
            Ok(values)
        })?;
        let mut gradients: Vec<Option<Vec<S>>> = vec![None; parameters.len()];
        let mut jobs = Vec::with_capacity(self.gradients.len());
        for (parameter, origin) in &self.gradients {
            let elements = graph.params[*parameter].dims.iter().product();
            let values = match origin {
                Origin::Leaf(_) | Origin::Slice { .. } => take(elements),
                Origin::Result(k) => computed[*k].clone(),
                Origin::Concat(_) => unreachable!("only parameters are joined"),
            };
            jobs.push((*parameter, origin, values));
        }
        jobs.par_iter_mut()
            .for_each(|(_, origin, values)| match origin {
                Origin::Leaf(number) => from_sums(self.sums[*number], sums, values, |x| x),
                Origin::Slice { sum, start, width } => {
                    let slot = self.sums[*sum];
                    let mut unpacked = Vec::new();
                    let whole = if matches!(slot.form, Form::Panels(_)) {
                        unpacked.resize(slot.n, S::ZERO);
                        from_sums(slot, sums, &mut unpacked, |x| x);
                        &unpacked
                    } else {
                        &sums[slot.at..slot.at + slot.n]
                    };
                    let rows = values.len() / width;
                    let to = values.chunks_exact_mut(*width);
                    for (to, from) in to.zip(whole.chunks_exact(slot.n / rows)) {
                        to.copy_from_slice(&from[*start..*start + *width]);
                    }
                }
                Origin::Result(_) | Origin::Concat(_) => {}
            });
        for (parameter, _, values) in jobs {
            gradients[parameter] = Some(values);
        }
        Ok(gradients)
    }
}

/// Matrices side by side, as one with these dimensions.
fn joined<S: Real>(parts: &[&[S]], dims: &[usize]) -> Vec<S> {
    let elements: usize = dims.iter().product();
    let rows = elements / dims.last().copied().unwrap_or(1);
    let mut out = Vec::with_capacity(elements);
    for row in 0..rows {
        for part in parts {
            let width = part.len() / rows;
            out.extend_from_slice(&part[row * width..(row + 1) * width]);
        }
    }
    out
}

/// A sum, row after row.
fn from_sums<S: Real, U: Copy>(slot: Slot, sums: &[S], out: &mut [U], convert: impl Fn(S) -> U) {
    let sums = &sums[slot.at..];
    match slot.form {
        Form::Panels(layout) => layout.unpack(sums, out, convert),
        Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
            for (to, x) in out.iter_mut().zip(&sums[..slot.n]) {
                *to = convert(*x);
            }
        }
    }
}

/// Puts a value that lies row after row into the shared memory, in the form in which it is read there.
fn put<S: Real, T: Real>(form: Form, dims: &[usize], from: &[S], out: &mut [T]) {
    let convert = |x: S| T::from_f64(x.to_f64());
    match form {
        Form::Plain => {
            for (to, x) in out.iter_mut().zip(from) {
                *to = convert(*x);
            }
        }
        Form::Panels(layout) => layout.pack(from, out, convert),
        Form::Rows(layout) => {
            let rows = out.chunks_exact_mut(filled(layout.cols));
            for (to, from) in rows.zip(from.chunks_exact(layout.cols)) {
                for (to, x) in to.iter_mut().zip(from) {
                    *to = convert(*x);
                }
            }
        }
        Form::Transposed(layout) => {
            let cols = dims[1];
            for panel in 0..layout.panels() {
                let n = layout.columns(panel);
                let panel_rows = &mut out[panel * layout.rows * PANEL..];
                let to = panel_rows.chunks_exact_mut(PANEL).take(layout.rows);
                for (row, to) in to.enumerate() {
                    for (k, to) in to[..n].iter_mut().enumerate() {
                        *to = convert(from[(panel * PANEL + k) * cols + row]);
                    }
                }
            }
        }
        Form::TransposedRows(layout) => {
            let cols = dims[1];
            let stride = filled(layout.cols);
            // Some rows of the source at a time, so that what is read stays near.
            for first in (0..layout.cols).step_by(PANEL) {
                let n = PANEL.min(layout.cols - first);
                for (row, to) in out.chunks_exact_mut(stride).take(layout.rows).enumerate() {
                    for (k, to) in to[first..first + n].iter_mut().enumerate() {
                        *to = convert(from[(first + k) * cols + row]);
                    }
                }
            }
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

/// What a value is but for its dimensions.
fn reshaped(graph: &Graph, mut id: ValueId) -> ValueId {
    while let Op::Reshape { .. } = graph.value(id).op {
        id = graph.value(id).operands[0];
    }
    id
}

pub(crate) fn prologue(graph: &Graph, assembly: &Assembly) -> Prologue {
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    let param = |id: ValueId| match graph.value(reshaped(graph, id)).op {
        Op::Param(param) => Some(param.index()),
        _ => None,
    };
    let joined = |id: ValueId| -> Option<Vec<usize>> {
        let value = graph.value(id);
        let matches = matches!(value.op, Op::Concat) && !graph.dims(id).is_empty();
        let parts = value.operands.iter().map(|part| param(*part));
        matches.then(|| parts.collect()).flatten()
    };
    let mut map = BTreeMap::new();
    let mut places = Vec::new();
    for (id, slot) in &assembly.prologue {
        let origin = if let Some(k) = param(*id) {
            Origin::Leaf(k)
        } else if let Some(parts) = joined(*id) {
            Origin::Concat(parts)
        } else {
            copy(graph, &mut out, &mut map, std::iter::once(*id));
            // Results are numbered, not named: only their order counts here.
            let k = out.results().len();
            out.set_result(ResultKind::Gradient(ParamId(k as u32)), map[id]);
            Origin::Result(k)
        };
        places.push(Placed {
            slot: *slot,
            dims: graph.dims(*id).to_vec(),
            origin,
        });
    }
    places.sort_by_key(|placed| placed.slot.at);
    Prologue { graph: out, places }
}

pub(crate) fn epilogue(graph: &Graph, classes: &[Class], assembly: &Assembly) -> Epilogue {
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    let mut map = BTreeMap::new();
    let mut sums = Vec::new();
    let mut numbers = BTreeMap::new();
    for (id, at) in &assembly.sums {
        debug_assert!(classes[id.index()] == Class::Sum, "{id} is summed");
        let dims = graph.dims(*id).to_vec();
        let slot = out.add_param(ParamSlot::new(format!("sum {id}"), dims));
        let leaf = out
            .add(Op::Param(slot), &[])
            .expect("a parameter has no operands");
        map.insert(*id, leaf);
        numbers.insert(*id, sums.len());
        sums.push(*at);
    }
    let mut gradients = Vec::new();
    for (result, id) in graph.results() {
        let ResultKind::Gradient(parameter) = result else {
            continue;
        };
        let from = reshaped(graph, *id);
        let value = graph.value(from);
        let cut = match value.op {
            Op::Slice { start, .. } => numbers.get(&value.operands[0]).map(|n| (*n, start)),
            _ => None,
        };
        let origin = match (numbers.get(&from), cut) {
            (Some(number), _) => Origin::Leaf(*number),
            (None, Some((sum, start))) => Origin::Slice {
                sum,
                start,
                width: graph.dims(from).last().copied().unwrap_or(1),
            },
            (None, None) => {
                copy(graph, &mut out, &mut map, std::iter::once(*id));
                let k = out.results().len();
                out.set_result(ResultKind::Gradient(ParamId(k as u32)), map[id]);
                Origin::Result(k)
            }
        };
        gradients.push((parameter.index(), origin));
    }
    Epilogue {
        graph: out,
        sums,
        parameters: graph.params.len(),
        gradients,
    }
}
