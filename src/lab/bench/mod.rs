//! Measurements of training: how long an iteration takes, where the time goes, and how far the floor is.
//!
//! | file | holds |
//! |---|---|
//! | `measure` | runs iterations and takes their times |
//! | [`machine`] | what this machine can do: multiply-adds a second, bytes a second |
//! | [`work`] | the least that a spec's iteration has to do, counted from its graphs |
//! | [`memory`] | the most memory the process has held |
//! | [`report`] | all of it together, as `bpmc bench --json` writes it |

pub mod machine;
mod measure;
pub mod memory;
pub mod report;
pub mod work;

pub use machine::Machine;
pub use measure::{measure, Extent};
pub use report::{Document, SpecReport};
