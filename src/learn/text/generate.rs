//! Texts in which the right next word depends on associations made earlier in the text.
//!
//! A document gives some names a property each, at random, and then tells them again and again:
//! `FILLER NAME PROPERTY <eos>`. The first time a name is told nothing predicts its property; from then on the document
//! does, and nothing else: the next document gives the names other properties.

use super::vocabulary::{Vocabulary, END, UNKNOWN};
use crate::ir::rng::{Draws, Key, Stream};

/// Names of a document.
const TOLD: usize = 6;
/// Sentences of a document.
const SENTENCES: usize = 36;

/// A generator of texts over a number of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Associations {
    words: usize,
    fillers: usize,
    names: usize,
    properties: usize,
}

impl Associations {
    /// For a vocabulary of so many words, at least 8, with as many names as properties.
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

    /// Its words.
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

    /// A text of so many tokens: a function of seed and number.
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

    /// Adds a document.
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
