//! The graph as a picture: Graphviz text, and SVG laid out from it.

use super::graph::Graph;
use super::id::ValueId;
use super::op::Op;
use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};
use std::fmt::Write;

/// Values beyond this number are too many for a picture that anybody can read.
const MOST_VALUES: usize = 2000;

/// A graph could not be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// It has too many values.
    #[error("the graph has {0} values, too many to draw; `--emit dot` writes it for Graphviz")]
    TooLarge(usize),
    /// The layout failed.
    #[error("cannot lay out the graph: {0}")]
    Layout(String),
}

impl Graph {
    /// The graph in the DOT language of Graphviz. States appear twice: as they enter the step, and as the
    /// `next` value that leaves it.
    pub fn dot(&self) -> String {
        let mut out = String::new();
        self.write_dot(&mut out).expect("writing to a string");
        out
    }

    fn write_dot(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "digraph step {{\n  node [fontname=\"monospace\"];")?;
        let live = self.live_order();
        let mut number = vec![None; self.len()];
        for (k, id) in live.iter().enumerate() {
            number[id.index()] = Some(k);
        }
        let number = |id: &ValueId| number[id.index()].unwrap_or(usize::MAX);
        for id in &live {
            let value = self.value(*id);
            let name = value.name.as_ref().map(|name| format!("{name} = "));
            let label = format!(
                "{}{}\n{}",
                name.unwrap_or_default(),
                self.op_text(&value.op),
                value.shape
            );
            let (shape, color) = look(&value.op);
            writeln!(
                out,
                "  v{} [shape={shape}, style=filled, fillcolor=\"{color}\", label=\"{}\"];",
                number(id),
                escape(&label)
            )?;
        }
        for (k, (result, _)) in self.results().iter().enumerate() {
            writeln!(
                out,
                "  r{k} [shape=box, style=filled, fillcolor=\"#ffe0b2\", label=\"{}\"];",
                escape(&self.result_text(*result))
            )?;
        }
        for id in &live {
            for operand in &self.value(*id).operands {
                writeln!(out, "  v{} -> v{};", number(operand), number(id))?;
            }
        }
        for (k, (_, id)) in self.results().iter().enumerate() {
            writeln!(out, "  v{} -> r{k};", number(id))?;
        }
        writeln!(out, "}}")
    }

    /// The graph as an SVG picture.
    ///
    /// # Errors
    /// Where it is too large to draw.
    pub fn svg(&self) -> Result<String, DrawError> {
        if self.len() > MOST_VALUES {
            return Err(DrawError::TooLarge(self.len()));
        }
        let dot = self.dot();
        let parsed = DotParser::new(&dot).process().map_err(DrawError::Layout)?;
        let mut builder = GraphBuilder::new();
        builder.visit_graph(&parsed);
        let mut picture = SVGWriter::new();
        builder.get().do_it(false, false, false, &mut picture);
        Ok(picture.finalize())
    }
}

/// Shape and colour by what a value is: leaves stand out.
fn look(op: &Op) -> (&'static str, &'static str) {
    match op {
        Op::Param(_) => ("box", "#c8e6c9"),
        Op::Input(_) | Op::Noise(_) | Op::Seed(_) => ("box", "#bbdefb"),
        Op::State(_) | Op::AdjointIn(_) => ("box", "#ffe0b2"),
        Op::Const(_) => ("ellipse", "#eeeeee"),
        _ => ("ellipse", "#ffffff"),
    }
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{ParamSlot, ResultKind, StateSlot, Unary};

    fn step() -> Graph {
        let mut graph = Graph::new();
        let state = graph.add_state(StateSlot::new("h", [3], 0.0));
        let param = graph.add_param(ParamSlot::new("gain", []));
        let h = graph.add(Op::State(state), &[]).unwrap();
        graph.add(Op::Param(param), &[]).unwrap();
        let y = graph.unary(Unary::Tanh, h).unwrap();
        graph.set_result(ResultKind::Next(state), y);
        graph
    }

    #[test]
    fn every_live_value_and_result_is_drawn() {
        let dot = step().dot();
        assert!(dot.starts_with("digraph step {") && dot.ends_with("}\n"));
        assert!(dot.contains("label=\"state h\\n"), "{dot}");
        assert!(dot.contains("label=\"next h\""), "{dot}");
        assert!(dot.contains("  v0 -> v1;\n  v1 -> r0;\n"), "{dot}");
        assert!(!dot.contains("gain"), "dead values are left out: {dot}");
    }

    #[test]
    fn a_picture_holds_the_labels() {
        let svg = step().svg().unwrap();
        assert!(svg.starts_with("<?xml") && svg.contains("</svg>"));
        assert!(svg.contains("state h") && svg.contains("next h"), "{svg}");
    }
}
