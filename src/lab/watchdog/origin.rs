//! The search for the first value of a step, or of its adjoint, that is not finite and that its results are made of.

use super::{fits, Culprit, What};
use crate::engine::reference::{evaluate_all, Leaves};
use crate::engine::BackendError;
use crate::ir::{Graph, Op, Value, ValueId};

/// A value that is not finite though its operands are.
pub(super) struct Origin {
    id: ValueId,
    element: usize,
    number: f64,
    operands: Vec<f64>,
}

impl Origin {
    pub(super) fn at(self, step: usize, lane: usize, adjoint: bool, rounding: bool) -> Culprit {
        Culprit {
            step,
            lane,
            what: What::Value {
                id: self.id,
                adjoint,
                element: self.element,
                number: self.number,
                operands: self.operands,
            },
            rounding,
        }
    }
}

/// The results of a graph for one lane, and the value from which those come that are not finite or too large for 32 bits.
/// A branch that a choice does not take is never that value. Neither is a leaf: it comes from outside.
pub(super) fn find(
    graph: &Graph,
    leaves: &Leaves<'_>,
    rounding: bool,
) -> Result<(Option<Origin>, Vec<Vec<f64>>), BackendError> {
    let values = evaluate_all(graph, 1, leaves, |_, values| {
        if rounding {
            for value in values.iter_mut() {
                *value = f64::from(*value as f32);
            }
        }
    })?;
    let results = graph.results().iter();
    let results = results.map(|(_, id)| values[id.index()].clone()).collect();
    Ok((origin(graph, &values), results))
}

/// Goes from the results to the operands that their elements were made from, the last values first.
fn origin(graph: &Graph, values: &[Vec<f64>]) -> Option<Origin> {
    // Whether an element is wrong, and not given from outside.
    let wrong = |id: ValueId, element: usize| {
        let value = graph.value(id);
        let leaf = value.operands.is_empty() && !matches!(value.op, Op::Const(_));
        !leaf && !fits(values[id.index()][element])
    };
    // By value, the elements that are wrong and that a result was made from.
    let mut followed: Vec<Vec<usize>> = vec![Vec::new(); graph.len()];
    for &(_, id) in graph.results() {
        let all = 0..values[id.index()].len();
        followed[id.index()].extend(all.filter(|element| wrong(id, *element)));
    }
    let mut first = None;
    for id in graph.ids().rev() {
        let mut elements = std::mem::take(&mut followed[id.index()]);
        elements.sort_unstable();
        elements.dedup();
        let Some(&element) = elements.first() else {
            continue;
        };
        let mut found = false;
        for (operand, element) in sources(graph.value(id), &elements, values) {
            if wrong(operand, element) {
                followed[operand.index()].push(element);
                found = true;
            }
        }
        if !found {
            first = Some((id, element));
        }
    }
    let (id, element) = first?;
    let size = values[id.index()].len();
    let operands = graph.value(id).operands.iter();
    let operands: Option<Vec<f64>> = operands
        .map(|operand| match values[operand.index()].as_slice() {
            [only] => Some(*only),
            all if all.len() == size => Some(all[element]),
            _ => None,
        })
        .collect();
    Some(Origin {
        id,
        element,
        number: values[id.index()][element],
        operands: operands.unwrap_or_default(),
    })
}

/// The elements of operands that these elements of a value are made from: of element functions the same ones, and of a
/// choice those that it takes.
fn sources(value: &Value, elements: &[usize], values: &[Vec<f64>]) -> Vec<(ValueId, usize)> {
    let each = |operand: &ValueId| {
        let operand = *operand;
        elements.iter().map(move |element| (operand, *element))
    };
    match (&value.op, value.operands.as_slice()) {
        (Op::Select, &[condition, a, b]) => elements
            .iter()
            .map(|element| match values[condition.index()][*element] {
                0.0 => (b, *element),
                _ => (a, *element),
            })
            .collect(),
        (Op::Unary(_) | Op::Binary(_) | Op::Clip { .. } | Op::StopGradient, operands) => {
            operands.iter().flat_map(each).collect()
        }
        (_, operands) => {
            let all = |id: &ValueId| {
                let id = *id;
                (0..values[id.index()].len()).map(move |element| (id, element))
            };
            operands.iter().flat_map(all).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, OutputId, OutputSlot, ParamSlot, ResultKind, Unary};

    #[test]
    fn what_a_choice_does_not_take_is_no_origin() {
        // Element 0 takes 1 / x, which is fine there; element 1 takes log y.
        let mut graph = Graph::new();
        let [x, y] = ["x", "y"].map(|name| {
            let slot = graph.add_param(ParamSlot::new(name, [2]));
            graph.add(Op::Param(slot), &[]).unwrap()
        });
        graph.add_output(OutputSlot::new("z", [2]));
        let inverse = graph.unary(Unary::Recip, x).unwrap();
        let logarithm = graph.unary(Unary::Log, y).unwrap();
        let choice = graph.select(x, inverse, logarithm).unwrap();
        let z = graph.binary(Binary::Mul, choice, y).unwrap();
        graph.set_result(ResultKind::Output(OutputId(0)), z);
        let found = |x: [f64; 2], y: [f64; 2]| {
            let params = [x.to_vec(), y.to_vec()];
            let leaves = Leaves {
                params: &params,
                ..Leaves::default()
            };
            let (origin, _) = find(&graph, &leaves, false).unwrap();
            origin.map(|o| (graph.value(o.id).op.mnemonic(), o.element, o.operands))
        };
        assert_eq!(found([2.0, 0.0], [-1.0, 1.0]), None);
        assert_eq!(found([2.0, 0.0], [1.0, 0.0]), Some(("log", 1, vec![0.0])));
        assert_eq!(
            found([1e-40, 1.0], [1.0, 1.0]),
            Some(("recip", 0, vec![1e-40]))
        );
        // A leaf is nobody's fault here; what reads it is named.
        let nan = found([f64::NAN, 1.0], [1.0, 1.0]).unwrap();
        assert_eq!((nan.0, nan.1), ("recip", 0));
    }
}
