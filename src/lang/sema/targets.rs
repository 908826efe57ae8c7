//! Targets in expressions: `target.NAME` is what the task wants of the output `NAME` in this step.

use super::analyser::Analyser;
use super::constants::listed;
use super::model::{Expr, ExprKind, Type};
use super::scope::Context;
use super::types::poison;
use crate::ir::{InputId, InputSlot};
use crate::lang::catalog::TrainerKind;
use crate::lang::diag::{Code, Diagnostic, Diagnostics};
use crate::lang::syntax::ast::Path;

/// The beginning of the names of inputs that carry targets.
pub(crate) const TARGET: &str = "target.";

impl<'a> Analyser<'a, '_> {
    /// Tells if a path that names nothing else asks for a target.
    pub(super) fn is_target(path: &Path) -> bool {
        path.parts.len() <= 2 && path.parts[0].name == "target"
    }

    /// The target of an output: `target.NAME`, or `target` where the task has a single one.
    pub(super) fn target(&mut self, path: &'a Path, context: Context) -> Expr {
        let span = path.span;
        let Some(task) = &self.task else {
            return match self.task_named {
                true => poison(span),
                false => self.target_of_output(path, context),
            };
        };
        let targets = &task.ports.targets;
        let found = match (path.parts.get(1), targets.as_slice()) {
            (Some(name), _) => targets.iter().find(|port| port.name == name.name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some(port) = found.cloned() else {
            let names: Vec<String> = targets
                .iter()
                .map(|port| format!("{TARGET}{}", port.name))
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let asked = super::constants::dotted(path);
            let help = match Diagnostics::nearest(&asked, names.iter().copied()) {
                Some(near) if path.parts.len() == 2 => format!("did you mean `{near}`?"),
                _ if names.is_empty() => {
                    "a rule can read targets of tasks with targets for each step".to_owned()
                }
                _ => format!("it gives {}", listed(&names)),
            };
            let message = format!("task `{}` gives no `{asked}`", task.info.name);
            let diagnostic = Diagnostic::new(Code::UnknownSignal, span, message)
                .with_secondary(task.span, "the task is chosen here")
                .with_help(help);
            self.diagnostics.push(diagnostic);
            return poison(span);
        };
        let id = self.target_input(&port.name, Some(port.size), path);
        let value = Expr {
            kind: ExprKind::Input(id),
            ty: self.input_types[id.index()],
            span,
        };
        self.in_context(value, context)
    }

    /// The target of an output in a spec without a task: whoever gives the inputs gives it, and it is as large as the output.
    fn target_of_output(&mut self, path: &'a Path, context: Context) -> Expr {
        let span = path.span;
        let trainer = self.train.as_ref().map(|train| train.trainer.kind);
        if trainer != Some(TrainerKind::Supervised) {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::UnknownSignal,
                    span,
                    "there is no task that gives targets, and no trainer that takes them",
                )
                .with_help("add for instance `task sequences { train = \"train.npz\" }`, or `train supervised { }`"),
            );
            return poison(span);
        }
        let outputs = self.interface().outputs;
        let found = match (path.parts.get(1), outputs.as_slice()) {
            (Some(name), _) => outputs.iter().find(|output| **output == name.name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some(output) = found else {
            let names: Vec<String> = outputs
                .iter()
                .map(|name| format!("{TARGET}{name}"))
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let asked = super::constants::dotted(path);
            let help = match Diagnostics::nearest(&asked, names.iter().copied()) {
                Some(near) if path.parts.len() == 2 => format!("did you mean `{near}`?"),
                _ if names.is_empty() => "the network has no outputs".to_owned(),
                _ => format!("there are {}", listed(&names)),
            };
            let message = format!("no output has the target `{asked}`");
            self.diagnostics
                .push(Diagnostic::new(Code::UnknownSignal, span, message).with_help(help));
            return poison(span);
        };
        let id = self.target_input(output, None, path);
        let value = Expr {
            kind: ExprKind::Input(id),
            ty: self.input_types[id.index()],
            span,
        };
        self.in_context(value, context)
    }

    /// Gives the targets of a spec without a task the sizes of their outputs.
    pub(super) fn size_targets(&mut self) {
        for (name, size, span) in std::mem::take(&mut self.open_targets) {
            let outputs = self.outputs.iter();
            let mut found = outputs.filter(|id| self.definitions[id.index()].path == name);
            let value = found
                .next()
                .and_then(|id| self.resolved[id.index()].as_ref());
            match value.map(|value| value.ty) {
                Some(Type::Vector(own)) => {
                    self.sizes.unify(size, own, span, self.diagnostics);
                }
                Some(Type::Scalar) => {
                    let one = self.sizes.known(1, format!("the output `{name}`"), span);
                    self.sizes.unify(size, one, span, self.diagnostics);
                }
                Some(Type::Element { .. } | Type::Poison) | None => self.sizes.forgive(size),
            }
        }
    }

    /// The input that carries a target; its size is open where no task says it.
    fn target_input(&mut self, output: &str, known: Option<usize>, path: &Path) -> InputId {
        let name = format!("{TARGET}{output}");
        if let Some(id) = self.externals.get(&name) {
            return *id;
        }
        let what = format!("the target of `{output}`");
        let size = match known {
            Some(size) => self.sizes.known(size as u64, what, path.span),
            None => {
                let size = self.sizes.fresh(what, path.span);
                self.open_targets.push((output.to_owned(), size, path.span));
                size
            }
        };
        let id = InputId(self.inputs.len() as u32);
        self.inputs.push(InputSlot {
            path: name.clone(),
            dims: Vec::new(),
            span: Some(path.span),
        });
        self.input_types.push(Type::Vector(size));
        self.externals.insert(name, id);
        id
    }
}
