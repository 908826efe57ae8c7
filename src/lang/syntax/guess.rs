//! Guesses at the intended text, for the help line of a syntax error.

use std::ops::Range;

use crate::lang::diag::Code;

use super::build::declaration_kind;
use super::expected::{quoted, BrokenPart};
use super::parse::Rule;
use super::token::{self, Token, TokenKind};
use super::version;

/// A place where the text does not follow the grammar.
pub(super) struct Failure<'f> {
    /// The kind of the broken part.
    pub(super) part: BrokenPart,
    /// The first token of the part.
    pub(super) first: &'f Token<'f>,
    /// The text of the part before the offending token.
    pub(super) before: &'f str,
    /// The offending token.
    pub(super) found: &'f Token<'f>,
    /// The text after the offending token.
    pub(super) after: &'f str,
    /// The rules that could have continued there.
    pub(super) rules: &'f [Rule],
}

/// The parts of a message that replace the plain "expected X, found Y".
#[derive(Default)]
pub(super) struct Guess {
    pub(super) code: Option<Code>,
    pub(super) message: Option<String>,
    pub(super) range: Option<Range<usize>>,
    pub(super) help: Option<String>,
}

impl Guess {
    fn help(text: impl Into<String>) -> Guess {
        Guess {
            help: Some(text.into()),
            ..Guess::default()
        }
    }
}

impl Failure<'_> {
    fn wants(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }

    fn wants_expression(&self) -> bool {
        self.wants(Rule::number) || self.wants(Rule::expression) || self.wants(Rule::argument)
    }

    /// The last sign directly before the offending token.
    fn follows(&self, sign: &str) -> bool {
        self.before.ends_with(sign)
    }

    /// The offending token together with the byte before it.
    fn with_previous_byte(&self) -> Range<usize> {
        self.found.range.start - 1..self.found.range.end
    }
}

const ITEMS: &str =
    "a file is made of `import`, `dim`, `rule`, `cell`, `network` and blocks such as `task NAME { ... }`";

/// The best guess; `None` if the scanner already reported the mistake.
pub(super) fn guess(failure: &Failure<'_>) -> Option<Guess> {
    let found = failure.found;
    match found.kind {
        TokenKind::UnclosedText => None,
        TokenKind::Word if !found.text.is_ascii() => Some(foreign_name(found)),
        TokenKind::Number if !is_number(found.text) => Some(bad_number(found)),
        _ => Some(
            misused_sign(failure)
                .or_else(|| misplaced(failure))
                .unwrap_or_default(),
        ),
    }
}

fn is_number(text: &str) -> bool {
    let decimal = text.replace('_', "").parse::<f64>().is_ok();
    let groups = text.split(['.', 'e', 'E', '+', '-']).all(|digits| {
        digits.is_empty()
            || !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__")
    });
    decimal && groups && text.starts_with(|c: char| c.is_ascii_digit())
}

fn bad_number(found: &Token<'_>) -> Guess {
    let shown = quoted(found.text);
    let suffix = found
        .text
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '.');
    let help = if found.text.starts_with('.') {
        format!("write `0{shown}`: digits stand on both sides of the point")
    } else if suffix.is_empty() {
        "write a number as `200_000`, `0.5` or `1e-4`".to_string()
    } else {
        format!("write a quantity with its unit as a text, `\"{shown}\"`; names do not begin with a digit")
    };
    Guess {
        code: Some(Code::BadLiteral),
        message: Some(format!("`{shown}` is not a number")),
        help: Some(help),
        ..Guess::default()
    }
}

fn foreign_name(found: &Token<'_>) -> Guess {
    Guess {
        message: Some(format!("`{}` cannot be a name", quoted(found.text))),
        help: Some("names are made of the letters a-z and A-Z, digits and `_`".to_string()),
        ..Guess::default()
    }
}

/// Guesses at signs of other languages, and at misplaced signs.
fn misused_sign(failure: &Failure<'_>) -> Option<Guess> {
    let found = failure.found;
    let assigns = failure.wants(Rule::assign);
    let updates = failure.wants(Rule::update_arrow);
    let first = quoted(failure.first.text);
    let text = match found.text {
        ":=" if assigns || updates || failure.wants(Rule::colon) => {
            "write `=` to define a value, `<-` to update a state or trace"
        }
        "=" if failure.follows(":") => {
            let declares = declaration_kind(failure.first.text).is_some();
            let signs = if declares {
                "`=` or `~`"
            } else {
                "`=` or `<-`"
            };
            return Some(Guess {
                message: Some(format!("expected {signs}, found `:=`")),
                range: Some(failure.with_previous_byte()),
                ..Guess::help("write `=` without the colon")
            });
        }
        "." if failure.follows("external") => {
            "a signal of the task is written with a blank: `external reward`"
        }
        "==" if assigns => "`==` compares; write `=` to give a value",
        "=" if failure.first.text == "transmit" => {
            "`transmit` takes the value itself: `transmit w + alpha * hebb`"
        }
        "=" if failure.wants(Rule::operator) => "write `==` to compare",
        "->" | "-->" if updates => "an update is written `name <- value`",
        "<-" if assigns && failure.part == BrokenPart::Entry => {
            "a setting is written `name = value`"
        }
        "<-" if failure.part == BrokenPart::Statement && failure.before.contains('=') => {
            "to compare with a negative number put a space: `a < -b`"
        }
        "<-" if failure.part == BrokenPart::Statement => {
            "a declared thing starts with `= value` and is updated in a statement of its own"
        }
        ":" if failure.part == BrokenPart::Entry && assigns => {
            "a setting is written `name = value`"
        }
        ":" if failure.first.text == "state" || failure.first.text == "input" => {
            "the size comes first: `state h: [200] = 0`"
        }
        "." if ends_in_digit(failure.before) => "digits stand on both sides of the point: `1.0`",
        "**" => "a power is written `a ^ b`",
        "*" if failure.follows("*") => "a power is written `a ^ b`",
        "=>" => "write `>=` to compare, `->` between pre and post, `=` to give a value",
        "=<" => "write `<=`",
        "&" => "write `&&`",
        "|" => "write `||`",
        "#" => "comments begin with `//`",
        "'" if updates && failure.part == BrokenPart::Statement => {
            return Some(Guess::help(format!(
                "the value of the next step is written `{first} <- ...`"
            )));
        }
        "," if matches!(failure.first.text, "state" | "input") && failure.before.contains('[') => {
            "states and inputs are vectors, `[8]`; a matrix is a `trace` of a plastic bundle"
        }
        "'" | "`" | "“" | "”" | "„" => "texts stand in double quotes: `\"text\"`",
        "×" | "·" => "write `*`",
        "−" | "–" | "—" => "write `-`",
        "←" => "write `<-`",
        "→" => "write `->`",
        "≤" => "write `<=`",
        "≥" => "write `>=`",
        "≠" => "write `!=`",
        "+=" | "-=" | "*=" | "/=" => {
            let op = &found.text[..1];
            return Some(Guess::help(format!("write `{first} <- {first} {op} ...`")));
        }
        "+" | "-" if failure.part == BrokenPart::Statement && failure.after.starts_with('=') => {
            return Some(Guess::help(format!(
                "write `{first} <- {first} {} ...`",
                found.text
            )));
        }
        "," => return stray_comma(failure),
        ";" if failure.part == BrokenPart::Statement && failure.before.is_empty() => {
            "take this `;` away"
        }
        ";" if failure.part != BrokenPart::Statement => {
            "settings are separated by `,` or line ends"
        }
        "[" if failure.wants(Rule::declared) || failure.wants(Rule::colon) => {
            "a size follows a colon: `state h: [200]`"
        }
        "]" if failure.wants(Rule::dots) => {
            "a range names both ends: `post[0 .. 1]` is the first neuron"
        }
        "}" if failure.before.trim_end().ends_with(',') => "take the last `,` away",
        blank
            if found.kind == TokenKind::Sign
                && (blank.starts_with(char::is_whitespace) || blank == "\u{FEFF}") =>
        {
            "put an ordinary space there, or nothing"
        }
        "{" if failure.wants(Rule::name) => "give it a name before the `{`",
        _ => return None,
    };
    Some(Guess::help(text))
}

fn ends_in_digit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit())
}

fn stray_comma(failure: &Failure<'_>) -> Option<Guess> {
    match failure.part {
        BrokenPart::Statement if failure.wants(Rule::statement_end) => Some(Guess::help(
            "take this `,` away: statements are separated by line ends or `;`",
        )),
        BrokenPart::Value => None,
        _ => Some(Guess::help("take this `,` away")),
    }
}

/// Guesses at misplaced and missing words, and at statements outside a network.
fn misplaced(failure: &Failure<'_>) -> Option<Guess> {
    let found = failure.found;
    let first = failure.first;
    let is_word = found.kind == TokenKind::Word;
    let at_start = failure.before.trim().is_empty();
    if first.text == "plastic" && failure.wants(Rule::colon) {
        return Some(Guess::help("write `plastic NAME: pre -> post`"));
    }
    if first.text == "plastic" && failure.wants(Rule::arrow) {
        return Some(Guess::help("write `plastic NAME: pre -> post`"));
    }
    if first.text == token::CELL && (failure.wants(Rule::colon) || failure.wants(Rule::call)) {
        return Some(Guess::help("write `cell NAME: CELL(arguments)`"));
    }
    if first.text == "plastic" && failure.wants(Rule::brace_open) {
        return Some(Guess::help(
            "a bundle has a body, a rule after `using`, or both",
        ));
    }
    if failure.part == BrokenPart::Item && first.text == version::WORD {
        return Some(Guess::help(format!(
            "write `bpm {}`, the version of the language",
            version::VERSION
        )));
    }
    if failure.part == BrokenPart::Item && first.text == token::CELL {
        return Some(Guess::help("write `cell NAME(parameters) { ... }`"));
    }
    match failure.part {
        BrokenPart::Item if found.text == "(" && failure.before.split_whitespace().count() == 2 => {
            let near = crate::lang::diag::Diagnostics::nearest(first.text, ["rule", token::CELL])?;
            return Some(Guess::help(format!("did you mean `{near}`?")));
        }
        BrokenPart::Item if at_start && is_word && token::is_statement_word(found.text) => {
            return Some(Guess::help(
                "statements stand inside `network NAME { ... }`, `cell NAME(...) { ... }` or `rule NAME(...) { ... }`",
            ));
        }
        BrokenPart::Item
            if first.kind == TokenKind::Word
                && !first.is_reserved()
                && matches!(found.text, "=" | "<-" | ":") =>
        {
            return Some(Guess::help(
                "values stand inside a network or rule, settings inside a block; `dim NAME = value` names a size",
            ));
        }
        BrokenPart::Item
            if found.kind == TokenKind::End
                && first.kind == TokenKind::Word
                && failure.before.trim() == first.text
                && !first.is_reserved() =>
        {
            return Some(Guess {
                range: Some(first.range.clone()),
                message: Some(format!("expected an item, found `{}`", quoted(first.text))),
                ..Guess::help(ITEMS)
            });
        }
        BrokenPart::Item if at_start => {
            return Some(Guess::help(ITEMS));
        }
        BrokenPart::Statement if at_start && is_word && token::is_item_word(found.text) => {
            return Some(Guess::help(format!(
                "`{}` stands outside of all braces; is a `}}` missing before it?",
                found.text
            )));
        }
        BrokenPart::Statement
            if at_start
                && found.is_reserved()
                && matches!(
                    token::token_at(failure.after.trim_start(), 0).text,
                    "=" | "<-"
                ) =>
        {
            return Some(reserved_name(found));
        }
        BrokenPart::Statement if failure.wants(Rule::granularity) => {
            return Some(Guess::help("`per` says of what there is one each"));
        }
        BrokenPart::Statement
            if first.kind == TokenKind::Word && failure.before.trim_end().ends_with("reset") =>
        {
            return Some(Guess::help(
                "after `reset` comes `episode`, `trial`, `never` or `carry`",
            ));
        }
        BrokenPart::Statement
            if failure.wants(Rule::update_arrow) && failure.wants(Rule::assign) =>
        {
            return Some(lone_word(failure));
        }
        _ => {}
    }
    if is_word
        && found.is_reserved()
        && (failure.wants(Rule::name)
            || failure.wants(Rule::declared)
            || failure.wants_expression())
    {
        return Some(reserved_name(found));
    }
    let operator = match found.text {
        "and" => "&&",
        "or" => "||",
        _ => return None,
    };
    Some(Guess::help(format!("write `{operator}`")))
}

fn reserved_name(found: &Token<'_>) -> Guess {
    Guess::help(format!(
        "`{}` is a word of the language; choose another name",
        found.text
    ))
}

/// Guesses at a statement of which only the first word fits.
fn lone_word(failure: &Failure<'_>) -> Guess {
    let operator = match failure.first.text {
        "and" => Some("&&"),
        "or" => Some("||"),
        "not" => Some("!"),
        _ => None,
    };
    let word = failure.first.text;
    if let Some(operator) = operator {
        return Guess {
            range: Some(failure.first.range.clone()),
            message: Some(format!("expected an operator, found `{word}`")),
            ..Guess::help(format!("write `{operator}`"))
        };
    }
    let ours = token::RESERVED
        .into_iter()
        .filter(|known| token::is_statement_word(known))
        .chain([token::CELL]);
    if let Some(known) = crate::lang::diag::Diagnostics::nearest(word, ours) {
        return Guess {
            range: Some(failure.first.range.clone()),
            message: Some(format!("expected a statement, found `{word}`")),
            ..Guess::help(format!("did you mean `{known}`?"))
        };
    }
    if failure.found.kind == TokenKind::End || failure.found.text == "}" {
        return Guess {
            range: Some(failure.first.range.clone()),
            message: Some(format!("expected a statement, found `{}`", quoted(word))),
            ..Guess::help("a value is written `name = ...`, an update `name <- ...`")
        };
    }
    Guess::help("a value is written `name = ...`, an update `name <- ...`")
}
