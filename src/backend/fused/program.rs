//! A step and its adjoint as lane programs, with what is computed once an iteration.

use super::aligned::Aligned;
use super::assemble::{assemble, blocks, Assembly, Form, Leaf, Slot};
use super::code::{Area, Instr, Place, Source};
use super::jit::Machine;
use super::layout::{filled, Layout};
use super::math::Real;
use super::outer::OuterSum;
use super::partition::{classes, forward_values, Class};
use super::relocate::Moves;
use super::reuse::Reuse;
use super::schedule::{ahead, back, Ahead, Back};
use super::Choices;
use crate::backend::reference::{evaluate, Leaves};
use crate::backend::BackendError;
use crate::ir::{Graph, Op, ParamSlot, ResultKind, ValueId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a graph has no fused program; it then runs on another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fused kernels do not know {0}")]
pub struct Unsupported(pub &'static str);

/// Values of the shared memory and how to compute them.
#[derive(Clone, Debug)]
struct Prologue {
    graph: Graph,
    /// Where each result goes.
    places: Vec<(Slot, Vec<usize>)>,
}

/// Gradients from sums.
#[derive(Clone, Debug)]
struct Epilogue {
    graph: Graph,
    /// Where the sums are, which follow the parameters.
    sums: Vec<Slot>,
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
    Block { index: usize, layout: Layout },
}

/// Machine code of the sweeps of a program.
#[derive(Debug)]
pub(super) struct Machines {
    pub ahead: Machine,
    pub replay: Machine,
    pub back: Machine,
}

/// A compiled step with its adjoint.
#[derive(Clone, Debug)]
pub struct Fused {
    pub(super) choices: Choices,
    pub(super) ahead: Ahead,
    pub(super) back: Back,
    /// Machine code of all sweeps.
    pub(super) machines: Arc<Machines>,
    /// Elements of a lane's memory forward; the first `record_size` of them are kept of every step.
    pub(super) lane_size: usize,
    pub(super) record_size: usize,
    /// Elements of a lane's memory on the way back.
    pub(super) adjoint_size: usize,
    shared_size: usize,
    sums_size: usize,
    pub(super) outers: Vec<OuterSum>,
    step_prologue: Prologue,
    adjoint_prologue: Prologue,
    epilogue: Epilogue,
    /// By slot: where inputs and noise go before a step.
    pub(super) inputs: Vec<Option<Slot>>,
    pub(super) noises: Vec<Option<Slot>>,
    /// By slot: where outputs are after a step.
    pub(super) outputs: Vec<(Place, usize)>,
    /// By slot: where states live.
    pub(super) homes: Vec<Home>,
    /// Leaving values of vector states: slot and where.
    pub(super) nexts: Vec<(usize, Place, usize)>,
    /// By slot: where seeds go before an adjoint step.
    pub(super) seeds: Vec<Option<Slot>>,
    /// Adjoints of entering vector states: slot and where.
    pub(super) adjoints_out: Vec<(usize, Place, usize)>,
    /// Adjoints of inputs, where the adjoint graph has them: slot and where.
    pub(super) input_adjoints: Vec<(usize, Place, usize)>,
    /// Blocks of connections.
    pub(super) blocks: Vec<Layout>,
    /// Those that no update writes.
    pub(super) constant: Vec<usize>,
    /// First values of states, by slot.
    pub(super) first: Vec<f64>,
    /// Where vectors that the spec names are in what is kept of every step.
    pub(super) named: BTreeMap<String, (Place, usize)>,
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
    pub(super) values: Aligned<T>,
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
                super::code::RootKind::State(k) => Some(k),
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
        let mut values = Aligned::new();
        values.reset(self.shared_size, T::ZERO);
        self.step_prologue.compute(parameters, &mut values)?;
        self.adjoint_prologue.compute(parameters, &mut values)?;
        Ok(Shared { values })
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
        let mut params = parameters.to_vec();
        for slot in &self.epilogue.sums {
            let mut values = vec![0.0; slot.n];
            match slot.form {
                Form::Panels(layout) => layout.unpack(&sums[slot.at..], &mut values, |x| x),
                Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
                    values.copy_from_slice(&sums[slot.at..slot.at + slot.n]);
                }
            }
            params.push(values);
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
    fn compute<T: Real>(&self, parameters: &[Vec<f64>], out: &mut [T]) -> Result<(), BackendError> {
        let leaves = Leaves {
            params: parameters,
            ..Leaves::default()
        };
        let values = evaluate(&self.graph, 1, &leaves)?;
        for ((slot, dims), values) in self.places.iter().zip(values) {
            let out = &mut out[slot.at..];
            let turned = |values: &[f64]| -> Vec<f64> {
                let (rows, cols) = (dims[0], dims[1]);
                let mut out = vec![0.0; values.len()];
                for (r, row) in values.chunks_exact(cols).enumerate() {
                    for (c, x) in row.iter().enumerate() {
                        out[c * rows + r] = *x;
                    }
                }
                out
            };
            match slot.form {
                Form::Plain => {
                    for (to, value) in out.iter_mut().zip(values) {
                        *to = T::from_f64(value);
                    }
                }
                Form::Panels(layout) => layout.pack(&values, out, T::from_f64),
                Form::Transposed(layout) => layout.pack(&turned(&values), out, T::from_f64),
                Form::Rows(layout) => put_rows(layout, &values, out),
                Form::TransposedRows(layout) => put_rows(layout, &turned(&values), out),
            }
        }
        Ok(())
    }
}

fn put_rows<T: Real>(layout: Layout, values: &[f64], out: &mut [T]) {
    let rows = out.chunks_exact_mut(filled(layout.cols));
    for (to, from) in rows.zip(values.chunks_exact(layout.cols)) {
        for (to, x) in to.iter_mut().zip(from) {
            *to = T::from_f64(*x);
        }
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

/// Where named vectors are in what is kept of every step.
fn named(step: &Graph, onward: &Assembly, kept: usize) -> BTreeMap<String, (Place, usize)> {
    let mut named = BTreeMap::new();
    for id in step.ids() {
        let Some(name) = step.value(id).name.clone() else {
            continue;
        };
        // The same elements under other dimensions have no place of their own.
        let mut base = id;
        while matches!(step.value(base).op, Op::Reshape { .. } | Op::StopGradient)
            && !onward.places.contains_key(&base)
        {
            base = step.value(base).operands[0];
        }
        let place = onward.places.get(&base).copied();
        if let Some(place) = place.filter(|p| p.area == Area::Lane && p.at < kept) {
            named.insert(name, (place, step.dims(id).iter().product()));
        }
    }
    named
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
    for (k, (id, slot)) in assembly.prologue.iter().enumerate() {
        // Results are numbered, not named: only their order counts here.
        out.set_result(ResultKind::Gradient(crate::ir::ParamId(k as u32)), map[id]);
        places.push((*slot, graph.dims(*id).to_vec()));
    }
    Prologue { graph: out, places }
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
        let slot = out.add_param(ParamSlot::new(format!("sum {id}"), dims));
        let leaf = out
            .add(Op::Param(slot), &[])
            .expect("a parameter has no operands");
        map.insert(*id, leaf);
        sums.push(*at);
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

/// Puts what is kept of every step at the beginning of the lane's memory, and tells the adjoint where it is. Returns
/// how many elements that are.
fn record(onward: &mut Assembly, backward: &mut Assembly) -> Result<usize, Unsupported> {
    let region = |assembly: &Assembly, at: usize| {
        let found = assembly.reserved.range(..=at).next_back();
        *found.expect("every place was reserved").0
    };
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for sweep in &onward.replay {
        let roots = sweep.roots.iter().map(|root| root.value);
        for source in sweep.ops.iter().flat_map(|op| op.operands).chain(roots) {
            match source {
                Source::Post(p) | Source::Pre(p) if p.area == Area::Lane => {
                    kept.insert(region(onward, p.at));
                }
                Source::Matrix(Area::Lane, at) => {
                    kept.insert(region(onward, at));
                }
                Source::Post(_)
                | Source::Pre(_)
                | Source::Matrix(..)
                | Source::Temporary(_)
                | Source::State(_)
                | Source::Adjoint(_)
                | Source::Number(_) => {}
            }
        }
    }
    let mut given = Vec::new();
    for (leaf, slot) in &backward.leaves {
        if let Leaf::Forward(id) = leaf {
            let place = onward
                .places
                .get(id)
                .filter(|place| place.area == Area::Lane)
                .ok_or(Unsupported("a forward value that is not kept"))?;
            kept.insert(region(onward, place.at));
            given.push((slot.at, place.at));
        }
    }
    let mut ranges = BTreeMap::new();
    let mut reserved = BTreeMap::new();
    let mut size = 0;
    let mut record_size = 0;
    for keep in [true, false] {
        for (at, n) in &onward.reserved {
            if kept.contains(at) == keep {
                ranges.insert(*at, size);
                reserved.insert(size, *n);
                size += n;
            }
        }
        if keep {
            record_size = size;
        }
    }
    let starts = ranges.clone();
    Moves::new(Area::Lane, ranges).assembly(onward);
    onward.reserved = reserved;
    let records = given
        .into_iter()
        .map(|(from, lane)| (from, starts[&lane]))
        .collect();
    Moves::new(Area::Record, records).assembly(backward);
    Ok(record_size)
}

/// Places that are never shared: what comes from outside and what is read after the step.
fn fixed(assembly: &Assembly) -> BTreeSet<usize> {
    let leaves = assembly
        .leaves
        .iter()
        .filter(|(leaf, _)| !matches!(leaf, Leaf::Forward(_)))
        .map(|(_, slot)| slot.at);
    let results = assembly
        .vectors
        .iter()
        .filter(|(_, place, _)| place.area == Area::Lane)
        .map(|(_, place, _)| {
            let region = assembly.reserved.range(..=place.at).next_back();
            *region.expect("every place was reserved").0
        });
    leaves.chain(results).collect()
}

fn share_places(onward: &mut Assembly, ahead: &mut Ahead, kept: usize) {
    let reuse = Reuse::ahead(ahead, &onward.reserved, &fixed(onward), kept);
    for moves in reuse.moves() {
        moves.ahead(ahead);
        moves.assembly(onward);
    }
    onward.code.lane_size = reuse.size;
}

fn share_places_back(backward: &mut Assembly, back: &mut Back) {
    let reuse = Reuse::back(back, &backward.reserved, &fixed(backward));
    for moves in reuse.moves() {
        moves.back(back);
        moves.assembly(backward);
    }
    backward.code.lane_size = reuse.size;
}

/// Gives both programs one shared memory, in which equal values are one. Returns its elements.
fn share(
    forward: &BTreeMap<ValueId, ValueId>,
    onward: &Assembly,
    backward: &mut Assembly,
) -> usize {
    let known: BTreeMap<(ValueId, Form), usize> = onward
        .prologue
        .iter()
        .map(|(id, slot)| ((*id, slot.form), slot.at))
        .collect();
    let mut size = onward.code.shared_size;
    let mut ranges = BTreeMap::new();
    let ends: Vec<usize> = backward
        .prologue
        .iter()
        .skip(1)
        .map(|(_, slot)| slot.at)
        .chain([backward.code.shared_size])
        .collect();
    for ((id, slot), end) in backward.prologue.iter().zip(ends) {
        let same = forward
            .get(id)
            .and_then(|step| known.get(&(*step, slot.form)));
        match same {
            Some(at) => {
                ranges.insert(slot.at, *at);
            }
            None => {
                ranges.insert(slot.at, size);
                size += end - slot.at;
            }
        }
    }
    let keep: Vec<bool> = backward
        .prologue
        .iter()
        .map(|(id, slot)| {
            !forward
                .get(id)
                .is_some_and(|step| known.contains_key(&(*step, slot.form)))
        })
        .collect();
    Moves::new(Area::Shared, ranges).assembly(backward);
    let mut keep = keep.into_iter();
    backward.prologue.retain(|_| keep.next().unwrap_or(true));
    size
}

impl Instr {
    /// Whether it is a sweep.
    pub(super) fn is_sweep(&self) -> bool {
        matches!(self, Instr::Sweep(_))
    }
}
