//! bpmc compiles specs of networks with plastic connections, modulators and trace rules into training
//! programs.
//!
//! A spec (`.bpm`) says in ten lines of equations what a network computes in one time step and how its
//! connections change within an episode; the compiler gives the step, its adjoint and a trainer. The paper
//! behind it is Miconi, Rawal, Clune and Stanley, *Backpropamine* (ICLR 2019).
//!
//! # The pipeline
//!
//! ```text
//! text ─syntax→ Ast ─sema→ Model ─lower→ Graph (step) ─autodiff→ Graph (step + adjoint)
//!      ─passes→ optimised Graphs ─plan→ Plan ─engine→ Executor ─learn→ run directory
//! ```
//!
//! Each arrow is one function, called in this order from [`driver`] and [`learn::trainer`]; `bpmc compile
//! --emit` prints what any of them gives. A stage gives its product or diagnostics, never a panic.
//!
//! # The intermediate representation
//!
//! [`ir::Graph`] is one time step as a directed acyclic graph of values. A value is an operation
//! ([`ir::Op`], one closed enum), its operands in order, and a shape: up to three dimensions and a lane axis
//! or none. A *lane* is one episode of the batch. The lane axis is never written in a spec: what depends on
//! a state or an input exists once per lane, what depends on parameters alone exists once. Nothing mixes lanes but
//! [`ir::Op::LaneSum`] and [`ir::Op::Outer`], which only gradients use.
//!
//! Dimensions are stretched by [`ir::Op::Broadcast`] alone, so that the shape of a value is what its operands
//! say. A connection of a plastic bundle is an element of a `[lane, pre, post]` value; what a bundle
//! delivers is the sum over `pre` of the effective weight times the presynaptic activity.
//!
//! The step has *slots*: parameters, inputs, noise sources, states (traces among them) and outputs. Each state
//! has one value that enters the step ([`ir::Op::State`]) and one that leaves it ([`ir::ResultKind::Next`]). All
//! updates of a step are simultaneous: they read entering values unless the spec says `next`.
//!
//! The adjoint graph holds the forward values it needs, computed again from the same leaves, the *seeds* (adjoints
//! of outputs) and the adjoints of the leaving states; its results are the step's share of each parameter's
//! gradient and the adjoints of the entering states. Backpropagation through time is the step `T` times forward and
//! the adjoint `T` times back ([`engine::bptt`]); `T` is never unrolled into a graph.
//!
//! # What each stage may rely on
//!
//! | after | holds |
//! |---|---|
//! | [`lang::syntax`] | every node has a span; printing and parsing again gives the same tree |
//! | [`lang::sema`] | all names are resolved and all sizes known; every error was reported, not only the first |
//! | [`step::lower`] | the graph is acyclic; each stored shape is the recomputed one; each state has one leaving value |
//! | [`step::autodiff`] | each trained parameter has exactly one gradient of its shape; traces are differentiated through, never trained |
//! | [`step::passes`] | the same slots and results; the same numbers up to rounding |
//! | [`program`] | every place lies inside its memory and is written before it is read; traces and gradient sums are written once a step |
//! | [`engine::plan`] | the split into blocks of lanes depends on the spec alone, never on the machine |
//! | [`engine`] | results are within the stated tolerance of [`engine::reference`], the f64 oracle |
//! | [`learn`] | spec, seed and device fix a run to the bit on the CPU, whatever the number of threads |
//! | [`lab::sweep`] | a cell is a run like any other, in a process of its own; its name follows from what it is |
//! | [`lab::report`] | the same directory gives the same page, and is as it was |
//!
//! [`ir::verify`] checks the graph rows after lowering, after autodiff and after each pass, always. Programs are verified after
//! building and after each pass over them, always; machines take only [`program::Verified`] ones.
//!
//! # Where to add things
//!
//! A trace rule is a file in `src/lang/library`, a cell one in `src/lang/library/cells`, a task a file in [`learn::tasks`], a lint a file in [`lang::sema::checks`], an element
//! function a variant of [`ir::Unary`] or [`ir::Binary`]; CONTRIBUTING.md has the recipes.

pub mod cli;
pub mod driver;
pub mod engine;
pub mod ir;
pub mod lab;
pub mod lang;
pub mod learn;
pub mod machine;
pub mod program;
pub mod step;
