//! Values computed from parameters alone, or from parameters and gradient sums: graphs without lanes, value
//! by value.

use super::element::{expression, number};
use super::slots::fill;
use super::text::Text;
use crate::ir::{Graph, Op, Reduction, Value, ValueId};
use crate::program::code::Element;
use std::collections::BTreeMap;

/// The positions of a graph's values, from an offset on.
pub(super) struct Values {
    at: BTreeMap<ValueId, usize>,
    /// One past the last.
    pub end: usize,
}

impl Values {
    /// Places all values except parameters, which are read in place.
    pub(super) fn new(graph: &Graph, first: usize) -> Values {
        let mut end = first;
        let mut at = BTreeMap::new();
        for id in graph.ids() {
            if !matches!(graph.value(id).op, Op::Param(_)) {
                at.insert(id, end);
                end += graph.value(id).shape.elements();
            }
        }
        Values { at, end }
    }

    /// The ranges of elements of each result of the graph.
    pub(super) fn results(&self, graph: &Graph) -> Vec<std::ops::Range<usize>> {
        let results = graph.results().iter().map(|(_, id)| {
            let at = self.at[id];
            at..at + graph.value(*id).shape.elements()
        });
        results.collect()
    }

    /// Writes the function that computes the values; `param` gives an element of a parameter as an
    /// expression.
    pub(super) fn function(
        &self,
        name: &str,
        graph: &Graph,
        param: &dyn Fn(usize, &str) -> String,
        text: &mut Text,
    ) {
        let read = |id: ValueId, index: &str| match &graph.value(id).op {
            Op::Param(k) => param(k.index(), index),
            _ => format!("v[{} + {index}]", self.at[&id]),
        };
        text.open(&format!("\nDEVICE void {name}(const Args *a) {{"));
        text.line("float *v = a->values;");
        for (id, at) in &self.at {
            let value = graph.value(*id);
            let dims: Vec<&[usize]> = value.operands.iter().map(|o| graph.dims(*o)).collect();
            let operands: Vec<Operand<'_>> = value
                .operands
                .iter()
                .zip(&dims)
                .map(|(id, dims)| Operand {
                    dims,
                    at: Box::new(|index: &str| read(*id, index)),
                })
                .collect();
            text.open("PHASE");
            let body = element(value, &operands, "i");
            text.line(&fill(
                value.shape.elements(),
                &format!("{{ {} v[{at} + i] = {}; }}", body.before, body.value),
            ));
            text.close("END_PHASE");
        }
        text.line("(void)v;");
        text.close("}");
    }
}

/// An operand of a value.
pub(crate) struct Operand<'a> {
    pub dims: &'a [usize],
    /// The expression of an element by its index.
    pub at: Box<dyn Fn(&str) -> String + 'a>,
}

impl Operand<'_> {
    fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// The last dimension.
    fn width(&self) -> usize {
        self.dims.last().copied().unwrap_or(1)
    }
}

/// The code of an element of a value: statements, then an expression.
pub(crate) struct Body {
    pub before: String,
    pub value: String,
}

impl From<String> for Body {
    fn from(value: String) -> Body {
        Body {
            before: String::new(),
            value,
        }
    }
}

/// A sum over `n` terms, each of the counter `j`, in f64.
fn sum(n: usize, term: &str) -> Body {
    Body {
        before: format!("double sum = 0.0; for (int j = 0; j < {n}; j++) sum += (double)({term});"),
        value: "(float)sum".to_owned(),
    }
}

/// The code of element `i` of a value; `i` is an expression.
pub(crate) fn element(value: &Value, operands: &[Operand<'_>], i: &str) -> Body {
    let own = |f: Element| {
        let operands: Vec<String> = operands.iter().map(|o| (o.at)(i)).collect();
        Body::from(expression(f, &operands))
    };
    let dims = &value.shape.dims;
    let width = dims.last().copied().unwrap_or(1);
    match &value.op {
        Op::Const(x) => number(x.get() as f32).into(),
        Op::RangeMask { start, end, .. } => {
            format!("f_truth({i} >= {start} && {i} < {end})").into()
        }
        Op::Unary(f) => own(Element::Unary(*f)),
        Op::Binary(f) => own(Element::Binary(*f)),
        Op::Select => own(Element::Select),
        Op::Clip { lo, hi, .. } => own(Element::Clip(*lo, *hi)),
        Op::ClipMask { lo, hi, boundary } => own(Element::ClipMask(*lo, *hi, *boundary)),
        // Nothing here has lanes, so a sum over lanes copies.
        Op::Reshape { .. } | Op::StopGradient | Op::LaneSum => own(Element::Copy),
        Op::Broadcast { from, .. } => {
            let mut index = String::from("0");
            for (axis, to) in from.iter().enumerate() {
                let inner: usize = operands[0].dims[axis + 1..].iter().product();
                let coordinate = coordinate(i, dims, *to);
                index = format!("{index} + {coordinate} * {inner}");
            }
            (operands[0].at)(&format!("({index})")).into()
        }
        Op::Reduce { kind, axes } => reduce(*kind, axes, &operands[0], dims, i),
        Op::Concat => {
            // The parts are tested from the last to the first: a column belongs to the first match.
            let mut start = width;
            let mut chosen = String::from("0.0f");
            for part in operands.iter().rev() {
                start -= part.width();
                let own = part.width();
                let element = (part.at)(&format!(
                    "({i} / {width} * {own} + {i} % {width} - {start})"
                ));
                chosen = format!("({i} % {width} >= {start} && {i} % {width} < {start} + {own} ? {element} : {chosen})");
            }
            chosen.into()
        }
        Op::Slice { start, .. } => {
            let whole = operands[0].width();
            (operands[0].at)(&format!(
                "({i} / {width} * {whole} + {start} + {i} % {width})"
            ))
            .into()
        }
        Op::Pad { before, .. } => {
            let inner = operands[0].width();
            let element = (operands[0].at)(&format!(
                "({i} / {width} * {inner} + {i} % {width} - {before})"
            ));
            format!(
                "({i} % {width} >= {before} && {i} % {width} < {before} + {inner} ? {element} : 0.0f)"
            )
            .into()
        }
        Op::MatVec { transposed } => {
            let columns = operands[1].dims[1];
            let entry = if *transposed {
                format!("({i} * {columns} + j)")
            } else {
                format!("(j * {columns} + {i})")
            };
            let term = format!("{} * {}", (operands[0].at)("j"), (operands[1].at)(&entry));
            sum(operands[0].elements(), &term)
        }
        Op::Outer => format!(
            "{} * {}",
            (operands[0].at)(&format!("({i} / {width})")),
            (operands[1].at)(&format!("({i} % {width})"))
        )
        .into(),
        Op::Softmax => {
            let n = operands[0].elements();
            let entry = (operands[0].at)("j");
            Body {
                before: format!(
                    "float top = -INF; double sum = 0.0; \
                     for (int j = 0; j < {n}; j++) top = f_larger(top, {entry}); \
                     for (int j = 0; j < {n}; j++) sum += exp((double){entry} - (double)top);"
                ),
                value: format!(
                    "(float)(exp((double){} - (double)top) / sum)",
                    (operands[0].at)(i)
                ),
            }
        }
        Op::Gather(_) | Op::Scatter(_) => {
            unreachable!("devices refuse sparse bundles (learn/device_block/plan.rs)")
        }
        Op::Param(_)
        | Op::Input(_)
        | Op::State(_)
        | Op::Noise(_)
        | Op::Seed(_)
        | Op::AdjointIn(_) => unreachable!("of the leaves only parameters are without lanes"),
    }
}

/// One coordinate of element `index` in an array of these dimensions.
fn coordinate(index: &str, dims: &[usize], axis: usize) -> String {
    let inner: usize = dims[axis + 1..].iter().product();
    format!("{index} / {inner} % {}", dims[axis])
}

fn reduce(kind: Reduction, axes: &[usize], x: &Operand<'_>, dims: &[usize], i: &str) -> Body {
    let reduced: Vec<usize> = axes.iter().map(|axis| x.dims[*axis]).collect();
    let mut index = String::from("0");
    let (mut kept, mut gone) = (0, 0);
    for axis in 0..x.dims.len() {
        let inner: usize = x.dims[axis + 1..].iter().product();
        let coordinate = if axes.contains(&axis) {
            gone += 1;
            coordinate("j", &reduced, gone - 1)
        } else {
            kept += 1;
            coordinate(i, dims, kept - 1)
        };
        index = format!("{index} + {coordinate} * {inner}");
    }
    let n: usize = reduced.iter().product();
    let entry = (x.at)(&format!("({index})"));
    match kind {
        Reduction::Sum => sum(n, &entry),
        Reduction::Max => Body {
            before: format!(
                "float top = -INF; for (int j = 0; j < {n}; j++) top = f_larger(top, {entry});"
            ),
            value: "top".to_owned(),
        },
    }
}
