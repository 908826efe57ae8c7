//! Outcomes tensor by tensor, and which of these are wrong.

use crate::gradients::run::Outcome;
use crate::gradients::slots::place;
use bpmc::ir::Graph;

/// All numbers of one slot.
pub struct Tensor {
    pub what: String,
    /// The dimensions of what a lane has, or of a parameter.
    dims: Vec<usize>,
    /// Over what it goes, besides: step and lane, lane, or nothing.
    over: Over,
    pub backward: bool,
    pub values: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Over {
    StepsAndLanes,
    Lanes,
    Nothing,
}

impl Tensor {
    /// What number `index` is; all has so many `lanes`.
    fn name(&self, index: usize, lanes: usize) -> String {
        let width = self.dims.iter().product::<usize>().max(1);
        let what = format!("{}{}", self.what, place(&self.dims, index % width));
        let row = index / width;
        match self.over {
            Over::StepsAndLanes => {
                format!("{what} in lane {} at step {}", row % lanes, row / lanes)
            }
            Over::Lanes => format!("{what} in lane {row}"),
            Over::Nothing => what,
        }
    }
}

/// A tensor that is further off than it may.
pub struct Wrong {
    /// Among the tensors.
    pub index: usize,
    /// The number that is furthest off.
    pub what: String,
    pub error: f64,
    pub scale: f64,
    pub found: f64,
    pub expected: f64,
}

pub fn wrong(graph: &Graph, found: &Outcome, expected: &Outcome, tolerance: f64) -> Vec<Wrong> {
    let lanes = lanes(graph, expected);
    let (found, expected) = (tensors(graph, found), tensors(graph, expected));
    let largest = |backward: bool| {
        let side = expected.iter().filter(|t| t.backward == backward);
        side.flat_map(|t| &t.values)
            .fold(0.0_f64, |a, x| a.max(x.abs()))
    };
    let most = [largest(false), largest(true)];
    let mut all = Vec::new();
    for (index, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert_eq!((&f.what, f.values.len()), (&e.what, e.values.len()));
        // Where all of a tensor is the rest of what cancelled, it is small beside the others.
        let own = e.values.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
        let scale = own.max(1e-3 * most[usize::from(e.backward)]).max(1e-30);
        let pairs = f.values.iter().zip(&e.values);
        let distance = |(a, b): (&f64, &f64)| {
            let d = (a - b).abs();
            if d.is_nan() {
                f64::INFINITY
            } else {
                d
            }
        };
        let worst = pairs
            .enumerate()
            .map(|(k, (a, b))| (distance((a, b)), a, b, k));
        let worst = worst.max_by(|x, y| x.0.total_cmp(&y.0));
        if let Some((error, a, b, k)) = worst.filter(|w| w.0 > tolerance * scale) {
            all.push(Wrong {
                index,
                what: e.name(k, lanes),
                error,
                scale,
                found: *a,
                expected: *b,
            });
        }
    }
    assert_eq!(found.len(), expected.len());
    all
}

/// Lanes of an outcome.
fn lanes(graph: &Graph, outcome: &Outcome) -> usize {
    let outputs = graph.outputs.iter().zip(&outcome.outputs[0]);
    let widths = outputs.map(|(slot, values)| values.len() / slot.dims.iter().product::<usize>());
    widths.max().unwrap_or(1)
}

/// All tensors of an outcome, in a fixed order.
pub fn tensors(graph: &Graph, outcome: &Outcome) -> Vec<Tensor> {
    let mut all = Vec::new();
    let mut add = |what: String, dims: &[usize], over, backward, values: Vec<f64>| {
        all.push(Tensor {
            what,
            dims: dims.to_vec(),
            over,
            backward,
            values,
        });
    };
    let over_steps = |steps: &[Vec<Vec<f64>>], k: usize| -> Vec<f64> {
        steps
            .iter()
            .flat_map(|slots| slots[k].iter().copied())
            .collect()
    };
    for (k, slot) in graph.outputs.iter().enumerate() {
        add(
            format!("output {}", slot.path),
            &slot.dims,
            Over::StepsAndLanes,
            false,
            over_steps(&outcome.outputs, k),
        );
    }
    for (slot, values) in graph.states.iter().zip(&outcome.last_states) {
        add(
            format!("final state {}", slot.path),
            &slot.dims,
            Over::Lanes,
            false,
            values.clone(),
        );
    }
    for (slot, values) in graph.params.iter().zip(&outcome.params) {
        if let Some(values) = values {
            add(
                format!("gradient of {}", slot.path),
                &slot.dims,
                Over::Nothing,
                true,
                values.clone(),
            );
        }
    }
    for (slot, values) in graph.states.iter().zip(&outcome.states) {
        add(
            format!("adjoint of first {}", slot.path),
            &slot.dims,
            Over::Lanes,
            true,
            values.clone(),
        );
    }
    for (k, slot) in graph.inputs.iter().enumerate() {
        if !outcome.inputs.is_empty() {
            add(
                format!("adjoint of input {}", slot.path),
                &slot.dims,
                Over::StepsAndLanes,
                true,
                over_steps(&outcome.inputs, k),
            );
        }
    }
    all
}
