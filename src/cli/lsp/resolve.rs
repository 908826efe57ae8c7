//! The uses of names: each word of a spec that means something declared.

use super::symbols::{Kind, Symbols, TOP};
use crate::lang::diag::Span;
use crate::lang::syntax::ast::{
    self, DeclEntry, Entry, Expr, ExprKind, Initialiser, ItemKind, Path, RuleUse, Stmt, StmtKind,
};

/// Marks all uses in files whose declarations are known.
pub(super) fn uses(symbols: &mut Symbols, files: &[ast::File]) {
    for item in files.iter().flat_map(|file| &file.items) {
        match &item.kind {
            ItemKind::Version | ItemKind::Import { .. } => {}
            ItemKind::Dim { value, .. } => expr(symbols, TOP, value),
            ItemKind::Rule { name, params, body } | ItemKind::Cell { name, params, body } => {
                let scope = scope_of(symbols, TOP, &name.name);
                for default in params.iter().filter_map(|param| param.default.as_ref()) {
                    expr(symbols, scope, default);
                }
                statements(symbols, scope, body);
            }
            ItemKind::Network { name, body } => {
                let scope = scope_of(symbols, TOP, &name.name);
                statements(symbols, scope, body);
            }
            ItemKind::Block(block) => entries(symbols, block),
        }
    }
}

/// The scope inside the thing of this name.
fn scope_of(symbols: &Symbols, scope: usize, name: &str) -> usize {
    let symbol = symbols.find(scope, name);
    let inside = symbol.and_then(|symbol| symbols.inside.get(&symbol));
    inside.copied().unwrap_or(scope)
}

/// The scope of the network.
fn network(symbols: &Symbols) -> usize {
    let mut list = symbols.list.iter();
    let network = list.position(|symbol| symbol.kind == Kind::Network);
    let inside = network.and_then(|network| symbols.inside.get(&network));
    inside.copied().unwrap_or(TOP)
}

/// The values of settings, and keys that are names of the network.
fn entries(symbols: &mut Symbols, block: &ast::Block) {
    let scope = network(symbols);
    let names_the_network = matches!(block.keyword.name.as_str(), "loss" | "grad_scale");
    for entry in &block.entries {
        match entry {
            Entry::Setting { key, value, .. } => {
                if names_the_network {
                    path(symbols, scope, key);
                }
                expr(symbols, TOP, value);
            }
            Entry::Block(inner) => entries(symbols, inner),
        }
    }
}

fn statements(symbols: &mut Symbols, scope: usize, body: &[Stmt]) {
    for stmt in body {
        statement(symbols, scope, stmt);
    }
}

fn statement(symbols: &mut Symbols, scope: usize, stmt: &Stmt) {
    match &stmt.kind {
        StmtKind::Decl { entries, .. } => {
            for entry in entries {
                declared(symbols, scope, entry);
            }
        }
        StmtKind::Plastic {
            name,
            pre,
            post,
            using,
            body,
            ..
        } => {
            index(symbols, scope, name);
            path(symbols, scope, pre);
            path(symbols, scope, post);
            if let Some(rule) = using {
                rule_use(symbols, scope, rule);
            }
            let inner = scope_of(symbols, scope, &name.name);
            statements(symbols, inner, body);
        }
        StmtKind::Cell {
            name,
            cell,
            using,
            body,
            ..
        } => {
            index(symbols, scope, name);
            rule_use(symbols, scope, cell);
            let inner = scope_of(symbols, scope, &name.name);
            if let Some(rule) = using {
                rule_use(symbols, inner, rule);
            }
            statements(symbols, inner, body);
        }
        StmtKind::Let {
            target,
            size,
            value,
        } => {
            index(symbols, scope, target);
            if let Some(size) = size {
                expr(symbols, scope, size);
            }
            expr(symbols, scope, value);
        }
        StmtKind::Update { target, value } => {
            index(symbols, scope, target);
            if let Some(symbol) = symbols.find(scope, &target.name) {
                symbols.mark(target.span, symbol, Some(stmt.span));
            }
            expr(symbols, scope, value);
        }
        StmtKind::Transmit { value } | StmtKind::Connect { mask: value } => {
            expr(symbols, scope, value);
        }
        StmtKind::Allow { .. } => {}
        StmtKind::On {
            start, end, body, ..
        } => {
            expr(symbols, scope, start);
            expr(symbols, scope, end);
            statements(symbols, scope, body);
        }
        StmtKind::When { condition, body } => {
            expr(symbols, scope, condition);
            statements(symbols, scope, body);
        }
        StmtKind::For {
            start, end, body, ..
        } => {
            expr(symbols, scope, start);
            expr(symbols, scope, end);
            let place = (stmt.span.source, stmt.span.start);
            match symbols.repeated.get(&place).copied() {
                Some(inner) => {
                    symbols.scopes[inner].parent = Some(scope);
                    statements_of_loop(symbols, inner, body);
                }
                None => statements(symbols, scope, body),
            }
        }
    }
}

/// Statements of a repetition. A bundle in it is declared around it, and sees the index as well.
fn statements_of_loop(symbols: &mut Symbols, inner: usize, body: &[Stmt]) {
    for stmt in body {
        let own = match &stmt.kind {
            StmtKind::Plastic { name, .. } | StmtKind::Cell { name, .. } => Some(&name.name),
            _ => None,
        };
        let own = own.map(|name| scope_of(symbols, inner, name));
        let own = own.filter(|own| *own != inner);
        let parent = own.map(|own| symbols.scopes[own].parent.replace(inner));
        statement(symbols, inner, stmt);
        if let (Some(own), Some(parent)) = (own, parent) {
            symbols.scopes[own].parent = parent;
        }
    }
}

fn declared(symbols: &mut Symbols, scope: usize, entry: &DeclEntry) {
    index(symbols, scope, &entry.name);
    if let Some(size) = &entry.size {
        expr(symbols, scope, size);
    }
    if let Some(Initialiser::Value(value) | Initialiser::Draw(value)) = &entry.init {
        expr(symbols, scope, value);
    }
}

/// A rule or a cell with its arguments.
fn rule_use(symbols: &mut Symbols, scope: usize, rule: &RuleUse) {
    let symbol = symbols.find(TOP, &rule.name.name);
    if let Some(symbol) = symbol {
        symbols.mark(rule.name.span, symbol, None);
    }
    arguments(symbols, scope, symbol, &rule.args);
}

fn arguments(symbols: &mut Symbols, scope: usize, of: Option<usize>, args: &[ast::Arg]) {
    for arg in args {
        if let (Some(name), Some(of)) = (&arg.name, of) {
            if let Some(parameter) = symbols.member(of, &name.name) {
                symbols.mark(name.span, parameter, None);
            }
        }
        expr(symbols, scope, &arg.value);
    }
}

/// The index of one of several things of a name.
fn index(symbols: &mut Symbols, scope: usize, name: &ast::Ident) {
    if let Some(index) = &name.index {
        expr(symbols, scope, index);
    }
}

fn path(symbols: &mut Symbols, scope: usize, path: &Path) {
    for part in &path.parts {
        index(symbols, scope, part);
    }
    let [first, rest @ ..] = path.parts.as_slice() else {
        return;
    };
    if let ("task" | "train", [setting]) = (first.name.as_str(), rest) {
        let place = (first.name.clone(), setting.name.clone());
        if let Some(symbol) = symbols.settings.get(&place).copied() {
            symbols.mark(setting.span, symbol, None);
        }
        return;
    }
    if let ("target", [output]) = (first.name.as_str(), rest) {
        let network = network(symbols);
        if let Some(symbol) = symbols.find(network, &output.name) {
            symbols.mark(output.span, symbol, None);
        }
        return;
    }
    let mut found = symbols.find(scope, &first.name);
    mark(symbols, first.span, found);
    for part in rest {
        found = found.and_then(|symbol| symbols.member(symbol, &part.name));
        mark(symbols, part.span, found);
    }
}

fn mark(symbols: &mut Symbols, span: Span, symbol: Option<usize>) {
    if let Some(symbol) = symbol {
        symbols.mark(span, symbol, None);
    }
}

fn expr(symbols: &mut Symbols, scope: usize, value: &Expr) {
    match &value.kind {
        ExprKind::Number { .. } | ExprKind::Text(_) | ExprKind::External(_) => {}
        ExprKind::List(items) => {
            for item in items {
                expr(symbols, scope, item);
            }
        }
        ExprKind::Name(name) | ExprKind::Next(name) => path(symbols, scope, name),
        ExprKind::Unary(_, x) => expr(symbols, scope, x),
        ExprKind::Binary(_, a, b) => {
            expr(symbols, scope, a);
            expr(symbols, scope, b);
        }
        ExprKind::Call { function, args } => {
            // A rule can be an argument of a cell.
            let rule = symbols.find(TOP, &function.name);
            mark(symbols, function.span, rule);
            arguments(symbols, scope, rule, args);
        }
        ExprKind::Element { base, index } => {
            expr(symbols, scope, base);
            expr(symbols, scope, index);
        }
        ExprKind::Slice { base, start, end } => {
            expr(symbols, scope, base);
            expr(symbols, scope, start);
            expr(symbols, scope, end);
        }
    }
}
