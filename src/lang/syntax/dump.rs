//! The syntax tree as indented text, without places, for `--emit ast` and snapshots.

use std::fmt::Write;

use super::ast::{
    Arg, Block, DeclEntry, Entry, Expr, ExprKind, File, Ident, Initialiser, ItemKind, Path, Stmt,
    StmtKind,
};
use super::version::VERSION;

/// Prints the tree of `file`, one node per line, children indented by two spaces. Expressions are on one line
/// with all their parentheses. Two trees have the same text exactly if they are equal apart from spans and
/// comments.
pub fn dump(file: &File) -> String {
    let mut dumper = Dumper {
        out: String::new(),
        depth: 0,
    };
    for item in &file.items {
        dumper.item(&item.kind);
    }
    dumper.out
}

struct Dumper {
    out: String,
    depth: usize,
}

impl Dumper {
    fn line(&mut self, text: &str) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn inside(&mut self, parts: impl FnOnce(&mut Dumper)) {
        self.depth += 1;
        parts(self);
        self.depth -= 1;
    }

    fn item(&mut self, kind: &ItemKind) {
        match kind {
            ItemKind::Version => self.line(&format!("bpm {VERSION}")),
            ItemKind::Import { path, .. } => self.line(&format!("import \"{path}\"")),
            ItemKind::Dim { name, value } => {
                self.line(&format!("dim {}", name.name));
                self.inside(|d| d.line(&format!("= {}", expression(value))));
            }
            ItemKind::Rule { name, params, body } | ItemKind::Cell { name, params, body } => {
                let word = match kind {
                    ItemKind::Cell { .. } => "cell",
                    _ => "rule",
                };
                self.line(&format!("{word} {}", name.name));
                self.inside(|d| {
                    for param in params {
                        d.line(&format!("parameter {}", param.name.name));
                        if let Some(default) = &param.default {
                            d.inside(|d| d.line(&format!("= {}", expression(default))));
                        }
                    }
                    d.body(body);
                });
            }
            ItemKind::Network { name, body } => {
                self.line(&format!("network {}", name.name));
                self.inside(|d| d.body(body));
            }
            ItemKind::Block(block) => self.block(block),
        }
    }

    fn block(&mut self, block: &Block) {
        let name = block.name.as_ref().map(|name| format!(" {}", name.name));
        self.line(&format!(
            "block {}{}",
            block.keyword.name,
            name.unwrap_or_default()
        ));
        self.inside(|d| {
            for entry in &block.entries {
                match entry {
                    Entry::Setting { key, value, .. } => {
                        d.line(&format!("set {}", path(key)));
                        d.inside(|d| d.line(&format!("= {}", expression(value))));
                    }
                    Entry::Block(inner) => d.block(inner),
                }
            }
        });
    }

    fn body(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.statement(&stmt.kind);
        }
    }

    fn statement(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::Decl { kind, entries } => match entries.as_slice() {
                [entry] => self.declared(kind.word(), entry),
                entries => {
                    self.line(kind.word());
                    self.inside(|d| entries.iter().for_each(|entry| d.declared("name", entry)));
                }
            },
            StmtKind::Plastic {
                name,
                pre,
                post,
                using,
                reset,
                body,
            } => {
                self.line(&format!(
                    "plastic {}: {} -> {}",
                    ident(name),
                    path(pre),
                    path(post)
                ));
                self.inside(|d| {
                    if let Some(using) = using {
                        d.line(&format!("using {}", call(&using.name, &using.args)));
                    }
                    if let Some(reset) = reset {
                        d.line(&format!("reset {}", reset.name));
                    }
                    d.body(body);
                });
            }
            StmtKind::Cell {
                name,
                cell,
                using,
                reset,
                body,
            } => {
                self.line(&format!(
                    "cell {}: {}",
                    ident(name),
                    call(&cell.name, &cell.args)
                ));
                self.inside(|d| {
                    if let Some(using) = using {
                        d.line(&format!("using {}", call(&using.name, &using.args)));
                    }
                    if let Some(reset) = reset {
                        d.line(&format!("reset {}", reset.name));
                    }
                    d.body(body);
                });
            }
            StmtKind::Let {
                target,
                size,
                value,
            } => {
                let size = size.as_ref().map(|size| format!(": {}", expression(size)));
                let target = format!("{}{}", ident(target), size.unwrap_or_default());
                self.assignment("let", &target, "=", value);
            }
            StmtKind::Update { target, value } => {
                self.assignment("update", &ident(target), "<-", value)
            }
            StmtKind::Transmit { value } => {
                self.line("transmit");
                self.inside(|d| d.line(&expression(value)));
            }
            StmtKind::On {
                side,
                start,
                end,
                body,
            } => {
                let (start, end) = (expression(start), expression(end));
                self.line(&format!("on {}[{start} .. {end}]", side.name));
                self.inside(|d| d.body(body));
            }
            StmtKind::For {
                variable,
                start,
                end,
                body,
            } => {
                let (start, end) = (expression(start), expression(end));
                self.line(&format!("for {} in {start} .. {end}", variable.name));
                self.inside(|d| d.body(body));
            }
            StmtKind::Connect { mask } => {
                self.line(&format!("connect where {}", expression(mask)));
            }
            StmtKind::Allow { code, reason } => {
                self.line(&format!("allow {} {}", code.name, expression(reason)));
            }
            StmtKind::When { condition, body } => {
                self.line(&format!("when {}", expression(condition)));
                self.inside(|d| d.body(body));
            }
        }
    }

    fn assignment(&mut self, word: &str, name: &str, sign: &str, value: &Expr) {
        self.line(&format!("{word} {name}"));
        self.inside(|d| d.line(&format!("{sign} {}", expression(value))));
    }

    fn declared(&mut self, word: &str, entry: &DeclEntry) {
        self.line(&format!("{word} {}", ident(&entry.name)));
        self.inside(|d| {
            if let Some(size) = &entry.size {
                d.line(&format!(": {}", expression(size)));
            }
            match &entry.init {
                Some(Initialiser::Value(value)) => d.line(&format!("= {}", expression(value))),
                Some(Initialiser::Draw(value)) => d.line(&format!("~ {}", expression(value))),
                None => {}
            }
            if let Some(per) = &entry.per {
                d.line(&format!("per {}", per.name));
            }
            if let Some(reset) = &entry.reset {
                d.line(&format!("reset {}", reset.name));
            }
        });
    }
}

fn path(path: &Path) -> String {
    let parts: Vec<String> = path.parts.iter().map(ident).collect();
    parts.join(".")
}

fn ident(ident: &Ident) -> String {
    match &ident.index {
        Some(index) => format!("{}[{}]", ident.name, expression(index)),
        None => ident.name.clone(),
    }
}

fn call(function: &Ident, args: &[Arg]) -> String {
    let args: Vec<String> = args
        .iter()
        .map(|arg| match &arg.name {
            Some(name) => format!("{} = {}", name.name, expression(&arg.value)),
            None => expression(&arg.value),
        })
        .collect();
    format!("{}({})", function.name, args.join(", "))
}

fn expression(expr: &Expr) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_expression(&mut out, expr);
    out
}

fn write_expression(out: &mut String, expr: &Expr) -> std::fmt::Result {
    match &expr.kind {
        ExprKind::Number { text, .. } => out.write_str(text),
        ExprKind::Text(text) => write!(out, "\"{text}\""),
        ExprKind::List(elements) => {
            out.write_char('[')?;
            for (k, element) in elements.iter().enumerate() {
                if k > 0 {
                    out.write_str(", ")?;
                }
                write_expression(out, element)?;
            }
            out.write_char(']')
        }
        ExprKind::Name(name) => out.write_str(&path(name)),
        ExprKind::Next(name) => write!(out, "(next {})", path(name)),
        ExprKind::External(name) => write!(out, "(external {})", name.name),
        ExprKind::Unary(op, operand) => {
            write!(out, "({}", op.sign())?;
            write_expression(out, operand)?;
            out.write_char(')')
        }
        ExprKind::Binary(op, left, right) => {
            out.write_char('(')?;
            write_expression(out, left)?;
            write!(out, " {} ", op.sign())?;
            write_expression(out, right)?;
            out.write_char(')')
        }
        ExprKind::Call { function, args } => out.write_str(&call(function, args)),
        ExprKind::Element { base, index } => {
            write_expression(out, base)?;
            out.write_char('[')?;
            write_expression(out, index)?;
            out.write_char(']')
        }
        ExprKind::Slice { base, start, end } => {
            write_expression(out, base)?;
            out.write_char('[')?;
            write_expression(out, start)?;
            out.write_str(" .. ")?;
            write_expression(out, end)?;
            out.write_char(']')
        }
    }
}
