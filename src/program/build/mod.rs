//! The assembly of a graph into the instructions of a lane: needed values, their places and their order.
//!
//! `program` puts the assemblies of a step and its adjoint together; `partition` says what is computed once, per step or
//! after the last one; `sweeps` holds what is computed per connection, `vectors` the instructions between; `memory` says what is
//! kept of every step and what both ways share; `parameters` what is computed of parameters alone.

mod memory;
mod parameters;
mod partition;
mod program;
mod sweeps;
mod vectors;

use super::code::{Area, Element, Instr, Place, RootKind, Sweep};
use super::ir::Regions;
use super::layout::{filled, Form, Layout, Slot};
use super::unsupported::Unsupported;
use crate::ir::{Graph, Indices, InputId, NoiseId, Op, OutputId, ResultKind, StateId, ValueId};
use partition::{levels, Class};
use std::collections::{BTreeMap, BTreeSet};

/// A value that is written into the lane's memory from outside before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaf {
    Input(InputId),
    Noise(NoiseId),
    State(StateId),
    Seed(OutputId),
    AdjointIn(StateId),
    /// A value of the forward step.
    Forward(ValueId),
}

/// The result of assembling a graph.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pub instrs: Vec<Instr>,
    pub sweeps: Vec<Sweep>,
    /// The places of leaves: in the lane's memory, or for values of the forward step in its record.
    pub leaves: BTreeMap<Leaf, Slot>,
    /// Values computed once an iteration and where they go in the shared memory.
    pub prologue: Vec<(ValueId, Slot)>,
    /// Elements of the shared memory.
    pub shared_size: usize,
    /// Sums over lanes and where they are in the gradient sums.
    pub sums: Vec<(ValueId, Slot)>,
    /// Elements of the gradient sums.
    pub sums_size: usize,
    /// Elements of the record that values of the forward step take.
    pub record_size: usize,
    /// The reserved regions of the lane's memory.
    pub regions: Regions,
    /// The places of results of rank 0 and 1.
    pub vectors: Vec<(ResultKind, Place, usize)>,
    /// The place of every vector of the step, for those who keep some.
    pub places: BTreeMap<ValueId, Place>,
    /// Sweeps that give only the leaving values of traces.
    pub replay: Vec<Sweep>,
}

/// The traces that are blocks, in the order of a lane's blocks.
fn blocks(graph: &Graph) -> Result<BTreeMap<StateId, usize>, Unsupported> {
    let mut map = BTreeMap::new();
    for (k, slot) in graph.states.iter().enumerate() {
        match slot.dims.len() {
            0 | 1 => {}
            2 => {
                let next = map.len();
                map.insert(StateId(k as u32), next);
            }
            _ => return Err(Unsupported("a state of three dimensions")),
        }
    }
    Ok(map)
}

/// Assembles what the results of `graph` and the `extra` values need. `forward` values of rank 0 and 1 are
/// not computed but given.
fn assemble(
    graph: &Graph,
    classes: &[Class],
    forward: &BTreeMap<ValueId, ValueId>,
    extra: &BTreeSet<ValueId>,
    indices: &[Indices],
) -> Result<Assembly, Unsupported> {
    let given = |id: ValueId| {
        forward.contains_key(&id)
            && classes[id.index()] == Class::Step
            && graph.dims(id).len() < 2
            && !is_gathered(graph, id)
    };
    let mut assembler = Assembler {
        graph,
        classes,
        levels: levels(graph, classes, given),
        forward,
        indices,
        blocks: blocks(graph)?,
        out: Assembly::default(),
        shared: BTreeMap::new(),
        needed: BTreeSet::new(),
    };
    assembler.mark_needed(extra, given)?;
    assembler.emit()?;
    // Leaves among the extra values have no instruction, only a place.
    for id in extra {
        if assembler.rank(*id) < 2 {
            assembler.place(*id)?;
        }
    }
    Ok(assembler.out)
}

/// Returns true if a value is gathered where it is read, in both directions: it has as many elements as a sparse bundle has
/// connections.
fn is_gathered(graph: &Graph, id: ValueId) -> bool {
    matches!(graph.value(id).op, Op::Gather(_))
}

struct Assembler<'a> {
    graph: &'a Graph,
    classes: &'a [Class],
    levels: Vec<usize>,
    forward: &'a BTreeMap<ValueId, ValueId>,
    indices: &'a [Indices],
    blocks: BTreeMap<StateId, usize>,
    out: Assembly,
    shared: BTreeMap<(ValueId, Form), usize>,
    /// Values of class `Step` and `Sum` that something needs.
    needed: BTreeSet<ValueId>,
}

/// A root of a sweep before sweeps are formed.
struct Root {
    level: usize,
    layout: Layout,
    kind: RootKind,
    value: ValueId,
}

impl Assembler<'_> {
    fn rank(&self, id: ValueId) -> usize {
        self.graph.dims(id).len()
    }

    fn is_given(&self, id: ValueId) -> bool {
        self.forward.contains_key(&id)
            && self.classes[id.index()] == Class::Step
            && self.rank(id) < 2
            && !is_gathered(self.graph, id)
    }

    /// The value behind stretched scalars and changed dimensions, and whether a scalar was stretched.
    fn behind(&self, mut id: ValueId) -> (ValueId, bool) {
        let mut stretched = false;
        loop {
            let value = self.graph.value(id);
            match &value.op {
                Op::Broadcast { from, .. } if from.is_empty() => {
                    stretched = true;
                    id = value.operands[0];
                }
                Op::Broadcast { .. } if self.graph.dims(value.operands[0]) == value.shape.dims => {
                    id = value.operands[0];
                }
                Op::Reshape { .. }
                    if value.shape.dims.len() < 2 && self.rank(value.operands[0]) < 2 =>
                {
                    id = value.operands[0];
                }
                Op::StopGradient => id = value.operands[0],
                _ => return (id, stretched),
            }
        }
    }

    fn mark_needed(
        &mut self,
        extra: &BTreeSet<ValueId>,
        given: impl Fn(ValueId) -> bool,
    ) -> Result<(), Unsupported> {
        let mut stack: Vec<ValueId> = extra.iter().copied().collect();
        for (_, id) in self.graph.results() {
            stack.push(*id);
        }
        let mut seen = BTreeSet::new();
        while let Some(id) = stack.pop() {
            if !seen.insert(id) {
                continue;
            }
            let value = self.graph.value(id);
            if value.shape.dims.len() > 2 && self.classes[id.index()] == Class::Step {
                return Err(Unsupported("a value of three dimensions"));
            }
            match self.classes[id.index()] {
                Class::Prologue => continue,
                Class::Step if given(id) => {}
                Class::Step | Class::Sum => {
                    self.needed.insert(id);
                    stack.extend(&value.operands);
                }
                Class::Epilogue => stack.extend(&value.operands),
            }
        }
        Ok(())
    }

    fn reserve(&mut self, n: usize) -> usize {
        self.out.regions.reserve(n)
    }

    fn elements(&self, id: ValueId) -> usize {
        self.graph.dims(id).iter().product()
    }

    fn layout(&self, id: ValueId) -> Layout {
        let dims = self.graph.dims(id);
        Layout {
            rows: dims[0],
            cols: dims[1],
        }
    }

    fn shared(&mut self, id: ValueId, form: Form) -> usize {
        if let Some(at) = self.shared.get(&(id, form)) {
            return *at;
        }
        let n = self.elements(id);
        let at = self.out.shared_size;
        self.out.shared_size += Slot { at, n, form }.size();
        self.shared.insert((id, form), at);
        self.out.prologue.push((id, Slot { at, n, form }));
        at
    }

    fn leaf(&self, id: ValueId) -> Option<Leaf> {
        if self.is_given(id) {
            return Some(Leaf::Forward(self.forward[&id]));
        }
        match self.graph.value(id).op {
            Op::Input(k) => Some(Leaf::Input(k)),
            Op::Noise(k) => Some(Leaf::Noise(k)),
            Op::State(k) => Some(Leaf::State(k)),
            Op::Seed(k) => Some(Leaf::Seed(k)),
            Op::AdjointIn(k) => Some(Leaf::AdjointIn(k)),
            _ => None,
        }
    }

    /// The place of a leaf; it is reserved when it is first asked for.
    fn leaf_place(&mut self, leaf: Leaf, id: ValueId) -> Place {
        let n = self.elements(id);
        let stride = usize::from(n > 1);
        let area = match leaf {
            Leaf::Forward(_) => Area::Record,
            Leaf::Input(_)
            | Leaf::Noise(_)
            | Leaf::State(_)
            | Leaf::Seed(_)
            | Leaf::AdjointIn(_) => Area::Lane,
        };
        if let Some(slot) = self.out.leaves.get(&leaf) {
            return Place {
                area,
                at: slot.at,
                stride,
            };
        }
        let (size, form) = if self.rank(id) == 2 {
            let layout = self.layout(id);
            (layout.size(), Form::Panels(layout))
        } else {
            (n, Form::Plain)
        };
        let at = if area == Area::Record {
            let at = self.out.record_size;
            self.out.record_size += filled(size);
            at
        } else {
            self.reserve(size)
        };
        self.out.leaves.insert(leaf, Slot { at, n, form });
        Place { area, at, stride }
    }

    /// The place of a scalar or vector.
    fn place(&mut self, id: ValueId) -> Result<Place, Unsupported> {
        let (base, stretched) = self.behind(id);
        let n = self.elements(base);
        let stride = usize::from(!stretched && n > 1);
        if self.classes[base.index()] == Class::Prologue {
            let at = self.shared(base, Form::Plain);
            return Ok(Place {
                area: Area::Shared,
                at,
                stride,
            });
        }
        if let Some(place) = self.out.places.get(&base) {
            return Ok(Place { stride, ..*place });
        }
        if let Op::Gather(indices) = &self.graph.value(base).op {
            let operand = self.graph.value(base).operands[0];
            let (number, from) = (self.number(indices)?, self.elements(operand));
            let a = self.place(operand)?;
            let to = self.target(base);
            self.out.instrs.push(Instr::Gather {
                to,
                a,
                indices: number,
                from,
                n,
            });
            return Ok(Place {
                area: Area::Lane,
                at: to,
                stride,
            });
        }
        let Some(leaf) = self.leaf(base) else {
            return Err(Unsupported("a value used before it is computed"));
        };
        let place = self.leaf_place(leaf, base);
        self.out.places.insert(base, place);
        Ok(Place { stride, ..place })
    }

    /// The number of positions in the program.
    fn number(&self, indices: &Indices) -> Result<usize, Unsupported> {
        let found = self.indices.iter().position(|known| known == indices);
        found.ok_or(Unsupported("positions that no graph of the program has"))
    }

    fn target(&mut self, id: ValueId) -> usize {
        let n = self.elements(id);
        let at = self.reserve(n);
        let place = Place {
            area: Area::Lane,
            at,
            stride: usize::from(n > 1),
        };
        self.out.places.insert(id, place);
        at
    }

    fn sum_at(&mut self, id: ValueId, form: Form) -> usize {
        let at = self.out.sums_size;
        let n = self.elements(id);
        self.out.sums_size += Slot { at, n, form }.size();
        self.out.sums.push((id, Slot { at, n, form }));
        at
    }

    fn emit(&mut self) -> Result<(), Unsupported> {
        let mut roots = self.roots()?;
        let mut order: Vec<ValueId> = self
            .needed
            .iter()
            .copied()
            .filter(|id| self.is_vector_code(*id))
            .collect();
        order.sort_by_key(|id| (self.levels[id.index()], *id));
        let mut order = order.into_iter().peekable();
        let last = roots
            .iter()
            .map(|root| root.level)
            .chain(self.levels.iter().copied())
            .max()
            .unwrap_or(0);
        for level in 0..=last {
            while let Some(id) = order.next_if(|id| self.levels[id.index()] == level) {
                self.vector(id)?;
            }
            let mut now: Vec<Root> = Vec::new();
            let mut later: Vec<Root> = Vec::new();
            for root in roots {
                if root.level == level {
                    now.push(root);
                } else {
                    later.push(root);
                }
            }
            roots = later;
            let layouts: BTreeSet<Layout> = now.iter().map(|r| r.layout).collect();
            for layout in layouts {
                let (stores, sums): (Vec<&Root>, Vec<&Root>) = now
                    .iter()
                    .filter(|root| root.layout == layout)
                    .partition(|root| matches!(root.kind, RootKind::State(_)));
                if !sums.is_empty() {
                    let name = if stores.is_empty() {
                        "transmit"
                    } else {
                        "reduce"
                    };
                    let sweep = self.sweep(name, layout, &sums)?;
                    self.out.instrs.push(Instr::Sweep(self.out.sweeps.len()));
                    self.out.sweeps.push(sweep);
                }
                // Nothing in the step reads what leaves it but through the sums, which compute it themselves.
                if !stores.is_empty() {
                    let replay = self.sweep("update", layout, &stores)?;
                    self.out.replay.push(replay);
                }
            }
        }
        for (result, id) in self.graph.results() {
            let late = matches!(self.classes[id.index()], Class::Sum | Class::Epilogue);
            if late || matches!(result, ResultKind::Gradient(_)) || self.rank(*id) == 2 {
                continue;
            }
            let mut place = self.place(*id)?;
            let n = self.elements(*id);
            // The states move on before outputs are read, and the values of states that the step does not read: such a
            // value that is a state needs a copy.
            let state = matches!(self.graph.value(self.behind(*id).0).op, Op::State(_));
            let late = match result {
                ResultKind::Output(_) => true,
                ResultKind::Next(slot) => !self.out.leaves.contains_key(&Leaf::State(*slot)),
                _ => false,
            };
            if state && late {
                let to = self.reserve(n);
                self.out.instrs.push(Instr::Copy { to, a: place, n });
                place = Place {
                    area: Area::Lane,
                    at: to,
                    stride: usize::from(n > 1),
                };
            }
            self.out.vectors.push((*result, place, n));
        }
        Ok(())
    }
}

fn element(op: &Op) -> Result<Element, Unsupported> {
    match op {
        Op::Unary(f) => Ok(Element::Unary(*f)),
        Op::Binary(f) => Ok(Element::Binary(*f)),
        Op::Select => Ok(Element::Select),
        Op::Clip { lo, hi, .. } => Ok(Element::Clip(*lo, *hi)),
        Op::ClipMask { lo, hi, boundary } => Ok(Element::ClipMask(*lo, *hi, *boundary)),
        _ => Err(Unsupported(
            "an operation on connections that is not element by element",
        )),
    }
}

fn three<T: Copy>(items: &[T]) -> [T; 3] {
    let first = items[0];
    let get = |k: usize| items.get(k).copied().unwrap_or(first);
    [first, get(1), get(2)]
}
