//! Expressions as canonical text, on one line if they fit.

use crate::lang::syntax::ast::{Arg, BinaryOp, Expr, ExprKind, Ident, Path};
use crate::lang::syntax::expression::{is_comparison, PREFIX_PRECEDENCE};

use super::{INDENT, WIDTH};

/// The precedence of expressions that never need parentheses.
const PRIMARY: u8 = 8;

/// A path with its indices, on one line.
pub(super) fn path(path: &Path) -> String {
    let parts: Vec<String> = path.parts.iter().map(ident).collect();
    parts.join(".")
}

/// A name with its index, on one line.
pub(super) fn ident(ident: &Ident) -> String {
    let mut text = ident.name.clone();
    if let Some(index) = &ident.index {
        let mut line = OneLineWriter {
            out: String::new(),
            budget: usize::MAX,
        };
        line.expression(index, 0);
        text.push_str(&format!("[{}]", line.out));
    }
    text
}

/// Prints an expression from column `column` of a line indented by `indent`, with `after` more characters on
/// its last line.
pub(super) fn layout(expr: &Expr, indent: usize, column: usize, after: usize) -> String {
    let mut writer = Writer {
        out: String::new(),
        column,
        after,
    };
    writer.expression(expr, 0, indent);
    writer.out
}

/// Prints `name(arg, n = arg)` in the same way.
pub(super) fn layout_call(
    name: &str,
    args: &[Arg],
    indent: usize,
    column: usize,
    after: usize,
) -> String {
    let mut writer = Writer {
        out: String::new(),
        column,
        after,
    };
    writer.call(name, args, indent);
    writer.out
}

/// The precedence of the outermost operator.
fn precedence(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Unary(..) => PREFIX_PRECEDENCE,
        ExprKind::Binary(op, ..) => op.precedence(),
        _ => PRIMARY,
    }
}

/// The precedence that the left and the right operand of `op` need to stand without parentheses.
fn operand_precedences(op: BinaryOp, right: &Expr) -> (u8, u8) {
    let own = op.precedence();
    if is_comparison(op) {
        (own + 1, own + 1)
    } else if op == BinaryOp::Power {
        // A prefix operator may follow `^`: 2^-x is 2^(-x).
        let right = if matches!(right.kind, ExprKind::Unary(..)) {
            PREFIX_PRECEDENCE
        } else {
            own
        };
        (own + 1, right)
    } else {
        (own, own + 1)
    }
}

/// The sign with blanks around it, except for `^`.
fn sign(op: BinaryOp) -> String {
    match op {
        BinaryOp::Power => op.sign().to_string(),
        _ => format!(" {} ", op.sign()),
    }
}

struct Writer {
    out: String,
    column: usize,
    after: usize,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn new_line(&mut self, indent: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// Prints the expression on one line if it fits, else over several lines.
    fn expression(&mut self, expr: &Expr, least: u8, indent: usize) {
        let bare = precedence(expr) >= least;
        let budget = WIDTH.saturating_sub(self.column + self.after);
        let mut flat = OneLineWriter {
            out: String::new(),
            budget,
        };
        if flat.expression(expr, least) {
            self.push(&flat.out);
            return;
        }
        if !bare {
            self.push("(");
            self.expression(expr, 0, indent);
            self.push(")");
            return;
        }
        match &expr.kind {
            ExprKind::Unary(op, operand) => {
                self.push(op.sign());
                self.expression(operand, PREFIX_PRECEDENCE, indent);
            }
            ExprKind::Binary(op, ..) => self.chain(expr, *op, indent),
            ExprKind::Call { function, args } => self.call(&function.name, args, indent),
            ExprKind::List(elements) => {
                self.sequence("[", "]", elements, indent, |writer, element, inner| {
                    writer.expression(element, 0, inner);
                });
            }
            ExprKind::Element { base, index } => {
                self.expression(base, PRIMARY, indent);
                self.push("[");
                self.expression(index, 0, indent + INDENT);
                self.push("]");
            }
            ExprKind::Slice { base, start, end } => {
                self.expression(base, PRIMARY, indent);
                self.push("[");
                self.expression(start, 0, indent + INDENT);
                self.push(" .. ");
                self.expression(end, 0, indent + INDENT);
                self.push("]");
            }
            ExprKind::Number { .. }
            | ExprKind::Text(_)
            | ExprKind::Name(_)
            | ExprKind::Next(_)
            | ExprKind::External(_) => {
                flat.budget = usize::MAX;
                flat.out.clear();
                flat.expression(expr, 0);
                self.push(&flat.out);
            }
        }
    }

    /// Prints a chain that groups to the left, such as `a + b - c`, with one line per operand.
    fn chain(&mut self, expr: &Expr, op: BinaryOp, indent: usize) {
        let mut links = Vec::new();
        let mut head = expr;
        while let ExprKind::Binary(inner, left, right) = &head.kind {
            // Only operators that group to the left may continue the chain.
            let goes_on = links.is_empty() || !is_comparison(op) && op != BinaryOp::Power;
            if inner.precedence() != op.precedence() || !goes_on {
                break;
            }
            links.push((*inner, right));
            head = left;
        }
        let least = links
            .last()
            .map_or(0, |(op, right)| operand_precedences(*op, right).0);
        let after = std::mem::take(&mut self.after);
        self.expression(head, least, indent);
        for (k, (op, right)) in links.iter().rev().enumerate() {
            self.new_line(indent + INDENT);
            self.push(op.sign());
            if *op != BinaryOp::Power {
                self.push(" ");
            }
            if k + 1 == links.len() {
                self.after = after;
            }
            self.expression(right, operand_precedences(*op, right).1, indent + INDENT);
        }
        self.after = after;
    }

    fn call(&mut self, name: &str, args: &[Arg], indent: usize) {
        let mut flat = OneLineWriter {
            out: String::new(),
            budget: WIDTH.saturating_sub(self.column + self.after),
        };
        if flat.call(name, args) {
            self.push(&flat.out);
            return;
        }
        self.push(name);
        self.sequence("(", ")", args, indent, |writer, arg, inner| {
            if let Some(name) = &arg.name {
                writer.push(&name.name);
                writer.push(" = ");
            }
            writer.expression(&arg.value, 0, inner);
        });
    }

    /// Prints elements between brackets, one per line.
    fn sequence<T>(
        &mut self,
        open: &str,
        close: &str,
        elements: &[T],
        indent: usize,
        write: impl Fn(&mut Writer, &T, usize),
    ) {
        let after = std::mem::replace(&mut self.after, 1);
        self.push(open);
        for (k, element) in elements.iter().enumerate() {
            self.new_line(indent + INDENT);
            write(self, element, indent + INDENT);
            if k + 1 < elements.len() {
                self.push(",");
            }
        }
        if !elements.is_empty() {
            self.new_line(indent);
        }
        self.push(close);
        self.after = after;
    }
}

/// A writer of one line that gives up once its budget of characters is spent.
struct OneLineWriter {
    out: String,
    budget: usize,
}

impl OneLineWriter {
    fn push(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        if length > self.budget {
            return false;
        }
        self.budget -= length;
        self.out.push_str(text);
        true
    }

    fn expression(&mut self, expr: &Expr, least: u8) -> bool {
        if precedence(expr) < least {
            return self.push("(") && self.expression(expr, 0) && self.push(")");
        }
        match &expr.kind {
            ExprKind::Number { text, .. } => self.push(text),
            ExprKind::Text(text) => self.push("\"") && self.push(text) && self.push("\""),
            ExprKind::List(elements) => {
                self.push("[")
                    && elements.iter().enumerate().all(|(k, element)| {
                        (k == 0 || self.push(", ")) && self.expression(element, 0)
                    })
                    && self.push("]")
            }
            ExprKind::Name(name) => self.push(&path(name)),
            ExprKind::Next(name) => self.push("next ") && self.push(&path(name)),
            ExprKind::External(name) => self.push("external ") && self.push(&name.name),
            ExprKind::Unary(op, operand) => {
                self.push(op.sign()) && self.expression(operand, PREFIX_PRECEDENCE)
            }
            ExprKind::Binary(op, left, right) => {
                let (left_least, right_least) = operand_precedences(*op, right);
                self.expression(left, left_least)
                    && self.push(&sign(*op))
                    && self.expression(right, right_least)
            }
            ExprKind::Call { function, args } => self.call(&function.name, args),
            ExprKind::Element { base, index } => {
                self.expression(base, PRIMARY)
                    && self.push("[")
                    && self.expression(index, 0)
                    && self.push("]")
            }
            ExprKind::Slice { base, start, end } => {
                self.expression(base, PRIMARY)
                    && self.push("[")
                    && self.expression(start, 0)
                    && self.push(" .. ")
                    && self.expression(end, 0)
                    && self.push("]")
            }
        }
    }

    fn call(&mut self, name: &str, args: &[Arg]) -> bool {
        self.push(name)
            && self.push("(")
            && args.iter().enumerate().all(|(k, arg)| {
                (k == 0 || self.push(", "))
                    && arg
                        .name
                        .as_ref()
                        .is_none_or(|name| self.push(&name.name) && self.push(" = "))
                    && self.expression(&arg.value, 0)
            })
            && self.push(")")
    }
}
