//! The step graph: the computation of one time step, as a directed acyclic graph of values.

mod build;
mod draw;
pub(crate) mod element;
mod fault;
mod graph;
mod id;
mod indices;
mod op;
mod order;
mod print;
pub mod range;
mod real;
pub mod rng;

mod shape;
mod span;
mod verify;

pub use draw::{dot, svg};
pub use fault::InternalFault;
pub use graph::{
    Draw, GivenArray, Graph, InputSlot, NoiseKind, NoiseSlot, OutputSlot, ParamSlot, Reset,
    ResultKind, StateSlot, Value, STARTS,
};
pub use id::{InputId, NoiseId, OutputId, ParamId, StateId, ValueId};
pub use indices::Indices;
pub use op::{Binary, Bits, Boundary, Op, Reduction, Shape, Unary};
pub use real::Real;
pub use shape::{infer, ShapeError, MAX_RANK};
pub use span::{SourceId, Span};
pub use verify::{verify, GraphKind};
