//! Fused kernels on the CPU, one lane at a time.
//!
//! A lane is carried through its whole episode before the next begins, with its traces in the cache of one
//! core. Nothing here depends on the number of threads or on how lanes are grouped. The
//! [program](crate::program) says what runs at every step, [machines](crate::machine) run it.
//!
//! | file | holds |
//! |---|---|
//! | `compiled` | a program with its machine code, and what depends on parameters alone |
//! | `parameters`, `evaluate` | computing what depends on parameters alone |
//! | `lane` | a lane's memory, forward through an episode and back |

pub(crate) mod compiled;
mod evaluate;
mod lane;
mod parameters;

pub(crate) use crate::machine::elements::{element, Operand};
pub(crate) use crate::program::code::Element;

pub use crate::ir::Real;
pub use crate::machine::lane::Shared;
pub use crate::machine::native::Native;
pub use crate::machine::profile::{Kernel, KernelUse, Profile};
pub use crate::program::Choices;
pub use crate::program::{ProgramError, Unsupported};
pub use compiled::{Fused, LaneBytes};
pub use lane::LaneMemory;
