//! The scan: one linear pass over a text before it is parsed, for comments, unclosed strings and brackets.
//!
//! The parser recurses once per bracket and relies on matching brackets, so it only receives regions in which
//! both are safe. A text with wrong brackets is cut at lines that begin like an item in the first column;
//! items that are balanced by themselves are still parsed.

use std::ops::Range;

use crate::lang::diag::{Code, Diagnostic};

use super::parse::MAX_NESTING;
use super::report::Reporter;
use super::token;

/// The results of the scan.
pub(super) struct Scan {
    /// All comments, without their line ends.
    pub(super) comments: Vec<Range<usize>>,
    /// The parts of the text with matching brackets that are not too deep, in order.
    pub(super) regions: Vec<Range<usize>>,
}

/// A place that affects the matching of brackets.
#[derive(Clone, Copy)]
enum Mark {
    Open(u8, usize),
    Close(u8, usize),
    /// A line that begins like an item; `strong` if its word is reserved for items.
    Start {
        at: usize,
        strong: bool,
    },
}

/// The largest indentation that is distinguished.
const MAX_INDENT: usize = 256;

/// Scans `text` and reports unclosed strings and wrong brackets.
pub(super) fn scan(text: &str, reporter: &mut Reporter<'_>) -> Scan {
    let mut marks = Vec::new();
    let mut comments = Vec::new();
    let mut unclosed = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut line_start = true;
    while at < bytes.len() {
        if line_start {
            if let Some(strong) = token::item_start(&text[at..]) {
                marks.push(Mark::Start { at, strong });
            }
        }
        line_start = bytes[at] == b'\n';
        match bytes[at] {
            open @ (b'(' | b'[' | b'{') => marks.push(Mark::Open(open, at)),
            close @ (b')' | b']' | b'}') => marks.push(Mark::Close(close, at)),
            b'"' => match token::text_length(&text[at..]) {
                Ok(length) => at += length - 1,
                Err(length) => {
                    unclosed.push(at);
                    reporter.report(
                        Diagnostic::new(
                            Code::BadLiteral,
                            reporter.span(at, at + length),
                            "a text without its closing quote",
                        )
                        .with_help("end it with `\"` on the same line"),
                    );
                    at = token::line_end(text, at);
                    continue;
                }
            },
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                let end = token::line_end(text, at);
                comments.push(at..end);
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    let regions = if is_balanced(&marks) {
        std::iter::once(0..text.len()).collect()
    } else {
        Cutter {
            text,
            marks: &marks,
            unclosed: &unclosed,
            reporter,
            regions: Vec::new(),
        }
        .cut()
    };
    Scan { comments, regions }
}

/// The closing bracket of this one.
fn partner(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

fn is_balanced(marks: &[Mark]) -> bool {
    let mut stack = Vec::new();
    for mark in marks {
        match *mark {
            Mark::Open(open, _) => {
                stack.push(partner(open));
                if stack.len() > MAX_NESTING {
                    return false;
                }
            }
            Mark::Close(close, _) => {
                if stack.pop() != Some(close) {
                    return false;
                }
            }
            Mark::Start { .. } => {}
        }
    }
    stack.is_empty()
}

/// A cutter of texts with wrong brackets into segments, one or more items each.
struct Cutter<'t, 'r, 'd> {
    text: &'t str,
    marks: &'t [Mark],
    unclosed: &'t [usize],
    reporter: &'r mut Reporter<'d>,
    regions: Vec<Range<usize>>,
}

/// The open brackets of a segment.
#[derive(Clone, Default)]
struct Stack {
    open: Vec<(u8, usize)>,
    /// The number of brackets of each kind, so that a wrong closing bracket is found without a search.
    counts: [usize; 3],
}

impl Stack {
    fn kind(open: u8) -> usize {
        match open {
            b'(' => 0,
            b'[' => 1,
            _ => 2,
        }
    }

    fn push(&mut self, open: u8, at: usize) {
        self.counts[Self::kind(open)] += 1;
        self.open.push((open, at));
    }

    fn pop(&mut self) -> Option<(u8, usize)> {
        let top = self.open.pop()?;
        self.counts[Self::kind(top.0)] -= 1;
        Some(top)
    }

    fn holds_partner_of(&self, close: u8) -> bool {
        [b'(', b'[', b'{']
            .into_iter()
            .any(|open| partner(open) == close && self.counts[Self::kind(open)] > 0)
    }
}

impl Cutter<'_, '_, '_> {
    fn cut(mut self) -> Vec<Range<usize>> {
        let mut next = 0;
        let mut start = 0;
        while start < self.text.len() && !self.reporter.is_full() {
            (next, start) = self.segment(next, start);
        }
        self.regions
    }

    /// Reads one segment; returns the mark and the byte at which the next one begins.
    fn segment(&mut self, first: usize, start: usize) -> (usize, usize) {
        let mut stack = Stack::default();
        let mut errors = Vec::new();
        let mut last_end = start;
        let mut last_pair = None;
        let mut hint = None;
        let mut too_deep = false;
        let mut whole = false;
        let mut index = first;
        let mut end = self.text.len();
        let mut region_end = None;
        while let Some(&mark) = self.marks.get(index) {
            match mark {
                Mark::Start { at, strong } if at > start => {
                    if stack.open.is_empty() {
                        end = at;
                        break;
                    }
                    whole = whole || !strong && self.closes(index, stack.clone());
                    if strong || !whole {
                        end = at;
                        break;
                    }
                }
                Mark::Start { .. } => {}
                Mark::Open(open, at) => {
                    stack.push(open, at);
                    if stack.open.len() > MAX_NESTING && !too_deep {
                        too_deep = true;
                        errors.push(self.too_deep(at));
                    }
                }
                Mark::Close(close, at) => match stack.open.last().copied() {
                    Some((open, opened)) if partner(open) == close => {
                        stack.pop();
                        if close == b'}' && hint.is_none() && self.is_outdented(opened, at) {
                            hint = Some((opened, at));
                        }
                        if stack.open.is_empty() {
                            last_end = at + 1;
                            last_pair = Some((open, opened, at));
                            whole = false;
                        }
                    }
                    Some((open, opened)) => {
                        errors.push(self.wrong(open, opened, close, at));
                        // The bracket fits nothing that is open: it was probably meant for the innermost.
                        let meant = stack.holds_partner_of(close);
                        while let Some((open, _)) = stack.pop() {
                            if !meant || partner(open) == close {
                                break;
                            }
                        }
                        if errors.len() > super::parse::MAX_ERRORS {
                            return self.finish(
                                errors,
                                None,
                                start,
                                (self.marks.len(), self.text.len()),
                            );
                        }
                    }
                    None => {
                        errors.push(self.stray(close, at, last_pair));
                        region_end = Some(last_end);
                        // The rest belongs to nothing; reading continues at the next item.
                        while let Some(mark) = self.marks.get(index) {
                            if let Mark::Start { at, .. } = *mark {
                                end = at;
                                break;
                            }
                            index += 1;
                        }
                        break;
                    }
                },
            }
            index += 1;
        }
        if let Some(&(open, at)) = stack.open.last() {
            errors.push(self.open(open, at, hint, end));
        }
        let sound = errors.is_empty() || errors.len() == 1 && region_end.is_some();
        let region = sound.then(|| start..region_end.unwrap_or(end));
        self.finish(errors, region, start, (index, end))
    }

    fn finish(
        &mut self,
        errors: Vec<Diagnostic>,
        region: Option<Range<usize>>,
        start: usize,
        (index, end): (usize, usize),
    ) -> (usize, usize) {
        let first = self.unclosed.partition_point(|at| *at < start);
        let has_unclosed_text = self.unclosed.get(first).is_some_and(|at| *at < end);
        // An unclosed text swallows brackets: it was reported, and their errors would follow from it.
        if !has_unclosed_text {
            for error in errors {
                self.reporter.report(error);
            }
        }
        self.regions.extend(region);
        (index, end)
    }

    /// Returns true if the open brackets all close before the next certain item.
    fn closes(&self, from: usize, mut stack: Stack) -> bool {
        for mark in &self.marks[from..] {
            match *mark {
                Mark::Start { strong: true, .. } => return false,
                Mark::Start { .. } => {}
                Mark::Open(open, at) => stack.push(open, at),
                Mark::Close(close, _) => {
                    if stack.pop().is_none_or(|(open, _)| partner(open) != close) {
                        return false;
                    }
                    if stack.open.is_empty() {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Returns true if the brace at `close` begins its line further left than the line of `open`.
    fn is_outdented(&self, open: usize, close: usize) -> bool {
        let before = &self.text[..close];
        let indent = before.len() - before.trim_end_matches([' ', '\t']).len();
        let first_in_line = before[..close - indent].ends_with('\n') || close == indent;
        if !first_in_line || indent >= MAX_INDENT {
            return false;
        }
        let line = self.text[..open]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let opener = self.text[line..]
            .bytes()
            .take(MAX_INDENT)
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        indent < opener
    }

    fn too_deep(&self, at: usize) -> Diagnostic {
        Diagnostic::new(
            Code::TooDeep,
            self.reporter.span(at, at + 1),
            format!("brackets are nested over {MAX_NESTING} levels deep"),
        )
        .with_label("one level too many")
        .with_help("name a part of it with `name = ...`")
    }

    fn wrong(&self, open: u8, opened: usize, close: u8, at: usize) -> Diagnostic {
        let (open, wanted, close) = (open as char, partner(open) as char, close as char);
        Diagnostic::new(
            Code::Unbalanced,
            self.reporter.span(at, at + 1),
            format!("`{open}` is closed by `{close}`"),
        )
        .with_label(format!("expected `{wanted}`"))
        .with_secondary(
            self.reporter.span(opened, opened + 1),
            format!("this `{open}` is open here"),
        )
    }

    fn stray(&self, close: u8, at: usize, last: Option<(u8, usize, usize)>) -> Diagnostic {
        let close = close as char;
        let found = Diagnostic::new(
            Code::Unbalanced,
            self.reporter.span(at, at + 1),
            format!("`{close}` closes nothing"),
        )
        .with_help(format!(
            "take this `{close}` away, or open its partner before it"
        ));
        match last {
            Some((open, opened, closed)) => found
                .with_secondary(
                    self.reporter.span(opened, opened + 1),
                    format!("the last `{}` is this one", open as char),
                )
                .with_secondary(self.reporter.span(closed, closed + 1), "and is closed here"),
            None => found,
        }
    }

    /// The diagnostic for the bracket at `at` that is still open at the end of its segment; `hint` is a pair
    /// that looks misplaced.
    fn open(&self, open: u8, at: usize, hint: Option<(usize, usize)>, end: usize) -> Diagnostic {
        let close = partner(open) as char;
        let hint = hint.filter(|_| open == b'{');
        let culprit = hint.map_or(at, |(opened, _)| opened);
        let found = Diagnostic::new(
            Code::Unbalanced,
            self.reporter.span(culprit, culprit + 1),
            format!("`{}` is never closed", open as char),
        );
        match hint {
            Some((_, closed)) => found.with_secondary(
                self.reporter.span(closed, closed + 1),
                format!("this `{close}` is indented as that of an outer bracket"),
            ),
            None => {
                let used = self.text[..end].trim_end().len();
                found.with_secondary(
                    self.reporter.span(used, used),
                    format!("expected `{close}` before here"),
                )
            }
        }
        .with_help(format!("close it with `{close}`"))
    }
}
