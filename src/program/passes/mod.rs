//! Passes over programs.

pub(crate) mod buffer_planning;
pub(crate) mod plastic_fusion;
