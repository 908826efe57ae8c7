//! The lines of a step: one operation a line.

use super::table::{find, takes_numbers};
use super::Dialect;
use crate::ir::{Graph, Op, ResultKind, ValueId};
use std::collections::BTreeSet;

/// The words that no variable may be called: Python's own, and those of the module around the lines.
const TAKEN: &str = "False None True and as assert async await break class continue def del elif else except finally for from \
    global if import in is lambda nonlocal not or pass raise return try while with yield self np torch os truth softmax \
    lanes dtype device inputs state noise outputs entering leaving p";

/// The lines of a step and the names of its results.
pub(super) struct Lines {
    /// Assignments.
    pub lines: Vec<String>,
    /// By output slot: the variable.
    pub outputs: Vec<String>,
    /// By state slot: the variable of the value on exit.
    pub next: Vec<String>,
}

/// A name of the spec as a Python name.
pub(super) fn identifier(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut text: String = name.chars().map(letter).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) || text.is_empty() {
        text.insert(0, '_');
    }
    text
}

/// Prints a step.
pub(super) fn lines(graph: &Graph, dialect: Dialect) -> Lines {
    Printer {
        graph,
        dialect,
        names: Vec::new(),
        taken: TAKEN.split_whitespace().map(str::to_owned).collect(),
        lines: Vec::new(),
    }
    .print()
}

struct Printer<'a> {
    graph: &'a Graph,
    dialect: Dialect,
    /// By value: the variable, or a number.
    names: Vec<String>,
    taken: BTreeSet<String>,
    lines: Vec<String>,
}

impl Printer<'_> {
    fn print(mut self) -> Lines {
        for id in self.graph.ids() {
            let name = match self.number(id) {
                // A sign would belong to a power.
                Some(number) if self.stands_as_number(id) && number.starts_with('-') => {
                    format!("({number})")
                }
                Some(number) if self.stands_as_number(id) => number,
                _ => {
                    let name = self.variable(id);
                    let text = self.text(id);
                    self.lines.push(format!("{name} = {text}"));
                    name
                }
            };
            self.names.push(name);
        }
        let result = |kind| {
            let id: Option<ValueId> = self.graph.result(kind);
            id.map_or_else(String::new, |id| self.per_lane(id))
        };
        let outputs = (0..self.graph.outputs.len() as u32).map(crate::ir::OutputId);
        let states = (0..self.graph.states.len() as u32).map(crate::ir::StateId);
        Lines {
            outputs: outputs.map(|id| result(ResultKind::Output(id))).collect(),
            next: states.map(|id| result(ResultKind::Next(id))).collect(),
            lines: self.lines,
        }
    }

    /// A value that is a number everywhere.
    fn number(&self, id: ValueId) -> Option<String> {
        let value = self.graph.value(id);
        match &value.op {
            Op::Const(bits) => Some(number(bits.get())),
            Op::Broadcast { .. } => self.number(value.operands[0]),
            _ => None,
        }
    }

    /// Tells if all readers of a number take it as it is.
    fn stands_as_number(&self, id: ValueId) -> bool {
        let results = self.graph.results().iter();
        let takes = |user: &ValueId| {
            let user = self.graph.value(*user);
            let numbers = user.operands.iter().all(|o| self.number(*o).is_some());
            matches!(user.op, Op::Broadcast { .. })
                || (takes_numbers(user.op.mnemonic()) && !numbers)
        };
        results.into_iter().all(|(_, result)| *result != id)
            && self.graph.users(id).iter().all(takes)
    }

    /// A new variable for a value, after its name in the spec.
    fn variable(&mut self, id: ValueId) -> String {
        let value = self.graph.value(id);
        let own = match &value.op {
            Op::Param(slot) => Some(&self.graph.params[slot.index()].path),
            Op::Input(slot) => Some(&self.graph.inputs[slot.index()].path),
            Op::State(slot) => Some(&self.graph.states[slot.index()].path),
            Op::Noise(slot) => Some(&self.graph.noises[slot.index()].path),
            _ => value.name.as_ref(),
        };
        let base = own.map_or_else(|| format!("v{}", id.index()), |name| identifier(name));
        let mut name = base.clone();
        let mut count = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}_{count}");
            count += 1;
        }
        name
    }

    /// The operand as a variable with all its elements.
    fn operand(&self, id: ValueId) -> String {
        self.names[id.index()].clone()
    }

    /// A result has a value for each lane.
    fn per_lane(&self, id: ValueId) -> String {
        let value = self.graph.value(id);
        let name = self.operand(id);
        if value.shape.lane {
            return name;
        }
        let shape = tuple("lanes", &value.shape.dims);
        match self.dialect {
            Dialect::Numpy => format!("np.broadcast_to({name}, {shape})"),
            Dialect::Pytorch => format!("{name}.expand({shape})"),
        }
    }

    fn text(&self, id: ValueId) -> String {
        let value = self.graph.value(id);
        let key = |table: &str, name: &str| format!("{table}[{name:?}]");
        if let Some(number) = self.number(id) {
            return self.dialect.full(&tuple("", &value.shape.dims), &number);
        }
        let op = match &value.op {
            Op::Param(slot) => {
                return self
                    .dialect
                    .parameter(&self.graph.params[slot.index()].path)
            }
            Op::Input(slot) => {
                return key(
                    "inputs",
                    super::input_name(&self.graph.inputs[slot.index()].path),
                )
            }
            Op::State(slot) => return key("state", &self.graph.states[slot.index()].path),
            Op::Noise(slot) => return key("noise", &self.graph.noises[slot.index()].path),
            Op::MatVec { transposed: true } => "mat_vec transposed",
            op => op.mnemonic(),
        };
        // A step has rows for all its operations; an operation of adjoints alone has none.
        let Some(row) = find(op) else {
            return format!("NotImplemented  # {op}");
        };
        let mut text = row.text(self.dialect).to_owned();
        for (word, what) in self.attributes(id) {
            text = text.replace(&format!("{{{word}}}"), &what);
        }
        text
    }

    /// The values for the words of a row.
    fn attributes(&self, id: ValueId) -> Vec<(&'static str, String)> {
        let value = self.graph.value(id);
        let shape = &value.shape;
        let first = if shape.lane { "lanes" } else { "" };
        let mut words = vec![("shape", tuple(first, &shape.dims))];
        match &value.op {
            Op::Clip { lo, hi, .. } => {
                words.extend([("lo", number(lo.get())), ("hi", number(hi.get()))]);
            }
            Op::Broadcast { dims, from } => {
                let mut spread = vec![1; dims.len()];
                for axis in from {
                    spread[*axis] = dims[*axis];
                }
                words.push(("spread", tuple(first, &spread)));
            }
            Op::Reduce { axes, .. } => {
                let first = usize::from(self.graph.value(value.operands[0]).shape.lane);
                let axes: Vec<usize> = axes.iter().map(|axis| axis + first).collect();
                words.push(("axes", tuple("", &axes)));
            }
            Op::Slice { start, end } => {
                words.extend([("start", start.to_string()), ("end", end.to_string())]);
            }
            Op::Pad { before, after } => {
                let rank = shape.dims.len() + usize::from(shape.lane);
                let mut widths = vec!["(0, 0)".to_owned(); rank.saturating_sub(1)];
                widths.push(format!("({before}, {after})"));
                words.push(("widths", format!("[{}]", widths.join(", "))));
                words.extend([("before", before.to_string()), ("after", after.to_string())]);
            }
            Op::RangeMask { size, start, end } => {
                words.extend([
                    ("size", size.to_string()),
                    ("start", start.to_string()),
                    ("end", end.to_string()),
                ]);
            }
            Op::Outer => {
                let lane = |k: usize| {
                    if self.graph.value(value.operands[k]).shape.lane {
                        "l"
                    } else {
                        ""
                    }
                };
                words.push(("form", format!("\"{}n,{}m->nm\"", lane(0), lane(1))));
            }
            _ => {}
        }
        let mut all = Vec::new();
        for (k, operand) in value.operands.iter().enumerate() {
            let mut name = self.operand(*operand);
            let theirs = &self.graph.value(*operand).shape;
            if matches!(value.op, Op::Concat) && shape.lane && !theirs.lane {
                name = self.per_lane(*operand);
            }
            if matches!(value.op, Op::Concat) && theirs.dims.is_empty() {
                name.push_str("[..., None]");
            }
            all.push(name.clone());
            words.push((["0", "1", "2"][k.min(2)], name));
        }
        words.push(("all", all.join(", ")));
        words
    }
}

/// A shape as Python writes it.
fn tuple(first: &str, dims: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    if !first.is_empty() {
        parts.push(first.to_owned());
    }
    parts.extend(dims.iter().map(usize::to_string));
    match parts.as_slice() {
        [one] => format!("({one},)"),
        parts => format!("({})", parts.join(", ")),
    }
}

/// A number as Python reads it back.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "float('nan')".to_owned()
    } else if value == f64::INFINITY {
        "float('inf')".to_owned()
    } else if value == f64::NEG_INFINITY {
        "float('-inf')".to_owned()
    } else {
        format!("{value:?}")
    }
}
