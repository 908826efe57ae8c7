//! The smallest case that fails as a given one does.

use crate::properties::case::{canonical, Case};
use crate::properties::edits::{apply, edits, weight};

/// Tries that are worth the time.
const TRIES: usize = 4_000;

/// Makes `case` smaller, edit by edit, as long as it `fails`, until no edit leaves it failing.
pub fn shrink(case: &Case, fails: impl Fn(&Case) -> bool) -> Case {
    let mut best = case.clone();
    for (last, kinks) in [(false, false), (false, best.kinks), (best.last, false)] {
        let plainer = Case {
            last,
            kinks,
            ..best.clone()
        };
        if plainer != best && fails(&plainer) {
            best = plainer;
            break;
        }
    }
    let mut tries = 0;
    loop {
        let before = weight(&best.text);
        let mut at = 0;
        let mut list = edits(&best.text);
        while let (Some(edit), true) = (list.get(at), tries < TRIES) {
            let smaller = Case {
                text: canonical(&apply(&best.text, edit)),
                ..best.clone()
            };
            at += 1;
            if weight(&smaller.text) >= weight(&best.text) {
                continue;
            }
            tries += 1;
            if fails(&smaller) {
                list = edits(&smaller.text);
                best = smaller;
                at -= 1;
            }
        }
        if weight(&best.text) == before {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shrink;
    use crate::gradients::run::{reference, run};
    use crate::properties::case::Case;
    use crate::properties::edits::{expressions, tree};
    use bpmc::lang::syntax::ast::{Expr, ExprKind};

    fn lines(text: &str) -> usize {
        text.lines().filter(|line| !line.trim().is_empty()).count()
    }

    fn names(expr: &Expr, name: &str) -> bool {
        matches!(&expr.kind, ExprKind::Name(path) if path.parts.len() == 1 && path.parts[0].name == name)
    }

    /// Whether `tanh(...)` of something that holds the trace `t0` is in a text.
    fn has_tanh_of_a_trace(text: &str) -> bool {
        let file = tree(text);
        expressions(&file).iter().any(|expr| {
            let mut inner: Vec<&Expr> = match &expr.kind {
                ExprKind::Call { function, args } if function.name == "tanh" => {
                    args.iter().map(|arg| &arg.value).collect()
                }
                _ => Vec::new(),
            };
            while let Some(expr) = inner.pop() {
                match &expr.kind {
                    ExprKind::Unary(_, x) => inner.push(x),
                    ExprKind::Binary(_, a, b) => inner.extend([&**a, &**b]),
                    ExprKind::Call { args, .. } => inner.extend(args.iter().map(|a| &a.value)),
                    _ if names(expr, "t0") => return true,
                    _ => {}
                }
            }
            false
        })
    }

    #[test]
    fn what_is_left_is_the_fault() {
        let fails = |case: &Case| has_tanh_of_a_trace(&case.text) && case.compile().is_ok();
        let faulty = (0..60).map(|k| Case::draw(11, k)).filter(fails);
        let mut tested = 0;
        for case in faulty.take(5) {
            let small = shrink(&case, fails);
            assert!(fails(&small), "{}", small.text);
            tested += 1;
            let compiled = small.compile().unwrap();
            assert_eq!((compiled.lanes, compiled.steps), (1, 1), "{}", small.text);
            let dims = &compiled.graph.states[0].dims;
            assert!(dims.iter().all(|n| *n == 1), "{}", small.text);
            let inside = small.text.matches("tanh(t0)").count();
            assert_eq!(
                (small.text.matches("tanh").count(), inside),
                (1, 1),
                "{}",
                small.text
            );
            assert_eq!(small.text.matches("plastic").count(), 1, "{}", small.text);
            assert!(lines(&small.text) <= 16, "{}", small.text);
        }
        assert_eq!(tested, 5);
    }

    /// As if a kernel took one derivative on a bound for another.
    fn differs_from_inclusive(case: &Case) -> bool {
        let other = Case {
            text: case
                .text
                .replace("boundary = exclusive", "boundary = inclusive"),
            ..case.clone()
        };
        let (Ok(one), Ok(other)) = (case.compile(), other.compile()) else {
            return false;
        };
        let outcome = |compiled: &crate::properties::case::Compiled| {
            run(
                &mut reference(&compiled.graph, compiled.lanes),
                &compiled.numbers,
                1,
            )
        };
        outcome(&one).states != outcome(&other).states
    }

    #[test]
    fn a_wrong_derivative_on_a_bound_is_found_and_shrunk() {
        let mut cases = (0..400).map(|k| Case::draw(5, k));
        let case = cases.find(differs_from_inclusive).unwrap();
        let small = shrink(&case, differs_from_inclusive);
        assert!(differs_from_inclusive(&small), "{}", small.text);
        assert_eq!(small.text.matches("clip").count(), 1, "{}", small.text);
        assert_eq!(small.text.matches("plastic").count(), 1, "{}", small.text);
        assert!(lines(&small.text) <= 16, "{}", small.text);
    }
}
