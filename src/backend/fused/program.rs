//! A step and its adjoint as lane programs, with what is computed once an iteration.

use super::assemble::{assemble, blocks, Assembly, Leaf};
use super::choices::Choices;
use super::code::{Area, Code, Place, Source, Sweep};
use super::jit::Machines;
use super::math::Real;
use super::partition::{classes, forward_values, Class};
use crate::backend::reference::{evaluate, Leaves};
use crate::backend::BackendError;
use crate::ir::{Graph, Op, ParamSlot, ResultKind, ValueId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a graph has no fused program; it then runs on another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fused kernels do not know {0}")]
pub struct Unsupported(pub &'static str);

/// A piece of the lane's memory kept for every step, or given back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Offset in the record of a step.
    pub record: usize,
    /// Offset in the lane's memory.
    pub lane: usize,
    /// Elements.
    pub n: usize,
}

/// Values of the shared memory and how to compute them.
#[derive(Clone, Debug)]
struct Prologue {
    graph: Graph,
    /// Offset and length of each result.
    places: Vec<(usize, usize)>,
    size: usize,
}

/// Gradients from sums.
#[derive(Clone, Debug)]
struct Epilogue {
    graph: Graph,
    /// Offset and length of the sums, which follow the parameters.
    sums: Vec<(usize, usize)>,
}

/// A state or trace, where it lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    /// In the lane's memory, at an offset of the step's and of the adjoint's.
    Vector {
        step: Option<usize>,
        adjoint: Option<usize>,
        n: usize,
    },
    /// A block of connections.
    Block { index: usize, n: usize },
}

/// A compiled step with its adjoint.
#[derive(Clone, Debug)]
pub struct Fused {
    pub(super) step: Code,
    pub(super) adjoint: Code,
    pub(super) replay: Vec<Sweep>,
    /// Machine code of all sweeps.
    pub(super) machines: Arc<Machines>,
    step_prologue: Prologue,
    adjoint_prologue: Prologue,
    epilogue: Epilogue,
    /// By slot: where inputs and noise go before a step.
    pub(super) inputs: Vec<Option<(usize, usize)>>,
    pub(super) noises: Vec<Option<(usize, usize)>>,
    /// By slot: where outputs are after a step.
    pub(super) outputs: Vec<(Place, usize)>,
    /// By slot: where states live.
    pub(super) homes: Vec<Home>,
    /// Leaving values of vector states: slot and where.
    pub(super) nexts: Vec<(usize, Place, usize)>,
    /// Kept from every step, from the step's memory.
    pub(super) kept: Vec<Piece>,
    /// Given to every adjoint step, into the adjoint's memory.
    pub(super) restored: Vec<Piece>,
    pub(super) record_size: usize,
    /// By slot: where seeds go before an adjoint step.
    pub(super) seeds: Vec<Option<(usize, usize)>>,
    /// Adjoints of entering vector states: slot and where.
    pub(super) adjoints_out: Vec<(usize, Place, usize)>,
    /// Elements of each block of connections.
    pub(super) block_sizes: Vec<usize>,
    /// First values of states, by slot.
    pub(super) first: Vec<f64>,
}

/// The shared memories of both programs, for one set of parameters.
#[derive(Clone, Debug, Default)]
pub struct Shared<T> {
    pub(super) step: Vec<T>,
    pub(super) adjoint: Vec<T>,
}

impl Fused {
    /// As [`Fused::new`], with some ways of being fast left out.
    ///
    /// # Errors
    /// As [`Fused::new`].
    pub fn with(step: &Graph, adjoint: &Graph, _choices: Choices) -> Result<Fused, Unsupported> {
        Fused::new(step, adjoint)
    }

    /// Compiles a step and its adjoint (without input adjoints).
    ///
    /// # Errors
    /// [`Unsupported`] where the graph holds something the kernels do not know.
    pub fn new(step: &Graph, adjoint: &Graph) -> Result<Fused, Unsupported> {
        let step_classes = classes(step);
        let adjoint_classes = classes(adjoint);
        let forward = forward_values(step, adjoint);
        let back = assemble(adjoint, &adjoint_classes, &forward, &BTreeSet::new())?;
        let wanted: BTreeSet<ValueId> = back
            .leaves
            .keys()
            .filter_map(|leaf| match leaf {
                Leaf::Forward(id) => Some(*id),
                Leaf::Input(_)
                | Leaf::Noise(_)
                | Leaf::State(_)
                | Leaf::Seed(_)
                | Leaf::AdjointIn(_) => None,
            })
            .collect();
        let ahead = assemble(step, &step_classes, &BTreeMap::new(), &wanted)?;
        let record = Record::new(step, &ahead, &back)?;
        let mut homes = Vec::new();
        let block_of = blocks(step)?;
        for (k, slot) in step.states.iter().enumerate() {
            let id = crate::ir::StateId(k as u32);
            let n = slot.dims.iter().product();
            homes.push(match block_of.get(&id) {
                Some(index) => Home::Block { index: *index, n },
                None => Home::Vector {
                    step: ahead.leaves.get(&Leaf::State(id)).map(|(at, _)| *at),
                    adjoint: back.leaves.get(&Leaf::AdjointIn(id)).map(|(at, _)| *at),
                    n,
                },
            });
        }
        let find = |assembly: &Assembly, leaf: Leaf| assembly.leaves.get(&leaf).copied();
        let mut outputs = vec![None; step.outputs.len()];
        let mut nexts = Vec::new();
        for (result, place, n) in &ahead.vectors {
            match result {
                ResultKind::Output(id) => outputs[id.index()] = Some((*place, *n)),
                ResultKind::Next(id) => nexts.push((id.index(), *place, *n)),
                ResultKind::Gradient(_)
                | ResultKind::AdjointOut(_)
                | ResultKind::InputAdjoint(_) => {}
            }
        }
        let outputs = outputs
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or(Unsupported("an output that is not a vector"))?;
        let adjoints_out = back
            .vectors
            .iter()
            .filter_map(|(result, place, n)| match result {
                ResultKind::AdjointOut(id) => Some((id.index(), *place, *n)),
                ResultKind::Output(_)
                | ResultKind::Next(_)
                | ResultKind::Gradient(_)
                | ResultKind::InputAdjoint(_) => None,
            })
            .collect();
        let machines = Machines::new(&ahead.code, &ahead.replay, &back.code, block_of.len());
        Ok(Fused {
            machines: Arc::new(machines),
            step_prologue: prologue(step, &ahead),
            adjoint_prologue: prologue(adjoint, &back),
            epilogue: epilogue(adjoint, &adjoint_classes, &back),
            inputs: (0..step.inputs.len() as u32)
                .map(|k| find(&ahead, Leaf::Input(crate::ir::InputId(k))))
                .collect(),
            noises: (0..step.noises.len() as u32)
                .map(|k| find(&ahead, Leaf::Noise(crate::ir::NoiseId(k))))
                .collect(),
            seeds: (0..step.outputs.len() as u32)
                .map(|k| find(&back, Leaf::Seed(crate::ir::OutputId(k))))
                .collect(),
            outputs,
            homes,
            nexts,
            kept: record.kept,
            restored: record.restored,
            record_size: record.size,
            adjoints_out,
            block_sizes: step
                .states
                .iter()
                .filter(|slot| slot.dims.len() == 2)
                .map(|slot| slot.dims.iter().product())
                .collect(),
            first: step.states.iter().map(|slot| slot.init).collect(),
            replay: ahead.replay,
            step: ahead.code,
            adjoint: back.code,
        })
    }

    /// What depends on parameters alone, for these values of them (by slot).
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn shared<T: Real>(&self, parameters: &[Vec<f64>]) -> Result<Shared<T>, BackendError> {
        Ok(Shared {
            step: self.step_prologue.compute(parameters)?,
            adjoint: self.adjoint_prologue.compute(parameters)?,
        })
    }

    /// Elements of the gradient sums.
    pub fn sums_size(&self) -> usize {
        self.adjoint.sums_size
    }

    /// Gradients by slot from sums over steps and lanes.
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn gradients(
        &self,
        parameters: &[Vec<f64>],
        sums: &[f64],
    ) -> Result<Vec<Option<Vec<f64>>>, BackendError> {
        let mut params = parameters.to_vec();
        for (at, n) in &self.epilogue.sums {
            params.push(sums[*at..at + n].to_vec());
        }
        let leaves = Leaves {
            params: &params,
            ..Leaves::default()
        };
        let values = evaluate(&self.epilogue.graph, 1, &leaves)?;
        let mut gradients = vec![None; parameters.len()];
        for ((result, _), values) in self.epilogue.graph.results().iter().zip(values) {
            if let ResultKind::Gradient(id) = result {
                gradients[id.index()] = Some(values);
            }
        }
        Ok(gradients)
    }
}

impl Prologue {
    fn compute<T: Real>(&self, parameters: &[Vec<f64>]) -> Result<Vec<T>, BackendError> {
        let leaves = Leaves {
            params: parameters,
            ..Leaves::default()
        };
        let values = evaluate(&self.graph, 1, &leaves)?;
        let mut out = vec![T::ZERO; self.size];
        for ((at, n), values) in self.places.iter().zip(values) {
            for (to, value) in out[*at..at + n].iter_mut().zip(values) {
                *to = T::from_f64(value);
            }
        }
        Ok(out)
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

fn prologue(graph: &Graph, assembly: &Assembly) -> Prologue {
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
    for (k, (id, at)) in assembly.prologue.iter().enumerate() {
        // Results are numbered, not named: only their order counts here.
        out.set_result(ResultKind::Gradient(crate::ir::ParamId(k as u32)), map[id]);
        places.push((*at, graph.dims(*id).iter().product()));
    }
    Prologue {
        graph: out,
        places,
        size: assembly.code.shared_size,
    }
}

fn epilogue(graph: &Graph, classes: &[Class], assembly: &Assembly) -> Epilogue {
    let mut out = Graph::new();
    for slot in &graph.params {
        out.add_param(slot.clone());
    }
    let mut map = BTreeMap::new();
    let mut sums = Vec::new();
    for (id, at) in &assembly.sums {
        let dims = graph.dims(*id).to_vec();
        let n = dims.iter().product();
        let slot = out.add_param(ParamSlot::new(format!("sum {id}"), dims));
        let leaf = out
            .add(Op::Param(slot), &[])
            .expect("a parameter has no operands");
        map.insert(*id, leaf);
        sums.push((*at, n));
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

/// What is kept of every step.
struct Record {
    kept: Vec<Piece>,
    restored: Vec<Piece>,
    size: usize,
}

impl Record {
    fn new(step: &Graph, ahead: &Assembly, back: &Assembly) -> Result<Record, Unsupported> {
        // Ranges of the step's memory by offset.
        let mut ranges: BTreeMap<usize, usize> = BTreeMap::new();
        let mut keep = |at: usize, n: usize| {
            let length = ranges.entry(at).or_insert(0);
            *length = (*length).max(n);
        };
        for sweep in &ahead.replay {
            let sources = sweep.ops.iter().flat_map(|op| op.operands);
            for source in sources {
                let length = |place: Place, n: usize| if place.stride == 0 { 1 } else { n };
                match source {
                    Source::Post(p) if p.area == Area::Lane => keep(p.at, length(p, sweep.cols)),
                    Source::Pre(p) if p.area == Area::Lane => keep(p.at, length(p, sweep.rows)),
                    Source::Matrix(Area::Lane, at) => keep(at, sweep.rows * sweep.cols),
                    Source::Post(_)
                    | Source::Pre(_)
                    | Source::Matrix(..)
                    | Source::Temporary(_)
                    | Source::State(_)
                    | Source::Adjoint(_) => {}
                }
            }
        }
        let mut given = Vec::new();
        for (leaf, (at, n)) in &back.leaves {
            if let Leaf::Forward(id) = leaf {
                let place = ahead
                    .places
                    .get(id)
                    .filter(|place| place.area == Area::Lane)
                    .ok_or(Unsupported("a forward value that is not kept"))?;
                debug_assert_eq!(*n, step.dims(*id).iter().product::<usize>());
                keep(place.at, *n);
                given.push((place.at, *at, *n));
            }
        }
        let mut size = 0;
        let mut kept = Vec::new();
        let mut at_of = BTreeMap::new();
        for (lane, n) in ranges {
            kept.push(Piece {
                record: size,
                lane,
                n,
            });
            at_of.insert(lane, size);
            size += n;
        }
        let restored = given
            .into_iter()
            .map(|(from, lane, n)| Piece {
                record: at_of[&from],
                lane,
                n,
            })
            .collect();
        Ok(Record {
            kept,
            restored,
            size,
        })
    }
}
