//! A step and its adjoint as lane programs, with what is computed once an iteration.

use super::Choices;
use crate::engine::BackendError;
use crate::ir::{Graph, ResultKind, ValueId};
use crate::machine::aligned::Aligned;
use crate::machine::jit::Machine;
use crate::machine::mat_vec::together::LANES;
use crate::machine::math::Real;
use crate::machine::outer::OuterSum;
use crate::program::build::memory::{named, record, share, share_places, share_places_back};
use crate::program::build::partition::{classes, forward_values};
use crate::program::build::{assemble, blocks, Assembly, Leaf, Slot};
use crate::program::code::Place;
use crate::program::layout::Layout;
use crate::program::parameters::{epilogue, prologue, Epilogue, Prologue};
use crate::program::passes::plastic_fusion::{ahead, back, Ahead, Back};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a graph has no fused program; it then runs on another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fused kernels do not know {0}")]
pub struct Unsupported(pub &'static str);

/// A state or trace, where it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home {
    /// In the lane's memory, at an offset of the step's and of the adjoint's.
    Vector {
        step: Option<usize>,
        adjoint: Option<usize>,
        n: usize,
    },
    /// A block of connections.
    Block { index: usize, layout: Layout },
}

/// Machine code of the sweeps of a program.
#[derive(Debug)]
pub(crate) struct Machines {
    pub ahead: Machine,
    pub replay: Machine,
    pub back: Machine,
}

/// A compiled step with its adjoint.
#[derive(Clone, Debug)]
pub struct Fused {
    pub(crate) choices: Choices,
    pub(crate) ahead: Ahead,
    pub(crate) back: Back,
    /// Machine code of all sweeps.
    pub(crate) machines: Arc<Machines>,
    /// Elements of a lane's memory forward; the first `record_size` of them are kept of every step.
    pub(crate) lane_size: usize,
    pub(crate) record_size: usize,
    /// Elements of a lane's memory on the way back.
    pub(crate) adjoint_size: usize,
    shared_size: usize,
    sums_size: usize,
    pub(crate) outers: Vec<OuterSum>,
    pub(crate) step_prologue: Prologue,
    pub(crate) adjoint_prologue: Prologue,
    pub(crate) epilogue: Epilogue,
    /// By slot: where inputs and noise go before a step.
    pub(crate) inputs: Vec<Option<Slot>>,
    pub(crate) noises: Vec<Option<Slot>>,
    /// By slot: where outputs are after a step.
    pub(crate) outputs: Vec<(Place, usize)>,
    /// By slot: where states live.
    pub(crate) homes: Vec<Home>,
    /// Leaving values of vector states: slot and where.
    pub(crate) nexts: Vec<(usize, Place, usize)>,
    /// By slot: where seeds go before an adjoint step.
    pub(crate) seeds: Vec<Option<Slot>>,
    /// Adjoints of entering vector states: slot and where.
    pub(crate) adjoints_out: Vec<(usize, Place, usize)>,
    /// Adjoints of inputs, where the adjoint graph has them: slot and where.
    pub(crate) input_adjoints: Vec<(usize, Place, usize)>,
    /// Blocks of connections.
    pub(crate) blocks: Vec<Layout>,
    /// Those that no update writes.
    pub(crate) constant: Vec<usize>,
    /// First values of states, by slot.
    pub(crate) first: Vec<f64>,
    /// Where vectors that the spec names are in what is kept of every step.
    pub(crate) named: BTreeMap<String, (Place, usize)>,
}

/// Bytes of the fused kernels in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneBytes {
    /// Parameters as the kernels read them; once.
    pub shared: u64,
    /// Vectors kept of every step; for each lane that runs, as what follows.
    pub records: u64,
    /// Traces kept and replayed.
    pub traces: u64,
    /// Gradient sums.
    pub sums: u64,
    /// Traces, their adjoints and the vectors of a step.
    pub working: u64,
}

/// What depends on parameters alone, for one set of parameters.
#[derive(Clone, Debug, Default)]
pub struct Shared<T> {
    pub(crate) values: Aligned<T>,
}

impl Fused {
    /// Compiles a step and its adjoint.
    ///
    /// # Errors
    /// [`Unsupported`] where the graph holds something the kernels do not know.
    pub fn new(step: &Graph, adjoint: &Graph) -> Result<Fused, Unsupported> {
        Fused::with(step, adjoint, Choices::default())
    }

    /// As [`Fused::new`], with some choices left out.
    ///
    /// # Errors
    /// As above.
    pub fn with(step: &Graph, adjoint: &Graph, choices: Choices) -> Result<Fused, Unsupported> {
        let step_classes = classes(step);
        let adjoint_classes = classes(adjoint);
        let forward = forward_values(step, adjoint);
        let mut backward = assemble(adjoint, &adjoint_classes, &forward, &BTreeSet::new())?;
        let wanted: BTreeSet<ValueId> = backward
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
        let mut onward = assemble(step, &step_classes, &BTreeMap::new(), &wanted)?;
        let record_size = record(&mut onward, &mut backward)?;
        let shared_size = share(&forward, &onward, &mut backward);
        let external: BTreeSet<usize> = backward
            .leaves
            .iter()
            .filter(|(leaf, _)| matches!(leaf, Leaf::Seed(_)))
            .map(|(_, slot)| slot.at)
            .collect();
        let mut ahead = ahead(&onward, choices);
        let mut back = back(&backward, &onward.replay, &external, choices);
        if choices.reuse {
            share_places(&mut onward, &mut ahead, record_size);
            share_places_back(&mut backward, &mut back);
        }
        let find = |assembly: &Assembly, leaf: Leaf| assembly.leaves.get(&leaf).copied();
        let block_of = blocks(step)?;
        let mut homes = Vec::new();
        let mut layouts = Vec::new();
        for (k, slot) in step.states.iter().enumerate() {
            let id = crate::ir::StateId(k as u32);
            homes.push(match block_of.get(&id) {
                Some(index) => {
                    let layout = Layout {
                        rows: slot.dims[0],
                        cols: slot.dims[1],
                    };
                    layouts.push(layout);
                    Home::Block {
                        index: *index,
                        layout,
                    }
                }
                None => Home::Vector {
                    step: find(&onward, Leaf::State(id)).map(|slot| slot.at),
                    adjoint: find(&backward, Leaf::AdjointIn(id)).map(|slot| slot.at),
                    n: slot.dims.iter().product(),
                },
            });
        }
        let seeds: Vec<Option<Slot>> = (0..step.outputs.len() as u32)
            .map(|k| find(&backward, Leaf::Seed(crate::ir::OutputId(k))))
            .collect();
        let mut outputs = vec![None; step.outputs.len()];
        let mut nexts = Vec::new();
        for (result, place, n) in &onward.vectors {
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
        let adjoints_out = backward
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
        let input_adjoints = backward
            .vectors
            .iter()
            .filter_map(|(result, place, n)| match result {
                ResultKind::InputAdjoint(id) => Some((id.index(), *place, *n)),
                ResultKind::Output(_)
                | ResultKind::Next(_)
                | ResultKind::Gradient(_)
                | ResultKind::AdjointOut(_) => None,
            })
            .collect();
        let updated: BTreeSet<usize> = ahead
            .replay
            .iter()
            .flat_map(|sweep| &sweep.roots)
            .filter_map(|root| match root.kind {
                crate::program::code::RootKind::State(k) => Some(k),
                _ => None,
            })
            .collect();
        let machines = Machines {
            ahead: Machine::new(&ahead.sweeps, layouts.len()),
            replay: Machine::new(&ahead.replay, layouts.len()),
            back: Machine::new(&back.sweeps, layouts.len()),
        };
        Ok(Fused {
            choices,
            machines: Arc::new(machines),
            lane_size: onward.code.lane_size,
            record_size,
            adjoint_size: backward.code.lane_size,
            shared_size,
            sums_size: backward.code.sums_size,
            step_prologue: prologue(step, &onward),
            adjoint_prologue: prologue(adjoint, &backward),
            epilogue: epilogue(adjoint, &adjoint_classes, &backward),
            inputs: (0..step.inputs.len() as u32)
                .map(|k| find(&onward, Leaf::Input(crate::ir::InputId(k))))
                .collect(),
            noises: (0..step.noises.len() as u32)
                .map(|k| find(&onward, Leaf::Noise(crate::ir::NoiseId(k))))
                .collect(),
            seeds,
            outputs,
            homes,
            nexts,
            adjoints_out,
            input_adjoints,
            constant: (0..layouts.len())
                .filter(|k| !updated.contains(k))
                .collect(),
            blocks: layouts,
            first: step.states.iter().map(|slot| slot.init).collect(),
            named: named(step, &onward, record_size),
            outers: backward.outers,
            ahead,
            back,
        })
    }

    /// What depends on parameters alone, for these values of them (by slot).
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn shared<T: Real>(&self, parameters: &[Vec<f64>]) -> Result<Shared<T>, BackendError> {
        let mut shared = Shared::default();
        self.share(parameters, &mut shared)?;
        Ok(shared)
    }

    /// As [`Fused::shared`], from parameters of either precision, into memory that is there.
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn share<S: Real, T: Real>(
        &self,
        parameters: &[impl AsRef<[S]>],
        shared: &mut Shared<T>,
    ) -> Result<(), BackendError> {
        // What fills up rows is 0, and stays so.
        shared.values.grow(self.shared_size);
        self.step_prologue.compute(parameters, &mut shared.values)?;
        self.adjoint_prologue
            .compute(parameters, &mut shared.values)
    }

    /// How many lanes of episodes best go in step: those with traces would take the cache from each other, others read
    /// each matrix once for all.
    pub fn best_together(&self) -> usize {
        if self.blocks.is_empty() {
            LANES
        } else {
            1
        }
    }

    /// Elements of what depends on parameters alone.
    pub fn shared_size(&self) -> usize {
        self.shared_size
    }

    /// Elements of the gradient sums.
    pub fn sums_size(&self) -> usize {
        self.sums_size
    }

    /// What lanes of so many steps take, with traces kept every `interval` steps.
    pub fn bytes(&self, steps: usize, interval: usize) -> LaneBytes {
        let size = std::mem::size_of::<f32>() as u64;
        let traces: u64 = self.blocks.iter().map(|b| b.size() as u64).sum();
        let interval = interval.max(1);
        let kept = steps.div_ceil(interval) + interval - 1;
        LaneBytes {
            shared: self.shared_size as u64 * size,
            records: (self.record_size as u64)
                .saturating_mul(steps as u64)
                .saturating_mul(size),
            traces: traces.saturating_mul(kept as u64).saturating_mul(size),
            // Those of the lane, and of another that may wait for its turn.
            sums: 2 * self.sums_size as u64 * size,
            working: (2 * traces + (self.lane_size + 2 * self.adjoint_size) as u64) * size,
        }
    }

    /// Steps between checkpoints of the traces, where `wanted` would be best.
    pub fn interval(&self, wanted: usize) -> usize {
        if self.choices.recompute {
            wanted.max(1)
        } else {
            1
        }
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
        self.gradients_in(parameters, sums, |n| vec![0.0; n])
    }

    /// As [`Fused::gradients`], of either precision, in memory that `take` gives for so many elements.
    ///
    /// # Errors
    /// Where a parameter has the wrong size.
    pub fn gradients_in<S: Real>(
        &self,
        parameters: &[impl AsRef<[S]>],
        sums: &[S],
        take: impl FnMut(usize) -> Vec<S>,
    ) -> Result<Vec<Option<Vec<S>>>, BackendError> {
        self.epilogue.gradients(parameters, sums, take)
    }
}
