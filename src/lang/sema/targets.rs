//! Targets in expressions: `target.NAME` is what the task wants of the output `NAME` in this step.

use super::analyser::Analyser;
use super::constants::listed;
use super::model::{Expr, ExprKind, Type};
use super::scope::Context;
use super::types::poison;
use crate::ir::{InputId, InputSlot};
use crate::lang::catalog::Port;
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
            if !self.task_named {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::UnknownSignal,
                        span,
                        "there is no task that gives targets",
                    )
                    .with_help("add for instance `task sequences { train = \"train.npz\" }`"),
                );
            }
            return poison(span);
        };
        let targets: &[Port] = if task.ports.is_text {
            &[]
        } else {
            &task.ports.targets
        };
        let found = match (path.parts.get(1), targets) {
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
        let id = self.target_input(&port, path);
        let value = Expr {
            kind: ExprKind::Input(id),
            ty: self.input_types[id.index()],
            span,
        };
        self.in_context(value, context)
    }

    /// The input that carries a target.
    fn target_input(&mut self, port: &Port, path: &Path) -> InputId {
        let name = format!("{TARGET}{}", port.name);
        if let Some(id) = self.externals.get(&name) {
            return *id;
        }
        let size = self.sizes.known(
            port.size as u64,
            format!("the target of `{}`", port.name),
            path.span,
        );
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
