//! Cutting a step into stages.
//!
//! A value that depends on itself through time, and what stands between, belongs to a recurrent stage; what lies before,
//! between and behind recurrent stages belongs to stages without states. Stages are numbered so that each reads from
//! earlier ones only: even numbers have no states, odd ones do.

use super::rows;
use crate::ir::{
    Graph, InputId, InputSlot, NoiseId, Op, OutputSlot, ParamId, ResultKind, ShapeError, StateId,
    ValueId,
};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};

/// The source of a stage's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An input of the network.
    Input(usize),
    /// A value that an earlier stage gives, by its number in [`Split::sizes`].
    Earlier(usize),
}

/// One stage: a step graph, and what its slots are in the whole.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The step.
    pub graph: Graph,
    /// True if it has states.
    pub recurrent: bool,
    /// By slot: the parameter of the network.
    pub params: Vec<usize>,
    /// By slot: where it comes from.
    pub inputs: Vec<Source>,
    /// By slot: the noise source of the network.
    pub noises: Vec<usize>,
    /// By slot: the state of the network.
    pub states: Vec<usize>,
    /// By slot: its number in [`Split::sizes`].
    pub outputs: Vec<usize>,
}

/// A step in stages.
#[derive(Clone, Debug)]
pub struct Split {
    /// The stages in the order in which they run.
    pub stages: Vec<Stage>,
    /// Values given from stage to stage and outputs of the network: elements of each, per lane and step.
    pub sizes: Vec<usize>,
    /// By output of the network: its number in `sizes`.
    pub outputs: Vec<usize>,
}

impl Split {
    /// A step that is not cut.
    pub fn whole(step: &Graph) -> Split {
        let outputs: Vec<usize> = (0..step.outputs.len()).collect();
        let sizes = step.outputs.iter().map(|slot| slot.dims.iter().product());
        Split {
            sizes: sizes.collect(),
            outputs: outputs.clone(),
            stages: vec![Stage {
                graph: step.clone(),
                recurrent: true,
                params: (0..step.params.len()).collect(),
                inputs: (0..step.inputs.len()).map(Source::Input).collect(),
                noises: (0..step.noises.len()).collect(),
                states: (0..step.states.len()).collect(),
                outputs,
            }],
        }
    }
}

/// Cuts a step. There is always at least one stage.
///
/// # Errors
/// Never for a verified step: shapes stay as they are.
pub fn split(step: &Graph) -> Result<Split, ShapeError> {
    let numbers = numbers(step);
    let given = given(step, &numbers);
    let index: BTreeMap<ValueId, usize> = given.iter().copied().zip(0..).collect();
    let mut wanted: BTreeSet<usize> = given.iter().map(|id| numbers[id.index()]).collect();
    for (result, id) in step.results() {
        if let ResultKind::Next(state) = result {
            wanted.insert(home(step, &numbers, *state));
            wanted.insert(numbers[id.index()]);
        }
    }
    let mut stages = Vec::new();
    for number in wanted {
        let mut cut = Cut::new(step, &numbers, &index, number);
        for id in &given {
            if numbers[id.index()] == number {
                cut.give(*id)?;
            }
        }
        for k in 0..step.states.len() as u32 {
            if home(step, &numbers, StateId(k)) == number {
                cut.keep(StateId(k))?;
            }
        }
        if !cut.stage.graph.results().is_empty() {
            stages.push(cut.stage);
        }
    }
    let outputs = step
        .results()
        .iter()
        .filter(|(result, _)| matches!(result, ResultKind::Output(_)))
        .map(|(_, id)| index[id]);
    Ok(Split {
        outputs: outputs.collect(),
        sizes: given
            .iter()
            .map(|id| step.dims(*id).iter().product())
            .collect(),
        stages,
    })
}

/// The number of the stage that holds a state.
fn home(step: &Graph, numbers: &[usize], state: StateId) -> usize {
    let leaf = step.find(&Op::State(state), &[]);
    let next = step.result(ResultKind::Next(state));
    // A state that nothing reads is where its next value is, or right behind.
    leaf.map(|id| numbers[id.index()])
        .or_else(|| next.map(|id| numbers[id.index()] | 1))
        .unwrap_or(1)
}

/// Returns true if a value is copied into every stage that needs it.
fn copied(step: &Graph, id: ValueId) -> bool {
    let value = step.value(id);
    !value.shape.lane || matches!(value.op, Op::Input(_) | Op::Noise(_))
}

/// The number of the stage of each value.
fn numbers(step: &Graph) -> Vec<usize> {
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(step.len(), step.len());
    for _ in step.ids() {
        graph.add_node(());
    }
    let node = |id: ValueId| NodeIndex::new(id.index());
    for id in step.ids() {
        for operand in &step.value(id).operands {
            graph.add_edge(node(*operand), node(id), ());
        }
        if let Op::State(state) = step.value(id).op {
            if let Some(next) = step.result(ResultKind::Next(state)) {
                graph.add_edge(node(next), node(id), ());
            }
        }
    }
    let mut numbers = vec![0; step.len()];
    // Strongly connected components come with users before operands.
    for component in tarjan_scc(&graph).into_iter().rev() {
        let inside: BTreeSet<usize> = component.iter().map(|n| n.index()).collect();
        let ids: Vec<ValueId> = inside.iter().map(|k| ValueId(*k as u32)).collect();
        let before = |through_time: bool| {
            let operands = ids.iter().flat_map(|id| {
                let value = step.value(*id);
                let next = match value.op {
                    Op::State(state) if through_time => step.result(ResultKind::Next(state)),
                    _ => None,
                };
                value.operands.iter().copied().chain(next)
            });
            operands
                .filter(|o| !inside.contains(&o.index()) && !copied(step, *o))
                .map(|o| numbers[o.index()])
                .max()
        };
        let recurrent = ids
            .iter()
            .any(|id| matches!(step.value(*id).op, Op::State(_)));
        let number = if recurrent {
            match before(true) {
                None => 1,
                Some(k) if k % 2 == 0 => k + 1,
                Some(k) => k + 2,
            }
        } else {
            let latest = before(false).unwrap_or(0);
            let here = ids.iter().all(|id| rows::supported(step, *id));
            match (latest % 2, here) {
                (0, true) | (1, false) => latest,
                _ => latest + 1,
            }
        };
        for k in inside {
            numbers[k] = number;
        }
    }
    numbers
}

/// Values that one stage gives and another reads, and the outputs.
fn given(step: &Graph, numbers: &[usize]) -> Vec<ValueId> {
    let mut given = BTreeSet::new();
    for id in step.ids() {
        if copied(step, id) {
            continue;
        }
        for operand in &step.value(id).operands {
            if !copied(step, *operand) && numbers[operand.index()] != numbers[id.index()] {
                given.insert(*operand);
            }
        }
    }
    for (result, id) in step.results() {
        match result {
            ResultKind::Output(_) => {
                given.insert(*id);
            }
            ResultKind::Next(state) => {
                let apart = home(step, numbers, *state) != numbers[id.index()];
                if apart && !copied(step, *id) {
                    given.insert(*id);
                }
            }
            ResultKind::Gradient(_) | ResultKind::AdjointOut(_) | ResultKind::InputAdjoint(_) => {}
        }
    }
    given.into_iter().collect()
}

/// A stage being made.
struct Cut<'a> {
    step: &'a Graph,
    numbers: &'a [usize],
    /// Numbers of the values that are given.
    index: &'a BTreeMap<ValueId, usize>,
    number: usize,
    map: BTreeMap<ValueId, ValueId>,
    stage: Stage,
}

impl Cut<'_> {
    fn new<'a>(
        step: &'a Graph,
        numbers: &'a [usize],
        index: &'a BTreeMap<ValueId, usize>,
        number: usize,
    ) -> Cut<'a> {
        Cut {
            step,
            numbers,
            index,
            number,
            map: BTreeMap::new(),
            stage: Stage {
                graph: Graph::new(),
                recurrent: number % 2 == 1,
                params: Vec::new(),
                inputs: Vec::new(),
                noises: Vec::new(),
                states: Vec::new(),
                outputs: Vec::new(),
            },
        }
    }

    /// The value in this stage.
    fn value(&mut self, root: ValueId) -> Result<ValueId, ShapeError> {
        // Operands come before their users, so no recursion is needed.
        let mut wanted = BTreeSet::from([root]);
        let mut waiting = vec![root];
        while let Some(id) = waiting.pop() {
            if self.map.contains_key(&id) || self.is_foreign(id) {
                continue;
            }
            for operand in &self.step.value(id).operands {
                if wanted.insert(*operand) {
                    waiting.push(*operand);
                }
            }
        }
        for id in wanted {
            if !self.map.contains_key(&id) {
                let copy = self.copy(id)?;
                self.map.insert(id, copy);
            }
        }
        Ok(self.map[&root])
    }

    fn is_foreign(&self, id: ValueId) -> bool {
        !copied(self.step, id) && self.numbers[id.index()] != self.number
    }

    fn copy(&mut self, id: ValueId) -> Result<ValueId, ShapeError> {
        let value = self.step.value(id);
        let (graph, step) = (&mut self.stage.graph, self.step);
        if self.numbers[id.index()] != self.number && !copied(step, id) {
            let number = self.index[&id];
            let slot = graph.add_input(InputSlot {
                path: format!("value {number}"),
                dims: value.shape.dims.clone(),
                span: None,
            });
            self.stage.inputs.push(Source::Earlier(number));
            return graph.add(Op::Input(slot), &[]);
        }
        let op = match value.op {
            Op::Param(ParamId(k)) => {
                self.stage.params.push(k as usize);
                Op::Param(graph.add_param(step.params[k as usize].clone()))
            }
            Op::Input(InputId(k)) => {
                self.stage.inputs.push(Source::Input(k as usize));
                Op::Input(graph.add_input(step.inputs[k as usize].clone()))
            }
            Op::Noise(NoiseId(k)) => {
                self.stage.noises.push(k as usize);
                Op::Noise(graph.add_noise(step.noises[k as usize].clone()))
            }
            Op::State(StateId(k)) => {
                self.stage.states.push(k as usize);
                Op::State(graph.add_state(step.states[k as usize].clone()))
            }
            ref other => other.clone(),
        };
        let operands: Vec<ValueId> = value.operands.iter().map(|o| self.map[o]).collect();
        graph.add_at(op, &operands, value.name.as_deref(), value.span)
    }

    /// Makes a value an output of the stage.
    fn give(&mut self, id: ValueId) -> Result<(), ShapeError> {
        let value = self.value(id)?;
        let number = self.index[&id];
        let slot = self.stage.graph.add_output(OutputSlot {
            path: format!("value {number}"),
            dims: self.step.dims(id).to_vec(),
            span: None,
        });
        self.stage.outputs.push(number);
        let graph = &mut self.stage.graph;
        graph.set_result(ResultKind::Output(slot), value);
        Ok(())
    }

    /// Keeps a state in the stage.
    fn keep(&mut self, state: StateId) -> Result<(), ShapeError> {
        let Some(next) = self.step.result(ResultKind::Next(state)) else {
            return Ok(());
        };
        let next = self.value(next)?;
        let known = self.stage.states.iter().position(|k| *k == state.index());
        let slot = match known {
            Some(k) => StateId(k as u32),
            None => {
                self.stage.states.push(state.index());
                let slot = self.step.states[state.index()].clone();
                self.stage.graph.add_state(slot)
            }
        };
        self.stage.graph.set_result(ResultKind::Next(slot), next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{split, Source};
    use crate::driver::{compile, from_disk};
    use crate::ir::{verify, Graph, GraphKind};

    fn step(text: &str) -> Graph {
        let compilation = compile("net.bpm", text, &[], &from_disk).unwrap();
        compilation.program.unwrap().step
    }

    #[test]
    fn two_layers_are_five_stages() {
        let step = step(
            "network net {
               input word: [9]
               state h: [4] = 0 reset carry, g: [3] = 0 reset carry
               x = embedding(word, 5)
               y = tanh(linear(dropout(x, 0.5)) + linear(h))
               h <- y
               z = tanh(linear(y) + linear(g))
               g <- z
               output next_word = linear(z, 9)
             }
             train supervised { loss = cross_entropy, batch = 2, steps = 3 }",
        );
        let split = split(&step).unwrap();
        let recurrent: Vec<bool> = split.stages.iter().map(|s| s.recurrent).collect();
        assert_eq!(recurrent, [false, true, false, true, false]);
        assert_eq!(split.stages[0].inputs, [Source::Input(0)]);
        assert_eq!(split.stages[1].states, [0]);
        assert_eq!(split.stages[3].states, [1]);
        for stage in &split.stages {
            assert!(verify(&stage.graph, GraphKind::Step).is_empty());
        }
        // Every parameter is in exactly one stage.
        let mut params: Vec<usize> = split.stages.iter().flat_map(|s| s.params.clone()).collect();
        params.sort_unstable();
        assert_eq!(params, (0..step.params.len()).collect::<Vec<_>>());
        assert_eq!(split.sizes[split.outputs[0]], 9);
    }

    #[test]
    fn a_layer_that_hears_a_later_one_shares_its_stage() {
        let step = step(
            "network net {
               input x: [9]
               state h: [4] = 0, g: [3] = 0
               y = tanh(linear(x) + linear(h) + linear(g))
               h <- y
               z = tanh(linear(y) + linear(g))
               g <- z
               output out = linear(z, 9)
             }
             train supervised { loss = half_sum_squares, batch = 2, steps = 3 }",
        );
        let split = split(&step).unwrap();
        let recurrent: Vec<bool> = split.stages.iter().map(|s| s.recurrent).collect();
        assert_eq!(recurrent, [false, true, false]);
    }
}
