//! The SVG text of a picture.

use super::layout::{lay_out, Point};
use super::{DrawnBox, Picture};
use crate::ir::Graph;
use std::fmt::Write;

/// The font size, and the width and height of a line of text.
const FONT: f64 = 12.0;
const LETTER: f64 = 7.4;
const LINE: f64 = 15.0;

/// Draws the graph as an SVG picture, from the top down.
pub fn svg(graph: &Graph) -> String {
    let picture = Picture::of(graph);
    let sizes: Vec<(f64, f64)> = picture.boxes.iter().map(size).collect();
    let layout = lay_out(&sizes, &picture.lines);
    let (width, height) = (layout.width, layout.height);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"monospace\" font-size=\"{FONT}\">\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"dimgray\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for path in &layout.paths {
        write_path(&mut text, path);
    }
    for ((item, (width, height)), centre) in picture.boxes.iter().zip(&sizes).zip(&layout.centres) {
        write_box(&mut text, item, *width, *height, *centre);
    }
    text.push_str("</svg>\n");
    text
}

fn size(item: &DrawnBox) -> (f64, f64) {
    let widest = item.lines.iter().map(|line| line.chars().count()).max();
    let width = LETTER * widest.unwrap_or(0) as f64 + 14.0;
    (width, LINE * item.lines.len() as f64 + 10.0)
}

/// Draws a curve that leaves and enters vertically and crosses the rows between straight. Writing to a string
/// cannot fail, here and below.
fn write_path(text: &mut String, path: &[Point]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let _ = write!(text, "<path d=\"M{:.1} {:.1}", first.x, first.y);
    let mut last = *first;
    for point in rest {
        if point.x == last.x {
            let _ = write!(text, " L{:.1} {:.1}", point.x, point.y);
        } else {
            let middle = (last.y + point.y) / 2.0;
            let _ = write!(
                text,
                " C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {:.1}",
                last.x, point.x, point.x, point.y
            );
        }
        last = *point;
    }
    text.push_str("\" fill=\"none\" stroke=\"dimgray\" marker-end=\"url(#tip)\"/>\n");
}

fn write_box(text: &mut String, item: &DrawnBox, width: f64, height: f64, centre: Point) {
    let (left, top) = (centre.x - width / 2.0, centre.y - height / 2.0);
    let _ = writeln!(
        text,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"4\" \
         fill=\"{}\" stroke=\"black\"/>",
        item.kind.colour()
    );
    for (k, line) in item.lines.iter().enumerate() {
        let base = top + LINE * (k as f64 + 1.0);
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"middle\">{}</text>",
            centre.x,
            escaped(line)
        );
    }
}

fn escaped(line: &str) -> String {
    line.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
