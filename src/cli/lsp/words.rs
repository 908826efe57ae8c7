//! The words of a text that may be half typed: what stands around the cursor.

use crate::lang::syntax::{token_at, TokenKind};
use std::ops::Range;

/// A word, sign or comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Comment,
    /// A word that cannot be a name.
    Reserved,
    Name,
    Number,
    Text,
    Sign,
}

/// All words of a text, in order.
pub fn words(text: &str) -> Vec<(Kind, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        at += rest.len() - rest.trim_start().len();
        if text[at..].starts_with("//") {
            let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
            let end = at + text[at..end].trim_end().len();
            found.push((Kind::Comment, at..end));
            at = end;
            continue;
        }
        let token = token_at(text, at);
        let kind = match token.kind {
            TokenKind::End => return found,
            TokenKind::Word if token.is_reserved() => Kind::Reserved,
            TokenKind::Word => Kind::Name,
            TokenKind::Number => Kind::Number,
            TokenKind::Text | TokenKind::UnclosedText => Kind::Text,
            TokenKind::Sign => Kind::Sign,
        };
        at = token.range.end.max(at + 1);
        while !text.is_char_boundary(at) {
            at += 1;
        }
        found.push((kind, token.range));
    }
}

/// The surroundings of a place.
#[derive(Debug, Default, PartialEq)]
pub struct Context<'t> {
    /// The first two words before each open brace around the place, outermost first.
    pub blocks: Vec<(&'t str, &'t str)>,
    /// The words of the statement before the place, without the one at it.
    pub before: Vec<&'t str>,
    /// The word at the place.
    pub word: Range<usize>,
    /// True inside a comment or a text in quotes.
    pub quoted: bool,
}

impl<'t> Context<'t> {
    /// The surroundings of a byte. Lines end statements outside of brackets, so a half-typed statement does no harm.
    pub fn at(text: &'t str, byte: usize) -> Context<'t> {
        let mut context = Context {
            word: byte..byte,
            ..Context::default()
        };
        let mut depth = 0usize;
        let mut end = 0;
        for (kind, range) in words(text) {
            if range.start > byte {
                break;
            }
            if depth == 0 && text[end..range.start].contains('\n') {
                context.before.clear();
            }
            end = range.end.max(end);
            let word = &text[range.clone()];
            let touches = byte <= range.end;
            match kind {
                Kind::Comment | Kind::Text if touches && byte > range.start => {
                    context.quoted = true;
                    context.word = range;
                    return context;
                }
                Kind::Comment => continue,
                Kind::Name | Kind::Reserved if touches => {
                    context.word = range;
                    return context;
                }
                Kind::Number if touches && byte > range.start => {
                    context.word = range;
                    return context;
                }
                _ if range.start == byte => break,
                _ => {}
            }
            match word {
                "{" => {
                    let word = |k: usize| context.before.get(k).copied().unwrap_or("");
                    context.blocks.push((word(0), word(1)));
                    context.before.clear();
                    depth = 0;
                }
                "}" => {
                    context.blocks.pop();
                    context.before.clear();
                    depth = 0;
                }
                ";" => context.before.clear(),
                "," if depth == 0 && context.in_settings() => context.before.clear(),
                _ => {
                    match word {
                        "(" | "[" => depth += 1,
                        ")" | "]" => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    context.before.push(word);
                }
            }
        }
        if depth == 0 && text.get(end..byte).is_some_and(|gap| gap.contains('\n')) {
            context.before.clear();
        }
        context
    }

    /// Tells if the place is in a block of settings.
    pub fn in_settings(&self) -> bool {
        matches!(self.blocks.first(), Some(("task" | "train", _)))
    }

    /// The word before the place.
    pub fn last(&self) -> &'t str {
        self.before.last().copied().unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> (Vec<(&str, &str)>, Vec<&str>, &str) {
        let byte = text.find('^').unwrap();
        let (before, after) = text.split_at(byte);
        let text: &'static str = Box::leak((before.to_owned() + &after[1..]).into_boxed_str());
        let context = Context::at(text, byte);
        (context.blocks, context.before, &text[context.word])
    }

    #[test]
    fn surroundings_of_half_typed_words() {
        let (blocks, before, word) = at("train a2c {\n  gamma = 0.9, optimizer adam { l^");
        assert_eq!(blocks, [("train", "a2c"), ("optimizer", "adam")]);
        assert_eq!((before, word), (vec![], "l"));
        let (blocks, before, word) = at("network a {\n  y = tanh(\n  h <- ta^nh(y)");
        assert_eq!(blocks, [("network", "a")]);
        // An open bracket joins the lines.
        assert_eq!(before, ["y", "=", "tanh", "(", "h", "<-"]);
        assert_eq!(word, "tanh");
        let (_, before, word) = at("task maze { size = 9, teleport = ^ }");
        assert_eq!((before, word), (vec!["teleport", "="], ""));
        let (blocks, before, _) = at("network a { }\n\ntask ^");
        assert_eq!((blocks, before), (vec![], vec!["task"]));
        let (_, before, word) = at("network a {\n y = rec.he^\n z = 1\n}");
        assert_eq!((before, word), (vec!["y", "=", "rec", "."], "he"));
    }
}
