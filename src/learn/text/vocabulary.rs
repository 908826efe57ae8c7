//! Vocabularies: the numbers of words.

use std::collections::HashMap;

/// The word that replaces unknown words.
pub const UNKNOWN: &str = "<unk>";
/// The word at the end of each line.
pub const END: &str = "<eos>";

/// Words by number, and numbers by word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    /// The number of each word, used for look-ups only.
    numbers: HashMap<String, u32>,
}

impl Vocabulary {
    /// The vocabulary of the `most` most frequent words, which always includes [`UNKNOWN`] and [`END`]. Among
    /// equally frequent words the alphabet decides. `counts` is by word and includes [`END`].
    pub fn of_counts(counts: &HashMap<&str, usize>, most: usize) -> Vocabulary {
        let fixed = [UNKNOWN, END];
        let mut others: Vec<(&str, usize)> = counts
            .iter()
            .map(|(word, count)| (*word, *count))
            .filter(|(word, _)| !fixed.contains(word))
            .collect();
        others.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let others = others.into_iter().map(|(word, _)| word);
        let words = fixed.into_iter().chain(others).take(most.max(2));
        Vocabulary::new(words.map(str::to_owned).collect())
    }

    /// A vocabulary of words in the order of their numbers.
    pub fn new(words: Vec<String>) -> Vocabulary {
        let numbers = words.iter().cloned().zip(0..).collect();
        Vocabulary { words, numbers }
    }

    /// The words in the order of their numbers.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Returns true if there are no words.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The number of a word.
    pub fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    /// The text that is saved beside a checkpoint: one word per line.
    pub fn to_text(&self) -> String {
        let mut out = self.words.join("\n");
        out.push('\n');
        out
    }
}
