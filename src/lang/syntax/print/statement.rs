//! Statements as canonical text.

use crate::lang::syntax::ast::{
    DeclEntry, DeclKind, Expr, Ident, Initialiser, Path, RuleUse, Stmt, StmtKind,
};

use super::expression::{ident, layout, layout_call, path};
use super::{one_line, Braces, Printer, INDENT, WIDTH};

impl Printer<'_> {
    /// Writes `header { body }`, between the brace `open` and `end`.
    pub(super) fn body(
        &mut self,
        header: &str,
        body: &[Stmt],
        open: Option<usize>,
        end: usize,
        limit: usize,
    ) {
        let braces = Braces {
            open,
            end,
            first: body.first().map(|stmt| stmt.span.start as usize),
            limit,
        };
        self.braces(
            header,
            braces,
            |printer| printer.flat_body(body),
            |printer, close| {
                for (k, stmt) in body.iter().enumerate() {
                    let limit = body
                        .get(k + 1)
                        .map_or(close, |next| next.span.start as usize);
                    printer.statement(stmt, limit);
                }
            },
        );
    }

    fn flat_body(&self, body: &[Stmt]) -> Option<String> {
        let body: Option<Vec<String>> = body.iter().map(|stmt| self.flat_statement(stmt)).collect();
        Some(body?.join("; "))
    }

    /// A statement on one line; its source is known to be on one line and without comments.
    fn flat_statement(&self, stmt: &Stmt) -> Option<String> {
        let text = match &stmt.kind {
            StmtKind::Decl { kind, entries } => {
                let column = self.indent + kind.word().len() + 1;
                let entries: Vec<String> = entries
                    .iter()
                    .map(|entry| declared(entry, self.indent, column))
                    .collect();
                format!("{} {}", kind.word(), entries.join(", "))
            }
            StmtKind::Plastic { body, .. } | StmtKind::Cell { body, .. } => {
                let header = self.header(stmt)?;
                if may_lack_body(stmt) && body.is_empty() {
                    header
                } else {
                    one_line(&header, &self.flat_body(body)?)
                }
            }
            StmtKind::On { body, .. }
            | StmtKind::When { body, .. }
            | StmtKind::For { body, .. } => one_line(&self.header(stmt)?, &self.flat_body(body)?),
            StmtKind::Let { .. }
            | StmtKind::Update { .. }
            | StmtKind::Transmit { .. }
            | StmtKind::Connect { .. }
            | StmtKind::Allow { .. } => self.simple(stmt)?,
        };
        self.fits(&text).then_some(text)
    }

    /// A statement without a body, except declarations.
    fn simple(&self, stmt: &Stmt) -> Option<String> {
        if let StmtKind::Allow { code, reason } = &stmt.kind {
            let reason = layout(reason, self.indent, self.indent, 1);
            return Some(format!("allow({}, {reason})", code.name));
        }
        let (head, value) = match &stmt.kind {
            StmtKind::Let {
                target,
                size,
                value,
            } => {
                let size = size.as_ref().map(|size| self.size(size));
                let head = format!("{}{} = ", ident(target), size.unwrap_or_default());
                (head, value)
            }
            StmtKind::Update { target, value } => (format!("{} <- ", ident(target)), value),
            StmtKind::Transmit { value } => ("transmit ".to_string(), value),
            StmtKind::Connect { mask } => ("connect where ".to_string(), mask),
            StmtKind::Decl { .. }
            | StmtKind::Plastic { .. }
            | StmtKind::Cell { .. }
            | StmtKind::On { .. }
            | StmtKind::When { .. }
            | StmtKind::Allow { .. }
            | StmtKind::For { .. } => return None,
        };
        let column = self.indent + head.chars().count();
        Some(head + &layout(value, self.indent, column, 0))
    }

    /// The text `: [8]`.
    fn size(&self, size: &Expr) -> String {
        format!(": [{}]", layout(size, self.indent, self.indent, 1))
    }

    /// The text before the body of a statement that can have one.
    fn header(&self, stmt: &Stmt) -> Option<String> {
        match &stmt.kind {
            StmtKind::Plastic {
                name,
                pre,
                post,
                using,
                reset,
                ..
            } => {
                let head = format!("plastic {}: {} -> {}", ident(name), path(pre), path(post));
                Some(self.clauses(head, using.as_ref(), reset.as_ref()))
            }
            StmtKind::Cell {
                name,
                cell,
                using,
                reset,
                ..
            } => {
                let head = format!("cell {}: ", ident(name));
                let column = self.indent + head.chars().count();
                let call = layout_call(&cell.name.name, &cell.args, self.indent, column, 2);
                Some(self.clauses(head + &call, using.as_ref(), reset.as_ref()))
            }
            StmtKind::On {
                side, start, end, ..
            } => {
                let column = self.indent + side.name.chars().count() + 4;
                let start = layout(start, self.indent, column, 5);
                let end = layout(end, self.indent, column + start.chars().count() + 4, 3);
                Some(format!("on {}[{start} .. {end}]", side.name))
            }
            StmtKind::For {
                variable,
                start,
                end,
                ..
            } => {
                let head = format!("for {} in ", variable.name);
                let column = self.indent + head.chars().count();
                let start = layout(start, self.indent, column, 5);
                let end = layout(end, self.indent, column + start.chars().count() + 4, 3);
                Some(format!("{head}{start} .. {end}"))
            }
            StmtKind::When { condition, .. } => {
                let condition = layout(condition, self.indent, self.indent + 5, 2);
                Some(format!("when {condition}"))
            }
            StmtKind::Decl { .. }
            | StmtKind::Let { .. }
            | StmtKind::Update { .. }
            | StmtKind::Allow { .. }
            | StmtKind::Connect { .. }
            | StmtKind::Transmit { .. } => None,
        }
    }

    /// The text `head using rule(..) reset policy`.
    fn clauses(&self, mut head: String, using: Option<&RuleUse>, reset: Option<&Ident>) -> String {
        let reset = reset.map_or(String::new(), |reset| format!(" reset {}", reset.name));
        if let Some(using) = using {
            let last = head.rsplit('\n').next().unwrap_or_default();
            let indent = if head.contains('\n') { 0 } else { self.indent };
            let column = indent + last.chars().count() + 7;
            let after = 2 + reset.chars().count();
            let call = layout_call(&using.name.name, &using.args, self.indent, column, after);
            head = format!("{head} using {call}");
        }
        head + &reset
    }

    fn statement(&mut self, stmt: &Stmt, limit: usize) {
        let (start, end) = (stmt.span.start as usize, stmt.span.end as usize);
        let (body, head_end) = match &stmt.kind {
            StmtKind::Decl { kind, entries } => {
                self.declaration(start, *kind, entries, limit);
                return;
            }
            StmtKind::Let { .. }
            | StmtKind::Update { .. }
            | StmtKind::Transmit { .. }
            | StmtKind::Connect { .. }
            | StmtKind::Allow { .. } => {
                if let Some(text) = self.simple(stmt) {
                    self.single(start, end, limit, &text);
                }
                return;
            }
            StmtKind::Plastic {
                post: Path { span, .. },
                using,
                reset,
                body,
                ..
            }
            | StmtKind::Cell {
                cell: RuleUse { span, .. },
                using,
                reset,
                body,
                ..
            } => {
                let using = using.as_ref().map(|using| using.span);
                let reset = reset.as_ref().map(|reset| reset.span);
                (body, reset.or(using).unwrap_or(*span).end)
            }
            StmtKind::On { end, body, .. } | StmtKind::For { end, body, .. } => {
                (body, end.span.end)
            }
            StmtKind::When { condition, body } => (body, condition.span.end),
        };
        let head_end = head_end as usize;
        let open = self.open_brace(head_end, end);
        self.lead(start, open.unwrap_or(end));
        let header = self.header(stmt).unwrap_or_default();
        if may_lack_body(stmt) && body.is_empty() && !self.has_comment(head_end, end) {
            self.start_line(&header);
            self.finish_line(end, limit);
        } else {
            self.body(&header, body, open, end, limit);
        }
    }

    fn declaration(&mut self, start: usize, kind: DeclKind, entries: &[DeclEntry], limit: usize) {
        let outer = self.indent;
        let mut line = kind.word().to_string();
        let mut rest = entries;
        let mut is_first = true;
        while !rest.is_empty() {
            let (group, after) = rest.split_at(self.count_on_line(rest));
            rest = after;
            let Some(end) = group.last().map(|entry| entry.span.end as usize) else {
                break;
            };
            if is_first {
                self.lead(start, end);
            } else {
                self.comments_before(end, false);
            }
            for entry in group {
                let separator = if is_first { " " } else { ", " };
                let column = self.indent + if is_first { line.len() + 1 } else { 0 };
                let text = declared(entry, self.indent, column);
                let joined = format!("{line}{separator}{text}");
                // A comma may have to follow.
                if is_first || line.is_empty() {
                    line = if line.is_empty() { text } else { joined };
                } else if !joined.contains('\n') && self.indent + joined.chars().count() < WIDTH {
                    line = joined;
                } else {
                    self.start_line(&line);
                    self.out.push_str(",\n");
                    self.indent = outer + INDENT;
                    line = declared(entry, self.indent, self.indent);
                }
                is_first = false;
            }
            self.start_line(&line);
            line.clear();
            match rest.first() {
                Some(next) => {
                    self.out.push(',');
                    self.finish_line(end, next.span.start as usize);
                }
                None => self.finish_line(end, limit),
            }
            self.indent = outer + INDENT;
        }
        self.indent = outer;
    }

    /// The number of entries on the first one's line.
    fn count_on_line(&self, entries: &[DeclEntry]) -> usize {
        let joins = |pair: &&[DeclEntry]| {
            self.same_line(pair[0].span.end as usize, pair[1].span.start as usize)
        };
        entries.windows(2).take_while(joins).count() + 1
    }
}

/// Returns true if the braces may be omitted.
fn may_lack_body(stmt: &Stmt) -> bool {
    matches!(
        stmt.kind,
        StmtKind::Plastic { using: Some(_), .. } | StmtKind::Cell { .. }
    )
}

/// The text `h: [200] = 0 per post reset trial`, from `column` of a line indented by `indent`.
fn declared(entry: &DeclEntry, indent: usize, column: usize) -> String {
    let mut tail = String::new();
    if let Some(per) = &entry.per {
        tail.push_str(&format!(" per {}", per.name));
    }
    if let Some(reset) = &entry.reset {
        tail.push_str(&format!(" reset {}", reset.name));
    }
    let after = tail.chars().count() + 1;
    let mut text = ident(&entry.name);
    if let Some(size) = &entry.size {
        text.push_str(": [");
        let at = column + text.chars().count();
        text.push_str(&layout(size, indent, at, 1));
        text.push(']');
    }
    let (sign, value) = match &entry.init {
        Some(Initialiser::Value(value)) => (" = ", value),
        Some(Initialiser::Draw(value)) => (" ~ ", value),
        None => return text + &tail,
    };
    text.push_str(sign);
    let at = column + text.chars().count();
    text + &layout(value, indent, at, after) + &tail
}
