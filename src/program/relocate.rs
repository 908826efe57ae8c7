//! Relocation: new offsets for places.

use super::code::{Area, Instr, Place, RootKind, Source, Sweep};
use super::ir::{Home, Program, Regions};
use std::collections::BTreeMap;

/// The new offsets of ranges of one memory, by their old offsets.
#[derive(Clone, Debug)]
pub(super) struct Moves {
    area: Area,
    ranges: BTreeMap<usize, usize>,
}

impl Moves {
    /// Builds the moves from old and new range starts; an offset belongs to the last range that begins at or
    /// before it.
    pub(super) fn new(area: Area, ranges: BTreeMap<usize, usize>) -> Moves {
        Moves { area, ranges }
    }

    /// The new offset of an element of a memory.
    pub(super) fn offset(&self, area: Area, at: usize) -> usize {
        if area != self.area {
            return at;
        }
        let (start, to) = self
            .ranges
            .range(..=at)
            .next_back()
            .expect("every place lies in a range that was reserved");
        to + (at - start)
    }

    /// Moves a place.
    pub(super) fn place(&self, place: &mut Place) {
        place.at = self.offset(place.area, place.at);
    }

    /// Moves all places of an instruction.
    pub(super) fn instr(&self, instr: &mut Instr) {
        match instr {
            Instr::Element { to, operands, .. } => {
                *to = self.offset(Area::Lane, *to);
                for place in operands {
                    self.place(place);
                }
            }
            Instr::Sum { to, a, .. }
            | Instr::Max { to, a, .. }
            | Instr::Copy { to, a, .. }
            | Instr::Gather { to, a, .. }
            | Instr::Scatter { to, a, .. }
            | Instr::Softmax { to, a, .. } => {
                *to = self.offset(Area::Lane, *to);
                self.place(a);
            }
            Instr::Zero { to, .. } => *to = self.offset(Area::Lane, *to),
            Instr::MatVec { to, v, m, .. } => {
                *to = self.offset(Area::Lane, *to);
                self.place(v);
                *m = self.offset(Area::Shared, *m);
            }
            Instr::AddTo { a, .. } => self.place(a),
            Instr::AddOuter { a, b, .. } | Instr::KeepOuter { a, b, .. } => {
                self.place(a);
                self.place(b);
            }
            Instr::Sweep(_) => {}
        }
    }

    fn source(&self, source: &mut Source) {
        match source {
            Source::Matrix(area, at) => *at = self.offset(*area, *at),
            Source::Post(place) | Source::Pre(place) => self.place(place),
            Source::Gathered(gathered) => self.place(&mut gathered.from),
            Source::Temporary(_) | Source::State(_) | Source::Adjoint(_) | Source::Number(_) => {}
        }
    }

    /// Moves all places of a sweep.
    pub(super) fn sweep(&self, sweep: &mut Sweep) {
        for op in &mut sweep.ops {
            for source in &mut op.operands {
                self.source(source);
            }
        }
        for root in &mut sweep.roots {
            self.source(&mut root.value);
            if let Some(times) = &mut root.times {
                self.source(times);
            }
            match &mut root.kind {
                RootKind::SumPre(area, to)
                | RootKind::MaxPre(area, to)
                | RootKind::SumPost(area, to)
                | RootKind::MaxPost(area, to)
                | RootKind::SumBoth(area, to)
                | RootKind::MaxBoth(area, to) => *to = self.offset(*area, *to),
                RootKind::Gradient(_) | RootKind::State(_) | RootKind::Adjoint(_) => {}
            }
        }
    }
}

impl Program {
    /// The program as it runs: names of a lane's elements are replaced by their offsets.
    pub(super) fn placed(&self) -> Program {
        let mut out = self.clone();
        let moves = |area: Area, regions: &Regions| {
            let ranges = regions.all.iter().map(|region| (region.start, region.at));
            Moves::new(area, ranges.collect())
        };
        let forward = moves(Area::Lane, &self.lane);
        let (ahead, back) = (&mut out.ahead, &mut out.back);
        ahead.instrs.iter_mut().for_each(|i| forward.instr(i));
        for sweep in ahead.sweeps.iter_mut().chain(&mut ahead.updates) {
            forward.sweep(sweep);
        }
        let [this, before] = [Area::Lane, Area::Before].map(|area| moves(area, &self.adjoint));
        for moves in [&this, &before] {
            let lists = [&mut back.early, &mut back.late, &mut back.main];
            lists.into_iter().flatten().for_each(|i| moves.instr(i));
            back.sweeps.iter_mut().for_each(|sweep| moves.sweep(sweep));
        }
        let leaves = out.inputs.iter_mut().chain(&mut out.noises).flatten();
        leaves.for_each(|slot| slot.at = forward.offset(Area::Lane, slot.at));
        let seeds = out.seeds.iter_mut().flatten();
        seeds.for_each(|slot| slot.at = this.offset(Area::Lane, slot.at));
        for home in &mut out.homes {
            if let Home::Vector { step, adjoint, .. } = home {
                *step = step.map(|at| forward.offset(Area::Lane, at));
                *adjoint = adjoint.map(|at| this.offset(Area::Lane, at));
            }
        }
        out.outputs
            .iter_mut()
            .for_each(|(place, _)| forward.place(place));
        out.nexts
            .iter_mut()
            .for_each(|(_, place, _)| forward.place(place));
        let adjoints = out.adjoints_out.iter_mut().chain(&mut out.input_adjoints);
        adjoints.for_each(|(_, place, _)| this.place(place));
        out.named
            .values_mut()
            .for_each(|(place, _)| forward.place(place));
        out
    }
}
