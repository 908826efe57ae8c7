//! The names and expressions of a statement, for stages that change them.

use crate::lang::syntax::ast::{
    Arg, Expr, ExprKind, Ident, Initialiser, Path, RuleUse, Stmt, StmtKind,
};

/// What is done with each name and each expression of a statement.
pub(super) trait Visitor {
    /// A name that the statement declares or updates.
    fn target(&mut self, name: &mut Ident);
    /// The name of a side of a bundle.
    fn side(&mut self, path: &mut Path);
    /// A whole expression.
    fn expression(&mut self, expr: &mut Expr);

    /// The arguments of a rule or a cell.
    fn arguments(&mut self, call: &mut RuleUse) {
        for Arg { value, .. } in &mut call.args {
            self.expression(value);
        }
    }
}

/// Visits all of a statement but its body, which it returns.
pub(super) fn statement<'s>(
    stmt: &'s mut Stmt,
    visitor: &mut impl Visitor,
) -> Option<&'s mut Vec<Stmt>> {
    match &mut stmt.kind {
        StmtKind::Decl { entries, .. } => {
            for entry in entries {
                visitor.target(&mut entry.name);
                if let Some(size) = &mut entry.size {
                    visitor.expression(size);
                }
                if let Some(Initialiser::Value(value) | Initialiser::Draw(value)) = &mut entry.init
                {
                    visitor.expression(value);
                }
            }
            None
        }
        StmtKind::Plastic {
            name,
            pre,
            post,
            using,
            body,
            ..
        } => {
            visitor.target(name);
            visitor.side(pre);
            visitor.side(post);
            if let Some(using) = using {
                visitor.arguments(using);
            }
            Some(body)
        }
        StmtKind::Cell {
            name,
            cell,
            using,
            body,
            ..
        } => {
            visitor.target(name);
            visitor.arguments(cell);
            if let Some(using) = using {
                visitor.arguments(using);
            }
            Some(body)
        }
        StmtKind::Let {
            target,
            size,
            value,
        } => {
            visitor.target(target);
            if let Some(size) = size {
                visitor.expression(size);
            }
            visitor.expression(value);
            None
        }
        StmtKind::Update { target, value } => {
            visitor.target(target);
            visitor.expression(value);
            None
        }
        StmtKind::Transmit { value } | StmtKind::Connect { mask: value } => {
            visitor.expression(value);
            None
        }
        StmtKind::Allow { .. } => None,
        StmtKind::On {
            start, end, body, ..
        }
        | StmtKind::For {
            start, end, body, ..
        } => {
            visitor.expression(start);
            visitor.expression(end);
            Some(body)
        }
        StmtKind::When { condition, body } => {
            visitor.expression(condition);
            Some(body)
        }
    }
}

/// The direct subexpressions, those of indices of names left out.
pub(super) fn parts_mut(expr: &mut Expr) -> Vec<&mut Expr> {
    match &mut expr.kind {
        ExprKind::Number { .. }
        | ExprKind::Text(_)
        | ExprKind::Name(_)
        | ExprKind::Next(_)
        | ExprKind::External(_) => Vec::new(),
        ExprKind::List(items) => items.iter_mut().collect(),
        ExprKind::Unary(_, x) => vec![x],
        ExprKind::Binary(_, a, b) => vec![a, b],
        ExprKind::Call { args, .. } => args.iter_mut().map(|arg| &mut arg.value).collect(),
        ExprKind::Element { base, index } => vec![base, index],
        ExprKind::Slice { base, start, end } => vec![base, start, end],
    }
}
