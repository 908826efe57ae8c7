//! Machines: what runs generated code.

pub mod device;
