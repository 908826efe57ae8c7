//! What the operations of a row read: vectors of either side, blocks and matrices.

use super::super::code::{Area, Place, Source};
use super::emit::{Emitter, Parts, Width};
use super::{BLOCKS, LANE, SHARED};
use cranelift_codegen::ir::{types, InstBuilder, MemFlags, Value};

impl Emitter<'_> {
    fn base(&self, area: Area) -> Value {
        match area {
            Area::Lane => self.bases[LANE],
            Area::Shared => self.bases[SHARED],
        }
    }

    pub(super) fn post(&mut self, place: Place, width: Width, column: Value) -> Parts {
        let base = self.base(place.area);
        let offset = (place.at * 4) as i32;
        if place.stride == 0 {
            let scalar = self.b.ins().load(types::F32, memory(), base, offset);
            let value = self.splat(scalar, width);
            return vec![value; width.parts()];
        }
        let base = self.b.ins().iadd(base, column);
        (0..width.parts())
            .map(|k| {
                let offset = offset + k as i32 * 16;
                self.b.ins().load(width.ty(), memory(), base, offset)
            })
            .collect()
    }

    /// An operand that differs between rows.
    pub(super) fn read(&mut self, source: Source, width: Width, row: Value, at: Value) -> Parts {
        let (base, offset) = match source {
            Source::State(k) => (self.bases[BLOCKS + k], 0),
            Source::Adjoint(k) => (self.bases[BLOCKS + self.states + k], 0),
            Source::Matrix(area, from) => (self.base(area), (from * 4) as i32),
            Source::Pre(place) => {
                let mut base = self.base(place.area);
                if place.stride != 0 {
                    base = self.b.ins().iadd(base, row);
                }
                let offset = (place.at * 4) as i32;
                let scalar = self.b.ins().load(types::F32, memory(), base, offset);
                let value = self.splat(scalar, width);
                return vec![value; width.parts()];
            }
            // Read elsewhere.
            Source::Temporary(_) | Source::Post(_) => return Vec::new(),
        };
        let base = self.b.ins().iadd(base, at);
        (0..width.parts())
            .map(|k| {
                let offset = offset + k as i32 * 16;
                self.b.ins().load(width.ty(), memory(), base, offset)
            })
            .collect()
    }
}

pub(super) fn memory() -> MemFlags {
    MemFlags::new().with_notrap()
}

pub(super) fn key(place: Place) -> (usize, usize, usize) {
    (
        usize::from(place.area == Area::Shared),
        place.at,
        place.stride,
    )
}

pub(super) type SourceKey = (u8, usize, usize, usize);

pub(super) fn source_key(source: Source) -> SourceKey {
    match source {
        Source::Temporary(k) => (0, k, 0, 0),
        Source::State(k) => (1, k, 0, 0),
        Source::Adjoint(k) => (2, k, 0, 0),
        Source::Matrix(area, at) => (3, usize::from(area == Area::Shared), at, 0),
        Source::Post(place) => {
            let (area, at, stride) = key(place);
            (4, area, at, stride)
        }
        Source::Pre(place) => {
            let (area, at, stride) = key(place);
            (5, area, at, stride)
        }
    }
}
