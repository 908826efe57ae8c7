//! Machines: what runs programs, on the CPU and on devices.
//!
//! A sweep of a [program](crate::program) is interpreted, or becomes machine code for x86-64 or any other CPU, or CUDA C.
//!
//! | file | holds |
//! |---|---|
//! | `lane` | what a lane reads and writes |
//! | `run` | runs the instructions of a program for lanes in step |
//! | `interpret` | runs sweeps operation by operation |
//! | `jit` | machine code for sweeps: `x86` writes 512 or 256 bits, `portable` 128 bits for any other CPU |
//! | `vectors` | machine code for what runs between sweeps |
//! | `abi`, `pages`, `processor` | how machine code is called and stored; what the processor has |
//! | `series` | element functions written out for machine code |
//! | `native` | which numbers have generated code |
//! | `mat_vec` | products of vectors with matrices of parameters |
//! | `outer` | outer products added up over many steps |
//! | `elements` | element functions over rows |
//! | `aligned`, `dispatch` | memory in cache lines; code compiled for several CPUs |
//! | `profile` | where the time goes |
//! | [`c`] | programs as CUDA C |
//! | [`mod@memory`] | how much memory there is |
//! | [`own`] | the program that runs |
//! | [`device`] | GPUs, and their emulation |

mod abi;
pub(crate) mod aligned;
pub mod c;
pub mod device;
pub(crate) mod dispatch;
pub(crate) mod elements;
mod interpret;
pub(crate) mod jit;
pub mod kernel;
pub(crate) mod lane;
pub(crate) mod mat_vec;
pub mod memory;
pub(crate) mod native;
pub(crate) mod outer;
pub mod own;
#[cfg(all(target_arch = "x86_64", unix))]
mod pages;
#[cfg(any(test, not(all(target_arch = "x86_64", unix))))]
mod portable;
mod processor;
pub(crate) mod profile;
pub(crate) mod run;
mod series;
pub(crate) mod vectors;
#[cfg(all(target_arch = "x86_64", unix))]
mod x86;

pub(crate) use dispatch::dispatch;
pub use jit::vector_bits;
pub use processor::check_limit;
pub(crate) use processor::{processor, Processor};
