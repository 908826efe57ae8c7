//! What the files of a spec declare, and where each of these names is used. Only the syntax is needed, so this works while
//! a spec has errors.

use super::resolve;
use crate::lang::diag::{SourceId, Span};
use crate::lang::syntax::ast::{self, DeclKind, Ident, ItemKind, Stmt, StmtKind};
use std::collections::BTreeMap;

/// The kind of a declared name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dim,
    Rule,
    Cell,
    Network,
    /// A parameter of a rule or a cell.
    Parameter,
    /// A name with a word before it, such as `state h`.
    Declared(DeclKind),
    /// A value of the step, `y = ..`.
    Value,
    Bundle,
    /// The use of a cell.
    Use,
    /// The variable of a repetition.
    Index,
    /// A setting of a block.
    Setting,
}

impl Kind {
    /// The kind in words.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Dim => "dim",
            Kind::Rule => "rule",
            Kind::Cell => "cell",
            Kind::Network => "network",
            Kind::Parameter => "parameter",
            Kind::Declared(kind) => kind.word(),
            Kind::Value => "value of the step",
            Kind::Bundle => "plastic bundle",
            Kind::Use => "use of a cell",
            Kind::Index => "index of a repetition",
            Kind::Setting => "setting",
        }
    }
}

/// A declared name.
#[derive(Clone, Debug)]
pub struct Symbol {
    pub name: String,
    pub kind: Kind,
    /// The name where it is declared first.
    pub span: Span,
    /// The whole declaration.
    pub whole: Span,
    /// The symbol that has it as a part.
    pub parent: Option<usize>,
}

/// A place where a name stands.
#[derive(Clone, Copy, Debug)]
pub struct Occurrence {
    pub span: Span,
    /// The index of the symbol.
    pub symbol: usize,
    /// The statement around it, if it defines or updates the symbol.
    pub defines: Option<Span>,
}

/// The names that are visible in a part of a spec.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) names: BTreeMap<String, usize>,
    pub(super) parent: Option<usize>,
    /// Rules and cells whose names are visible, too.
    pub(super) also: Vec<String>,
}

/// All symbols of a spec with their uses.
#[derive(Debug, Default)]
pub struct Symbols {
    pub list: Vec<Symbol>,
    /// By place.
    pub uses: BTreeMap<(SourceId, u32), Occurrence>,
    pub(super) scopes: Vec<Scope>,
    /// The scope inside a symbol.
    pub(super) inside: BTreeMap<usize, usize>,
    /// The scopes of repetitions, by place.
    pub(super) repeated: BTreeMap<(SourceId, u32), usize>,
    /// The settings of blocks at the top, by keyword and name.
    pub(super) settings: BTreeMap<(String, String), usize>,
}

/// The scope of dims, rules, cells and the network.
pub(super) const TOP: usize = 0;

impl Symbols {
    /// The symbols of parsed files.
    pub fn new(files: &[ast::File]) -> Symbols {
        let mut symbols = Symbols::default();
        symbols.scopes.push(Scope::default());
        for item in files.iter().flat_map(|file| &file.items) {
            symbols.item(item);
        }
        resolve::uses(&mut symbols, files);
        symbols
    }

    /// The name at a byte of a text, also right behind it.
    pub fn at(&self, source: SourceId, byte: usize) -> Option<&Occurrence> {
        let before = self.uses.range(..=(source, byte as u32));
        let found = before.map(|(_, found)| found).next_back()?;
        (found.span.source == source && byte <= found.span.end as usize).then_some(found)
    }

    /// All places of a symbol.
    pub fn of(&self, symbol: usize) -> impl Iterator<Item = &Occurrence> {
        self.uses
            .values()
            .filter(move |found| found.symbol == symbol)
    }

    /// The symbol with this name inside a scope or around it.
    pub(super) fn find(&self, scope: usize, name: &str) -> Option<usize> {
        let mut at = Some(scope);
        while let Some(k) = at {
            let scope = &self.scopes[k];
            let own = scope.names.get(name).copied();
            let shared = || scope.also.iter().find_map(|other| self.part(other, name));
            if let Some(found) = own.or_else(shared) {
                return Some(found);
            }
            at = scope.parent;
        }
        None
    }

    /// A name inside a rule or a cell.
    fn part(&self, owner: &str, name: &str) -> Option<usize> {
        let owner = self.scopes[TOP].names.get(owner)?;
        let inside = self.inside.get(owner)?;
        self.scopes[*inside].names.get(name).copied()
    }

    /// A name inside a symbol: of a bundle, its rule's, too; of a use of a cell, the cell's.
    pub(super) fn member(&self, symbol: usize, name: &str) -> Option<usize> {
        let scope = &self.scopes[*self.inside.get(&symbol)?];
        let own = scope.names.get(name).copied();
        own.or_else(|| scope.also.iter().find_map(|other| self.part(other, name)))
    }

    /// The names inside a symbol, those of its rule or cell, too.
    pub fn members(&self, symbol: usize) -> Vec<usize> {
        let Some(scope) = self.inside.get(&symbol).map(|k| &self.scopes[*k]) else {
            return Vec::new();
        };
        let mut found: Vec<usize> = scope.names.values().copied().collect();
        for owner in &scope.also {
            let owner = self.scopes[TOP].names.get(owner);
            let inside = owner.and_then(|owner| self.inside.get(owner));
            found.extend(inside.iter().flat_map(|k| self.scopes[**k].names.values()));
        }
        found
    }

    fn add(
        &mut self,
        scope: usize,
        name: &Ident,
        kind: Kind,
        whole: Span,
        parent: Option<usize>,
    ) -> usize {
        // Several things of one name are one symbol.
        let known = self.scopes[scope].names.get(&name.name).copied();
        let symbol = known.unwrap_or(self.list.len());
        if known.is_none() {
            self.list.push(Symbol {
                name: name.name.clone(),
                kind,
                span: name.span,
                whole,
                parent,
            });
            self.scopes[scope].names.insert(name.name.clone(), symbol);
        }
        self.mark(name.span, symbol, Some(whole));
        symbol
    }

    pub(super) fn mark(&mut self, span: Span, symbol: usize, defines: Option<Span>) {
        let found = Occurrence {
            span,
            symbol,
            defines,
        };
        self.uses.entry((span.source, span.start)).or_insert(found);
    }

    fn open(&mut self, parent: usize, owner: usize, also: Vec<String>) -> usize {
        let scope = self.scopes.len();
        self.scopes.push(Scope {
            names: BTreeMap::new(),
            parent: Some(parent),
            also,
        });
        self.inside.entry(owner).or_insert(scope);
        scope
    }

    fn item(&mut self, item: &ast::Item) {
        let (kind, name, params, body): (_, _, &[ast::RuleParam], &[Stmt]) = match &item.kind {
            ItemKind::Version | ItemKind::Import { .. } => return,
            ItemKind::Dim { name, .. } => (Kind::Dim, name, &[], &[]),
            ItemKind::Rule { name, params, body } => (Kind::Rule, name, params, body),
            ItemKind::Cell { name, params, body } => (Kind::Cell, name, params, body),
            ItemKind::Network { name, body } => (Kind::Network, name, &[], body),
            ItemKind::Block(block) => return self.settings_of(block),
        };
        let symbol = self.add(TOP, name, kind, item.span, None);
        let scope = self.open(TOP, symbol, Vec::new());
        for param in params {
            self.add(
                scope,
                &param.name,
                Kind::Parameter,
                param.span,
                Some(symbol),
            );
        }
        self.body(scope, symbol, body);
    }

    fn settings_of(&mut self, block: &ast::Block) {
        for entry in &block.entries {
            if let ast::Entry::Setting { key, span, .. } = entry {
                let name = &key.parts[0];
                let symbol = self.list.len();
                self.list.push(Symbol {
                    name: name.name.clone(),
                    kind: Kind::Setting,
                    span: name.span,
                    whole: *span,
                    parent: None,
                });
                self.mark(name.span, symbol, Some(*span));
                let place = (block.keyword.name.clone(), name.name.clone());
                self.settings.entry(place).or_insert(symbol);
            }
        }
    }

    fn body(&mut self, scope: usize, owner: usize, body: &[Stmt]) {
        for stmt in body {
            let whole = stmt.span;
            match &stmt.kind {
                StmtKind::Decl { kind, entries } => {
                    for entry in entries {
                        let kind = Kind::Declared(*kind);
                        self.add(scope, &entry.name, kind, entry.span, Some(owner));
                    }
                }
                StmtKind::Plastic {
                    name, using, body, ..
                } => {
                    let symbol = self.add(scope, name, Kind::Bundle, whole, Some(owner));
                    let also = using.iter().map(|rule| rule.name.name.clone()).collect();
                    let inner = self.open(scope, symbol, also);
                    self.body(inner, symbol, body);
                }
                StmtKind::Cell {
                    name,
                    cell,
                    using,
                    body,
                    ..
                } => {
                    let symbol = self.add(scope, name, Kind::Use, whole, Some(owner));
                    let mut also = vec![cell.name.name.clone()];
                    also.extend(using.iter().map(|rule| rule.name.name.clone()));
                    let inner = self.open(scope, symbol, also);
                    self.body(inner, symbol, body);
                }
                StmtKind::Let { target, .. } => {
                    self.add(scope, target, Kind::Value, whole, Some(owner));
                }
                StmtKind::Update { .. }
                | StmtKind::Transmit { .. }
                | StmtKind::Connect { .. }
                | StmtKind::Allow { .. } => {}
                StmtKind::On { body, .. } | StmtKind::When { body, .. } => {
                    self.body(scope, owner, body);
                }
                StmtKind::For { variable, body, .. } => {
                    // What is declared inside is seen outside; the index is not.
                    let inner = self.scopes.len();
                    self.scopes.push(Scope {
                        parent: Some(scope),
                        ..Scope::default()
                    });
                    self.repeated.insert((whole.source, whole.start), inner);
                    self.add(inner, variable, Kind::Index, whole, Some(owner));
                    self.body(scope, owner, body);
                }
            }
        }
    }
}
