//! The construction of sweeps: their roots, the operations of their rows and the origin of operands.

use super::partition::Class;
use super::{element, three, Assembler, Leaf, Root};
use crate::ir::{Op, Reduction, ResultKind, ValueId};
use crate::program::code::{Area, Gathered, Place, RootKind, Source, Sweep};
use crate::program::layout::{Form, Layout};
use crate::program::sweep::SweepBuilder;
use crate::program::unsupported::Unsupported;
use std::collections::{BTreeMap, BTreeSet};

impl Assembler<'_> {
    /// The roots of the sweeps.
    pub(crate) fn roots(&mut self) -> Result<Vec<Root>, Unsupported> {
        let mut roots = Vec::new();
        for id in self.needed.clone() {
            let value = self.graph.value(id);
            let Some(operand) = value.operands.first().copied() else {
                continue;
            };
            if self.rank(operand) != 2 || self.classes[operand.index()] != Class::Step {
                continue;
            }
            let layout = self.layout(operand);
            let kind = match &value.op {
                Op::Reduce { kind, axes } => {
                    let (kind, axes) = (*kind, axes.clone());
                    let to = self.target(id);
                    match (kind, axes.as_slice()) {
                        (Reduction::Sum, [0]) => RootKind::SumPre(Area::Lane, to),
                        (Reduction::Sum, [1]) => RootKind::SumPost(Area::Lane, to),
                        (Reduction::Sum, _) => RootKind::SumBoth(Area::Lane, to),
                        (Reduction::Max, [0]) => RootKind::MaxPre(Area::Lane, to),
                        (Reduction::Max, [1]) => RootKind::MaxPost(Area::Lane, to),
                        (Reduction::Max, _) => RootKind::MaxBoth(Area::Lane, to),
                    }
                }
                Op::LaneSum => RootKind::Gradient(self.sum_at(id, Form::Panels(layout))),
                _ => continue,
            };
            roots.push(Root {
                level: self.levels[operand.index()],
                layout,
                kind,
                value: operand,
            });
        }
        let mut stores = Vec::new();
        for (result, id) in self.graph.results() {
            let kind = match result {
                ResultKind::Next(slot) => match self.blocks.get(slot) {
                    Some(block) if self.graph.value(*id).op != Op::State(*slot) => {
                        RootKind::State(*block)
                    }
                    Some(_) | None => continue,
                },
                ResultKind::AdjointOut(slot) => match self.blocks.get(slot) {
                    Some(block) => RootKind::Adjoint(*block),
                    None => continue,
                },
                ResultKind::InputAdjoint(_) if self.rank(*id) == 2 => {
                    return Err(Unsupported("the adjoint of an input per connection"));
                }
                ResultKind::Output(_) if self.rank(*id) == 2 => {
                    return Err(Unsupported("an output per connection"));
                }
                ResultKind::Output(_) | ResultKind::Gradient(_) | ResultKind::InputAdjoint(_) => {
                    continue
                }
            };
            stores.push(Root {
                level: self.levels[id.index()],
                layout: self.layout(*id),
                kind,
                value: *id,
            });
        }
        // A trace is overwritten in the last sweep of its size, after all reads of its old value.
        for k in 0..stores.len() {
            let layout = stores[k].layout;
            let last = roots
                .iter()
                .chain(&stores)
                .filter(|root| root.layout == layout)
                .map(|root| root.level)
                .max();
            stores[k].level = last.unwrap_or(stores[k].level);
        }
        roots.extend(stores);
        Ok(roots)
    }

    pub(crate) fn sweep(
        &mut self,
        name: &'static str,
        layout: Layout,
        roots: &[&Root],
    ) -> Result<Sweep, Unsupported> {
        let mut computed: BTreeSet<ValueId> = BTreeSet::new();
        let mut stack: Vec<ValueId> = roots.iter().map(|root| root.value).collect();
        while let Some(id) = stack.pop() {
            let (base, _) = self.behind(id);
            if self.classes[base.index()] != Class::Step || self.rank(base) != 2 {
                continue;
            }
            if matches!(self.graph.value(base).op, Op::Broadcast { .. })
                || self.leaf(base).is_some()
            {
                continue;
            }
            if computed.insert(base) {
                stack.extend(&self.graph.value(base).operands);
            }
        }
        let mut sweep = SweepBuilder::new(name, layout);
        let mut rows_of: BTreeMap<ValueId, Source> = BTreeMap::new();
        for id in computed {
            let value = self.graph.value(id);
            let f = element(&value.op)?;
            let operands = value.operands.clone();
            let mut sources = Vec::with_capacity(3);
            for operand in operands {
                sources.push(self.source(operand, &rows_of)?);
            }
            rows_of.insert(id, sweep.add(f, three(&sources)));
        }
        for root in roots {
            let value = self.source(root.value, &rows_of)?;
            sweep.root(root.kind, value);
        }
        Ok(sweep.finish())
    }

    /// The gather behind the columns of a sweep's operand, if it changes from step to step.
    fn gathered(&mut self, id: ValueId, axes: &[usize]) -> Result<Option<Gathered>, Unsupported> {
        let (base, _) = self.behind(id);
        let value = self.graph.value(base);
        let (Op::Gather(indices), Class::Step, [1]) = (&value.op, self.classes[base.index()], axes)
        else {
            return Ok(None);
        };
        let operand = value.operands[0];
        let indices = self.number(indices)?;
        let n = self.elements(operand);
        let from = self.place(operand)?;
        Ok(Some(Gathered { from, n, indices }))
    }

    /// The origin of a row of a sweep's operand.
    fn source(
        &mut self,
        id: ValueId,
        rows_of: &BTreeMap<ValueId, Source>,
    ) -> Result<Source, Unsupported> {
        let (base, _) = self.behind(id);
        if let Some(source) = rows_of.get(&base) {
            return Ok(*source);
        }
        if self.rank(base) < 2 {
            // A broadcast scalar.
            let place = self.place(base)?;
            return Ok(Source::Post(Place { stride: 0, ..place }));
        }
        let value = self.graph.value(base);
        if let Op::Broadcast { from, .. } = &value.op {
            let (from, operand) = (from.clone(), value.operands[0]);
            if let Some(gathered) = self.gathered(operand, &from)? {
                return Ok(Source::Gathered(gathered));
            }
            let place = self.place(operand)?;
            return Ok(match from.as_slice() {
                [0] => Source::Pre(place),
                _ => Source::Post(place),
            });
        }
        if self.classes[base.index()] == Class::Prologue {
            let form = Form::Panels(self.layout(base));
            return Ok(Source::Matrix(Area::Shared, self.shared(base, form)));
        }
        match (self.leaf(base), &value.op) {
            (Some(Leaf::State(slot)), _) => Ok(Source::State(self.blocks[&slot])),
            (Some(Leaf::AdjointIn(slot)), _) => Ok(Source::Adjoint(self.blocks[&slot])),
            (Some(leaf @ (Leaf::Input(_) | Leaf::Noise(_))), _) => {
                // A leaf of the forward step, also in its adjoint: it is recorded with the vectors.
                let leaf = match self.forward.get(&base) {
                    Some(step) => Leaf::Forward(*step),
                    None => leaf,
                };
                let place = self.leaf_place(leaf, base);
                self.out.places.insert(base, place);
                Ok(Source::Matrix(place.area, place.at))
            }
            (Some(Leaf::Seed(_) | Leaf::Forward(_)) | None, _) => Err(Unsupported(
                "an operation on connections that is not element by element",
            )),
        }
    }
}
