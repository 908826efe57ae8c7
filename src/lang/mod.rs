//! The language: from text to a checked model.
//!
//! | module | holds |
//! |---|---|
//! | [`diag`] | diagnostics: codes, their pages, rendering |
//! | [`syntax`] | the parser, the syntax tree and its canonical print |
//! | [`sema`] | names, sizes and checks: syntax tree to [`sema::Model`] |
//! | [`library`] | rules and cells that come with bpmc, written in the language |
//! | [`settings`] | settings of tasks, trainers and optimizers: kinds, bounds, defaults |
//! | [`formula`] | losses of trainers as formulas |
//! | [`catalog`] | what tasks, trainers and optimizers are to the language |

pub mod catalog;
pub mod diag;
pub mod formula;
pub mod library;
pub mod sema;
pub mod settings;
pub mod syntax;
