//! Texts as sequences of words: corpora from files, and a generator of texts in which the right next word depends on what
//! was said before.
//!
//! | module | what |
//! |---|---|
//! | [`corpus`] | a directory of files read into numbers of words |
//! | [`vocabulary`] | which word has which number |
//! | [`generate`] | texts with associations |

pub mod corpus;
pub mod generate;
pub mod vocabulary;

pub use corpus::{Corpus, CorpusError, Part, Unknown};
pub use vocabulary::Vocabulary;
