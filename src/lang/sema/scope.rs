//! The meaning of names: those of the network, of each bundle, and of a rule in use.

use super::model::{BundleId, DefId};
use crate::ir::{InputId, NoiseId, ParamId, StateId};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast;
use std::collections::BTreeMap;

/// The declaration that a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// An input.
    Input(InputId),
    /// A state or trace.
    State(StateId),
    /// A noise source.
    Noise(NoiseId),
    /// A parameter.
    Param(ParamId),
    /// A value of this step.
    Definition(DefId),
    /// The input that a bundle delivers.
    Bundle(BundleId),
}

impl Symbol {
    /// The word for it in messages.
    pub fn word(self) -> &'static str {
        match self {
            Symbol::Input(_) => "an input",
            Symbol::State(_) => "a state or trace",
            Symbol::Noise(_) => "a noise source",
            Symbol::Param(_) => "a parameter",
            Symbol::Definition(_) => "a value of this step",
            Symbol::Bundle(_) => "a plastic bundle",
        }
    }
}

/// A symbol with its declaration.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The symbol.
    pub symbol: Symbol,
    /// The name at its declaration.
    pub span: Span,
}

/// Refuses a name that an activity hides in bundles and rules.
pub fn refuse_side(name: &str, span: Span, diagnostics: &mut Diagnostics) {
    let activity = match name {
        "pre" => "presynaptic",
        "post" => "postsynaptic",
        _ => return,
    };
    diagnostics.push(
        Diagnostic::new(
            Code::Duplicate,
            span,
            format!("`{name}` is the {activity} activity in bundles and rules already"),
        )
        .with_help(format!("choose another name, such as `{name}_value`")),
    );
}

/// The names of one scope.
pub type Names = BTreeMap<String, Named>;

/// The context of an expression, which decides the meaning of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The bundle around the expression; its names come first, and values are elements of it.
    pub bundle: Option<BundleId>,
    /// The rule that contains the expression, by index into the rules in use.
    pub rule: Option<usize>,
    /// True if vectors stay vectors inside a bundle (arguments of `linear` and similar functions).
    pub vectors: bool,
}

impl Context {
    /// The context of the network itself.
    pub const NETWORK: Context = Context {
        bundle: None,
        rule: None,
        vectors: true,
    };

    /// The context inside a bundle.
    pub fn inside(bundle: BundleId, rule: Option<usize>) -> Context {
        Context {
            bundle: Some(bundle),
            rule,
            vectors: false,
        }
    }
}

/// A rule in use: its parameters bound to arguments.
#[derive(Debug)]
pub struct RuleInstance<'a> {
    /// The arguments by parameter, with the context of each.
    pub arguments: BTreeMap<&'a str, (&'a ast::Expr, Context)>,
    /// The parameters without an argument, which was reported.
    pub missing: Vec<&'a str>,
}
