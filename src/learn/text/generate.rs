//! Generated texts in which the correct next word depends on earlier associations.
//!
//! A document assigns random properties to some names, and repeats them: `FILLER NAME PROPERTY <eos>`. At the
//! first mention of a name nothing predicts its property. From then on only this document does, because the
//! next one assigns other properties.

use super::vocabulary::{Vocabulary, END, UNKNOWN};
use crate::ir::rng::{Draws, Key, Stream};

/// The number of names in a document.
const TOLD: usize = 6;
/// The number of sentences in a document.
const SENTENCES: usize = 36;

/// A generator of texts with a vocabulary of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Associations {
    words: usize,
    fillers: usize,
    names: usize,
    properties: usize,
}

impl Associations {
    /// A generator for a vocabulary of `words` words, at least 8, with as many names as properties.
    pub fn new(words: usize) -> Associations {
        let rest = words.max(8) - 2;
        let fillers = (rest / 5).max(1);
        let names = (rest - fillers) / 2;
        Associations {
            words: words.max(8),
            fillers,
            names,
            properties: rest - fillers - names,
        }
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> Vocabulary {
        let mut words = vec![UNKNOWN.to_owned(), END.to_owned()];
        for (kind, count) in [
            ("filler", self.fillers),
            ("name", self.names),
            ("property", self.properties),
        ] {
            words.extend((0..count).map(|k| format!("{kind}{k}")));
        }
        debug_assert_eq!(words.len(), self.words);
        Vocabulary::new(words)
    }

    /// A text of `tokens` tokens, which depends only on seed and number.
    pub fn text(&self, seed: u64, number: u32, tokens: usize) -> Vec<u32> {
        let mut out = Vec::with_capacity(tokens + 4 * SENTENCES);
        let key = Key::new(seed, Stream::Task);
        for document in 0.. {
            if out.len() >= tokens {
                break;
            }
            self.document(&mut key.at(number, document, 0).draws(), &mut out);
        }
        out.truncate(tokens);
        out
    }

    /// Appends a document.
    pub fn document(&self, draws: &mut Draws, out: &mut Vec<u32>) {
        let mut names: Vec<usize> = (0..self.names).collect();
        draws.shuffle(&mut names);
        names.truncate(TOLD);
        let properties: Vec<usize> = names.iter().map(|_| draws.below(self.properties)).collect();
        for _ in 0..SENTENCES {
            let told = draws.below(names.len());
            let filler = draws.below(self.fillers);
            out.extend([
                (2 + filler) as u32,
                (2 + self.fillers + names[told]) as u32,
                (2 + self.fillers + self.names + properties[told]) as u32,
                1,
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Associations, SENTENCES, TOLD};
    use std::collections::BTreeMap;

    #[test]
    fn a_document_keeps_its_associations() {
        let generator = Associations::new(42);
        assert_eq!(generator.vocabulary().len(), 42);
        let text = generator.text(1, 0, 2 * SENTENCES * 4);
        let mut seen = Vec::new();
        for document in text.chunks_exact(SENTENCES * 4) {
            let mut properties = BTreeMap::new();
            for sentence in document.chunks_exact(4) {
                let known = properties.insert(sentence[1], sentence[2]);
                assert!(known.is_none_or(|known| known == sentence[2]));
                assert_eq!(sentence[3], 1);
            }
            assert!((2..=TOLD).contains(&properties.len()));
            seen.push(properties);
        }
        assert_ne!(seen[0], seen[1]);
    }
}
