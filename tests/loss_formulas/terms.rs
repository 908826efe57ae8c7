//! The terms of printed formulas, read by the parser of the language and evaluated with plain numbers.

use bpmc::lang::diag::{Diagnostics, SourceMap};
use bpmc::lang::syntax::ast::{BinaryOp, Expr, ExprKind, Initialiser, ItemKind, StmtKind, UnaryOp};
use bpmc::lang::syntax::parse;

/// What a name stands for.
pub type Names<'a> = dyn Fn(&str) -> Vec<f64> + 'a;

/// A printed term as an expression.
pub fn expression(term: &str) -> Expr {
    let text = format!("network n {{ output o = {term} }}");
    let (mut sources, mut diagnostics) = (SourceMap::new(), Diagnostics::new());
    let source = sources.add("term", text.as_str());
    let file = parse(source, &text, &mut diagnostics);
    assert!(diagnostics.is_empty(), "{term}");
    let ItemKind::Network { body, .. } = &file.items[0].kind else {
        panic!("{term}")
    };
    let StmtKind::Decl { entries, .. } = &body[0].kind else {
        panic!("{term}")
    };
    match &entries[0].init {
        Some(Initialiser::Value(expr)) => expr.clone(),
        other => panic!("{other:?}"),
    }
}

/// The value of an expression; what stands in `stop` has the values of `held`.
pub fn evaluate(expr: &Expr, names: &Names<'_>, held: &Names<'_>) -> Vec<f64> {
    let value = |expr: &Expr| evaluate(expr, names, held);
    match &expr.kind {
        ExprKind::Number { value, .. } => vec![*value],
        ExprKind::Name(path) => {
            let parts: Vec<&str> = path.parts.iter().map(|part| part.name.as_str()).collect();
            names(&parts.join("."))
        }
        ExprKind::Unary(UnaryOp::Negate, x) => value(x).iter().map(|x| -x).collect(),
        ExprKind::Binary(op, a, b) => {
            let function: fn(f64, f64) -> f64 = match op {
                BinaryOp::Add => |a, b| a + b,
                BinaryOp::Subtract => |a, b| a - b,
                BinaryOp::Multiply => |a, b| a * b,
                BinaryOp::Power => f64::powf,
                other => panic!("{other:?}"),
            };
            let (a, b) = (value(a), value(b));
            let count = a.len().max(b.len());
            assert!([1, count].contains(&a.len()) && [1, count].contains(&b.len()));
            (0..count)
                .map(|k| function(a[k % a.len()], b[k % b.len()]))
                .collect()
        }
        ExprKind::Call { function, args } => {
            let x = match function.name.as_str() {
                "stop" => return evaluate(&args[0].value, held, held),
                _ => value(&args[0].value),
            };
            let total = |x: &[f64]| x.iter().sum::<f64>();
            match function.name.as_str() {
                "min" => vec![x[0].min(value(&args[1].value)[0])],
                "clip" => {
                    let [lo, hi] = [1, 2].map(|k: usize| value(&args[k].value)[0]);
                    vec![x[0].clamp(lo, hi)]
                }
                "sum" => vec![total(&x)],
                "mean" => vec![total(&x) / x.len() as f64],
                "log" => x.iter().map(|x| x.ln()).collect(),
                "sigmoid" => x.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
                "softmax" => {
                    let exponentials: Vec<f64> = x.iter().map(|x| x.exp()).collect();
                    let all = total(&exponentials);
                    exponentials.iter().map(|e| e / all).collect()
                }
                other => panic!("{other}"),
            }
        }
        other => panic!("{other:?}"),
    }
}
