//! Cells: reusable parts of networks, filled in before names are resolved.
//!
//! `cell layer1: lstm(x, 200)` in a network becomes the statements of the cell, every name they declare
//! with `layer1.` in front, every parameter replaced by its argument. A cell sees its parameters, its own
//! names, `dim`s and sizes of the task, and nothing else of what surrounds its use. The arguments are read
//! where they were written; those of the rule after `using`, and statements in the braces, see the names
//! of the cell first and then those around the use.
//!
//! - A parameter whose argument computes something (`linear(x, 100)`) becomes a value of the use,
//!   `layer1.x`, so that it is computed once and its parameters have one name.
//! - A parameter that stands after `using` takes a rule: from the `using` of the use, or as an argument.
//!   Statements in the braces of the use go to the bundles with this rule; what they declare takes the
//!   place of what the cell declares.
//! - `reset` at the use is for every state and trace that does not say it itself.
//! - Values, modulators, parameters and noise of a cell that nothing reads are left out.
//!
//! What is found in a filled-in statement is told at the line of the cell, with a second label at the
//! use: each use has its own [`SourceId`] ([`SourceMap::add_use`]).

mod arguments;
mod body;
mod bundle;
mod items;
mod library;
mod names;
mod read;
mod rules;

pub use library::add_library;

use super::overrides::Overrides;
use crate::lang::diag::{Code, Diagnostic, Diagnostics, SourceId, SourceMap, Span};
use crate::lang::syntax::ast::{self, Expr, Ident, ItemKind, RuleUse, Stmt, StmtKind};
use items::{CellItem, NameTable};
use std::collections::{BTreeMap, BTreeSet};

/// Most uses of cells in one network, those in cells included.
const MAX_USES: usize = 1000;

/// Most cells inside each other.
const MAX_INSIDE: usize = 32;

/// Most parts of expressions of one network with its cells filled in.
const MAX_PARTS: usize = 400_000;

/// A network with its cells filled in.
#[derive(Debug, Default)]
pub struct Expansion {
    /// Its statements; `None` where it uses no cell.
    pub network: Option<Vec<Stmt>>,
    /// Paths that `--set` may name: parameters of uses, `layer1.size`.
    pub known_paths: BTreeSet<String>,
    /// Names in `network` that mean nothing, which was reported.
    reported: BTreeSet<String>,
    /// What the names of uses begin with that could not be filled in, which was reported.
    broken: Vec<String>,
}

impl Expansion {
    /// Whether it was reported that this name means nothing.
    pub fn is_reported(&self, name: &str) -> bool {
        self.reported.contains(name) || self.broken.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// Where something was written, which decides what its names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// In the network.
    Network,
    /// In the cell of this use.
    Inside(usize),
    /// At this use, for its bundles: names of the cell, then those where the use stands.
    At(usize),
}

/// What a parameter of a use stands for.
#[derive(Clone, Copy)]
enum Argument<'a> {
    /// An expression, to be read there.
    Expr(&'a Expr, Scope),
    /// The rule after `using`.
    Rule(&'a RuleUse),
    /// The value of the use that has the parameter's name.
    Value,
    /// Nothing usable; already reported.
    Missing,
}

/// A cell put to use.
struct CellUse<'a> {
    item: usize,
    /// What the names of the cell begin with: `layer1.`.
    prefix: String,
    /// Where the use was written.
    written: Scope,
    /// Stands for the text of the cell in this use.
    source: SourceId,
    arguments: BTreeMap<&'a str, Argument<'a>>,
    /// For states and traces that do not say it themselves.
    reset: Option<Ident>,
    /// Statements for the bundles.
    extra: &'a [Stmt],
}

struct Expander<'a, 'd> {
    items: Vec<CellItem<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    /// What each rule declares in a bundle.
    rules: BTreeMap<&'a str, BTreeSet<&'a str>>,
    dims: BTreeSet<&'a str>,
    /// Names of the network.
    network: NameTable<'a>,
    overrides: &'a Overrides,
    sources: &'d mut SourceMap,
    diagnostics: &'d mut Diagnostics,
    uses: Vec<CellUse<'a>>,
    statements: Vec<body::Filled>,
    expansion: Expansion,
    /// Parts of expressions written so far.
    parts: usize,
    /// Levels of the expression being written.
    depth: usize,
    /// Whether a size past its limit was reported.
    told_size: bool,
    /// Whether a number of uses past its limit was reported.
    told_uses: bool,
    /// Cells in circles that were reported.
    circular: BTreeSet<usize>,
}

/// Fills in the cells that the network of parsed files uses.
pub fn expand(
    files: &[ast::File],
    overrides: &Overrides,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Expansion {
    let mut expander = Expander {
        items: Vec::new(),
        by_name: BTreeMap::new(),
        rules: BTreeMap::new(),
        dims: BTreeSet::new(),
        network: NameTable::new(),
        overrides,
        sources,
        diagnostics,
        uses: Vec::new(),
        statements: Vec::new(),
        expansion: Expansion::default(),
        parts: 0,
        depth: 0,
        told_size: false,
        told_uses: false,
        circular: BTreeSet::new(),
    };
    expander.collect(files);
    let networks = files.iter().flat_map(|file| &file.items);
    let network = networks.into_iter().find_map(|item| match &item.kind {
        ItemKind::Network { body, .. } => Some(body),
        _ => None,
    });
    if let Some(body) = network {
        if body.iter().any(|s| matches!(s.kind, StmtKind::Cell { .. })) {
            expander.network = expander.names_of(body);
            expander.body(body, Scope::Network);
            let statements = std::mem::take(&mut expander.statements);
            expander.expansion.network = Some(body::needed(statements));
        }
    }
    expander.expansion
}

impl<'a> Expander<'a, '_> {
    /// The span of something written in `scope`.
    fn place(&self, span: Span, scope: Scope) -> Span {
        match scope {
            Scope::Network => span,
            Scope::At(at) => self.place(span, self.uses[at].written),
            Scope::Inside(at) => Span {
                source: self.uses[at].source,
                ..span
            },
        }
    }

    /// A word written in `scope`.
    fn word(&self, word: &Ident, scope: Scope) -> Ident {
        Ident {
            name: word.name.clone(),
            span: self.place(word.span, scope),
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The cell of a use.
    fn item(&self, at: usize) -> &CellItem<'a> {
        &self.items[self.uses[at].item]
    }

    /// Uses around `scope`, the innermost first.
    fn around(&self, scope: Scope) -> Vec<usize> {
        let mut uses = Vec::new();
        let mut scope = scope;
        while let Scope::Inside(at) | Scope::At(at) = scope {
            uses.push(at);
            scope = self.uses[at].written;
        }
        uses
    }

    /// Fills in one use of a cell.
    fn fill_in(&mut self, stmt: &'a Stmt, scope: Scope) {
        let StmtKind::Cell {
            name,
            cell,
            using,
            reset,
            body,
        } = &stmt.kind
        else {
            return;
        };
        let names = match scope {
            Scope::Inside(at) | Scope::At(at) => &self.item(at).names,
            Scope::Network => &self.network,
        };
        if names.get(name.name.as_str()).map(|(_, span)| *span) != Some(name.span) {
            // Something else has the name, which was reported.
            return;
        }
        let Some(&item) = self.by_name.get(cell.name.name.as_str()) else {
            self.unknown_cell(&cell.name, scope);
            return;
        };
        let place = self.place(name.span, scope);
        let (prefix, outer_reset) = match scope {
            Scope::Inside(at) | Scope::At(at) => {
                (self.uses[at].prefix.as_str(), self.uses[at].reset.clone())
            }
            Scope::Network => ("", None),
        };
        let prefix = format!("{prefix}{}.", name.name);
        // Where one limit was passed nothing is added any more.
        if self.told_size || self.is_too_much(item, &cell.name, scope) {
            self.expansion.broken.push(prefix);
            return;
        }
        let reset = match reset {
            Some(word) => Some(self.word(word, scope)),
            None => outer_reset,
        };
        let source = self.items[item].name.span.source;
        let source = self.sources.add_use(source, place);
        let at = self.uses.len();
        self.uses.push(CellUse {
            item,
            prefix,
            written: scope,
            source,
            arguments: BTreeMap::new(),
            reset,
            extra: body,
        });
        self.bind_arguments(at, cell, using.as_ref());
        self.define_arguments(at);
        let body = self.items[item].body;
        self.body(body, Scope::Inside(at));
    }

    /// Reports a cell inside itself, and nesting and numbers past their limits.
    fn is_too_much(&mut self, item: usize, name: &Ident, scope: Scope) -> bool {
        let span = self.place(name.span, scope);
        let around = self.around(scope);
        if let Some(k) = around.iter().position(|at| self.uses[*at].item == item) {
            let items: Vec<usize> = around[..=k].iter().map(|at| self.uses[*at].item).collect();
            let is_new = !items.iter().any(|item| self.circular.contains(item));
            self.circular.extend(items);
            if !is_new {
                return true;
            }
            let mut circle: Vec<String> = around[..=k]
                .iter()
                .rev()
                .map(|at| format!("`{}`", self.item(*at).name.name))
                .collect();
            circle.push(format!("`{}`", name.name));
            let message = if circle.len() == 2 {
                format!("cell `{}` is made of itself", name.name)
            } else {
                format!(
                    "cell `{}` is made of itself: {}",
                    name.name,
                    circle.join(" → ")
                )
            };
            // At the cell itself, not at one of its uses: these are not to blame.
            let declared = self.items[item].name.span;
            let span = Span {
                source: self.sources.original(span.source),
                ..span
            };
            self.report(
                Diagnostic::new(Code::CellCycle, span, message)
                    .with_secondary(declared, "the cell is declared here")
                    .with_help("a cell may use other cells, but no circle of them ends"),
            );
            return true;
        }
        let too_many = if around.len() >= MAX_INSIDE {
            format!("more than {MAX_INSIDE} cells inside each other")
        } else if self.uses.len() >= MAX_USES {
            format!("more than {MAX_USES} uses of cells")
        } else {
            return false;
        };
        if !std::mem::replace(&mut self.told_uses, true) {
            self.report(Diagnostic::new(Code::TooLarge, span, too_many));
        }
        true
    }

    fn unknown_cell(&mut self, name: &Ident, scope: Scope) {
        let declared = self.by_name.keys().map(|known| (*known).to_owned());
        let names: BTreeSet<String> = declared
            .chain(crate::lang::library::cell_names().map(str::to_owned))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let diagnostic = Diagnostic::new(
            Code::UnknownCell,
            self.place(name.span, scope),
            format!("no cell is called `{}`", name.name),
        );
        let help = match Diagnostics::nearest(&name.name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if crate::lang::library::text(&name.name).is_some()
                || self.rules.contains_key(name.name.as_str()) =>
            {
                format!(
                    "`{}` is a rule, for a bundle: `using {}`",
                    name.name, name.name
                )
            }
            None => format!("there are {}", super::constants::listed(&names)),
        };
        self.report(diagnostic.with_help(help));
    }
}
