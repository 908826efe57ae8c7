//! The construction of a program: step and adjoint are assembled, with the values that one stores for the
//! other.

use super::memory::{named, record, share};
use super::parameters::{epilogue, prologue};
use super::partition::{classes, forward_values};
use super::{assemble, blocks, Assembly, Leaf};
use crate::ir::{Graph, Indices, InputId, NoiseId, Op, OutputId, ResultKind, StateId, ValueId};
use crate::program::code::{Area, Gathered, Place, RootKind, Source, Sweep};
use crate::program::ir::{Ahead, Back, Home, Program, SlotNames};
use crate::program::layout::{Layout, Slot};
use crate::program::sweep::SweepBuilder;
use crate::program::unsupported::Unsupported;
use std::collections::{BTreeMap, BTreeSet};

impl Program {
    /// Builds the program of a step and its adjoint, before any pass.
    ///
    /// # Errors
    /// [`Unsupported`] if a graph contains something that programs do not support.
    pub fn build(step: &Graph, adjoint: &Graph) -> Result<Program, Unsupported> {
        let step = &with_leaves_of(adjoint, step);
        let step_classes = classes(step);
        let adjoint_classes = classes(adjoint);
        let forward = forward_values(step, adjoint);
        let indices = indices(&[step, adjoint]);
        let mut backward = assemble(
            adjoint,
            &adjoint_classes,
            &forward,
            &BTreeSet::new(),
            &indices,
        )?;
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
        let mut onward = assemble(step, &step_classes, &BTreeMap::new(), &wanted, &indices)?;
        let record_size = record(&mut onward, &mut backward)?;
        let shared_size = share(&forward, &onward, &mut backward);
        let (homes, blocks) = homes(step, &onward, &backward)?;
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
        let mut adjoints_out = Vec::new();
        let mut input_adjoints = Vec::new();
        for (result, place, n) in &backward.vectors {
            match result {
                ResultKind::AdjointOut(id) => adjoints_out.push((id.index(), *place, *n)),
                ResultKind::InputAdjoint(id) => input_adjoints.push((id.index(), *place, *n)),
                ResultKind::Output(_) | ResultKind::Next(_) | ResultKind::Gradient(_) => {}
            }
        }
        let updates: Vec<Sweep> = onward.replay.iter().map(of_record).collect();
        let updated: BTreeSet<usize> = updates
            .iter()
            .flat_map(|sweep| &sweep.roots)
            .filter_map(|root| match root.kind {
                RootKind::State(k) => Some(k),
                _ => None,
            })
            .collect();
        let find = |assembly: &Assembly, leaf: Leaf| assembly.leaves.get(&leaf).copied();
        let leaves = |assembly: &Assembly, n: usize, leaf: &dyn Fn(u32) -> Leaf| {
            let slots = (0..n as u32).map(|k| find(assembly, leaf(k)));
            slots.collect::<Vec<Option<Slot>>>()
        };
        Ok(Program {
            inputs: leaves(&onward, step.inputs.len(), &|k| Leaf::Input(InputId(k))),
            noises: leaves(&onward, step.noises.len(), &|k| Leaf::Noise(NoiseId(k))),
            seeds: leaves(&backward, step.outputs.len(), &|k| Leaf::Seed(OutputId(k))),
            step_prologue: prologue(step, &onward),
            adjoint_prologue: prologue(adjoint, &backward),
            epilogue: epilogue(adjoint, &adjoint_classes, &backward),
            outputs,
            nexts,
            adjoints_out,
            input_adjoints,
            homes,
            constant: (0..blocks.len()).filter(|k| !updated.contains(k)).collect(),
            indices,
            blocks,
            first: step.states.iter().map(|slot| slot.init).collect(),
            named: named(step, &onward, record_size),
            names: SlotNames::of(step),
            record_size,
            shared_size,
            sums_size: backward.sums_size,
            replayed: false,
            outers: Vec::new(),
            ahead: Ahead {
                merged: vec![None; onward.sweeps.len()],
                instrs: onward.instrs,
                sweeps: onward.sweeps,
                updates,
                deferred: false,
                apart: Vec::new(),
            },
            lane: onward.regions,
            back: Back {
                main: backward.instrs,
                sweeps: backward.sweeps,
                ..Back::default()
            },
            adjoint: backward.regions,
        })
    }
}

/// The positions of gathers and scatters, each once.
fn indices(graphs: &[&Graph]) -> Vec<Indices> {
    let mut all: Vec<Indices> = Vec::new();
    for graph in graphs {
        for id in graph.ids() {
            if let Op::Gather(found) | Op::Scatter(found) = &graph.value(id).op {
                if !all.contains(found) {
                    all.push(found.clone());
                }
            }
        }
    }
    all
}

impl SlotNames {
    fn of(step: &Graph) -> SlotNames {
        SlotNames {
            inputs: step.inputs.iter().map(|slot| slot.path.clone()).collect(),
            noises: step.noises.iter().map(|slot| slot.path.clone()).collect(),
            states: step.states.iter().map(|slot| slot.path.clone()).collect(),
            outputs: step.outputs.iter().map(|slot| slot.path.clone()).collect(),
        }
    }
}

/// The place of each state, by slot, and the blocks of connections.
fn homes(
    step: &Graph,
    onward: &Assembly,
    backward: &Assembly,
) -> Result<(Vec<Home>, Vec<Layout>), Unsupported> {
    let find = |assembly: &Assembly, leaf: Leaf| assembly.leaves.get(&leaf).map(|slot| slot.at);
    let block_of = blocks(step)?;
    let mut layouts = Vec::new();
    let mut homes = Vec::new();
    for (k, slot) in step.states.iter().enumerate() {
        let id = StateId(k as u32);
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
                step: find(onward, Leaf::State(id)),
                adjoint: find(backward, Leaf::AdjointIn(id)),
                n: slot.dims.iter().product(),
            },
        });
    }
    Ok((homes, layouts))
}

/// The step with the inputs, noises and states that only its adjoint reads, so that it records them.
fn with_leaves_of(adjoint: &Graph, step: &Graph) -> Graph {
    let mut step = step.clone();
    for id in adjoint.ids() {
        let op = &adjoint.value(id).op;
        if matches!(op, Op::Input(_) | Op::Noise(_) | Op::State(_)) {
            step.add(op.clone(), &[])
                .expect("step and adjoint have the same slots");
        }
    }
    step
}

/// An update of traces that reads the values of its step from the record.
fn of_record(sweep: &Sweep) -> Sweep {
    let place = |place: Place| Place {
        area: match place.area {
            Area::Lane => Area::Record,
            other => other,
        },
        ..place
    };
    let mut builder = SweepBuilder::new("replay", sweep.layout);
    builder.append(
        sweep,
        |source| match source {
            Source::Matrix(Area::Lane, at) => Source::Matrix(Area::Record, at),
            Source::Post(p) => Source::Post(place(p)),
            Source::Pre(p) => Source::Pre(place(p)),
            Source::Gathered(g) => Source::Gathered(Gathered {
                from: place(g.from),
                ..g
            }),
            other => other,
        },
        Some,
    );
    builder.finish()
}
