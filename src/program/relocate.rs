//! Giving the places of a program other offsets.

use super::code::{Area, Code, Instr, Place, RootKind, Source, Sweep};
use crate::program::build::{Assembly, Leaf};
use crate::program::passes::plastic_fusion::{Ahead, Back};
use std::collections::BTreeMap;

/// New offsets of ranges of one memory, by their old ones.
#[derive(Clone, Debug)]
pub(crate) struct Moves {
    area: Area,
    ranges: BTreeMap<usize, usize>,
}

impl Moves {
    /// `ranges`: old and new beginnings; every offset in use lies in the range that begins last before it.
    pub fn new(area: Area, ranges: BTreeMap<usize, usize>) -> Moves {
        Moves { area, ranges }
    }

    fn offset(&self, area: Area, at: usize) -> usize {
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

    fn place(&self, place: &mut Place) {
        place.at = self.offset(place.area, place.at);
    }

    /// Moves all places of an assembly.
    pub fn assembly(&self, assembly: &mut Assembly) {
        self.code(&mut assembly.code);
        for sweep in &mut assembly.replay {
            self.sweep(sweep);
        }
        for (leaf, slot) in &mut assembly.leaves {
            let area = match leaf {
                Leaf::Forward(_) => Area::Record,
                Leaf::Input(_)
                | Leaf::Noise(_)
                | Leaf::State(_)
                | Leaf::Seed(_)
                | Leaf::AdjointIn(_) => Area::Lane,
            };
            slot.at = self.offset(area, slot.at);
        }
        for (_, slot) in &mut assembly.prologue {
            slot.at = self.offset(Area::Shared, slot.at);
        }
        for (_, place, _) in &mut assembly.vectors {
            self.place(place);
        }
        for place in assembly.places.values_mut() {
            self.place(place);
        }
    }

    /// Moves all places of a schedule forward.
    pub fn ahead(&self, ahead: &mut Ahead) {
        for instr in &mut ahead.instrs {
            self.instr(instr);
        }
        for sweep in ahead.sweeps.iter_mut().chain(&mut ahead.replay) {
            self.sweep(sweep);
        }
    }

    /// Moves all places of a schedule back.
    pub fn back(&self, back: &mut Back) {
        let lists = [&mut back.early, &mut back.late, &mut back.main];
        for instr in lists.into_iter().flatten() {
            self.instr(instr);
        }
        for sweep in &mut back.sweeps {
            self.sweep(sweep);
        }
    }

    fn code(&self, code: &mut Code) {
        for instr in &mut code.instrs {
            self.instr(instr);
        }
        for sweep in &mut code.sweeps {
            self.sweep(sweep);
        }
    }

    fn instr(&self, instr: &mut Instr) {
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
            Instr::AddOuter { a, b, .. } => {
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
            Source::Temporary(_) | Source::State(_) | Source::Adjoint(_) | Source::Number(_) => {}
        }
    }

    fn sweep(&self, sweep: &mut Sweep) {
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
