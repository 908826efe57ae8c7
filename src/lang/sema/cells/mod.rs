//! Cells: reusable parts of networks, expanded before names are resolved.
//!
//! `cell layer1: lstm(x, 200)` in a network becomes the statements of the cell. Every name they declare gets
//! the prefix `layer1.`, and every parameter is replaced by its argument. A cell sees its parameters, its own
//! names, `dim`s and sizes of the task, and nothing else around its use. Arguments are resolved in the scope
//! that contains them. Arguments of the rule after `using`, and statements in the braces, see the names of
//! the cell first and then those around the use.
//!
//! - A parameter whose argument computes something (`linear(x, 100)`) becomes a value of the use, `layer1.x`,
//!   so that it is computed once and its parameters have one name.
//! - A parameter after `using` takes a rule: from the `using` of the use, or as an argument. Statements in
//!   the braces of the use go to the bundles with this rule; their declarations replace those of the cell.
//! - `reset` at the use is the default for its states and traces.
//! - Values, modulators, parameters and noise of a cell that nothing reads are removed.
//!
//! A diagnostic in an expanded statement has its place in the cell, with a second label at the use: each use
//! has its own [`SourceId`] ([`SourceMap::add_use`]).

mod arguments;
mod body;
mod bundle;
mod items;
mod library;
mod names;
mod read;
mod rules;

pub(super) use items::{declared, expressions, parts};
pub use library::add_library;

use super::overrides::Overrides;
use crate::lang::diag::{Code, Diagnostic, Diagnostics, SourceId, SourceMap, Span};
use crate::lang::syntax::ast::{self, Expr, Ident, ItemKind, RuleUse, Stmt, StmtKind};
use items::{CellItem, NameTable};
use std::collections::{BTreeMap, BTreeSet};

/// The largest number of cell uses in one network, including uses inside cells.
const MAX_USES: usize = 1000;

/// The deepest nesting of cells.
const MAX_INSIDE: usize = 32;

/// The largest number of subexpressions in one expanded network.
const MAX_PARTS: usize = 400_000;

/// A network with its cells expanded.
#[derive(Debug, Default)]
pub struct Expansion {
    /// The statements; `None` if it uses no cell.
    pub network: Option<Vec<Stmt>>,
    /// The paths that `--set` may name: parameters of uses, `layer1.size`.
    pub known_paths: BTreeSet<String>,
    /// The names in `network` that were reported as unknown.
    reported: BTreeSet<String>,
    /// The prefixes of uses that could not be expanded and were reported.
    broken: Vec<String>,
}

impl Expansion {
    /// Returns true if this name was reported as unknown.
    pub fn is_reported(&self, name: &str) -> bool {
        self.reported.contains(name) || self.broken.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// The scope of an expression, which decides the meaning of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The network.
    Network,
    /// The cell of this use.
    Inside(usize),
    /// The braces of this use, for its bundles: names of the cell, then those around the use.
    At(usize),
}

/// The argument bound to a parameter of a use.
#[derive(Clone, Copy)]
enum Argument<'a> {
    /// An expression, to be resolved in this scope.
    Expr(&'a Expr, Scope),
    /// The rule after `using`.
    Rule(&'a RuleUse),
    /// The value of the use that has the parameter's name.
    Value,
    /// A missing argument, already reported.
    Missing,
}

/// A use of a cell.
struct CellUse<'a> {
    item: usize,
    /// The prefix of the names of the cell: `layer1.`.
    prefix: String,
    /// The scope that contains the use.
    written: Scope,
    /// The id of the cell's text in this use.
    source: SourceId,
    arguments: BTreeMap<&'a str, Argument<'a>>,
    /// The default `reset` of states and traces.
    reset: Option<Ident>,
    /// The statements for the bundles.
    extra: &'a [Stmt],
}

struct Expander<'a, 'd> {
    items: Vec<CellItem<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    /// The names that each rule declares in a bundle.
    rules: BTreeMap<&'a str, BTreeSet<&'a str>>,
    dims: BTreeSet<&'a str>,
    /// The names of the network.
    network: NameTable<'a>,
    overrides: &'a Overrides,
    sources: &'d mut SourceMap,
    diagnostics: &'d mut Diagnostics,
    uses: Vec<CellUse<'a>>,
    statements: Vec<body::ExpandedStatement>,
    expansion: Expansion,
    /// The number of subexpressions written so far.
    parts: usize,
    /// The depth of the expression being written.
    depth: usize,
    /// True if the size limit was reported.
    told_size: bool,
    /// True if the limit on uses was reported.
    told_uses: bool,
    /// The cells reported as circular.
    circular: BTreeSet<usize>,
}

/// Expands the cells that the network of the parsed files uses.
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
    /// The span of something in `scope`.
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

    /// A word in `scope`.
    fn word(&self, word: &Ident, scope: Scope) -> Ident {
        Ident::new(word.name.as_str(), self.place(word.span, scope))
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The cell of a use.
    fn item(&self, at: usize) -> &CellItem<'a> {
        &self.items[self.uses[at].item]
    }

    /// The uses around `scope`, innermost first.
    fn around(&self, scope: Scope) -> Vec<usize> {
        let mut uses = Vec::new();
        let mut scope = scope;
        while let Scope::Inside(at) | Scope::At(at) = scope {
            uses.push(at);
            scope = self.uses[at].written;
        }
        uses
    }

    /// Expands one use of a cell.
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
            // Another declaration has the name, which was reported.
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
        // After a limit was passed nothing more is added.
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

    /// Reports circular cells, and nesting and numbers beyond their limits.
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
            // The place is the cell itself, because its uses are not to blame.
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
