//! Machines: what runs generated code.

pub mod device;
pub mod memory;
