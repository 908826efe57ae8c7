//! Which word has which number.

use std::collections::HashMap;

/// The word that stands for all others.
pub const UNKNOWN: &str = "<unk>";
/// The word at the end of each line.
pub const END: &str = "<eos>";

/// Words by number, and numbers by word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    /// Only ever looked up.
    numbers: HashMap<String, u32>,
}

impl Vocabulary {
    /// The `most` words that are most frequent in a text, [`UNKNOWN`] and [`END`] always among them; of equally
    /// frequent ones those that come first in the alphabet. `counts` is by word, [`END`] included.
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

    /// Words in the order of their numbers.
    pub fn new(words: Vec<String>) -> Vocabulary {
        let numbers = words.iter().cloned().zip(0..).collect();
        Vocabulary { words, numbers }
    }

    /// The words in the order of their numbers.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The number of a word.
    pub fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    /// One word a line, as it is saved beside a checkpoint.
    pub fn to_text(&self) -> String {
        let mut out = self.words.join("\n");
        out.push('\n');
        out
    }
}
