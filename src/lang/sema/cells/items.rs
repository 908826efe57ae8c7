//! Declarations of files: cells with their names, and the names that rules declare in a bundle.

use super::Expander;
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::sema::constants::expr_paths;
use crate::lang::sema::scope::refuse_side;
use crate::lang::syntax::ast::{
    self, Arg, Expr, ExprKind, Ident, ItemKind, Path, RuleParam, Stmt, StmtKind,
};
use std::collections::{BTreeMap, BTreeSet};

/// The kind of a name in a cell or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A value, state, parameter or plastic bundle.
    Value,
    /// A use of the cell of this name.
    Use(&'a str),
}

/// Names with their places of declaration.
pub(super) type NameTable<'a> = BTreeMap<&'a str, (Kind<'a>, Span)>;

/// A cell.
pub(super) struct CellItem<'a> {
    pub name: &'a Ident,
    pub params: &'a [RuleParam],
    pub body: &'a [Stmt],
    pub names: NameTable<'a>,
    /// The parameters that take rules.
    pub rules: BTreeSet<&'a str>,
    /// The parameters that must be names: sides of bundles, and those after `next`.
    pub named: BTreeSet<&'a str>,
}

impl CellItem<'_> {
    pub(super) fn has_param(&self, name: &str) -> bool {
        self.params.iter().any(|param| param.name.name == name)
    }
}

impl<'a> Expander<'a, '_> {
    pub(super) fn collect(&mut self, files: &'a [ast::File]) {
        for item in files.iter().flat_map(|file| &file.items) {
            match &item.kind {
                ItemKind::Rule { name, body, .. } => {
                    self.rules
                        .entry(&name.name)
                        .or_insert_with(|| bundle_names(body));
                }
                ItemKind::Dim { name, .. } => {
                    self.dims.insert(&name.name);
                }
                ItemKind::Cell { name, params, body } => self.cell(name, params, body),
                ItemKind::Version
                | ItemKind::Import { .. }
                | ItemKind::Network { .. }
                | ItemKind::Block(_) => {}
            }
        }
        // Parameters are passed on to inner cells until nothing changes, which also ends for circular cells.
        loop {
            let mut found = Vec::new();
            for (k, item) in self.items.iter().enumerate() {
                for rule in self.handed_on(item) {
                    if !item.rules.contains(rule) {
                        found.push((k, rule));
                    }
                }
            }
            if found.is_empty() {
                break;
            }
            for (k, rule) in found {
                self.items[k].rules.insert(rule);
            }
        }
    }

    fn cell(&mut self, name: &'a Ident, params: &'a [RuleParam], body: &'a [Stmt]) {
        if let Some(&earlier) = self.by_name.get(name.name.as_str()) {
            let earlier = self.items[earlier].name.span;
            self.twice("cell", name, earlier);
            return;
        }
        let names = self.names_of(body);
        if body
            .iter()
            .any(|stmt| matches!(stmt.kind, StmtKind::Plastic { .. }))
        {
            let own = names.iter().map(|(name, (_, span))| (*name, *span));
            let given = params.iter().map(|p| (p.name.name.as_str(), p.name.span));
            for (name, span) in own.chain(given) {
                refuse_side(name, span, self.diagnostics);
            }
        }
        let mut known: BTreeMap<&str, Span> = BTreeMap::new();
        for param in params {
            let word = param.name.name.as_str();
            let earlier = known
                .get(word)
                .copied()
                .or(names.get(word).map(|(_, span)| *span));
            if let Some(earlier) = earlier {
                self.twice("the name", &param.name, earlier);
            }
            // A parameter declared later has no value yet, so no default depends on itself.
            let later = |path: &&Path| {
                let first = path.parts[0].name.as_str();
                params.iter().any(|p| p.name.name == first) && !known.contains_key(first)
            };
            let default = param.default.as_ref();
            if let Some(path) = default.and_then(|e| expr_paths(e).into_iter().find(later)) {
                let diagnostic = Diagnostic::new(
                    Code::UnknownName,
                    path.span,
                    "a default sees only parameters that stand before it",
                );
                self.diagnostics.push(diagnostic);
            }
            known.insert(word, param.name.span);
        }
        let mut item = CellItem {
            name,
            params,
            body,
            names,
            rules: BTreeSet::new(),
            named: BTreeSet::new(),
        };
        item.read(body);
        self.by_name.insert(&name.name, self.items.len());
        self.items.push(item);
    }

    fn twice(&mut self, what: &str, name: &Ident, earlier: Span) {
        self.diagnostics.push(
            Diagnostic::new(
                Code::Duplicate,
                name.span,
                format!("{what} `{}` is declared twice", name.name),
            )
            .with_label("again here")
            .with_secondary(earlier, "first declared here"),
        );
    }

    /// The names declared by the statements of a network or cell.
    pub(super) fn names_of(&mut self, body: &'a [Stmt]) -> NameTable<'a> {
        let mut names = NameTable::new();
        let mut uses = Vec::new();
        for stmt in body {
            match &stmt.kind {
                StmtKind::Cell { name, cell, .. } => uses.push((name, cell.name.name.as_str())),
                kind => {
                    for name in declared(kind) {
                        names.insert(&name.name, (Kind::Value, name.span));
                    }
                }
            }
        }
        for (name, cell) in uses {
            match names.get(name.name.as_str()) {
                Some((_, earlier)) => self.twice("the name", name, *earlier),
                None => {
                    names.insert(&name.name, (Kind::Use(cell), name.span));
                }
            }
        }
        names
    }

    /// The parameters of a cell that it passes to an inner cell as rules.
    fn handed_on(&self, item: &CellItem<'a>) -> Vec<&'a str> {
        let mut found = Vec::new();
        for stmt in item.body {
            let StmtKind::Cell { cell, .. } = &stmt.kind else {
                continue;
            };
            let Some(&inner) = self.by_name.get(cell.name.name.as_str()) else {
                continue;
            };
            let inner = &self.items[inner];
            let mut positional = inner.params.iter();
            for Arg { name, value } in &cell.args {
                let param = match name {
                    Some(name) => Some(name.name.as_str()),
                    None => positional.next().map(|param| param.name.name.as_str()),
                };
                if param.is_some_and(|param| inner.rules.contains(param)) {
                    found.extend(single(value).filter(|word| item.has_param(word)));
                }
            }
        }
        found
    }
}

impl<'a> CellItem<'a> {
    /// Records how parameters are used.
    fn read(&mut self, body: &'a [Stmt]) {
        for stmt in body {
            match &stmt.kind {
                StmtKind::Plastic {
                    pre, post, using, ..
                } => {
                    for side in [pre, post] {
                        self.named.insert(&side.parts[0].name);
                    }
                    if let Some(using) = using {
                        self.rules.insert(&using.name.name);
                    }
                }
                StmtKind::Cell {
                    using: Some(using), ..
                } => {
                    self.rules.insert(&using.name.name);
                }
                _ => {}
            }
            for expr in expressions(&stmt.kind) {
                self.named.extend(next_names(expr));
            }
        }
        let params = self.params;
        self.rules
            .retain(|name| params.iter().any(|p| p.name.name == *name));
    }
}

/// The name, if an expression is a single word.
pub(super) fn single(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Name(path) if path.parts.len() == 1 => Some(&path.parts[0].name),
        _ => None,
    }
}

/// The first words after `next` in an expression.
fn next_names(expr: &Expr) -> Vec<&str> {
    let mut found = Vec::new();
    let mut stack = vec![expr];
    while let Some(expr) = stack.pop() {
        if let ExprKind::Next(path) = &expr.kind {
            found.push(path.parts[0].name.as_str());
        }
        stack.extend(parts(expr));
    }
    found
}

/// The direct subexpressions of an expression.
pub(in crate::lang::sema) fn parts(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Number { .. }
        | ExprKind::Text(_)
        | ExprKind::Name(_)
        | ExprKind::Next(_)
        | ExprKind::External(_) => Vec::new(),
        ExprKind::List(items) => items.iter().collect(),
        ExprKind::Unary(_, x) => vec![x],
        ExprKind::Binary(_, a, b) => vec![a, b],
        ExprKind::Call { args, .. } => args.iter().map(|arg| &arg.value).collect(),
        ExprKind::Element { base, index } => vec![base, index],
        ExprKind::Slice { base, start, end } => vec![base, start, end],
    }
}

/// The expressions of a statement, including those in its body.
pub(in crate::lang::sema) fn expressions(kind: &StmtKind) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut stack = vec![kind];
    while let Some(kind) = stack.pop() {
        match kind {
            StmtKind::Decl { entries, .. } => {
                for entry in entries {
                    found.extend(&entry.size);
                    found.extend(entry.init.as_ref().map(initial));
                }
            }
            StmtKind::Let { size, value, .. } => {
                found.extend(size);
                found.push(value);
            }
            StmtKind::Update { value, .. }
            | StmtKind::Transmit { value }
            | StmtKind::Connect { mask: value } => found.push(value),
            StmtKind::Allow { .. } => {}
            StmtKind::On {
                start, end, body, ..
            }
            | StmtKind::For {
                start, end, body, ..
            } => {
                found.extend([start, end]);
                stack.extend(body.iter().map(|stmt| &stmt.kind));
            }
            StmtKind::When { condition, body } => {
                found.push(condition);
                stack.extend(body.iter().map(|stmt| &stmt.kind));
            }
            StmtKind::Plastic { using, body, .. } => {
                found.extend(using.iter().flat_map(|u| &u.args).map(|arg| &arg.value));
                stack.extend(body.iter().map(|stmt| &stmt.kind));
            }
            StmtKind::Cell {
                cell, using, body, ..
            } => {
                let calls = [cell].into_iter().chain(using);
                found.extend(calls.flat_map(|call| &call.args).map(|arg| &arg.value));
                stack.extend(body.iter().map(|stmt| &stmt.kind));
            }
        }
    }
    found
}

/// The expression of an initialiser.
pub(super) fn initial(init: &ast::Initialiser) -> &Expr {
    let (ast::Initialiser::Value(value) | ast::Initialiser::Draw(value)) = init;
    value
}

/// The names that a statement declares; none for the use of a cell.
pub(in crate::lang::sema) fn declared(kind: &StmtKind) -> Vec<&Ident> {
    match kind {
        StmtKind::Decl { entries, .. } => entries.iter().map(|entry| &entry.name).collect(),
        StmtKind::Plastic { name, .. } => vec![name],
        StmtKind::Let { target, .. } => vec![target],
        StmtKind::Cell { .. }
        | StmtKind::Update { .. }
        | StmtKind::Transmit { .. }
        | StmtKind::Connect { .. }
        | StmtKind::Allow { .. }
        | StmtKind::On { .. }
        | StmtKind::When { .. }
        | StmtKind::For { .. } => Vec::new(),
    }
}

/// The names that statements of a bundle declare in it.
pub(super) fn bundle_names(body: &[Stmt]) -> BTreeSet<&str> {
    body.iter()
        .flat_map(|stmt| declared(&stmt.kind))
        .map(|name| name.name.as_str())
        .collect()
}
