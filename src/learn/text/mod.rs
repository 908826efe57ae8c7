//! Texts as sequences of words: corpora from files, and generated texts in which the correct next word
//! depends on earlier ones.
//!
//! | module | holds |
//! |---|---|
//! | [`corpus`] | the files of a directory, read into word numbers |
//! | [`vocabulary`] | the numbers of words |
//! | [`generate`] | texts with associations |

pub mod corpus;
pub mod generate;
pub mod vocabulary;

pub use corpus::{Corpus, CorpusError, Part, Unknown};
pub use vocabulary::Vocabulary;
