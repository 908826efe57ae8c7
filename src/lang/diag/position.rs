//! The conversion of byte offsets to lines and columns, in constant time per query for any text.

/// The number of bytes between two entries of the column table.
const STRIDE: usize = 1024;

/// A place in lines and columns. All numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line; lines end at `\n`.
    pub line: usize,
    /// The column, in Unicode scalar values.
    pub column: usize,
    /// The column, in UTF-16 code units, as the language server protocol counts.
    pub utf16: usize,
}

/// The number of characters that begin before a certain byte of a text.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    scalars: usize,
    utf16: usize,
}

impl Count {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // Continuation bytes are 10xxxxxx; four-byte characters begin with 11110xxx.
            self.scalars += usize::from(byte & 0xC0 != 0x80);
            self.utf16 += usize::from(byte & 0xC0 != 0x80) + usize::from(*byte >= 0xF0);
        }
    }
}

/// An index of the lines of a text, with the data to count columns.
#[derive(Debug)]
pub struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
    counts: Vec<Count>,
}

impl<'a> LineIndex<'a> {
    /// Builds the index in one pass over the text.
    pub fn new(text: &'a str) -> LineIndex<'a> {
        let mut starts = vec![0];
        starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut counts = vec![Count::default()];
        let mut count = Count::default();
        for chunk in text.as_bytes().chunks(STRIDE) {
            count.add(chunk);
            counts.push(count);
        }
        LineIndex {
            text,
            starts,
            counts,
        }
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The line of a byte, counted from 0. A byte past the end is on the last line.
    pub fn line(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte) - 1
    }

    /// The first byte of a line, and one past its last byte, without the line end.
    pub fn line_bounds(&self, line: usize) -> (usize, usize) {
        let start = self.starts[line];
        let Some(next) = self.starts.get(line + 1) else {
            return (start, self.text.len());
        };
        let end = next - 1;
        let bytes = self.text.as_bytes();
        (
            start,
            end - usize::from(end > start && bytes[end - 1] == b'\r'),
        )
    }

    /// The line and columns of a byte. A byte past the end counts as the end.
    pub fn position(&self, byte: usize) -> Position {
        let byte = byte.min(self.text.len());
        let line = self.line(byte);
        let (before, here) = (self.count(self.starts[line]), self.count(byte));
        Position {
            line: line + 1,
            column: here.scalars - before.scalars + 1,
            utf16: here.utf16 - before.utf16 + 1,
        }
    }

    fn count(&self, byte: usize) -> Count {
        let mut count = self.counts[byte / STRIDE];
        count.add(&self.text.as_bytes()[byte / STRIDE * STRIDE..byte]);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, byte: usize) -> (usize, usize, usize) {
        let position = LineIndex::new(text).position(byte);
        (position.line, position.column, position.utf16)
    }

    #[test]
    fn counts_scalars_and_utf16_units() {
        let text = "a\n\u{1D6FC}\u{00E9}x\r\nb";
        assert_eq!(at(text, 0), (1, 1, 1));
        assert_eq!(at(text, 2), (2, 1, 1));
        assert_eq!(at(text, 6), (2, 2, 3));
        assert_eq!(at(text, 8), (2, 3, 4));
        assert_eq!(at(text, 11), (3, 1, 1));
        assert_eq!(at(text, 12), (3, 2, 2));
        assert_eq!(at(text, 99), (3, 2, 2));
    }

    #[test]
    fn agrees_with_counting_from_the_start_across_strides() {
        let text = "\u{00E9}\u{1D6FC}x\n".repeat(700);
        let index = LineIndex::new(&text);
        for (byte, _) in text.char_indices().step_by(97) {
            let line_start = text[..byte].rfind('\n').map_or(0, |at| at + 1);
            let before = &text[line_start..byte];
            let position = index.position(byte);
            assert_eq!(position.line, text[..byte].matches('\n').count() + 1);
            assert_eq!(position.column, before.chars().count() + 1);
            assert_eq!(position.utf16, before.encode_utf16().count() + 1);
        }
    }

    #[test]
    fn bounds_leave_out_either_line_end() {
        let index = LineIndex::new("ab\r\n\nc");
        assert_eq!(index.line_bounds(0), (0, 2));
        assert_eq!(index.line_bounds(1), (4, 4));
        assert_eq!(index.line_bounds(2), (5, 6));
    }
}
