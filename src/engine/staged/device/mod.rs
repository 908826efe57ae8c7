//! Stages without states on a device: all rows (steps of all lanes) at once. Products of matrices go to the device's library,
//! all else to generated kernels, a launch each.
//!
//! | file | what |
//! |---|---|
//! | `layout` | which values are kept, and where |
//! | `source` | the kernels, and the order of launches |
//! | `loss`, `loss.h` | what a chunk ends with: the loss of its words, the step of the optimizer |
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

/// A number of elements: some per row, and some once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The elements per row.
    pub of_row: usize,
    /// The elements that exist once.
    pub once: usize,
}

impl Extent {
    /// The number of elements for `rows` rows.
    pub fn elements(self, rows: usize) -> usize {
        self.of_row * rows + self.once
    }

    /// An extent large enough for both.
    #[must_use]
    pub fn largest(self, other: Extent) -> Extent {
        Extent {
            of_row: self.of_row.max(other.of_row),
            once: self.once.max(other.once),
        }
    }
}

/// A memory shared by kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The values passed from stage to stage.
    Tables,
    /// The adjoints of these values.
    Adjoints,
    /// The values of the stage itself.
    Locals,
    /// The trained parameters.
    Parameters,
    /// The other parameters.
    Fixed,
    /// The gradients of the trained parameters.
    Gradients,
}

/// The start of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The memory.
    pub area: Area,
    /// The number of elements before it.
    pub after: Extent,
}

/// A dimension of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A fixed size.
    Of(usize),
    /// The number of rows.
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

/// One action of a stage; actions run in sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A launch of the kernel with this number, over this many elements.
    Kernel(usize, Extent),
    /// A matrix product.
    Product {
        /// The left factor.
        a: Address,
        /// True if the left factor is stored transposed.
        a_turned: bool,
        /// The right factor.
        b: Address,
        /// True if the right factor is stored transposed.
        b_turned: bool,
        /// The result.
        out: Address,
        /// The sizes: rows, inner dimension, columns.
        sizes: [Size; 3],
    },
}

/// The memories of a launch.
pub struct RowsRun<'a> {
    /// The device, with the kernels of the stage.
    pub device: &'a mut dyn Device,
    /// The launch arguments: memories, lanes, steps.
    pub args: &'a Args,
}

impl RowsRun<'_> {
    /// Runs the actions of a stage in one direction, for `rows` rows.
    ///
    /// # Errors
    /// Errors of the device.
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
