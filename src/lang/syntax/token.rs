//! Words and signs of a text, for the scanner, the printer and messages; the parser has its own.

use std::ops::Range;

use pest::unicode::XID_CONTINUE as is_word_character;

/// The words that cannot be names, in the order of the grammar.
pub(super) const RESERVED: [&str; 23] = [
    "input",
    "state",
    "noise",
    "weight",
    "coeff",
    "trained",
    "const",
    "trace",
    "modulator",
    "output",
    "plastic",
    "transmit",
    "on",
    "when",
    "next",
    "external",
    "import",
    "dim",
    "rule",
    "network",
    "using",
    "per",
    "reset",
];

/// The number of words in [`RESERVED`] that begin a statement.
const STATEMENT_WORDS: usize = 14;

/// Words that begin an item.
const ITEM_WORDS: [&str; 4] = ["import", "dim", "rule", "network"];

/// The word that begins an item or a statement if another name follows it.
pub(super) const CELL: &str = "cell";

/// Signs of more than one character, in this language and others.
const LONG_SIGNS: [&str; 20] = [
    "==", "!=", "<=", ">=", "<-", "->", "..", "&&", "||", ":=", "=>", "=<", "**", "+=", "-=", "*=",
    "/=", "++", "--", "::",
];

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Letters, digits and `_`, of any script.
    Word,
    /// A token that begins with a digit, or with a point and a digit.
    Number,
    /// A string `"..."`, closed on its line.
    Text,
    /// A string `"...` without its closing quote, to the end of its line.
    UnclosedText,
    /// Any other token.
    Sign,
    /// The end of the text.
    End,
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// The kind.
    pub kind: TokenKind,
    /// The place in bytes.
    pub range: Range<usize>,
    /// The characters.
    pub text: &'t str,
}

impl Token<'_> {
    /// Returns true if the token is a word of the language.
    pub fn is_reserved(&self) -> bool {
        is_reserved(self.text)
    }
}

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Returns true if `word` begins a statement.
pub(super) fn is_statement_word(word: &str) -> bool {
    RESERVED[..STATEMENT_WORDS].contains(&word)
}

/// Returns true if `word` begins an item.
pub(super) fn is_item_word(word: &str) -> bool {
    ITEM_WORDS.contains(&word)
}

/// The next line end at or after `from`, or the end of the text.
pub(super) fn line_end(text: &str, from: usize) -> usize {
    text[from..]
        .find('\n')
        .map_or(text.len(), |length| from + length)
}

/// The next byte at or after `at` that is neither blank nor in a comment.
pub(super) fn skip_blanks(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with("//") {
            return at;
        }
        at = line_end(text, at);
    }
}

/// Returns true if a line begins like an item; `Some(true)` if its word is reserved for items.
pub(super) fn item_start(line: &str) -> Option<bool> {
    let word = word_length(line);
    if word == 0 || line.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    if is_item_word(&line[..word]) {
        return Some(true);
    }
    if is_reserved(&line[..word]) {
        return None;
    }
    let is_cell = &line[..word] == CELL;
    let blanks = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
    let mut rest = &line[word..];
    rest = &rest[blanks(rest)..];
    let second = word_length(rest);
    rest = &rest[second..];
    rest = &rest[blanks(rest)..];
    if is_cell && second > 0 && rest.starts_with(['(', '{']) {
        return Some(true);
    }
    rest.starts_with('{').then_some(false)
}

/// The length of the string that `rest` begins with; as an error if the line ends before it is closed.
pub(super) fn text_length(rest: &str) -> Result<usize, usize> {
    let inner = &rest[1..];
    match inner.find(['"', '\n']) {
        Some(end) if inner.as_bytes()[end] == b'"' => Ok(end + 2),
        end => Err(1 + inner[..end.unwrap_or(inner.len())].trim_end().len()),
    }
}

fn word_length(text: &str) -> usize {
    text.find(|c| !is_word_character(c)).unwrap_or(text.len())
}

/// The token at `at`, which is on a character boundary and no blank.
pub fn token_at(text: &str, at: usize) -> Token<'_> {
    let rest = &text[at..];
    let Some(first) = rest.chars().next() else {
        return Token {
            kind: TokenKind::End,
            range: at..at,
            text: "",
        };
    };
    let digit_follows = |rest: &str| rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    let (kind, length) = if first.is_ascii_digit() || first == '.' && digit_follows(rest) {
        (TokenKind::Number, number_length(rest))
    } else if first == '"' {
        match text_length(rest) {
            Ok(length) => (TokenKind::Text, length),
            Err(length) => (TokenKind::UnclosedText, length),
        }
    } else if is_word_character(first) {
        (TokenKind::Word, word_length(rest))
    } else {
        let long = LONG_SIGNS.iter().find(|sign| rest.starts_with(**sign));
        (
            TokenKind::Sign,
            long.map_or(first.len_utf8(), |sign| sign.len()),
        )
    };
    Token {
        kind,
        range: at..at + length,
        text: &rest[..length],
    }
}

/// The length of a text that looks like a number: `1_000`, `1.5e-3`, `.5`, `200MB`.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    loop {
        length += word_length(&text[length..]);
        let follows = bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        let joined = match bytes.get(length) {
            Some(b'.') => true,
            Some(b'+' | b'-') => {
                matches!(bytes[..length].last(), Some(b'e' | b'E'))
                    && bytes[..length - 1]
                        .last()
                        .is_some_and(|b| b.is_ascii_digit() || *b == b'.')
            }
            _ => false,
        };
        if !(follows && joined) {
            return length;
        }
        length += 1;
    }
}
