//! Matrix products: sums over connections of weights alone, `Σ_i a_i w_ij = a W`.
//!
//! A bundle without plasticity transmits, per neuron, a sum of weights times activity. A loop over the
//! connections would read and multiply the weights for every lane. A product of a vector and a matrix
//! benefits from all optimizations of linear maps, and so does its adjoint.
//!
//! - `Σ_i a_i w_ij = a W` and `Σ_j w_ij b_j = b Wᵀ`, if `W` is the same at every step
//! - the same with more factors of the remaining side or of none, and with a minus

use super::factors::{Factors, Sides};
use super::rewrite::{fixed, live, Budget, Rewriter};
use crate::ir::{Graph, Op, Reduction, ShapeError};

/// Turns sums over one side of weights times a vector into matrix products.
pub(super) fn run(graph: &Graph, budget: &mut Budget) -> Result<Graph, ShapeError> {
    let live = live(graph);
    let sides = Sides::new(graph);
    let fixed = fixed(graph);
    let mut rewriter = Rewriter::new(graph);
    for id in graph.ids() {
        let value = graph.value(id);
        if let Op::Reduce {
            kind: Reduction::Sum,
            axes,
        } = &value.op
        {
            let operand = value.operands[0];
            // Values that are the same for all lanes are computed once in any case.
            let wanted = live[id.index()] && budget.allows() && value.shape.lane;
            if let (&[axis], true) = (axes.as_slice(), wanted && graph.dims(operand).len() == 2) {
                if let Some(factors) = Factors::of(graph, &sides, &fixed, operand) {
                    if let Some(by) = factors.mat_vec(&mut rewriter, axis)? {
                        budget.spend();
                        rewriter.replace(id, by);
                        continue;
                    }
                }
            }
        }
        rewriter.keep(id)?;
    }
    Ok(rewriter.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, InputSlot, OutputId, OutputSlot, ParamSlot, ResultKind};

    /// The printed sum over an axis of `make(w, pre, post)`, after the pass.
    fn summed(
        axis: usize,
        make: impl Fn(&mut Graph, [crate::ir::ValueId; 3]) -> crate::ir::ValueId,
    ) -> String {
        let mut graph = Graph::new();
        let pre = graph.add_input(InputSlot::new("pre", [3]));
        let post = graph.add_input(InputSlot::new("post", [2]));
        let w = graph.add_param(ParamSlot::new("w", [3, 2]));
        graph.add_output(OutputSlot::new("y", [if axis == 0 { 2 } else { 3 }]));
        let leaf = |graph: &mut Graph, op| graph.add(op, &[]).unwrap();
        let pre = leaf(&mut graph, Op::Input(pre));
        let post = leaf(&mut graph, Op::Input(post));
        let w = leaf(&mut graph, Op::Param(w));
        let pre = graph.broadcast_to(pre, &[3, 2], &[0]).unwrap();
        let post = graph.broadcast_to(post, &[3, 2], &[1]).unwrap();
        let x = make(&mut graph, [w, pre, post]);
        let y = graph.sum(x, &[axis]).unwrap();
        graph.set_result(ResultKind::Output(OutputId(0)), y);
        let out = run(&graph, &mut Budget::new(None)).unwrap();
        let y = out.result(ResultKind::Output(OutputId(0))).unwrap();
        out.op_text(&out.value(y).op)
    }

    #[test]
    fn weights_times_a_vector_are_a_product_of_a_matrix() {
        let mul = |g: &mut Graph, a, b| g.binary(Binary::Mul, a, b).unwrap();
        assert!(summed(0, |g, [w, pre, _]| mul(g, pre, w)).starts_with("mat_vec"));
        assert!(summed(1, |g, [w, _, post]| mul(g, w, post)).starts_with("mat_vec"));
        // A factor of the remaining side is applied after the product.
        let both = summed(0, |g, [w, pre, post]| {
            let x = mul(g, w, pre);
            mul(g, x, post)
        });
        assert_eq!(both, "mul");
    }

    #[test]
    fn what_is_no_product_with_a_vector_stays() {
        let add = summed(0, |g, [w, pre, _]| g.binary(Binary::Add, pre, w).unwrap());
        assert!(add.starts_with("reduce_sum"), "{add}");
        let other = summed(0, |g, [w, _, post]| g.binary(Binary::Mul, post, w).unwrap());
        assert!(other.starts_with("reduce_sum"), "{other}");
    }
}
