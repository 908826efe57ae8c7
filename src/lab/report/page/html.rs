//! A writer of text that is both HTML and XML: every element is closed, every text escaped.

use crate::lab::report::figures::{Figure, FigureError};
use crate::lab::report::gather::formula::{Formula, Piece};

/// Escapes the special characters of a text. Control characters, which XML does not allow, become a
/// replacement sign.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A page being written.
#[derive(Debug, Default)]
pub struct Html {
    out: String,
    /// The number of figures so far, for references to them.
    figures: usize,
}

impl Html {
    /// The finished text.
    pub fn finish(self) -> String {
        self.out
    }

    /// Writes an element around the output of `inside`.
    pub fn element<T>(
        &mut self,
        tag: &str,
        attributes: &[(&str, &str)],
        inside: impl FnOnce(&mut Html) -> T,
    ) -> T {
        self.open(tag, attributes);
        self.out.push('>');
        let given = inside(self);
        self.out.push_str(&format!("</{tag}>"));
        if !matches!(
            tag,
            "sub" | "code" | "span" | "a" | "b" | "td" | "th" | "dt"
        ) {
            self.out.push('\n');
        }
        given
    }

    /// Writes an element without content.
    pub fn empty(&mut self, tag: &str, attributes: &[(&str, &str)]) {
        self.open(tag, attributes);
        self.out.push_str("/>\n");
    }

    fn open(&mut self, tag: &str, attributes: &[(&str, &str)]) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out
                .push_str(&format!(" {name}=\"{}\"", escaped(value)));
        }
    }

    /// Writes a text.
    pub fn text(&mut self, text: &str) {
        self.out.push_str(&escaped(text));
    }

    /// Writes an element with a text.
    pub fn tag(&mut self, tag: &str, text: &str) {
        self.element(tag, &[], |html| html.text(text));
    }

    /// Writes a paragraph in small letters.
    pub fn note(&mut self, text: &str) {
        self.element("p", &[("class", "note")], |html| html.text(text));
    }

    /// Writes text that is already HTML and XML.
    pub fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Writes a formula.
    pub fn formula(&mut self, formula: &Formula) {
        for piece in &formula.0 {
            match piece {
                Piece::Text(text) => self.text(text),
                Piece::Sub(text) => self.tag("sub", text),
            }
        }
    }

    /// Writes a figure with its caption.
    ///
    /// # Errors
    /// Fails if the figure cannot be drawn.
    pub fn figure(&mut self, figure: &Figure) -> Result<(), FigureError> {
        self.figures += 1;
        let id = format!("figure-{}", self.figures);
        let (elements, (width, height)) = figure.elements()?;
        self.element("figure", &[], |html| {
            let view = format!("0 0 {width} {height}");
            let attributes = [
                ("viewBox", view.as_str()),
                ("role", "img"),
                ("aria-labelledby", id.as_str()),
                ("stroke-linejoin", "round"),
            ];
            html.element("svg", &attributes, |html| {
                html.element("title", &[("id", &id)], |html| html.text(&figure.title));
                html.raw(&elements);
            });
            html.element("figcaption", &[], |html| {
                html.tag("b", &figure.title);
                html.text(". ");
                html.text(&figure.caption);
            });
        });
        Ok(())
    }

    /// Writes figures side by side if there is room.
    ///
    /// # Errors
    /// Fails if a figure cannot be drawn.
    pub fn figures<'a>(
        &mut self,
        figures: impl Iterator<Item = &'a Figure>,
    ) -> Result<(), FigureError> {
        self.element("div", &[("class", "figures")], |html| {
            for figure in figures {
                html.figure(figure)?;
            }
            Ok(())
        })
    }

    /// Writes a table. Columns of numbers are aligned right; the first column names the rows.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        let class = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let mut cells = cells.filter(|cell| !cell.is_empty()).peekable();
            let numbers = column > 0 && cells.peek().is_some();
            match numbers && cells.all(|cell| is_number(cell)) {
                true => "number",
                false => "words",
            }
        };
        let classes: Vec<&str> = (0..header.len()).map(class).collect();
        self.element("div", &[("class", "wide")], |html| {
            html.element("table", &[], |html| {
                html.element("thead", &[], |html| {
                    html.element("tr", &[], |html| {
                        for (name, class) in header.iter().zip(&classes) {
                            let attributes = [("scope", "col"), ("class", *class)];
                            html.element("th", &attributes, |html| html.text(name));
                        }
                    });
                });
                html.element("tbody", &[], |html| {
                    for row in rows {
                        html.element("tr", &[], |html| html.row(row, &classes));
                    }
                });
            });
        });
    }

    fn row(&mut self, row: &[String], classes: &[&str]) {
        for (k, (cell, class)) in row.iter().zip(classes).enumerate() {
            if k == 0 {
                self.element("th", &[("scope", "row")], |html| html.text(cell));
            } else {
                self.element("td", &[("class", class)], |html| html.text(cell));
            }
        }
    }

    /// Writes names with their values.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        self.element("dl", &[], |html| {
            for (name, value) in facts {
                html.tag("dt", name);
                html.tag("dd", value);
            }
        });
    }

    /// Writes commands to be copied.
    pub fn commands(&mut self, commands: &[String]) {
        self.element("pre", &[], |html| {
            html.element("code", &[], |html| html.text(&commands.join("\n")));
        });
    }
}

/// Returns true if a table cell is a number, or a placeholder for one.
fn is_number(text: &str) -> bool {
    let mut digits = text.trim_start_matches(['−', '<', ' ']).chars();
    text == "–" || digits.next().is_some_and(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_is_escaped() {
        assert_eq!(
            escaped("<b> & \"x\"\n\u{1}"),
            "&lt;b&gt; &amp; &quot;x&quot;\n\u{fffd}"
        );
        let mut html = Html::default();
        html.element("p", &[("title", "a\"b<")], |html| html.text("1 < 2"));
        assert_eq!(html.finish(), "<p title=\"a&quot;b&lt;\">1 &lt; 2</p>\n");
    }

    #[test]
    fn numbers_are_known() {
        for text in ["1.5", "−0.25", "< 0.0001", "–", "12\u{202f}345"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["exact", "", "−", "uniform(0, 1)"] {
            assert!(!is_number(text), "{text}");
        }
    }
}
