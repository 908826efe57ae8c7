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

impl Stage {
    /// An empty stage with this number.
    fn new(number: usize) -> Stage {
        Stage {
            graph: Graph::new(),
            recurrent: number % 2 == 1,
            params: Vec::new(),
            inputs: Vec::new(),
            noises: Vec::new(),
            states: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The slot of a state of the network.
    fn slot(&mut self, step: &Graph, state: StateId) -> StateId {
        match self.states.iter().position(|k| *k == state.index()) {
            Some(k) => StateId(k as u32),
            None => {
                self.states.push(state.index());
                self.graph.add_state(step.states[state.index()].clone())
            }
        }
    }
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
    let copied = copied(step);
    let numbers = numbers(step);
    let given = given(step, &numbers, &copied);
    // Stages give each other vectors only: a trace that depends on no other state stays with its readers.
    if given.iter().any(|id| step.dims(*id).len() > 1) {
        return Ok(Split::whole(step));
    }
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
        let mut cut = Cut {
            step,
            numbers: &numbers,
            copied: &copied,
            index: &index,
            number,
            map: BTreeMap::new(),
            stage: Stage::new(number),
        };
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

/// Returns true if a value needs no other stage.
fn is_free(step: &Graph, id: ValueId) -> bool {
    let value = step.value(id);
    !value.shape.lane || matches!(value.op, Op::Input(_) | Op::Noise(_))
}

/// The values per connection that are computed element by element of vectors, and of no trace. Stages give each other
/// vectors only, so each stage computes them itself.
fn spread(step: &Graph) -> Vec<bool> {
    let mut spread = vec![false; step.len()];
    for id in step.ids() {
        let value = step.value(id);
        let known = matches!(
            value.op,
            Op::Unary(_)
                | Op::Binary(_)
                | Op::Select
                | Op::Clip { .. }
                | Op::Broadcast { .. }
                | Op::StopGradient
        );
        let part = |o: &ValueId| spread[o.index()] || is_free(step, *o) || step.dims(*o).len() < 2;
        spread[id.index()] = known
            && value.shape.lane
            && value.shape.dims.len() == 2
            && value.operands.iter().all(part);
    }
    spread
}

/// By value: whether it is copied into every stage that needs it.
fn copied(step: &Graph) -> Vec<bool> {
    let spread = spread(step);
    step.ids()
        .map(|id| spread[id.index()] || is_free(step, id))
        .collect()
}

/// The number of the stage of each value.
fn numbers(step: &Graph) -> Vec<usize> {
    let spread = spread(step);
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
                .filter(|o| !inside.contains(&o.index()) && !is_free(step, *o))
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
                _ if ids.iter().all(|id| spread[id.index()]) => latest,
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
fn given(step: &Graph, numbers: &[usize], copied: &[bool]) -> Vec<ValueId> {
    let mut given = BTreeSet::new();
    // What a stage reads from others, behind the values that it copies.
    let mut read = |roots: &[ValueId], stage: usize| {
        let mut waiting = roots.to_vec();
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if copied[id.index()] {
                if seen.insert(id) {
                    waiting.extend(&step.value(id).operands);
                }
            } else if numbers[id.index()] != stage {
                given.insert(id);
            }
        }
    };
    for id in step.ids() {
        if !copied[id.index()] {
            read(&step.value(id).operands, numbers[id.index()]);
        }
    }
    for (result, id) in step.results() {
        if let ResultKind::Next(state) = result {
            read(&[*id], home(step, numbers, *state));
        }
    }
    let outputs = step
        .results()
        .iter()
        .filter(|(result, _)| matches!(result, ResultKind::Output(_)));
    given.extend(outputs.map(|(_, id)| *id));
    given.into_iter().collect()
}

/// A stage being made.
struct Cut<'a> {
    step: &'a Graph,
    numbers: &'a [usize],
    copied: &'a [bool],
    /// Numbers of the values that are given.
    index: &'a BTreeMap<ValueId, usize>,
    number: usize,
    map: BTreeMap<ValueId, ValueId>,
    stage: Stage,
}

impl Cut<'_> {
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
        !self.copied[id.index()] && self.numbers[id.index()] != self.number
    }

    fn copy(&mut self, id: ValueId) -> Result<ValueId, ShapeError> {
        let value = self.step.value(id);
        let foreign = self.is_foreign(id);
        let step = self.step;
        if foreign {
            let graph = &mut self.stage.graph;
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
                Op::Param(self.stage.graph.add_param(step.params[k as usize].clone()))
            }
            Op::Input(InputId(k)) => {
                self.stage.inputs.push(Source::Input(k as usize));
                Op::Input(self.stage.graph.add_input(step.inputs[k as usize].clone()))
            }
            Op::Noise(NoiseId(k)) => {
                self.stage.noises.push(k as usize);
                Op::Noise(self.stage.graph.add_noise(step.noises[k as usize].clone()))
            }
            Op::State(state) => Op::State(self.stage.slot(step, state)),
            ref other => other.clone(),
        };
        let operands: Vec<ValueId> = value.operands.iter().map(|o| self.map[o]).collect();
        let graph = &mut self.stage.graph;
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
        let slot = self.stage.slot(self.step, state);
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
