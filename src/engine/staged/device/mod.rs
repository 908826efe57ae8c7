//! Stages without states on a device: all rows (steps of all lanes) at once. Products of matrices go to the device's library,
//! all else to generated kernels, a launch each.
//!
//! | file | what |
//! |---|---|
//! | `layout` | which values are kept, and where |
//! | `source` | the kernels, and the order of launches |
//! | `loss`, `loss.h` | what a chunk ends with: the loss of its words, the step of the optimiser |
//!
//! and [`RowsRun`] runs them.

mod layout;
mod loss;
mod source;

pub use loss::{LossSource, Table, TextLoss};
pub use source::{RowsSource, RowsStage};

use crate::machine::device::{Args, Device, DeviceError, Launch, MatrixProduct};

/// Threads of a block.
pub(crate) const THREADS: usize = 256;

/// Elements of something: so many for each row, and so many once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// For each row.
    pub of_row: usize,
    /// Once.
    pub once: usize,
}

impl Extent {
    /// Elements for so many rows.
    pub fn elements(self, rows: usize) -> usize {
        self.of_row * rows + self.once
    }

    /// Enough for both.
    #[must_use]
    pub fn largest(self, other: Extent) -> Extent {
        Extent {
            of_row: self.of_row.max(other.of_row),
            once: self.once.max(other.once),
        }
    }
}

/// A memory that kernels share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Values given from stage to stage.
    Tables,
    /// Their adjoints.
    Adjoints,
    /// Values of the stage itself.
    Locals,
    /// Trained parameters.
    Parameters,
    /// The others.
    Fixed,
    /// Gradients of the trained ones.
    Gradients,
}

/// Where a matrix begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// In which memory.
    pub area: Area,
    /// After so many elements.
    pub after: Extent,
}

/// A dimension of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// This.
    Of(usize),
    /// The rows.
    Rows,
}

impl Size {
    fn of(self, rows: usize) -> usize {
        match self {
            Size::Of(n) => n,
            Size::Rows => rows,
        }
    }
}

/// What is done after what was done before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A kernel, by its number, over so many elements.
    Kernel(usize, Extent),
    /// A product of matrices.
    Product {
        /// The left one.
        a: Address,
        /// Whether its rows and columns are exchanged in memory.
        a_turned: bool,
        /// The right one.
        b: Address,
        /// The same.
        b_turned: bool,
        /// Where the product goes.
        out: Address,
        /// Its rows, what is added up, its columns.
        sizes: [Size; 3],
    },
}

/// The memories of a launch.
pub struct RowsRun<'a> {
    /// The device, with the kernels of the stage.
    pub device: &'a mut dyn Device,
    /// What kernels are given: memories, lanes, steps.
    pub args: &'a Args,
}

impl RowsRun<'_> {
    /// Does what a stage does in one direction, for so many rows.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(self, actions: &[Action], rows: usize) -> Result<(), DeviceError> {
        let RowsRun { device, args } = self;
        let address = |of: Address| {
            let base = match of.area {
                Area::Tables => args.inputs,
                Area::Adjoints => args.seeds,
                Area::Locals => args.arena,
                Area::Parameters => args.parameters,
                Area::Fixed => args.fixed,
                Area::Gradients => args.gradients,
            };
            base + 4 * of.after.elements(rows) as u64
        };
        for action in actions {
            match *action {
                Action::Kernel(number, extent) => {
                    let blocks = extent.elements(rows).div_ceil(THREADS).max(1);
                    let kernel = source::kernel_name(number);
                    device.launch(Launch::apart(&kernel, blocks, THREADS), args)?;
                }
                Action::Product {
                    a,
                    a_turned,
                    b,
                    b_turned,
                    out,
                    sizes,
                } => device.product(MatrixProduct {
                    a: address(a),
                    b: address(b),
                    out: address(out),
                    sizes: sizes.map(|size| size.of(rows)),
                    a_turned,
                    b_turned,
                })?,
            }
        }
        Ok(())
    }
}
