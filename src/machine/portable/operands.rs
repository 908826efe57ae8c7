//! The loads of a row's operands: vectors of either side, blocks and matrices.

use super::emit::{Emitter, Parts, Row, PARTS};
use crate::machine::abi::{address, gathered_at};
use crate::program::code::{Gathered, Place, Source};
use cranelift_codegen::ir::{types, InstBuilder, MemFlags, Value};
use std::collections::BTreeMap;

impl Emitter<'_> {
    /// Loads a vector over post, at the panel at byte `column`.
    pub(super) fn post(&mut self, place: Place, column: Value) -> Parts {
        let base = self.base(address::area(place.area));
        let offset = (place.at * 4) as i32;
        if place.stride == 0 {
            let scalar = self.b.ins().load(types::F32, memory(), base, offset);
            return [self.splat(scalar); PARTS];
        }
        let base = self.b.ins().iadd(base, column);
        self.vectors(base, offset)
    }

    /// Loads gathered elements, at the panel at byte `column`.
    pub(super) fn gathered(&mut self, gathered: Gathered, column: Value) -> Parts {
        let base = self.base(address::GATHERED);
        let base = self.b.ins().iadd(base, column);
        self.vectors(base, (gathered_at(self.sweep, gathered) * 4) as i32)
    }

    fn vectors(&mut self, base: Value, offset: i32) -> Parts {
        let mut k = 0;
        [(); PARTS].map(|()| {
            k += 1;
            let offset = offset + (k - 1) * 16;
            self.b.ins().load(types::F32X4, memory(), base, offset)
        })
    }

    /// The operand of an operation that is the same in all rows.
    pub(super) fn fixed(&mut self, source: Source, known: &BTreeMap<Source, Parts>) -> Parts {
        match source {
            Source::Number(bits) => [self.splat_number(f32::from_bits(bits)); PARTS],
            Source::Pre(place) => {
                let base = self.base(address::area(place.area));
                let offset = (place.at * 4) as i32;
                let scalar = self.b.ins().load(types::F32, memory(), base, offset);
                [self.splat(scalar); PARTS]
            }
            other => known[&other],
        }
    }

    /// Loads an operand of a row when it is first needed.
    pub(super) fn operand(
        &mut self,
        source: Source,
        at: Row,
        known: &mut BTreeMap<Source, Parts>,
    ) -> Parts {
        if let Some(parts) = known.get(&source) {
            return *parts;
        }
        let (base, offset) = match source {
            Source::State(k) => (address::state_in(k), 0),
            Source::Adjoint(k) => (address::adjoint(k, self.blocks), 0),
            Source::Matrix(area, from) => (address::area(area), (from * 4) as i32),
            Source::Pre(place) | Source::Post(place) => {
                let mut base = self.base(address::area(place.area));
                if place.stride != 0 {
                    base = self.b.ins().iadd(base, at.row);
                }
                let offset = (place.at * 4) as i32;
                let scalar = self.b.ins().load(types::F32, memory(), base, offset);
                let parts = [self.splat(scalar); PARTS];
                known.insert(source, parts);
                return parts;
            }
            Source::Number(bits) => {
                let parts = [self.splat_number(f32::from_bits(bits)); PARTS];
                known.insert(source, parts);
                return parts;
            }
            Source::Temporary(_) | Source::Gathered(_) => {
                unreachable!("temporaries are computed before they are read")
            }
        };
        let base = self.base(base);
        let base = self.b.ins().iadd(base, at.block);
        let parts = self.vectors(base, offset);
        known.insert(source, parts);
        parts
    }
}

pub(super) fn memory() -> MemFlags {
    MemFlags::new().with_notrap()
}
