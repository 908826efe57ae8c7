//! The message of a non-finite number, in words and as a finding in the spec.

use super::{Culprit, Located, What};
use crate::driver::Compilation;
use crate::ir::{Binary, Graph, Op, Unary, ValueId};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, LineIndex, SourceMap, Span};
use crate::learn::checkpoint::Checkpoint;
use crate::learn::trainer::NotFinite;
use crate::step::{adjoint, Compiled};

/// The remedy for an operation whose result is not finite.
fn advice(op: Option<&Op>) -> String {
    let remedy = match op {
        Some(Op::Binary(Binary::Div) | Op::Unary(Unary::Recip)) => {
            "keep the divisor away from 0: `x / max(y, 1e-6)`, or `select(y > 0, x / y, 0)`"
        }
        Some(Op::Unary(Unary::Log)) => "keep its argument above 0: `log(max(x, 1e-6))`",
        Some(Op::Unary(Unary::Sqrt)) => "keep its argument from falling below 0: `sqrt(max(x, 0))`",
        Some(Op::Unary(Unary::Exp)) => "bound its argument: `exp(min(x, 20))`",
        Some(Op::Binary(Binary::Pow)) => {
            "keep the base above 0, as in `max(x, 1e-6) ^ p`, and bound the exponent"
        }
        _ => "bound what grows, with `clip` or a decay `(1 - eta) * x`, or lower the learning rate",
    };
    format!("{remedy}; `--on-nan skip` or `rollback` goes on")
}

/// The nearest named value that a value is part of.
fn equation(graph: &Graph, id: ValueId) -> Option<&str> {
    let mut level = vec![id];
    let mut seen = vec![false; graph.len()];
    while !level.is_empty() {
        let named = level.iter().find_map(|id| graph.value(*id).name.as_deref());
        if named.is_some() {
            return named;
        }
        let mut next: Vec<ValueId> = level.iter().flat_map(|id| graph.users(*id)).collect();
        next.sort_unstable();
        next.retain(|id| !std::mem::replace(&mut seen[id.index()], true));
        level = next;
    }
    None
}

/// The place of the value, or of what it was made from.
fn place(graph: &Graph, id: ValueId) -> Option<Span> {
    let mut level = vec![id];
    let mut seen = vec![false; graph.len()];
    while !level.is_empty() {
        if let Some(span) = level.iter().find_map(|id| graph.value(*id).span) {
            return Some(span);
        }
        let operands = level.iter().flat_map(|id| &graph.value(*id).operands);
        let mut next: Vec<ValueId> = operands.copied().collect();
        next.retain(|id| !std::mem::replace(&mut seen[id.index()], true));
        level = next;
    }
    None
}

/// `name` as a reader of the spec knows it.
fn told(name: &str) -> String {
    let (derivative, name) = match name.strip_prefix("adjoint of ") {
        Some(name) => ("the derivative of ", name),
        None => ("", name),
    };
    match name.strip_prefix("next ") {
        Some(state) => format!("{derivative}the update of `{state}`"),
        None => format!("{derivative}`{name}`"),
    }
}

fn indices(element: usize, dims: &[usize]) -> String {
    let mut rest = element;
    let mut indices: Vec<String> = dims
        .iter()
        .rev()
        .map(|dim| {
            let index = rest % dim.max(&1);
            rest /= dim.max(&1);
            index.to_string()
        })
        .collect();
    indices.reverse();
    if indices.is_empty() {
        String::new()
    } else {
        format!(" at [{}]", indices.join(", "))
    }
}

/// A number as short as it can be told.
fn short(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e6) && value.is_finite() {
        format!("{value:.3e}")
    } else {
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The whole finding: `before` is the run before the iteration.
pub(super) fn located(
    compilation: &Compilation,
    program: &Compiled,
    before: &Checkpoint,
    what: &NotFinite,
    culprit: Option<Culprit>,
) -> Located {
    let iteration = before.header.iteration + 1;
    let mut out = Located {
        iteration,
        step: culprit.as_ref().map(|culprit| culprit.step),
        lane: culprit.as_ref().map(|culprit| culprit.lane),
        equation: None,
        sentence: format!("iteration {iteration}: {what} is not finite"),
        findings: Diagnostics::new(),
        sources: compilation.sources.clone(),
    };
    let Some(described) = described(program, what, culprit.as_ref()) else {
        return out;
    };
    let Described {
        equation,
        span,
        label,
        op,
    } = described;
    let at = match &culprit {
        Some(culprit) => format!(", step {}, lane {}", culprit.step, culprit.lane),
        None => String::new(),
    };
    let message = format!("iteration {iteration}{at}: {equation} is not finite");
    let position = span.map_or(String::new(), |span| position(&compilation.sources, span));
    out.sentence = format!("{message}: {label}{position}");
    out.equation = Some(equation);
    if let Some(span) = span {
        out.findings.push(
            Diagnostic::new(Code::NotFinite, span, message)
                .with_label(label)
                .with_help(advice(op.as_ref())),
        );
    }
    out
}

/// The fault of an equation.
struct Described {
    equation: String,
    span: Option<Span>,
    label: String,
    /// The operation that gives the number, if it is one.
    op: Option<Op>,
}

fn described(program: &Compiled, what: &NotFinite, culprit: Option<&Culprit>) -> Option<Described> {
    let Some(culprit) = culprit else {
        let NotFinite::Parameter(path) = what else {
            return None;
        };
        let slot = program.step.params.iter().find(|slot| slot.path == *path)?;
        let label = "the step of the optimizer makes it too large".to_owned();
        return Some(Described {
            equation: format!("`{path}`"),
            span: slot.span,
            label,
            op: None,
        });
    };
    match &culprit.what {
        What::Value {
            id,
            adjoint: is_adjoint,
            element,
            number,
            operands,
        } => {
            let backward;
            let graph = if *is_adjoint {
                backward =
                    adjoint(&program.step, crate::step::autodiff::Options::default()).ok()?;
                &backward
            } else {
                &program.step
            };
            let value = graph.value(*id);
            let mut name = equation(graph, *id).map_or_else(|| "a value".to_owned(), told);
            if *is_adjoint && !name.contains("derivative") {
                name = format!("a derivative in {name}");
            }
            let result = if number.is_finite() {
                format!("{}, too large for 32 bits", short(*number))
            } else {
                short(*number)
            };
            let at = indices(*element, &value.shape.dims);
            let operands: Vec<String> = operands.iter().map(|x| short(*x)).collect();
            let mut label = if operands.is_empty() {
                format!("{}{at} is {result}", value.op.mnemonic())
            } else {
                format!(
                    "{} of {}{at} is {result}",
                    value.op.mnemonic(),
                    operands.join(" and ")
                )
            };
            if culprit.rounding {
                label.push_str(" in 32 bits");
            }
            Some(Described {
                equation: name,
                span: place(graph, *id),
                label,
                op: Some(value.op.clone()),
            })
        }
        What::Output(slot) => {
            let slot = program.step.outputs.get(*slot)?;
            Some(Described {
                equation: format!("`{}`", slot.path),
                span: slot.span,
                label: "in 32 bits only; the reference finds nothing".to_owned(),
                op: None,
            })
        }
        What::State(slot) => {
            let slot = program.step.states.get(*slot)?;
            Some(Described {
                equation: format!("the update of `{}`", slot.path),
                span: slot.span,
                label: "in 32 bits only; the reference finds nothing".to_owned(),
                op: None,
            })
        }
    }
}

/// ` (FILE:LINE:COLUMN)`.
fn position(sources: &SourceMap, span: Span) -> String {
    let file = sources.file(span.source);
    let at = LineIndex::new(&file.text).position(span.start as usize);
    format!(" ({}:{}:{})", file.name, at.line, at.column)
}
