//! Initial values: numbers and distributions of declarations, their overrides, and the reset of states.

use super::analyser::{Analyser, ParamType};
use super::constants::listed;
use super::firsts::PendingFirst;
use super::model::Type;
use super::scope::Context;
use crate::ir::{Draw, GivenArray, ParamId, Reset};
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::syntax::ast::{Arg, DeclEntry, Expr, ExprKind, Ident, Initialiser};
use std::path::Path;
use std::sync::Arc;

/// The distributions of initial values.
const DISTRIBUTIONS: [&str; 5] = ["uniform", "normal", "bernoulli", "constant", "identity"];

fn is_distribution(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Call { function, .. } => DISTRIBUTIONS.contains(&function.name.as_str()),
        _ => false,
    }
}

const FILE_USAGE: &str = "write `= file(\"mask.npy\")`, with a path relative to the spec; there are .npy, .npz and .safetensors";

/// The arguments of `file(...)`.
fn file_call(expr: &Expr) -> Option<&[Arg]> {
    match &expr.kind {
        ExprKind::Call { function, args } if function.name == "file" => Some(args),
        _ => None,
    }
}

/// The end of the path of the constant that holds the first values of a state.
pub(crate) const FIRST: &str = ".first";

/// Tells if an initialiser is an array: of a file, or written out.
fn is_array(expr: &Expr) -> bool {
    file_call(expr).is_some() || matches!(expr.kind, ExprKind::List(_))
}

impl<'a> Analyser<'a, '_> {
    pub(super) fn bad_init(&mut self, entry: &DeclEntry, message: String) {
        self.diagnostics
            .push(Diagnostic::new(Code::BadInitialiser, entry.span, message));
    }

    /// The initialiser of a declaration, or its override.
    fn initialiser(&mut self, entry: &'a DeclEntry, path: &str) -> Option<&'a Initialiser> {
        self.known_paths.insert(path.to_owned());
        match self.overrides.get(path) {
            Some((init, _)) => Some(init),
            None => entry.init.as_ref(),
        }
    }

    pub(super) fn state_init(&mut self, entry: &'a DeclEntry, path: &str, context: Context) -> f64 {
        match self.initialiser(entry, path) {
            None => {
                let name = &entry.name.name;
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        entry.span,
                        format!("`{path}` has no initial value"),
                    )
                    .with_help(format!("write `{name} = 0`, or any other number")),
                );
                0.0
            }
            Some(Initialiser::Value(value)) if is_array(value) => 0.0,
            Some(Initialiser::Value(value)) if is_distribution(value) => {
                self.equal_to_draw(value, path, entry);
                0.0
            }
            Some(Initialiser::Value(value)) if self.is_computed(value, context) => 0.0,
            Some(Initialiser::Value(value)) => self.constant(value, context).unwrap_or(0.0),
            Some(Initialiser::Draw(_)) => 0.0,
        }
    }

    /// The first value of a state, where it is drawn or computed of parameters.
    pub(super) fn state_first(
        &mut self,
        entry: &'a DeclEntry,
        path: &str,
        ty: Type,
        context: Context,
    ) -> Option<PendingFirst<'a>> {
        match self.initialiser(entry, path)? {
            Initialiser::Value(value) => {
                let computed = !is_array(value) && self.is_computed(value, context);
                computed.then_some(PendingFirst::Of(value, context))
            }
            Initialiser::Draw(value) => {
                let draw = self.distribution(value, context)?;
                Some(self.drawn_first(path, draw, ty, value.span))
            }
        }
    }

    /// Tells if a first value is no number known when compiled: an expression of other things.
    fn is_computed(&self, value: &Expr, context: Context) -> bool {
        !is_distribution(value) && matches!(self.try_constant(value, context), Err(Some(_)))
    }

    /// The constant that holds the first values of a state, where these are an array.
    pub(super) fn state_array(
        &mut self,
        entry: &'a DeclEntry,
        path: &str,
        ty: Type,
        context: Context,
    ) -> Option<ParamId> {
        let Some(Initialiser::Value(value)) = self.initialiser(entry, path) else {
            return None;
        };
        let array = match value.kind {
            ExprKind::List(_) => self.written_array(value, context),
            _ if file_call(value).is_some() => self.given_file(value, path),
            _ => None,
        }?;
        let name = format!("{path}{FIRST}");
        Some(self.add_param(name, false, array, ParamType::Value(ty), entry.name.span))
    }

    /// The policy of the word after `reset`.
    pub(super) fn reset(&mut self, word: Option<&Ident>) -> Reset {
        let Some(word) = word else {
            return Reset::Episode;
        };
        match word.name.as_str() {
            "episode" => Reset::Episode,
            "trial" => Reset::Trial,
            "never" => Reset::Never,
            "carry" => Reset::Carry,
            other => {
                let words = ["episode", "trial", "never", "carry"];
                let help = match Diagnostics::nearest(other, words) {
                    Some(near) => format!("did you mean `reset {near}`?"),
                    None => format!("there are {}", listed(&words)),
                };
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::WrongKind,
                        word.span,
                        format!("`reset {other}` is no policy"),
                    )
                    .with_help(help),
                );
                Reset::Episode
            }
        }
    }

    pub(super) fn draw(&mut self, entry: &'a DeclEntry, path: &str, context: Context) -> Draw {
        let initialiser = self.initialiser(entry, path);
        if let Some(init) = initialiser {
            self.note_seed(init, path, context);
        }
        match initialiser {
            Some(Initialiser::Value(value)) if is_distribution(value) => {
                self.equal_to_draw(value, path, entry);
                Draw::Constant(0.0)
            }
            Some(Initialiser::Value(value)) if file_call(value).is_some() => {
                self.given_file(value, path).unwrap_or(Draw::Constant(0.0))
            }
            Some(Initialiser::Value(value)) if matches!(value.kind, ExprKind::List(_)) => self
                .written_array(value, context)
                .unwrap_or(Draw::Constant(0.0)),
            Some(Initialiser::Value(value)) => {
                Draw::Constant(self.constant(value, context).unwrap_or(0.0))
            }
            Some(Initialiser::Draw(value)) => self
                .distribution(value, context)
                .unwrap_or(Draw::Constant(0.0)),
            None => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        entry.span,
                        format!("`{path}` has no initial value"),
                    )
                    .with_help(format!(
                        "write `{} ~ uniform(0, 0.01)` or `{} = 0.1`",
                        entry.name.name, entry.name.name
                    )),
                );
                Draw::Constant(0.0)
            }
        }
    }

    /// Reports `= uniform(..)`.
    fn equal_to_draw(&mut self, value: &Expr, path: &str, entry: &DeclEntry) {
        let name = &entry.name.name;
        self.diagnostics.push(
            Diagnostic::new(
                Code::BadInitialiser,
                value.span,
                format!("`{path}` cannot be equal to a distribution, only drawn from one"),
            )
            .with_help(format!(
                "write `~` in the place of `=`, as in `{name} ~ uniform(0, 0.01)`"
            )),
        );
    }

    /// Reads the file of `file("mask.npy")`.
    fn given_file(&mut self, value: &'a Expr, path: &str) -> Option<Draw> {
        let args = file_call(value)?;
        let [arg] = args else {
            return self.bad_file(value, "`file` takes one path".to_owned(), FILE_USAGE);
        };
        let ExprKind::Text(text) = &arg.value.kind else {
            return self.bad_file(
                value,
                "`file` takes a path in quotes".to_owned(),
                FILE_USAGE,
            );
        };
        // A path in `--set` is relative to the current directory.
        let file = match self.overrides.get(path) {
            Some(_) => Path::new(text).to_owned(),
            None => self.catalog.directory.join(text),
        };
        match (self.catalog.read_array)(&file, path) {
            Ok(given) => Some(Draw::Given(Arc::new(given))),
            Err((message, help)) => {
                let help = if help.is_empty() { FILE_USAGE } else { &help };
                self.bad_file(value, message, help)
            }
        }
    }

    /// Reads an array that the spec writes out: `[1, 2]`, or a matrix by its rows, `[[1, 0], [0, 1]]`.
    pub(super) fn written_array(&mut self, value: &'a Expr, context: Context) -> Option<Draw> {
        let ExprKind::List(items) = &value.kind else {
            return None;
        };
        let rows: Option<Vec<&'a [Expr]>> = items
            .iter()
            .map(|item| match &item.kind {
                ExprKind::List(row) => Some(row.as_slice()),
                _ => None,
            })
            .collect();
        let (dims, elements): (Vec<usize>, Vec<&'a Expr>) = match rows {
            Some(rows) if !rows.is_empty() => {
                let columns = rows[0].len();
                let odd = rows.iter().position(|row| row.len() != columns);
                if let Some(odd) = odd {
                    let (found, first) = (rows[odd].len(), columns);
                    self.diagnostics.push(
                        Diagnostic::new(
                            Code::BadInitialiser,
                            items[odd].span,
                            format!("this row has {found} elements, and the first has {first}"),
                        )
                        .with_secondary(items[0].span, "the first row"),
                    );
                    return None;
                }
                (
                    vec![rows.len(), columns],
                    rows.into_iter().flatten().collect(),
                )
            }
            _ => (vec![items.len()], items.iter().collect()),
        };
        let values: Option<Vec<f64>> = elements
            .into_iter()
            .map(|element| self.constant(element, context))
            .collect();
        let values = values?;
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::BadInitialiser,
                    value.span,
                    "an array has finite numbers, at least one",
                )
                .with_help("write `[1, 2]`, or a matrix by its rows: `[[1, 0], [0, 1]]`"),
            );
            return None;
        }
        Some(Draw::Given(Arc::new(GivenArray {
            file: None,
            dims,
            values,
        })))
    }

    fn bad_file(&mut self, value: &Expr, message: String, help: &str) -> Option<Draw> {
        self.diagnostics
            .push(Diagnostic::new(Code::BadInitialiser, value.span, message).with_help(help));
        None
    }

    /// Reads a distribution such as `uniform(a, b)`.
    pub(super) fn distribution(&mut self, expr: &'a Expr, context: Context) -> Option<Draw> {
        let names = DISTRIBUTIONS;
        let usage =
            "write `uniform(lo, hi)`, `normal(mean, deviation)`, `bernoulli(p)`, `constant(c)` or \
                     `identity(scale)`";
        if let (ExprKind::Name(path), Some(rule)) = (&expr.kind, context.rule) {
            let name = path.parts[0].name.as_str();
            if let Some((argument, inner)) = self.instances[rule].arguments.get(name).copied() {
                return self.distribution(argument, inner);
            }
        }
        let ExprKind::Call { function, args } = &expr.kind else {
            self.diagnostics.push(
                Diagnostic::new(Code::BadInitialiser, expr.span, "this is no distribution")
                    .with_help(usage),
            );
            return None;
        };
        let values: Vec<f64> = args
            .iter()
            .filter(|arg| {
                function.name != "bernoulli"
                    || arg.name.as_ref().is_none_or(|name| name.name != "seed")
            })
            .map(|arg| self.constant(&arg.value, context))
            .collect::<Option<_>>()?;
        match (function.name.as_str(), values.as_slice()) {
            ("uniform", [lo, hi]) if lo <= hi => Some(Draw::Uniform(*lo, *hi)),
            ("normal", [mean, deviation]) if *deviation >= 0.0 => {
                Some(Draw::Normal(*mean, *deviation))
            }
            ("bernoulli", [p]) if (0.0..=1.0).contains(p) => Some(Draw::Bernoulli(*p)),
            ("constant", [c]) => Some(Draw::Constant(*c)),
            ("identity", [scale]) => Some(Draw::Identity(*scale)),
            (name, _) if names.contains(&name) => {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        expr.span,
                        format!("`{name}` cannot be drawn with these numbers"),
                    )
                    .with_help(usage),
                );
                None
            }
            (name, _) => {
                let help = match Diagnostics::nearest(name, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => usage.to_owned(),
                };
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadInitialiser,
                        function.span,
                        format!("no distribution is called `{name}`"),
                    )
                    .with_help(help),
                );
                None
            }
        }
    }
}
