//! Pictures of a graph: DOT text for Graphviz, and SVG with a layout of our own.
//!
//! A leaf is written into each box that reads it, because lines from states and parameters to all their users
//! would hide everything else. Results are separate boxes.

mod layout;
mod svg;

pub use svg::svg;

use super::graph::{Graph, ResultKind};
use super::id::ValueId;
use super::op::Op;
use std::fmt::Write;

/// Draws the graph in the DOT language of Graphviz.
pub fn dot(graph: &Graph) -> String {
    let picture = Picture::of(graph);
    let mut text = String::from("digraph step {\n  node [shape=box, style=filled];\n");
    for (k, item) in picture.boxes.iter().enumerate() {
        let lines: Vec<String> = item.lines.iter().map(|line| quoted(line)).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  n{k} [label=\"{}\", fillcolor=\"{}\"];",
            lines.join("\\n"),
            item.kind.colour()
        );
    }
    for (from, to) in &picture.lines {
        let _ = writeln!(text, "  n{from} -> n{to};");
    }
    text.push_str("}\n");
    text
}

/// The kind of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BoxKind {
    /// A value per lane.
    PerLane,
    /// A value that is the same for all lanes.
    Shared,
    /// A result.
    Result,
}

impl BoxKind {
    /// A colour name that both DOT and SVG know.
    fn colour(self) -> &'static str {
        match self {
            BoxKind::PerLane => "white",
            BoxKind::Shared => "lightgray",
            BoxKind::Result => "lightblue",
        }
    }
}

struct DrawnBox {
    lines: Vec<String>,
    kind: BoxKind,
}

struct Picture {
    boxes: Vec<DrawnBox>,
    /// The lines between boxes, without repeats.
    lines: Vec<(usize, usize)>,
}

impl Picture {
    fn of(graph: &Graph) -> Picture {
        let mut picture = Picture {
            boxes: Vec::new(),
            lines: Vec::new(),
        };
        let mut place: Vec<Option<usize>> = vec![None; graph.len()];
        for id in graph.live_order() {
            if leaf_text(graph, id).is_none() {
                place[id.index()] = Some(picture.boxes.len());
                picture.add_value(graph, id, &place);
            }
        }
        for &(result, id) in graph.results() {
            picture.add_result(graph, result, id, &place);
        }
        picture
    }

    fn add_value(&mut self, graph: &Graph, id: ValueId, place: &[Option<usize>]) {
        let value = graph.value(id);
        let mut first = graph.op_text(&value.op);
        let leaves: Vec<String> = value
            .operands
            .iter()
            .map(|operand| leaf_text(graph, *operand).unwrap_or_else(|| "·".to_owned()))
            .collect();
        if leaves.iter().any(|leaf| leaf != "·") {
            first = format!("{first} {}", leaves.join(", "));
        }
        let mut lines = vec![first, value.shape.to_string()];
        lines.extend(value.name.clone());
        let kind = if value.shape.lane {
            BoxKind::PerLane
        } else {
            BoxKind::Shared
        };
        self.add(DrawnBox { lines, kind }, &value.operands, place);
    }

    fn add_result(
        &mut self,
        graph: &Graph,
        result: ResultKind,
        id: ValueId,
        place: &[Option<usize>],
    ) {
        let mut lines = vec![graph.result_text(result)];
        lines.extend(leaf_text(graph, id));
        let kind = BoxKind::Result;
        self.add(DrawnBox { lines, kind }, &[id], place);
    }

    fn add(&mut self, item: DrawnBox, sources: &[ValueId], place: &[Option<usize>]) {
        let to = self.boxes.len();
        self.boxes.push(item);
        let mut sources: Vec<usize> = sources.iter().filter_map(|id| place[id.index()]).collect();
        sources.sort_unstable();
        sources.dedup();
        self.lines
            .extend(sources.into_iter().map(|from| (from, to)));
    }
}

/// The text of a value without its own box: a leaf, or a broadcast constant.
fn leaf_text(graph: &Graph, id: ValueId) -> Option<String> {
    let value = graph.value(id);
    match value.op {
        Op::Const(number) => Some(number.to_string()),
        Op::Broadcast { .. } => {
            let operand = value.operands[0];
            match graph.value(operand).op {
                Op::Const(number) => Some(number.to_string()),
                _ => None,
            }
        }
        Op::Param(_)
        | Op::Input(_)
        | Op::State(_)
        | Op::Noise(_)
        | Op::Seed(_)
        | Op::AdjointIn(_)
        | Op::RangeMask { .. } => Some(graph.op_text(&value.op)),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Binary, ParamSlot, StateSlot, Unary};

    fn small() -> Graph {
        let mut graph = Graph::new();
        let w = graph.add_param(ParamSlot::new("a<\"b\"", [2]));
        let h = graph.add_state(StateSlot::new("h", [2], 0.0));
        let w = graph.add(Op::Param(w), &[]).unwrap();
        let old = graph.add(Op::State(h), &[]).unwrap();
        let half = graph.fill(0.5, &[2]).unwrap();
        let scaled = graph.binary(Binary::Mul, w, half).unwrap();
        let sum = graph.binary(Binary::Add, scaled, old).unwrap();
        let new = graph
            .add_at(Op::Unary(Unary::Tanh), &[sum], Some("y"), None)
            .unwrap();
        graph.set_result(ResultKind::Next(h), new);
        graph
    }

    #[test]
    fn dot_text() {
        let expected = "\
digraph step {
  node [shape=box, style=filled];
  n0 [label=\"mul param a<\\\"b\\\", 0.5\\n[2]\", fillcolor=\"lightgray\"];
  n1 [label=\"add ·, state h\\n[B,2]\", fillcolor=\"white\"];
  n2 [label=\"tanh\\n[B,2]\\ny\", fillcolor=\"white\"];
  n3 [label=\"next h\", fillcolor=\"lightblue\"];
  n0 -> n1;
  n1 -> n2;
  n2 -> n3;
}
";
        assert_eq!(dot(&small()), expected);
    }

    #[test]
    fn svg_has_every_box_and_line_and_escapes_names() {
        let text = svg(&small());
        assert_eq!(text.matches("rx=\"4\"").count(), 4);
        assert_eq!(text.matches("marker-end").count(), 3);
        assert!(text.contains(">mul param a&lt;\"b\", 0.5</text>"));
    }
}
