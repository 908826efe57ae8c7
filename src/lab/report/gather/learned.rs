//! The rules of traces as training left them: trained scalars replaced by their numbers, products multiplied out, terms
//! that are alike added, the largest first.

use super::formula::{axes, formula, Formula};
use crate::ir::{Binary, ParamId, StateId, Unary};
use crate::lab::report::figures::number::exact;
use crate::lang::sema::model::{DefId, Expr, ExprKind, Model};

/// More terms than this are not multiplied out.
const MOST_TERMS: usize = 64;
/// The number of significant digits of a coefficient.
const DIGITS: i32 = 3;

/// The rule of one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The trace.
    pub trace: Formula,
    /// True if `right` is the change of the trace in a step, not its next value.
    pub change: bool,
    /// The change, or the next value.
    pub right: Formula,
    /// The bounds that the next value is clipped to.
    pub bounds: Option<(String, String)>,
}

impl Learned {
    /// The rule in one line of text.
    pub fn plain(&self) -> String {
        let (before, sign) = self.signs();
        let (trace, right) = (self.trace.plain(), self.right.plain());
        format!("{before}{trace}{sign}{right}{}", self.within())
    }

    /// The signs before and after the name of the trace.
    pub fn signs(&self) -> (&'static str, &'static str) {
        match self.change {
            true => ("Δ", " = "),
            false => ("", " ← "),
        }
    }

    /// The bounds in words.
    pub fn within(&self) -> String {
        let bounds = self.bounds.as_ref();
        bounds.map_or(String::new(), |(lo, hi)| format!(", from {lo} to {hi}"))
    }
}

/// The rules with trained scalars. `value` gives the value of a parameter that is one number.
pub fn learned(model: &Model, value: &dyn Fn(ParamId) -> Option<f64>) -> Vec<Learned> {
    let slots = model.states.iter().enumerate().filter(|(_, s)| s.trace);
    let rules = slots.filter_map(|(k, slot)| {
        let reader = Reader { model, value };
        let whole = reader.inlined(model.nexts[k].as_ref()?);
        let mut trained = false;
        whole.walk(&mut |expr| {
            if let ExprKind::Param(id) = expr.kind {
                trained |= model.params[id.index()].trained && value(id).is_some();
            }
        });
        if !trained {
            return None;
        }
        let (inner, bounds) = match &whole.kind {
            ExprKind::Clip(x, lo, hi, _) => (&**x, Some((exact(*lo), exact(*hi)))),
            _ => (&whole, None),
        };
        let mut terms = reader.terms(inner);
        let own = StateId(k as u32);
        let bare = |term: &Term| matches!(&term.factors[..], [x] if is_state(x, own));
        let place = terms.iter().position(bare);
        if let Some(place) = place {
            terms[place].coefficient -= 1.0;
        }
        terms.sort_by(|a, b| b.coefficient.abs().total_cmp(&a.coefficient.abs()));
        Some(Learned {
            trace: Formula::name(&slot.path, axes(model.state_types[k])),
            change: place.is_some(),
            right: formula(model, &sum(&terms, inner)),
            bounds,
        })
    });
    rules.collect()
}

fn is_state(expr: &Expr, state: StateId) -> bool {
    match &expr.kind {
        ExprKind::State(id) => *id == state,
        ExprKind::Convert(x) => is_state(x, state),
        _ => false,
    }
}

/// A number times factors.
#[derive(Clone, Debug)]
struct Term {
    coefficient: f64,
    factors: Vec<Expr>,
}

struct Reader<'a> {
    model: &'a Model,
    value: &'a dyn Fn(ParamId) -> Option<f64>,
}

impl Reader<'_> {
    /// The expression with the local values of its bundle written out.
    fn inlined(&self, expr: &Expr) -> Expr {
        if let ExprKind::Definition(id) = expr.kind {
            if let Some(local) = self.local(id) {
                return self.inlined(local);
            }
        }
        with_parts(expr, &mut |part| self.inlined(part))
    }

    /// The expression of a local value of a bundle.
    fn local(&self, id: DefId) -> Option<&Expr> {
        let definition = &self.model.definitions[id.index()];
        let mut bundles = self.model.bundles.iter();
        let local = bundles.any(|bundle| {
            let rest = definition.path.strip_prefix(&bundle.name);
            rest.is_some_and(|rest| rest.starts_with('.') && !rest[1..].contains('.'))
        });
        local.then_some(&definition.expr)
    }

    /// The expression as a sum of terms, in the order of their first appearance.
    fn terms(&self, expr: &Expr) -> Vec<Term> {
        let number = |coefficient| {
            vec![Term {
                coefficient,
                factors: Vec::new(),
            }]
        };
        let found = match &expr.kind {
            ExprKind::Number(x) => number(*x),
            ExprKind::SizeOf(size) => number(self.model.size(*size) as f64),
            ExprKind::Param(id) => match (self.value)(*id) {
                Some(x) => number(x),
                None => self.factor(expr),
            },
            ExprKind::Unary(Unary::Neg, x) => scaled(self.terms(x), -1.0),
            ExprKind::Binary(Binary::Add, a, b) => [self.terms(a), self.terms(b)].concat(),
            ExprKind::Binary(Binary::Sub, a, b) => {
                [self.terms(a), scaled(self.terms(b), -1.0)].concat()
            }
            ExprKind::Binary(Binary::Mul, a, b) => {
                let (a, b) = (self.terms(a), self.terms(b));
                if a.len() * b.len() > MOST_TERMS {
                    self.factor(expr)
                } else {
                    product(&a, &b)
                }
            }
            ExprKind::Binary(Binary::Div, a, b) => match &self.terms(b)[..] {
                [Term {
                    coefficient,
                    factors,
                }] if factors.is_empty() && *coefficient != 0.0 => {
                    scaled(self.terms(a), 1.0 / coefficient)
                }
                _ => self.factor(expr),
            },
            ExprKind::Convert(x) => {
                let mut terms = self.terms(x);
                for factor in terms.iter_mut().flat_map(|term| &mut term.factors) {
                    *factor = Expr {
                        kind: ExprKind::Convert(Box::new(factor.clone())),
                        ..expr.clone()
                    };
                }
                terms
            }
            _ => self.factor(expr),
        };
        self.merged(found)
    }

    /// An expression that is no sum or product: its parts are simplified.
    fn factor(&self, expr: &Expr) -> Vec<Term> {
        let simple = with_parts(expr, &mut |part| sum(&self.terms(part), part));
        vec![Term {
            coefficient: 1.0,
            factors: vec![simple],
        }]
    }

    /// Adds terms with the same factors.
    fn merged(&self, terms: Vec<Term>) -> Vec<Term> {
        let mut all: Vec<(Vec<String>, Term)> = Vec::new();
        for term in terms {
            let names = term.factors.iter().map(|x| formula(self.model, x).plain());
            let mut key: Vec<String> = names.collect();
            key.sort();
            match all.iter_mut().find(|(other, _)| *other == key) {
                Some((_, sum)) => sum.coefficient += term.coefficient,
                None => all.push((key, term)),
            }
        }
        all.into_iter().map(|(_, term)| term).collect()
    }
}

fn scaled(mut terms: Vec<Term>, by: f64) -> Vec<Term> {
    for term in &mut terms {
        term.coefficient *= by;
    }
    terms
}

fn product(a: &[Term], b: &[Term]) -> Vec<Term> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    let terms = pairs.map(|(a, b)| Term {
        coefficient: a.coefficient * b.coefficient,
        factors: [&a.factors[..], &b.factors].concat(),
    });
    terms.collect()
}

/// The sum of some terms, as an expression with the axes of `like`; terms of 0 are left out.
fn sum(terms: &[Term], like: &Expr) -> Expr {
    let of = |kind| Expr {
        kind,
        ty: like.ty,
        span: like.span,
    };
    let binary = |function, a, b| of(ExprKind::Binary(function, Box::new(a), Box::new(b)));
    let mut all: Option<Expr> = None;
    for term in terms {
        let coefficient = rounded(term.coefficient);
        if coefficient == 0.0 {
            continue;
        }
        let subtracted = all.is_some() && coefficient < 0.0;
        let number = if subtracted {
            -coefficient
        } else {
            coefficient
        };
        let mut factors = term.factors.clone();
        if let (Some(first), true) = (factors.first_mut(), number == -1.0) {
            *first = of(ExprKind::Unary(Unary::Neg, Box::new(first.clone())));
        }
        let written = number.abs() != 1.0 || factors.is_empty();
        let number = written.then(|| of(ExprKind::Number(number)));
        let parts = number.into_iter().chain(factors);
        let Some(part) = parts.reduce(|a, b| binary(Binary::Mul, a, b)) else {
            continue;
        };
        all = Some(match (all, subtracted) {
            (Some(before), true) => binary(Binary::Sub, before, part),
            (Some(before), false) => binary(Binary::Add, before, part),
            (None, _) => part,
        });
    }
    all.unwrap_or_else(|| of(ExprKind::Number(0.0)))
}

/// A number with few digits.
fn rounded(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let text = format!("{x:.*e}", (DIGITS - 1) as usize);
    text.parse().unwrap_or(x)
}

/// The expression with its parts replaced.
fn with_parts(expr: &Expr, part: &mut dyn FnMut(&Expr) -> Expr) -> Expr {
    let mut of = |x: &Expr| Box::new(part(x));
    let kind = match &expr.kind {
        ExprKind::Unary(function, x) => ExprKind::Unary(*function, of(x)),
        ExprKind::Binary(function, a, b) => ExprKind::Binary(*function, of(a), of(b)),
        ExprKind::Select(c, a, b) => ExprKind::Select(of(c), of(a), of(b)),
        ExprKind::Clip(x, lo, hi, boundary) => ExprKind::Clip(of(x), *lo, *hi, *boundary),
        ExprKind::Reduce(fold, over, x) => ExprKind::Reduce(*fold, *over, of(x)),
        ExprKind::Linear {
            x,
            weight,
            transposed,
            bias,
        } => ExprKind::Linear {
            x: of(x),
            weight: *weight,
            transposed: *transposed,
            bias: *bias,
        },
        ExprKind::Softmax(x) => ExprKind::Softmax(of(x)),
        ExprKind::LogSoftmax(x) => ExprKind::LogSoftmax(of(x)),
        ExprKind::TopK(x, k) => ExprKind::TopK(of(x), *k),
        ExprKind::Concat(parts) => ExprKind::Concat(parts.iter().map(part).collect()),
        ExprKind::Slice(x, region) => ExprKind::Slice(of(x), *region),
        ExprKind::Stop(x) => ExprKind::Stop(of(x)),
        ExprKind::Convert(x) => ExprKind::Convert(of(x)),
        ExprKind::Number(_)
        | ExprKind::SizeOf(_)
        | ExprKind::Definition(_)
        | ExprKind::Param(_)
        | ExprKind::Input(_)
        | ExprKind::State(_)
        | ExprKind::Next(_)
        | ExprKind::Noise(_)
        | ExprKind::InRegion(..)
        | ExprKind::Poison => expr.kind.clone(),
    };
    Expr {
        kind,
        ty: expr.ty,
        span: expr.span,
    }
}

#[cfg(test)]
mod tests {
    use super::learned;
    use crate::driver::{compile, from_disk};

    /// The rules of a bundle from `x` to `y`, with these values of its trained scalars.
    fn rules(body: &str, values: &[(&str, f64)]) -> Vec<String> {
        let spec = format!(
            "network a {{\n  input x: [3]\n  plastic rec: x -> y {{\n{body}\n  }}\n  y = tanh(rec)\n  modulator m = sum(y)\n  \
             modulator other = m / 2\n  output out = other * y\n}}\n"
        );
        let done = compile(
            "a.bpm",
            &spec.replace("y = tanh", "state h: [2] = 0\n  h <- y\n  y = tanh"),
            &[],
            &from_disk,
        )
        .unwrap();
        let model = done.program.unwrap().model;
        let value = |id: crate::ir::ParamId| {
            let path = &model.params[id.index()].path;
            let found = values
                .iter()
                .find(|(name, _)| path == &format!("rec.{name}"));
            found.map(|(_, value)| *value)
        };
        let found = learned(&model, &value);
        found.iter().map(super::Learned::plain).collect()
    }

    #[test]
    fn numbers_stand_in_the_place_of_trained_scalars() {
        let polynomial =
            "    trained a = 0, b = 0, c = 0, d = 0\n    trace w = 0\n    transmit w\n    \
            some = a * pre * post + b * w\n    w <- clip(w + some + (c - d * w) * m, -2, 2)";
        let values = [("a", 0.098_04), ("b", -0.002_001), ("c", 0.0), ("d", -1.0)];
        assert_eq!(
            rules(polynomial, &values),
            ["Δrec.w_ij = rec.w_ij · m + 0.098 · x_i · y_j − 0.002 · rec.w_ij, from −2 to 2"]
        );
    }

    #[test]
    fn signs_stand_before_numbers() {
        let signs = "    trained a = 0, b = 0\n    trace w = 0, v = 0\n    transmit w * v\n    \
            w <- a * w * pre\n    v <- b * (v - 1) + a";
        assert_eq!(
            rules(signs, &[("a", -1.0), ("b", 0.5)]),
            [
                "rec.w_ij ← −rec.w_ij · x_i",
                "Δrec.v_ij = −1.5 − 0.5 · rec.v_ij"
            ]
        );
    }

    #[test]
    fn decays_are_changes_and_functions_stay() {
        let decay = "    trained eta = 0.1\n    weight v ~ uniform(0, 1)\n    trace hebb = 0, e = 0, plain = 0\n    transmit v * hebb * plain\n    \
            hebb <- tanh(3 * eta * hebb + 2 * eta * e)\n    e <- (1 - eta) * e + eta * pre * post\n    plain <- 0.9 * plain + pre";
        assert_eq!(
            rules(decay, &[("eta", 0.25)]),
            [
                "rec.hebb_ij ← tanh(0.75 · rec.hebb_ij + 0.5 · rec.e_ij)",
                "Δrec.e_ij = −0.25 · rec.e_ij + 0.25 · x_i · y_j"
            ]
        );
    }
}
