//! Computing what depends on parameters alone, and gradients of parameters from sums.

use super::evaluate::evaluate;
use crate::engine::BackendError;
use crate::ir::Real;
use crate::ir::{Graph, Op};
use crate::program::layout::{filled, Form, Slot, PANEL};
use crate::program::parameters::{Epilogue, Origin, Prologue};
use rayon::prelude::*;

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
    let values = evaluate(graph, &params).into_iter();
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
    pub(super) fn compute<S: Real, T: Real>(
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
    pub(super) fn gradients<S: Real>(
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
