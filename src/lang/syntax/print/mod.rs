//! The canonical text of a file, as `bpmc fmt` writes it.
//!
//! Indentation is two spaces; a line holds one statement and up to 100 columns. The author's grouping is
//! kept: settings and declared names that share a line stay together, a body on one line stays there if it
//! fits and has no comments, and one blank line is kept wherever there were any. Comments keep their place,
//! but a comment inside an expression moves in front of its statement.

mod expression;
mod statement;

use super::ast::{Block, Comment, Entry, File, Ident, Item, ItemKind, RuleParam};
use super::token;
use super::version::VERSION;
use expression::{layout, path};

/// The largest number of columns per line.
const WIDTH: usize = 100;

/// The number of columns per level of indentation.
const INDENT: usize = 2;

/// Prints `file`, which was parsed from `text` without errors. The result parses to the same tree apart from
/// spans, and printing it again changes nothing.
pub fn print(file: &File, text: &str) -> String {
    let mut printer = Printer {
        text,
        comments: &file.comments,
        out: String::new(),
        last_end: 0,
        indent: 0,
        fresh: true,
    };
    for (k, item) in file.items.iter().enumerate() {
        let limit = file
            .items
            .get(k + 1)
            .map_or(text.len(), |next| next.span.start as usize);
        printer.item(item, limit);
    }
    printer.comments_before(usize::MAX, true);
    printer.out
}

struct Printer<'a> {
    /// The text that the tree was parsed from.
    text: &'a str,
    /// The comments not written yet.
    comments: &'a [Comment],
    out: String,
    /// The end in `text` of the last thing written.
    last_end: usize,
    indent: usize,
    /// True if nothing was written in this body yet.
    fresh: bool,
}

/// The braces of a body and their places.
#[derive(Clone, Copy)]
struct Braces {
    /// The opening brace, if it is in the text.
    open: Option<usize>,
    /// One past the closing brace.
    end: usize,
    /// The start of the first part, if there is one.
    first: Option<usize>,
    /// The start of the next thing after the body.
    limit: usize,
}

impl<'a> Printer<'a> {
    // ---- The source text ----

    fn between(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn same_line(&self, start: usize, end: usize) -> bool {
        !self.between(start, end).contains('\n')
    }

    /// The first opening brace in `from..end`.
    fn open_brace(&self, from: usize, end: usize) -> Option<usize> {
        let mut at = from;
        while at < end.min(self.text.len()) {
            at = token::skip_blanks(self.text, at);
            let found = token::token_at(self.text, at);
            if found.text == "{" {
                return Some(at);
            }
            at = found.range.end;
        }
        None
    }

    fn has_comment(&self, start: usize, end: usize) -> bool {
        let first = self
            .comments
            .partition_point(|comment| (comment.span.start as usize) < start);
        self.comments
            .get(first)
            .is_some_and(|comment| (comment.span.start as usize) < end)
    }

    // ---- Lines and comments ----

    fn start_line(&mut self, text: &str) {
        self.out.extend(std::iter::repeat_n(' ', self.indent));
        self.out.push_str(text);
        self.fresh = false;
    }

    /// Ends a line that came from text up to `end`, with the comment that followed it there.
    fn finish_line(&mut self, end: usize, limit: usize) {
        self.last_end = end;
        if let Some((comment, rest)) = self.comments.split_first() {
            let start = comment.span.start as usize;
            if start >= end && start < limit && self.same_line(end, start) {
                self.out.push_str("  ");
                self.out.push_str(comment.text.trim_end());
                self.last_end = comment.span.end as usize;
                self.comments = rest;
            }
        }
        self.out.push('\n');
    }

    /// Keeps a blank line before the part at `start`.
    fn blank_line(&mut self, start: usize) {
        if !self.fresh && self.between(self.last_end, start).matches('\n').count() > 1 {
            self.out.push('\n');
        }
    }

    /// Writes the comments before `end`, one per line.
    fn comments_before(&mut self, end: usize, keep_blank_lines: bool) {
        while let Some((comment, rest)) = self.comments.split_first() {
            let start = comment.span.start as usize;
            if start >= end {
                break;
            }
            if keep_blank_lines {
                self.blank_line(start);
                self.last_end = comment.span.end as usize;
            }
            self.start_line(comment.text.trim_end());
            self.out.push('\n');
            self.comments = rest;
        }
    }

    /// Writes everything before a part at `start` whose line is made of the text up to `end`.
    fn lead(&mut self, start: usize, end: usize) {
        self.comments_before(start, true);
        self.blank_line(start);
        self.comments_before(end, false);
    }

    // ---- Items ----

    fn item(&mut self, item: &Item, limit: usize) {
        let (start, end) = (item.span.start as usize, item.span.end as usize);
        match &item.kind {
            ItemKind::Version => self.single(start, end, limit, &format!("bpm {VERSION}")),
            ItemKind::Import { path, .. } => {
                self.single(start, end, limit, &format!("import \"{path}\""))
            }
            ItemKind::Dim { name, value } => {
                let head = format!("dim {} = ", name.name);
                let value = layout(value, self.indent, head.chars().count(), 0);
                self.single(start, end, limit, &(head + &value));
            }
            ItemKind::Rule { name, params, body } => {
                let open = self.open_brace(name.span.end as usize, end);
                self.lead(start, open.unwrap_or(end));
                let header = self.parametrised("rule", name, params);
                self.body(&header, body, open, end, limit);
            }
            ItemKind::Cell { name, params, body } => {
                let open = self.open_brace(name.span.end as usize, end);
                self.lead(start, open.unwrap_or(end));
                let header = self.parametrised("cell", name, params);
                self.body(&header, body, open, end, limit);
            }
            ItemKind::Network { name, body } => {
                let open = self.open_brace(name.span.end as usize, end);
                self.lead(start, open.unwrap_or(end));
                self.body(&format!("network {}", name.name), body, open, end, limit);
            }
            ItemKind::Block(block) => self.block(block, limit),
        }
    }

    /// Writes a part on its own line.
    fn single(&mut self, start: usize, end: usize, limit: usize, text: &str) {
        self.lead(start, end);
        self.start_line(text);
        self.finish_line(end, limit);
    }

    /// Prints `rule name(a, b = 1)`.
    fn parametrised(&self, word: &str, name: &Ident, params: &[RuleParam]) -> String {
        let inner = self.indent + INDENT;
        let param = |param: &RuleParam| match &param.default {
            Some(default) => {
                let head = format!("{} = ", param.name.name);
                let value = layout(default, inner, inner + head.chars().count(), 1);
                head + &value
            }
            None => param.name.name.clone(),
        };
        let params: Vec<String> = params.iter().map(param).collect();
        let flat = format!("{word} {}({})", name.name, params.join(", "));
        if !flat.contains('\n') && self.indent + flat.chars().count() + 2 <= WIDTH {
            return flat;
        }
        let blank = " ".repeat(inner);
        let separator = format!(",\n{blank}");
        format!(
            "{word} {}(\n{blank}{}\n)",
            name.name,
            params.join(&separator)
        )
    }

    // ---- Bodies ----

    /// Writes `header { ... }`. `flat` gives the body on one line if possible; otherwise `inside` writes it.
    fn braces(
        &mut self,
        header: &str,
        braces: Braces,
        flat: impl FnOnce(&Self) -> Option<String>,
        inside: impl FnOnce(&mut Self, usize),
    ) {
        let Braces {
            open,
            end,
            first,
            limit,
        } = braces;
        let close = end.saturating_sub(1);
        if open.is_some_and(|open| self.stood_on_one_line(open, end)) {
            let line = flat(self).map(|flat| one_line(header, &flat));
            if let Some(line) = line.filter(|line| self.fits(line)) {
                self.start_line(&line);
                self.finish_line(end, limit);
                return;
            }
        }
        if first.is_none() && !self.has_comment(open.unwrap_or(end), end) {
            self.start_line(header);
            self.out.push_str(" {}");
            self.finish_line(end, limit);
            return;
        }
        self.start_line(header);
        self.out.push_str(" {");
        self.finish_line(
            open.map_or(self.last_end, |open| open + 1),
            first.unwrap_or(close),
        );
        self.indent += INDENT;
        self.fresh = true;
        inside(self, close);
        self.comments_before(close, true);
        self.indent -= INDENT;
        self.start_line("}");
        self.finish_line(end, limit);
    }

    fn stood_on_one_line(&self, open: usize, end: usize) -> bool {
        self.same_line(open, end) && !self.has_comment(open, end)
    }

    fn fits(&self, line: &str) -> bool {
        !line.contains('\n') && self.indent + line.chars().count() <= WIDTH
    }

    // ---- Blocks of settings ----

    fn block_open(&self, block: &Block) -> Option<usize> {
        let head = block.name.as_ref().unwrap_or(&block.keyword);
        self.open_brace(head.span.end as usize, block.span.end as usize)
    }

    fn block(&mut self, block: &Block, limit: usize) {
        let end = block.span.end as usize;
        let open = self.block_open(block);
        self.lead(block.span.start as usize, open.unwrap_or(end));
        let braces = Braces {
            open,
            end,
            first: block.entries.first().map(entry_start),
            limit,
        };
        self.braces(
            &block_header(block),
            braces,
            |printer| printer.flat_entries(&block.entries),
            |printer, close| printer.entries(&block.entries, close),
        );
    }

    fn flat_entries(&self, entries: &[Entry]) -> Option<String> {
        let entries: Option<Vec<String>> =
            entries.iter().map(|entry| self.flat_entry(entry)).collect();
        Some(entries?.join(", "))
    }

    /// An entry on one line; `None` if it needs more.
    fn flat_entry(&self, entry: &Entry) -> Option<String> {
        let text = match entry {
            Entry::Setting { .. } => setting(entry, self.indent)?,
            Entry::Block(block) => {
                let open = self.block_open(block)?;
                if !self.stood_on_one_line(open, block.span.end as usize) {
                    return None;
                }
                one_line(&block_header(block), &self.flat_entries(&block.entries)?)
            }
        };
        self.fits(&text).then_some(text)
    }

    fn entries(&mut self, entries: &[Entry], close: usize) {
        let mut rest = entries;
        while let Some(first) = rest.first() {
            if let (Entry::Block(block), None) = (first, self.flat_entry(first)) {
                rest = &rest[1..];
                self.block(block, rest.first().map_or(close, entry_start));
                continue;
            }
            let mut count = 1;
            while let Some(next) = rest.get(count) {
                let joins = self.same_line(entry_end(&rest[count - 1]), entry_start(next))
                    && (matches!(next, Entry::Setting { .. }) || self.flat_entry(next).is_some());
                if !joins {
                    break;
                }
                count += 1;
            }
            let (line, after) = rest.split_at(count);
            rest = after;
            self.entries_of_line(line, rest.first().map_or(close, entry_start));
        }
    }

    /// Writes entries that shared a line, on more lines if they do not fit.
    fn entries_of_line(&mut self, entries: &[Entry], limit: usize) {
        let Some((first, last)) = entries.first().zip(entries.last()) else {
            return;
        };
        let end = entry_end(last);
        self.lead(entry_start(first), end);
        let mut line = String::new();
        for entry in entries {
            let text = self
                .flat_entry(entry)
                .or_else(|| setting(entry, self.indent))
                .unwrap_or_default();
            let joined = format!("{line}, {text}");
            if line.is_empty() {
                line = text;
            } else if self.fits(&joined) {
                line = joined;
            } else {
                self.start_line(&line);
                self.out.push('\n');
                line = text;
            }
        }
        self.start_line(&line);
        self.finish_line(end, limit);
    }
}

fn one_line(header: &str, inside: &str) -> String {
    if inside.is_empty() {
        format!("{header} {{}}")
    } else {
        format!("{header} {{ {inside} }}")
    }
}

fn block_header(block: &Block) -> String {
    match &block.name {
        Some(name) => format!("{} {}", block.keyword.name, name.name),
        None => block.keyword.name.clone(),
    }
}

/// The text `key = value` in a line indented by `indent`; `None` for a block.
fn setting(entry: &Entry, indent: usize) -> Option<String> {
    match entry {
        Entry::Setting { key, value, .. } => {
            let head = format!("{} = ", path(key));
            let value = layout(value, indent, indent + head.chars().count(), 0);
            Some(head + &value)
        }
        Entry::Block(_) => None,
    }
}

fn entry_start(entry: &Entry) -> usize {
    match entry {
        Entry::Setting { span, .. } => span.start as usize,
        Entry::Block(block) => block.span.start as usize,
    }
}

fn entry_end(entry: &Entry) -> usize {
    match entry {
        Entry::Setting { span, .. } => span.end as usize,
        Entry::Block(block) => block.span.end as usize,
    }
}
