//! Outcomes tensor by tensor, and which of these are wrong.

use crate::gradients::run::Outcome;
use bpmc::ir::Graph;

/// All numbers of one slot.
pub struct Tensor {
    pub what: String,
    pub backward: bool,
    pub values: Vec<f64>,
}

/// A tensor that is further off than it may.
pub struct Wrong {
    /// Among the tensors.
    pub index: usize,
    pub what: String,
    pub error: f64,
    pub scale: f64,
    pub found: f64,
    pub expected: f64,
}

pub fn wrong(graph: &Graph, found: &Outcome, expected: &Outcome, tolerance: f64) -> Vec<Wrong> {
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
        let worst = pairs.map(|(a, b)| (distance((a, b)), a, b));
        let worst = worst.max_by(|x, y| x.0.total_cmp(&y.0));
        if let Some((error, a, b)) = worst.filter(|w| w.0 > tolerance * scale) {
            all.push(Wrong {
                index,
                what: e.what.clone(),
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

/// All tensors of an outcome, in a fixed order.
pub fn tensors(graph: &Graph, outcome: &Outcome) -> Vec<Tensor> {
    let mut all = Vec::new();
    let mut add = |what: String, backward, values: Vec<f64>| {
        all.push(Tensor {
            what,
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
            false,
            over_steps(&outcome.outputs, k),
        );
    }
    for (slot, values) in graph.states.iter().zip(&outcome.last_states) {
        add(format!("final state {}", slot.path), false, values.clone());
    }
    for (slot, values) in graph.params.iter().zip(&outcome.params) {
        if let Some(values) = values {
            add(format!("gradient of {}", slot.path), true, values.clone());
        }
    }
    for (slot, values) in graph.states.iter().zip(&outcome.states) {
        add(
            format!("adjoint of first {}", slot.path),
            true,
            values.clone(),
        );
    }
    for (k, slot) in graph.inputs.iter().enumerate() {
        if !outcome.inputs.is_empty() {
            add(
                format!("adjoint of input {}", slot.path),
                true,
                over_steps(&outcome.inputs, k),
            );
        }
    }
    all
}
