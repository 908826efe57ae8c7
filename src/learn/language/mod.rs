//! Language models: a text read from beginning to end, its state kept from chunk to chunk (paper §4.3).
//!
//! | module | what |
//! |---|---|
//! | [`stream`] | a text cut into lanes and chunks |
//! | [`runner`] | its stages over a chunk, forward and back |
//! | [`in_step`] | the unfused network over a chunk, on any executor |
//! | [`reader`] | what both have in common |
//! | [`loss`] | cross-entropy over a vocabulary |
//! | [`objective`] | that, with penalties on activity |
//! | [`schedule`] | learning rates by epoch |
//! | [`model`] | all of it: chunks to learn from, and texts to evaluate |

pub mod device;
mod error;
pub mod in_step;
pub mod loss;
pub mod model;
pub mod objective;
pub mod reader;
pub mod runner;
pub mod schedule;
pub mod stream;

pub use error::LanguageError;
pub use model::{Language, Perplexity};
