//! Measurements of training: the time of an iteration, its parts, and its distance from the floor.
//!
//! | file | holds |
//! |---|---|
//! | `measure` | runs iterations and takes their times |
//! | [`machine`] | the machine's peak rates: multiply-adds and bytes per second |
//! | [`work`] | the least work of one iteration, counted from the spec's graphs |
//! | [`memory`] | the peak memory of the process |
//! | [`report`] | all measurements together, as `bpmc bench --json` writes them |

pub mod machine;
mod measure;
pub mod memory;
pub mod report;
pub mod work;

pub use machine::Machine;
pub use measure::{measure, Extent};
pub use report::{Document, SpecReport};
