//! Parser failures as "expected X, found Y" in the words of the language.

use std::ops::Range;

use pest::error::{Error, ErrorVariant, InputLocation};
use pest::Parser;

use crate::lang::diag::{Code, Diagnostic};

use super::build::Builder;
use super::guess::{guess, Failure};
use super::parse::{BpmParser, Rule};
use super::token::{self, Token, TokenKind};

/// The longest quotation of the text in a message, in characters.
const MAX_QUOTED: usize = 32;

/// The kind of a broken part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokenPart {
    /// A top-level item.
    Item,
    /// A statement of a body.
    Statement,
    /// A setting or an inner block.
    Entry,
    /// A single value.
    Value,
}

impl BrokenPart {
    fn rule(self) -> Rule {
        match self {
            BrokenPart::Item => Rule::one_item,
            BrokenPart::Statement => Rule::one_statement,
            BrokenPart::Entry => Rule::one_entry,
            BrokenPart::Value => Rule::one_value,
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            BrokenPart::Item => "an item",
            BrokenPart::Statement => "a statement",
            BrokenPart::Entry => "a setting",
            BrokenPart::Value => "an expression",
        }
    }
}

impl Builder<'_, '_, '_> {
    /// Reports the error in the broken part at `range` of the text.
    pub(super) fn explain(&mut self, part: BrokenPart, range: Range<usize>) {
        if self.is_full() {
            return;
        }
        let (at, rules) = match BpmParser::parse(part.rule(), &self.text[range.clone()]) {
            Err(error) => failure(&error, range.clone()),
            // The part itself is valid: the text after it is the problem.
            Ok(_) => (range.end, vec![Rule::statement_end]),
        };
        self.explain_at(part, range, at, &rules);
    }

    /// Reports a failure to read all of `range` of the region.
    pub(super) fn explain_error(&mut self, error: &Error<Rule>, range: Range<usize>) {
        let range = self.offset + range.start..self.offset + range.end;
        if let ErrorVariant::CustomError { .. } = error.variant {
            // The parser stops when the thread's stack is nearly used up.
            let found = Diagnostic::new(
                Code::TooDeep,
                self.span(&(range.start..self.first_line(range.clone()))),
                "nesting that is too deep for the stack of this thread",
            );
            self.report(found);
            return;
        }
        let (at, rules) = failure(error, range.clone());
        self.explain_at(BrokenPart::Value, range, at, &rules);
    }

    fn explain_at(&mut self, part: BrokenPart, range: Range<usize>, at: usize, rules: &[Rule]) {
        let text = self.text;
        let used = range.start + text[range.clone()].trim_end().len();
        let place = token::skip_blanks(text, at.min(text.len()));
        let mut found = token::token_at(text, place);
        // If the failure is on a later line, something is missing at the end of the part's line.
        let crosses_line = place >= used && text[used.min(place)..place].contains('\n');
        if crosses_line
            && !matches!(found.kind, TokenKind::End)
            && !found.text.starts_with(['}', ')', ']'])
        {
            found = Token {
                kind: TokenKind::End,
                range: used..used,
                text: "\n",
            };
        }
        let expected = phrase(part, rules, place == range.start);
        let first = token::token_at(text, token::skip_blanks(text, range.start));
        let before = &text[range.start.min(found.range.start)..found.range.start];
        let failure = Failure {
            part,
            first: &first,
            before,
            found: &found,
            after: &text[found.range.end..],
            rules,
        };
        let Some(guess) = guess(&failure) else {
            return;
        };
        let span = match guess.range {
            Some(range) => self.span(&range),
            None if found.text.is_empty() => self.span(&(used..used)),
            None => self.span(&found.range),
        };
        let message = guess
            .message
            .unwrap_or_else(|| format!("expected {expected}, found {}", describe(&found, part)));
        let mut diagnostic = Diagnostic::new(guess.code.unwrap_or(Code::Syntax), span, message);
        if let Some(help) = guess.help {
            diagnostic = diagnostic.with_help(help);
        }
        self.report(diagnostic);
    }
}

/// The place of the failure, and the rules that could have continued there.
fn failure(error: &Error<Rule>, range: Range<usize>) -> (usize, Vec<Rule>) {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => range.start + at,
    };
    let rules = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.clone(),
        ErrorVariant::CustomError { .. } => Vec::new(),
    };
    (at, rules)
}

/// A short phrase for the expected rules.
fn phrase(part: BrokenPart, rules: &[Rule], at_start: bool) -> String {
    let has = |rule: Rule| rules.contains(&rule);
    if at_start || rules.is_empty() {
        return part.phrase().to_string();
    }
    if has(Rule::number) || has(Rule::expression) || has(Rule::primary) || has(Rule::argument) {
        return "an expression".to_string();
    }
    if has(Rule::assign) && has(Rule::tilde) {
        return "`=` or `~`".to_string();
    }
    // A size may stand before them, which is rarely what is missing.
    if has(Rule::assign) && has(Rule::update_arrow) {
        return "`=` or `<-`".to_string();
    }
    if has(Rule::statement_end) {
        return "the end of the statement".to_string();
    }
    if has(Rule::entry_end) {
        return "`,` or the end of the setting".to_string();
    }
    if has(Rule::item_end) {
        return "the end of the item".to_string();
    }
    // An expression can always continue; that is only said if nothing else could follow.
    let closing: Vec<&str> = CLOSING
        .iter()
        .filter(|(rule, _)| has(*rule))
        .map(|(_, sign)| *sign)
        .collect();
    if !closing.is_empty() {
        let name: &[&str] = if has(Rule::name) { &["a name"] } else { &[] };
        return either(&[name, &closing].concat());
    }
    let others: Vec<&str> = OTHERS
        .iter()
        .filter(|(rule, _)| has(*rule))
        .map(|(_, words)| *words)
        .collect();
    let opening: Vec<&str> = OPENING
        .iter()
        .filter(|(rule, _)| has(*rule))
        .map(|(_, sign)| *sign)
        .collect();
    match others.as_slice() {
        [] if !has(Rule::operator) && !opening.is_empty() => either(&opening),
        [] => "an operator or the end of the expression".to_string(),
        words => either(words),
    }
}

/// Signs that close or divide an open construct, the most expected ones first.
const CLOSING: [(Rule, &str); 5] = [
    (Rule::dots, "`..`"),
    (Rule::comma, "`,`"),
    (Rule::parenthesis_close, "`)`"),
    (Rule::bracket_close, "`]`"),
    (Rule::brace_close, "`}`"),
];

const OTHERS: [(Rule, &str); 17] = [
    (Rule::colon, "`:`"),
    (Rule::arrow, "`->`"),
    (Rule::assign, "`=`"),
    (Rule::update_arrow, "`<-`"),
    (Rule::text, "a text in quotes"),
    (Rule::name, "a name"),
    (Rule::path, "a name"),
    (Rule::declared, "a name"),
    (
        Rule::granularity,
        "`connection`, `post`, `pre` or `network`",
    ),
    (Rule::parameter, "a parameter"),
    (Rule::word_using, "`using`"),
    (Rule::using, "`using`"),
    (Rule::word_per, "`per`"),
    (Rule::word_reset, "`reset`"),
    (Rule::brace_open, "`{`"),
    (Rule::body, "`{`"),
    (Rule::entries, "`{`"),
];

/// Signs that can continue an expression, or that are expected if nothing else is.
const OPENING: [(Rule, &str); 2] = [(Rule::bracket_open, "`[`"), (Rule::parenthesis_open, "`(`")];

/// The words as alternatives, `a`, `a or b`, `a, b or c`: each once, at most three.
fn either(words: &[&str]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for word in words {
        if !kept.contains(word) && kept.len() < 3 {
            kept.push(word);
        }
    }
    match kept.split_last() {
        Some((last, [])) => (*last).to_string(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A description of the token for messages.
pub(super) fn describe(token: &Token<'_>, part: BrokenPart) -> String {
    match token.kind {
        TokenKind::End if token.text.is_empty() => match part {
            BrokenPart::Value => "the end of the value".to_string(),
            _ => "the end of the file".to_string(),
        },
        TokenKind::End => "the end of the line".to_string(),
        TokenKind::Word if token.is_reserved() => format!("the reserved word `{}`", token.text),
        TokenKind::Text | TokenKind::UnclosedText => format!("the text {}", quoted(token.text)),
        TokenKind::Word | TokenKind::Number => format!("`{}`", quoted(token.text)),
        TokenKind::Sign => match token.text.chars().next() {
            Some(c)
                if !c.is_ascii_graphic()
                    && !c.is_alphanumeric()
                    && (c.is_whitespace() || is_invisible(c)) =>
            {
                format!("the invisible character U+{:04X}", u32::from(c))
            }
            _ => format!("`{}`", token.text),
        },
    }
}

/// Returns true if a character would be invisible in a message or disturb it.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// The text in quotes, cut if it is long, without characters that would disturb a line.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_QUOTED)
        .map(|c| if is_invisible(c) { '\u{FFFD}' } else { c })
        .collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        short.push('…');
    }
    short
}
