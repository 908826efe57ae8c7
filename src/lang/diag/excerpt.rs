//! Excerpts: the few lines of a text that a rendered diagnostic shows, however large the text.

use super::position::LineIndex;
use std::ops::Range;

/// The number of bytes to which long lines are cut around their labels.
const LINE_BYTES: usize = 400;
/// The largest distance in lines between labels that share an excerpt.
const GAP_LINES: usize = 100;
/// The number of lines beyond which only the first line of a label is shown.
const LABEL_LINES: usize = 100;

/// Consecutive lines of a text and the labels in them.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// The lines, ended by `\n`.
    pub text: String,
    /// The number of the first line, from 1.
    pub first_line: usize,
    /// The labels: the index in the list given to [`excerpts`], and the range in `text`.
    pub labels: Vec<(usize, Range<usize>)>,
    /// True if a line was cut at its beginning, so that columns cannot be counted in `text`.
    pub shifted: bool,
}

/// The lines of one label.
struct LabelLines {
    label: usize,
    range: Range<usize>,
    lines: Range<usize>,
}

/// Excerpts that show all `ranges` of the text, in the order of the text.
pub(super) fn excerpts(index: &LineIndex<'_>, ranges: &[Range<usize>]) -> Vec<Excerpt> {
    let mut places: Vec<LabelLines> = ranges
        .iter()
        .enumerate()
        .map(|(label, range)| place(index, label, range))
        .collect();
    places.sort_by_key(|place| (place.lines.start, place.label));

    let mut groups: Vec<(Range<usize>, Vec<LabelLines>)> = Vec::new();
    for place in places {
        match groups.last_mut() {
            Some((lines, group)) if place.lines.start <= lines.end + GAP_LINES => {
                lines.end = lines.end.max(place.lines.end);
                group.push(place);
            }
            Some(_) | None => groups.push((place.lines.clone(), vec![place])),
        }
    }
    groups
        .into_iter()
        .map(|(lines, group)| excerpt(index, lines, &group))
        .collect()
}

fn place(index: &LineIndex<'_>, label: usize, range: &Range<usize>) -> LabelLines {
    let text = index.text();
    let start = floor_boundary(text, range.start);
    let mut end = floor_boundary(text, range.end).max(start);
    let first = index.line(start);
    // A range that ends with a line end does not show the next line.
    let mut last = index.line(if end > start { end - 1 } else { end });
    if last - first > LABEL_LINES {
        last = first;
        end = index.line_bounds(first).1.max(start);
    }
    LabelLines {
        label,
        range: start..end,
        lines: first..last + 1,
    }
}

fn excerpt(index: &LineIndex<'_>, lines: Range<usize>, places: &[LabelLines]) -> Excerpt {
    let mut excerpt = Excerpt {
        text: String::new(),
        first_line: lines.start + 1,
        labels: places.iter().map(|place| (place.label, 0..0)).collect(),
        shifted: false,
    };
    for line in lines {
        let (line_start, line_end) = index.line_bounds(line);
        let shown = crop(index.text(), line_start, line_end, places);
        excerpt.shifted |= shown.start > line_start;
        let base = excerpt.text.len();
        excerpt.text.push_str(&index.text()[shown.clone()]);
        excerpt.text.push('\n');
        // A place in a cut-away part is shown at the cut; a place at the line end, just past the line.
        let map = |byte: usize| base + byte.clamp(shown.start, shown.end) - shown.start;
        let next_line = index.line_bounds(line).1 + 1;
        for (place, (_, range)) in places.iter().zip(&mut excerpt.labels) {
            if (line_start..=next_line).contains(&place.range.start)
                && index.line(place.range.start) == line
            {
                *range = map(place.range.start)..map(place.range.start);
            }
            if place.range.start <= next_line && place.range.end >= line_start {
                range.end = range.end.max(map(place.range.end));
            }
        }
    }
    excerpt
}

/// The range of a line to show: all of it, or the surroundings of the first label that touches it.
fn crop(text: &str, line_start: usize, line_end: usize, places: &[LabelLines]) -> Range<usize> {
    if line_end - line_start <= LINE_BYTES {
        return line_start..line_end;
    }
    let anchor = places
        .iter()
        .map(|place| place.range.start)
        .filter(|start| (line_start..=line_end).contains(start))
        .min()
        .unwrap_or(line_start);
    let start = anchor.saturating_sub(LINE_BYTES / 4).max(line_start);
    let end = (start + LINE_BYTES).min(line_end);
    floor_boundary(text, start)..floor_boundary(text, end)
}

fn floor_boundary(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, range: Range<usize>) -> Excerpt {
        let mut all = excerpts(&LineIndex::new(text), &[range]);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn a_label_keeps_its_text() {
        let text = "first\r\nsecond line\r\nthird";
        let shown = one(text, 7..13);
        assert_eq!(shown.first_line, 2);
        assert_eq!(shown.text, "second line\n");
        assert_eq!(shown.labels, [(0, 0..6)]);
    }

    #[test]
    fn a_label_over_lines_keeps_both_ends() {
        let text = "first\r\nsecond line\r\nthird";
        let shown = one(text, 7..22);
        assert_eq!(shown.text, "second line\nthird\n");
        assert_eq!(&shown.text[shown.labels[0].1.clone()], "second line\nth");
    }

    #[test]
    fn long_lines_are_cut_around_the_label() {
        let text = format!("{}needle{}", "\u{00E9}".repeat(5000), "x".repeat(5000));
        let shown = one(&text, 10_000..10_006);
        assert!(shown.shifted);
        assert!(shown.text.len() <= LINE_BYTES + 1);
        assert_eq!(&shown.text[shown.labels[0].1.clone()], "needle");
    }

    #[test]
    fn distant_labels_get_their_own_excerpts() {
        let text = "line\n".repeat(1000);
        let shown = excerpts(&LineIndex::new(&text), &[4000..4004, 0..4]);
        assert_eq!(shown.len(), 2);
        assert_eq!((shown[0].first_line, shown[0].labels[0].0), (1, 1));
        assert_eq!((shown[1].first_line, shown[1].labels[0].0), (801, 0));
    }

    #[test]
    fn an_endless_label_shows_its_beginning() {
        let text = "line\n".repeat(1000);
        let shown = one(&text, 5..5000);
        assert_eq!(shown.text, "line\n");
        assert_eq!(shown.labels, [(0, 0..4)]);
    }

    #[test]
    fn ranges_past_the_end_or_inside_a_character_are_moved() {
        let shown = one("\u{00E9}", 1..90);
        assert_eq!(shown.labels, [(0, 0..2)]);
        let shown = one("", 5..9);
        assert_eq!(
            (shown.text.as_str(), shown.labels[0].1.clone()),
            ("\n", 0..0)
        );
    }
}
