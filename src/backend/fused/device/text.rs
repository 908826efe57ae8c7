//! Source text with indentation.

use std::fmt::Write;

/// Lines of a source.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    text: String,
    depth: usize,
}

impl Text {
    /// A line.
    pub(super) fn line(&mut self, line: &str) {
        let depth = self.depth * 4;
        writeln!(self.text, "{:depth$}{line}", "").expect("writing to a string");
    }

    /// A line that opens a block.
    pub(super) fn open(&mut self, line: &str) {
        self.line(line);
        self.depth += 1;
    }

    /// A line that closes it.
    pub(super) fn close(&mut self, line: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(line);
    }

    /// Text as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.text
    }
}
