//! The contents of a recording's file besides its numbers.

use super::{Probe, Source};

/// The arrays of a recording, known before anything is run.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The iteration, counted from 1.
    pub iteration: u64,
    /// The recorded steps, counted from 0.
    pub steps: Vec<usize>,
    /// The recorded lanes, counted from 0.
    pub lanes: Vec<usize>,
    /// Names and dimensions within a step and lane.
    pub arrays: Vec<(String, Vec<usize>)>,
    /// True if numbers have 64 bits.
    pub wide: bool,
}

impl Outline {
    /// Of these values.
    pub fn new(
        iteration: u64,
        steps: Vec<usize>,
        lanes: &[usize],
        probes: &[Probe],
        wide: bool,
    ) -> Outline {
        let arrays = probes.iter();
        Outline {
            iteration,
            steps,
            lanes: lanes.to_vec(),
            arrays: arrays
                .map(|probe| (probe.name.clone(), probe.dims.clone()))
                .collect(),
            wide,
        }
    }

    /// Bytes of a number.
    pub fn number(&self) -> u64 {
        if self.wide {
            8
        } else {
            4
        }
    }

    /// `[steps, lanes, dims...]`
    pub fn dims(&self, array: usize) -> Vec<usize> {
        let mut dims = vec![self.steps.len(), self.lanes.len()];
        dims.extend(&self.arrays[array].1);
        dims
    }

    /// Numbers of an array for a lane and step.
    pub fn width(&self, array: usize) -> usize {
        self.arrays[array].1.iter().product()
    }

    /// Bytes of an array.
    pub fn bytes(&self, array: usize) -> u64 {
        let count = self.dims(array);
        count.iter().fold(self.number(), |n, dim| n * *dim as u64)
    }
}

/// A file format in which every array has its place before its numbers are known.
pub trait Format {
    /// The offset of each array, and the length of the file.
    fn places(&self, outline: &Outline) -> (Vec<u64>, u64);

    /// Writes all but the numbers, which are in the file.
    ///
    /// # Errors
    /// Those of the file, and of names that the format cannot hold.
    fn finish(
        &self,
        outline: &Outline,
        sources: &[Source],
        file: &mut std::fs::File,
    ) -> std::io::Result<()>;
}
