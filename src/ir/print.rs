//! The text of a graph: slots, values in topological order, results.
//!
//! Values are numbered in [`Graph::live_order`]. Dead values, which only an unfinished graph has, follow in
//! the order of construction and are marked.

use super::graph::{Draw, Graph, NoiseKind, ParamSlot, Reset, ResultKind, StateSlot};
use super::id::ValueId;
use super::op::{Boundary, Op, Shape};
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print_slots(f)?;
        let live = self.live_order();
        let mut number: Vec<Option<usize>> = vec![None; self.len()];
        for (k, id) in live.iter().enumerate() {
            number[id.index()] = Some(k);
        }
        let mut dead: Vec<ValueId> = Vec::new();
        for id in self.ids().filter(|id| number[id.index()].is_none()) {
            dead.push(id);
        }
        for (k, id) in dead.iter().enumerate() {
            number[id.index()] = Some(live.len() + k);
        }
        let number = |id: &ValueId| number[id.index()].unwrap_or(usize::MAX);

        f.write_str("\n")?;
        for id in live.iter().chain(&dead) {
            let value = self.value(*id);
            write!(f, "%{} = {}", number(id), self.op_text(&value.op))?;
            for (k, operand) in value.operands.iter().enumerate() {
                write!(f, "{}%{}", if k == 0 { " " } else { ", " }, number(operand))?;
            }
            write!(f, " : {}", value.shape)?;
            if let Some(name) = &value.name {
                write!(f, "  // {name}")?;
            }
            if number(id) >= live.len() {
                f.write_str("  // dead")?;
            }
            f.write_str("\n")?;
        }
        f.write_str("\n")?;
        for (result, id) in self.results() {
            writeln!(f, "{} = %{}", self.result_text(*result), number(id))?;
        }
        Ok(())
    }
}

impl Graph {
    fn print_slots(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for slot in &self.params {
            print_param(f, slot)?;
        }
        for slot in &self.inputs {
            let shape = Shape::lane(slot.dims.clone());
            writeln!(f, "input {} : {shape}", slot.path)?;
        }
        for slot in &self.states {
            print_state(f, slot)?;
        }
        for slot in &self.noises {
            let shape = Shape::lane(slot.dims.clone());
            let kind = match slot.kind {
                NoiseKind::Step => "noise",
                NoiseKind::Mask => "mask",
            };
            writeln!(f, "{kind} {} : {shape} ~ {}", slot.path, slot.draw)?;
        }
        for slot in &self.outputs {
            let shape = Shape::lane(slot.dims.clone());
            writeln!(f, "output {} : {shape}", slot.path)?;
        }
        Ok(())
    }

    /// An operation with its attributes and without its operands; leaves name their slot.
    pub fn op_text(&self, op: &Op) -> String {
        let name = op.mnemonic();
        match op {
            Op::Param(id) => format!("{name} {}", path(&self.params, id.index(), |s| &s.path)),
            Op::Input(id) => format!("{name} {}", path(&self.inputs, id.index(), |s| &s.path)),
            Op::State(id) | Op::AdjointIn(id) => {
                format!("{name} {}", path(&self.states, id.index(), |s| &s.path))
            }
            Op::Noise(id) => format!("{name} {}", path(&self.noises, id.index(), |s| &s.path)),
            Op::Seed(id) => format!("{name} {}", path(&self.outputs, id.index(), |s| &s.path)),
            Op::Const(value) => format!("{name} {value}"),
            Op::Clip { lo, hi, boundary } | Op::ClipMask { lo, hi, boundary } => {
                format!("{name}[{lo}, {hi}, {}]", boundary.name())
            }
            Op::Broadcast { from, .. } => format!("{name}{from:?}"),
            Op::Reduce { axes, .. } => format!("{name}{axes:?}"),
            Op::Slice { start, end } => format!("{name}[{start}..{end}]"),
            Op::Pad { before, after } => format!("{name}[{before}, {after}]"),
            Op::RangeMask { start, end, .. } => format!("{name}[{start}..{end}]"),
            Op::Gather(indices) | Op::Scatter(indices) => format!("{name}[{indices:?}]"),
            Op::MatVec { transposed: true } => format!("{name}[transposed]"),
            Op::MatVec { transposed: false }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::LaneSum
            | Op::Reshape { .. }
            | Op::Concat
            | Op::Outer
            | Op::Softmax
            | Op::StopGradient => name.to_owned(),
        }
    }

    /// The text of a result, with the path of its slot.
    pub fn result_text(&self, result: ResultKind) -> String {
        match result {
            ResultKind::Output(id) => {
                format!("output {}", path(&self.outputs, id.index(), |s| &s.path))
            }
            ResultKind::Next(id) => {
                format!("next {}", path(&self.states, id.index(), |s| &s.path))
            }
            ResultKind::Gradient(id) => {
                format!("gradient {}", path(&self.params, id.index(), |s| &s.path))
            }
            ResultKind::AdjointOut(id) => {
                format!(
                    "adjoint_out {}",
                    path(&self.states, id.index(), |s| &s.path)
                )
            }
            ResultKind::InputAdjoint(id) => {
                format!(
                    "input_adjoint {}",
                    path(&self.inputs, id.index(), |s| &s.path)
                )
            }
        }
    }
}

/// The path of a slot; a graph that names a missing slot can still be printed.
fn path<S>(slots: &[S], index: usize, of: impl Fn(&S) -> &String) -> &str {
    slots.get(index).map_or("?", |slot| of(slot).as_str())
}

fn print_param(f: &mut fmt::Formatter<'_>, slot: &ParamSlot) -> fmt::Result {
    let kind = if slot.trained { "param" } else { "constant" };
    let shape = Shape::shared(slot.dims.clone());
    write!(f, "{kind} {} : {shape} ~ {}", slot.path, slot.init)?;
    if slot.grad_scale != 1.0 {
        write!(f, ", gradient times {}", slot.grad_scale)?;
    }
    f.write_str("\n")
}

fn print_state(f: &mut fmt::Formatter<'_>, slot: &StateSlot) -> fmt::Result {
    let kind = if slot.trace { "trace" } else { "state" };
    let shape = Shape::lane(slot.dims.clone());
    let reset = match slot.reset {
        Reset::Episode => "episode",
        Reset::Trial => "trial",
        Reset::Never => "never",
        Reset::Carry => "carry",
        Reset::Stream => "stream",
    };
    writeln!(
        f,
        "{kind} {} : {shape} = {}, reset {reset}",
        slot.path, slot.init
    )
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Draw::Constant(value) => write!(f, "{value}"),
            Draw::Uniform(lo, hi) => write!(f, "uniform({lo}, {hi})"),
            Draw::Normal(mean, deviation) => write!(f, "normal({mean}, {deviation})"),
            Draw::Bernoulli(p) => write!(f, "bernoulli({p})"),
            Draw::Identity(scale) => write!(f, "identity({scale})"),
            Draw::Given(given) => match &given.file {
                Some((file, _)) => write!(f, "file({:?})", file.display().to_string()),
                None => f.write_str(&given.literal()),
            },
        }
    }
}

impl Boundary {
    /// All boundaries.
    pub const ALL: [Boundary; 4] = [
        Boundary::Inclusive,
        Boundary::Exclusive,
        Boundary::Half,
        Boundary::StraightThrough,
    ];

    /// The name in specs and printed graphs.
    pub fn name(self) -> &'static str {
        match self {
            Boundary::Inclusive => "inclusive",
            Boundary::Exclusive => "exclusive",
            Boundary::Half => "half",
            Boundary::StraightThrough => "straight_through",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Binary, OutputSlot, Unary};
    use super::*;
    use crate::ir::OutputId;

    fn two_layers(extra_first: bool) -> Graph {
        let mut graph = Graph::new();
        let weight = graph.add_param(ParamSlot::new("w", [3, 2]));
        let state = graph.add_state(StateSlot::new("h", [3], 0.0));
        graph.add_output(OutputSlot::new("y", [2]));
        if extra_first {
            graph.constant(7.0);
        }
        let h = graph.add(Op::State(state), &[]).unwrap();
        let w = graph.add(Op::Param(weight), &[]).unwrap();
        let sum = graph.mat_vec(h, w, false).unwrap();
        let y = graph
            .add_at(Op::Unary(Unary::Tanh), &[sum], Some("y"), None)
            .unwrap();
        let next = graph.binary(Binary::Add, h, h).unwrap();
        graph.set_result(ResultKind::Output(OutputId(0)), y);
        graph.set_result(ResultKind::Next(state), next);
        graph
    }

    const VALUES: &str = "\
%0 = state h : [B,3]
%1 = param w : [3,2]
%2 = mat_vec %0, %1 : [B,2]
%3 = tanh %2 : [B,2]  // y
%4 = add %0, %0 : [B,3]
";

    #[test]
    fn text_is_slots_values_results() {
        let text = format!(
            "param w : [3,2] ~ 0\nstate h : [B,3] = 0, reset episode\noutput y : [B,2]\n\n{VALUES}\noutput y = %3\nnext h = %4\n"
        );
        assert_eq!(two_layers(false).to_string(), text);
    }

    #[test]
    fn a_dead_value_changes_no_number_and_is_marked() {
        let text = two_layers(true).to_string();
        assert!(text.contains(VALUES));
        assert!(text.contains("%5 = const 7 : []  // dead\n"));
    }

    #[test]
    fn compacting_drops_dead_values_and_makes_ids_the_printed_numbers() {
        let compact = two_layers(true).compacted();
        assert_eq!(compact.to_string(), two_layers(false).to_string());
        assert_eq!(
            compact.result(ResultKind::Output(OutputId(0))),
            Some(ValueId(3))
        );
    }
}
