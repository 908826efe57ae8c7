//! Ways to make a spec smaller: pieces of its text to be replaced.

use bpmc::lang::diag::{Diagnostics, SourceId, Span};
use bpmc::lang::syntax::ast::{
    DeclEntry, DeclKind, Entry, Expr, ExprKind, File, Initialiser, ItemKind, Stmt, StmtKind,
};
use bpmc::lang::syntax::parse;
use std::ops::Range;

/// Replacements of pieces of a text that belong together.
pub type Edit = Vec<(Range<usize>, String)>;

/// How large a spec is: words of expressions and statements, sizes, characters.
pub fn weight(text: &str) -> (usize, usize, usize) {
    let mut seen = Seen::default();
    let file = tree(text);
    seen.file(&file);
    let nodes = |expr: &&Expr| match &expr.kind {
        ExprKind::Number { .. } => 1,
        ExprKind::Next(_) => 3,
        _ => 2,
    };
    let words = seen.expressions.iter().map(nodes).sum::<usize>() + 3 * seen.statements.len();
    let sizes = seen.sizes.iter().filter_map(|expr| whole(expr)).sum();
    (words, sizes, text.len())
}

/// All edits of a text, the boldest first.
pub fn edits(text: &str) -> Vec<Edit> {
    let file = tree(text);
    let mut seen = Seen::default();
    seen.file(&file);
    let mut all: Vec<Edit> = Vec::new();
    for size in &seen.sizes {
        let Some(n) = whole(size) else { continue };
        for smaller in [1, 2, 3, n / 2, n - 1] {
            if smaller > 0 && smaller < n {
                all.push(vec![(size.span.range(), smaller.to_string())]);
            }
        }
    }
    for (k, (_, scope)) in seen.statements.iter().enumerate() {
        all.extend(removals(&seen, k, *scope, text));
    }
    for (stmt, _) in &seen.statements {
        if let StmtKind::Decl { entries, .. } = &stmt.kind {
            for word in entries.iter().flat_map(|e| [&e.per, &e.reset]).flatten() {
                let end = word.span.range().end;
                let start = text[..word.span.range().start].trim_end();
                let start = start.rfind(' ').unwrap_or(start.len());
                all.push(vec![(start..end, String::new())]);
            }
        }
    }
    for expr in &seen.expressions {
        all.extend(simpler(expr, text));
    }
    all
}

/// The text after an edit. Of pieces within one another the outer one counts.
pub fn apply(text: &str, edit: &Edit) -> String {
    let mut pieces: Vec<&(Range<usize>, String)> = edit.iter().collect();
    pieces.sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
    let mut out = String::new();
    let mut at = 0;
    for (range, piece) in pieces {
        if range.start >= at {
            out.push_str(&text[at..range.start]);
            out.push_str(piece);
            at = range.end;
        }
    }
    out + &text[at..]
}

/// The tree of a text.
pub fn tree(text: &str) -> File {
    parse(SourceId(0), text, &mut Diagnostics::new())
}

/// All expressions whose values a network computes.
pub fn expressions(file: &File) -> Vec<&Expr> {
    let mut seen = Seen::default();
    seen.file(file);
    seen.expressions
}

fn whole(expr: &Expr) -> Option<usize> {
    match expr.kind {
        ExprKind::Number { value, .. } if value.fract() == 0.0 => Some(value as usize),
        _ => None,
    }
}

/// A statement without itself, and a name without all that speaks of it.
fn removals(seen: &Seen<'_>, k: usize, scope: Span, text: &str) -> Vec<Edit> {
    let stmt = seen.statements[k].0;
    let mut all = Vec::new();
    let name = match &stmt.kind {
        StmtKind::Decl { entries, .. } => entries.first().map(|entry| &entry.name.name),
        StmtKind::Let { target, .. } => Some(&target.name),
        StmtKind::Plastic { name, .. } | StmtKind::Cell { name, .. } => Some(&name.name),
        StmtKind::Update { .. }
        | StmtKind::Transmit { .. }
        | StmtKind::Connect { .. }
        | StmtKind::Allow { .. }
        | StmtKind::On { .. }
        | StmtKind::When { .. }
        | StmtKind::For { .. } => None,
    };
    let gone = || (stmt.span.range(), String::new());
    // What a bundle sends may be what it hears.
    let heard = match &stmt.kind {
        StmtKind::Plastic { pre, .. } => Some(&text[pre.span.range()]),
        _ => None,
    };
    for value in heard.into_iter().chain(["0.5"]) {
        let Some(name) = name else { break };
        let inside = |span: Span| span.start >= scope.start && span.end <= scope.end;
        let mut edit = vec![gone()];
        for (other, _) in &seen.statements {
            if matches!(&other.kind, StmtKind::Update { target, .. } if target.name == *name)
                && inside(other.span)
            {
                edit.push((other.span.range(), String::new()));
            }
        }
        for expr in &seen.expressions {
            if let ExprKind::Name(path) | ExprKind::Next(path) = &expr.kind {
                if path.parts.len() == 1 && path.parts[0].name == *name && inside(expr.span) {
                    edit.push((expr.span.range(), value.to_owned()));
                }
            }
        }
        all.push(edit);
    }
    all.push(vec![gone()]);
    if let StmtKind::On { body, .. } | StmtKind::When { body, .. } = &stmt.kind {
        if let (Some(first), Some(last)) = (body.first(), body.last()) {
            let inner = &text[first.span.range().start..last.span.range().end];
            all.push(vec![(stmt.span.range(), inner.to_owned())]);
        }
    }
    all
}

/// An expression as one of its operands or a number.
fn simpler(expr: &Expr, text: &str) -> Vec<Edit> {
    let mut all = Vec::new();
    let mut operands: Vec<&Expr> = Vec::new();
    match &expr.kind {
        ExprKind::Unary(_, x) => operands.push(x),
        ExprKind::Binary(_, a, b) => operands.extend([&**a, &**b]),
        ExprKind::Element { base, .. } | ExprKind::Slice { base, .. } => operands.push(base),
        ExprKind::Call { args, .. } => {
            operands.extend(args.iter().filter(|a| a.name.is_none()).map(|a| &a.value));
            for pair in args.windows(2).filter(|pair| pair[1].name.is_some()) {
                let range = pair[0].value.span.range().end..pair[1].value.span.range().end;
                // Brackets around the first argument are not part of it.
                let comma = text[range.clone()].find(',').unwrap_or(0);
                all.push(vec![(range.start + comma..range.end, String::new())]);
            }
        }
        ExprKind::Number { .. }
        | ExprKind::Text(_)
        | ExprKind::List(_)
        | ExprKind::Name(_)
        | ExprKind::Next(_)
        | ExprKind::External(_) => {}
    }
    let at = expr.span.range();
    for number in ["0", "1", "0.5"] {
        all.push(vec![(at.clone(), number.to_owned())]);
    }
    for operand in operands {
        let operand = &text[operand.span.range()];
        all.push(vec![(at.clone(), format!("({operand})"))]);
    }
    all
}

/// What a tree is made of.
#[derive(Default)]
struct Seen<'a> {
    /// Each with the span in which its name can be read.
    statements: Vec<(&'a Stmt, Span)>,
    expressions: Vec<&'a Expr>,
    sizes: Vec<&'a Expr>,
}

impl<'a> Seen<'a> {
    fn file(&mut self, file: &'a File) {
        for item in &file.items {
            match &item.kind {
                ItemKind::Dim { value, .. } => self.sizes.push(value),
                ItemKind::Network { body, .. } => self.body(body, item.span),
                ItemKind::Block(block) => {
                    for entry in &block.entries {
                        if let Entry::Setting { value, .. } = entry {
                            self.sizes.push(value);
                        }
                    }
                }
                ItemKind::Version
                | ItemKind::Import { .. }
                | ItemKind::Rule { .. }
                | ItemKind::Cell { .. } => {}
            }
        }
    }

    fn body(&mut self, body: &'a [Stmt], scope: Span) {
        for stmt in body {
            self.statements.push((stmt, scope));
            match &stmt.kind {
                StmtKind::Decl { kind, entries } => {
                    entries.iter().for_each(|entry| self.entry(*kind, entry));
                }
                StmtKind::Plastic { body, .. } => self.body(body, stmt.span),
                StmtKind::Cell { .. } | StmtKind::Connect { .. } | StmtKind::Allow { .. } => {}
                StmtKind::Let { value, .. }
                | StmtKind::Update { value, .. }
                | StmtKind::Transmit { value } => self.expression(value),
                StmtKind::On {
                    start, end, body, ..
                }
                | StmtKind::For {
                    start, end, body, ..
                } => {
                    self.expression(start);
                    self.expression(end);
                    self.body(body, scope);
                }
                StmtKind::When { condition, body } => {
                    self.expression(condition);
                    self.body(body, scope);
                }
            }
        }
    }

    fn entry(&mut self, kind: DeclKind, entry: &'a DeclEntry) {
        self.sizes.extend(&entry.size);
        let Some(Initialiser::Value(value)) = &entry.init else {
            return;
        };
        let computed = match kind {
            DeclKind::Modulator | DeclKind::Output | DeclKind::State | DeclKind::Trace => true,
            DeclKind::Input
            | DeclKind::Noise
            | DeclKind::Weight
            | DeclKind::Coeff
            | DeclKind::Trained
            | DeclKind::Const => false,
        };
        if computed {
            self.expression(value);
        }
    }

    fn expression(&mut self, root: &'a Expr) {
        let mut stack = vec![root];
        while let Some(expr) = stack.pop() {
            self.expressions.push(expr);
            match &expr.kind {
                ExprKind::Unary(_, x) => stack.push(x),
                ExprKind::Binary(_, a, b) => stack.extend([&**a, &**b]),
                ExprKind::Element { base, index } => stack.extend([&**base, &**index]),
                ExprKind::Slice { base, start, end } => stack.extend([&**base, &**start, &**end]),
                ExprKind::Call { args, .. } => {
                    stack.extend(args.iter().filter(|a| a.name.is_none()).map(|a| &a.value));
                }
                ExprKind::List(items) => stack.extend(items),
                ExprKind::Number { .. }
                | ExprKind::Text(_)
                | ExprKind::Name(_)
                | ExprKind::Next(_)
                | ExprKind::External(_) => {}
            }
        }
    }
}
