//! The library's rules and cells that a spec uses.

use crate::lang::diag::{Diagnostics, SourceMap};
use crate::lang::library as rules;
use crate::lang::syntax::ast::{self, Expr, ExprKind, ItemKind, RuleUse, Stmt, StmtKind};
use std::collections::BTreeSet;

/// Names that may be those of library rules and cells.
#[derive(Default)]
struct UsedNames {
    rules: BTreeSet<String>,
    cells: BTreeSet<String>,
}

/// Appends the library rules and cells that `files` use without declaring them, and those that these use in
/// turn.
pub fn add_library(
    files: &mut Vec<ast::File>,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) {
    let mut wanted = UsedNames::default();
    let mut declared = UsedNames::default();
    let mut next = 0;
    while next < files.len() {
        for file in &files[next..] {
            for item in &file.items {
                wanted.item(&item.kind, &mut declared);
            }
        }
        next = files.len();
        for name in std::mem::take(&mut wanted.cells) {
            if let (Some(text), true) =
                (rules::cell_text(&name), declared.cells.insert(name.clone()))
            {
                let source = sources.add(format!("cell library: {name}.bpm"), text);
                files.push(crate::lang::syntax::parse(source, text, diagnostics));
            }
        }
    }
    for name in wanted.rules {
        if let (Some(text), false) = (rules::text(&name), declared.rules.contains(&name)) {
            let source = sources.add(format!("rule library: {name}.bpm"), text);
            files.push(crate::lang::syntax::parse(source, text, diagnostics));
        }
    }
}

impl UsedNames {
    fn item(&mut self, item: &ItemKind, declared: &mut UsedNames) {
        match item {
            ItemKind::Rule { name, .. } => {
                declared.rules.insert(name.name.clone());
            }
            ItemKind::Cell { name, params, body } => {
                declared.cells.insert(name.name.clone());
                for default in params.iter().filter_map(|param| param.default.as_ref()) {
                    self.value(default);
                }
                self.body(body);
            }
            ItemKind::Network { body, .. } => self.body(body),
            ItemKind::Version
            | ItemKind::Import { .. }
            | ItemKind::Dim { .. }
            | ItemKind::Block(_) => {}
        }
    }

    fn body(&mut self, body: &[Stmt]) {
        for stmt in body {
            match &stmt.kind {
                StmtKind::Plastic { using, .. } => self.using(using.as_ref()),
                StmtKind::Cell { cell, using, .. } => {
                    self.cells.insert(cell.name.name.clone());
                    self.using(using.as_ref());
                    for arg in &cell.args {
                        self.value(&arg.value);
                    }
                }
                StmtKind::For { body, .. } => self.body(body),
                _ => {}
            }
        }
    }

    fn using(&mut self, using: Option<&RuleUse>) {
        self.rules
            .extend(using.map(|using| using.name.name.clone()));
    }

    /// An argument or default of a cell, which may be a rule.
    fn value(&mut self, value: &Expr) {
        match &value.kind {
            ExprKind::Name(path) if path.parts.len() == 1 => {
                self.rules.insert(path.parts[0].name.clone());
            }
            ExprKind::Call { function, .. } => {
                self.rules.insert(function.name.clone());
            }
            _ => {}
        }
    }
}
