//! What names mean: the network's, each bundle's, and those of a rule in use.

use super::model::{BundleId, DefId};
use crate::ir::{InputId, NoiseId, ParamId, StateId};
use crate::lang::diag::Span;
use crate::lang::syntax::ast;
use std::collections::BTreeMap;

/// What a name stands for.
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
    /// What a bundle delivers.
    Bundle(BundleId),
}

impl Symbol {
    /// What messages call it.
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
    /// What it is.
    pub symbol: Symbol,
    /// The name where it is declared.
    pub span: Span,
}

/// Names of one level.
pub type Names = BTreeMap<String, Named>;

/// Where an expression stands, which decides what its names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The bundle around it; its names come first, and values are elements of it.
    pub bundle: Option<BundleId>,
    /// The rule it was written in, by index into the rules in use.
    pub rule: Option<usize>,
    /// Whether vectors stay vectors although a bundle is around (arguments of `linear` and the like).
    pub vectors: bool,
}

impl Context {
    /// The network's own level.
    pub const NETWORK: Context = Context {
        bundle: None,
        rule: None,
        vectors: true,
    };

    /// Inside a bundle.
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
    /// Arguments by parameter, with where each was written.
    pub arguments: BTreeMap<&'a str, (&'a ast::Expr, Context)>,
    /// Parameters without an argument, which was reported.
    pub missing: Vec<&'a str>,
}
