//! The engine on a device: memories, launches and results of the kernels that [`crate::machine::c`] writes.
//!
//! | file | runs |
//! |---|---|
//! | `lanes` | one batch of episodes, forward and back |
//! | `carried` | nothing: states between episodes and chunks |
//! | `iterations` | whole iterations: what those of episodes and texts have in common |
//! | `episodes` | whole iterations of episodes |
//! | `text` | a stage of a network over a chunk of a text |

mod carried;
mod episodes;
mod iterations;
mod lanes;
mod text;

pub use iterations::{HostArrays, Iterated, Iterations, Step, Stop, Trained, MOST, STATUS};
pub use lanes::{bytes, DeviceLanes, DeviceLoss, DeviceRun};
