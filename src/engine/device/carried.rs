//! The states that outlive an episode, or a chunk of a text.

use super::DeviceLanes;
use crate::engine::episode::States;
use crate::ir::StateSlot;
use crate::machine::device::{bytes_of, DeviceError};

impl DeviceLanes {
    /// Prepares for consecutive iterations.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn take_turns(&mut self) -> Result<(), DeviceError> {
        let bytes = (4 * self.lanes * self.source.sizes.carried).max(8);
        self.carried_next = Some(self.device.alloc(bytes)?);
        Ok(())
    }

    /// Points the kernels to the states of iteration `k`, and to another memory for its results.
    pub(super) fn alternate(&mut self, k: usize) {
        let carried = self.arrays.carried.address;
        let next = self.carried_next.as_ref();
        let places = [carried, next.map_or(carried, |memory| memory.address)];
        self.args.carried = places[k % 2];
        self.args.carried_next = places[(k + 1) % 2];
    }

    /// Keeps the states after `done` iterations.
    pub fn settle(&mut self, done: usize) {
        if let Some(next) = self.carried_next.as_mut().filter(|_| done % 2 == 1) {
            std::mem::swap(&mut self.arrays.carried, next);
        }
        self.args.carried = self.arrays.carried.address;
        self.args.carried_next = self.args.carried;
    }

    /// The array of the states that outlive an episode, `[lanes, carried]`, for a step with these states: those that are given
    /// by slot, lane by lane, else first values.
    pub fn carried_from<'a>(
        &self,
        slots: &[StateSlot],
        given: impl Fn(usize) -> Option<&'a Vec<f64>>,
    ) -> Vec<f32> {
        let width = self.source.sizes.carried;
        let mut out = vec![0.0f32; self.lanes * width];
        for (slot, place) in self.source.carried.iter().enumerate() {
            let Some((at, n)) = *place else {
                continue;
            };
            for (lane, to) in out.chunks_exact_mut(width.max(1)).enumerate() {
                let to = &mut to[at..at + n];
                match given(slot) {
                    Some(values) => {
                        for (to, x) in to.iter_mut().zip(&values[lane * n..]) {
                            *to = *x as f32;
                        }
                    }
                    None => to.fill(slots[slot].init as f32),
                }
            }
        }
        out
    }

    /// The states that outlive an episode, by slot, lane by lane; `None` for others.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn carried(&mut self) -> Result<States, DeviceError> {
        let width = self.source.sizes.carried;
        let values = self.floats(|arrays| &arrays.carried, self.lanes * width)?;
        let lanes = |(at, n): (usize, usize)| {
            let lanes = values.chunks_exact(width.max(1));
            let own = lanes.flat_map(|lane| &lane[at..at + n]);
            own.map(|x| f64::from(*x)).collect()
        };
        let places = self.source.carried.iter();
        Ok(places.map(|place| place.map(lanes)).collect())
    }

    /// Sets the states that the next passage continues from, `[lanes, carried]`.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn set_carried(&mut self, values: &[f32]) -> Result<(), DeviceError> {
        self.device
            .write(&mut self.arrays.carried, bytes_of(values))
    }
}
