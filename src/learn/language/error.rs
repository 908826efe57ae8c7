//! The reasons why a language model cannot be made.

use crate::learn::text::CorpusError;

/// The reasons why a language model cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    /// The texts.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A penalty without the output it is on.
    #[error("`train.{setting}` is a penalty on the output `{output}`, which the network does not have: add `output {output} = ...`")]
    NoOutput {
        /// The setting.
        setting: &'static str,
        /// The output.
        output: &'static str,
    },
}
