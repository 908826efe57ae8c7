//! A directory with a text for training, one for validation and one for the test.

use super::generate::Associations;
use super::vocabulary::{Vocabulary, END, UNKNOWN};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A part of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is trained on.
    Train,
    /// What decides when to stop.
    Valid,
    /// What is reported.
    Test,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 3] = [Part::Train, Part::Valid, Part::Test];

    /// Its name, as in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Valid => "valid",
            Part::Test => "test",
        }
    }
}

/// What becomes of words outside the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are read as `<unk>`.
    Replace,
    /// They are an error.
    Refuse,
}

/// Three texts as numbers of words.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// Which word has which number.
    pub vocabulary: Vocabulary,
    /// Where it comes from, in words.
    pub source: String,
    parts: [Vec<u32>; 3],
}

/// Why there is no corpus.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// No file of a part.
    #[error("{} has no text called {}", directory.display(), names.join(" or "))]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// What the file may be called.
        names: Vec<String>,
    },
    /// Two files of a part.
    #[error("{} has both {first} and {second}; keep one of them", directory.display())]
    Twice {
        /// The directory.
        directory: PathBuf,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// The file system said no.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// Bytes that are no text.
    #[error("{}, line {line}: this is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A file without words.
    #[error("{} has no words", .0.display())]
    Empty(PathBuf),
    /// A word outside the vocabulary, where those are refused.
    #[error("{}, line {line}: `{word}` is none of the {words} words of the vocabulary; `task.unknown = replace` reads it as `{UNKNOWN}`", path.display())]
    OutsideVocabulary {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The word.
        word: String,
        /// Words of the vocabulary.
        words: usize,
    },
    /// A part that is too short for the batch.
    #[error(
        "the {part} text has {tokens} tokens, too few for {lanes} lanes: make the batch smaller"
    )]
    TooShort {
        /// Which.
        part: &'static str,
        /// Its tokens.
        tokens: usize,
        /// Lanes it should be cut into.
        lanes: usize,
    },
}

impl Corpus {
    /// Reads the texts of a directory: `train.txt`, `valid.txt` and `test.txt`, or the names of the Penn Treebank files,
    /// `ptb.train.txt` and so on. Words are what stands between blanks; each line ends with `<eos>`. The vocabulary is
    /// of the training text, `<unk>` and the `words` most frequent ones.
    ///
    /// # Errors
    /// [`CorpusError`], which names the file.
    pub fn read(directory: &Path, words: usize, unknown: Unknown) -> Result<Corpus, CorpusError> {
        let mut texts = Vec::new();
        for part in Part::ALL {
            texts.push(text_of(directory, part)?);
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for line in texts[0].1.lines() {
            for word in line.split_whitespace() {
                *counts.entry(word).or_default() += 1;
            }
        }
        let vocabulary = Vocabulary::of_counts(&counts, words);
        let mut parts = [const { Vec::new() }; 3];
        for (tokens, (path, text)) in parts.iter_mut().zip(&texts) {
            *tokens = numbers(text, path, &vocabulary, unknown)?;
        }
        Ok(Corpus {
            vocabulary,
            source: directory.display().to_string(),
            parts,
        })
    }

    /// Texts made by [`Associations`] with this seed.
    pub fn generate(words: usize, seed: u64) -> Corpus {
        let generator = Associations::new(words);
        let part = |number: u32, tokens: usize| generator.text(seed, number, tokens);
        Corpus {
            vocabulary: generator.vocabulary(),
            source: "generated associations".to_owned(),
            parts: [part(0, 60_000), part(1, 6_000), part(2, 6_000)],
        }
    }

    /// The numbers of the words of a part.
    pub fn part(&self, part: Part) -> &[u32] {
        &self.parts[part as usize]
    }
}

fn text_of(directory: &Path, part: Part) -> Result<(PathBuf, String), CorpusError> {
    let names = ["", "ptb."].map(|prefix| format!("{prefix}{}.txt", part.name()));
    let unreadable = |path: &Path, source| CorpusError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // A directory that cannot be read is another fault than one without the file.
    std::fs::read_dir(directory).map_err(|e| unreadable(directory, e))?;
    let there: Vec<&String> = names
        .iter()
        .filter(|name| directory.join(name).exists())
        .collect();
    let name = match there.as_slice() {
        [] => {
            return Err(CorpusError::Missing {
                directory: directory.to_owned(),
                names: names.to_vec(),
            })
        }
        [name] => name,
        [first, second, ..] => {
            return Err(CorpusError::Twice {
                directory: directory.to_owned(),
                first: (*first).clone(),
                second: (*second).clone(),
            })
        }
    };
    let path = directory.join(name);
    let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, e))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        CorpusError::NotText {
            path: path.clone(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        }
    })?;
    if text.split_whitespace().next().is_none() {
        return Err(CorpusError::Empty(path));
    }
    Ok((path, text))
}

fn numbers(
    text: &str,
    path: &Path,
    vocabulary: &Vocabulary,
    unknown: Unknown,
) -> Result<Vec<u32>, CorpusError> {
    let of_known = |word| {
        let number = vocabulary.number(word);
        number.expect("every vocabulary has the words that stand for others and for ends")
    };
    let (end, other) = (of_known(END), of_known(UNKNOWN));
    let mut out = Vec::with_capacity(text.len() / 5);
    for (line, words) in text.lines().enumerate() {
        for word in words.split_whitespace() {
            out.push(match (vocabulary.number(word), unknown) {
                (Some(number), _) => number,
                (None, Unknown::Replace) => other,
                (None, Unknown::Refuse) => {
                    return Err(CorpusError::OutsideVocabulary {
                        path: path.to_owned(),
                        line: line + 1,
                        word: word.to_owned(),
                        words: vocabulary.len(),
                    })
                }
            });
        }
        out.push(end);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Corpus, CorpusError, Part, Unknown};
    use std::path::PathBuf;

    fn directory(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("bpmc-corpus-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        for (name, bytes) in files {
            std::fs::write(path.join(name), bytes).unwrap();
        }
        path
    }

    #[test]
    fn words_are_counted_and_numbered() {
        let path = directory(
            "small",
            &[
                (
                    "train.txt",
                    b"the cat saw the dog\nthe dog slept\n".as_slice(),
                ),
                ("valid.txt", b"the cat slept"),
                ("ptb.test.txt", b" a bird saw\n\n"),
            ],
        );
        let corpus = Corpus::read(&path, 100, Unknown::Replace).unwrap();
        let words = corpus.vocabulary.words();
        assert_eq!(
            words,
            ["<unk>", "<eos>", "the", "dog", "cat", "saw", "slept"]
        );
        assert_eq!(corpus.part(Part::Train), [2, 4, 5, 2, 3, 1, 2, 3, 6, 1]);
        assert_eq!(corpus.part(Part::Valid), [2, 4, 6, 1]);
        // An empty line is a line.
        assert_eq!(corpus.part(Part::Test), [0, 0, 5, 1, 1]);
        let few = Corpus::read(&path, 4, Unknown::Replace).unwrap();
        assert_eq!(few.part(Part::Valid), [2, 0, 0, 1]);
        assert_eq!(few.vocabulary.to_text(), "<unk>\n<eos>\nthe\ndog\n");
        let error = Corpus::read(&path, 100, Unknown::Refuse).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("line 1: `a` is none of the 7 words"),
            "{error}"
        );
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn faults_name_the_file() {
        let good: [(&str, &[u8]); 2] = [("train.txt", b"a b\n"), ("valid.txt", b"a\n")];
        let fault = |name: &str, more: &[(&str, &[u8])]| {
            let path = directory(name, &[&good, more].concat());
            let error = Corpus::read(&path, 10, Unknown::Replace).unwrap_err();
            std::fs::remove_dir_all(path).unwrap();
            error.to_string()
        };
        assert!(fault("missing", &[]).contains("has no text called test.txt or ptb.test.txt"));
        assert!(fault("empty", &[("test.txt", b" \n\n")]).contains("test.txt has no words"));
        let bytes = fault("bytes", &[("test.txt", b"a\nb\n\xff\n")]);
        assert!(
            bytes.contains("test.txt, line 3: this is not UTF-8 text"),
            "{bytes}"
        );
        let both = fault("both", &[("test.txt", b"a"), ("ptb.test.txt", b"a")]);
        assert!(
            both.contains("has both test.txt and ptb.test.txt"),
            "{both}"
        );
        let nowhere = Corpus::read(&PathBuf::from("no/such/place"), 10, Unknown::Replace);
        assert!(matches!(nowhere, Err(CorpusError::Unreadable { .. })));
    }

    #[test]
    fn generated_texts_depend_on_the_seed_alone() {
        let corpus = Corpus::generate(40, 3);
        assert_eq!(corpus, Corpus::generate(40, 3));
        assert_ne!(corpus, Corpus::generate(40, 4));
        assert_eq!(corpus.part(Part::Train).len(), 60_000);
        assert_ne!(corpus.part(Part::Valid), corpus.part(Part::Test));
        assert!(corpus.part(Part::Train).iter().all(|word| *word < 40));
    }
}
