//! Expression trees, built from the parser's flat chains of operands and operators.

use std::ops::Range;

use pest::iterators::{Pair, Pairs};

use crate::lang::diag::{Code, Diagnostic};

use super::ast::{Arg, BinaryOp, Expr, ExprKind, UnaryOp};
use super::build::Builder;
use super::parse::{Rule, MAX_EXPRESSION_DEPTH};

/// The binding strength of `-` and `!`: tighter than `*`, looser than `^`.
pub(super) const PREFIX_PRECEDENCE: u8 = 6;

/// An expression with its range, including its brackets, and its depth.
struct Operand {
    expr: Expr,
    outer: Range<usize>,
    depth: usize,
}

/// An operator that waits for its right operand.
enum PendingOperator {
    Prefix(UnaryOp, usize),
    Infix(BinaryOp, Range<usize>),
}

impl PendingOperator {
    fn precedence(&self) -> u8 {
        match self {
            PendingOperator::Prefix(..) => PREFIX_PRECEDENCE,
            PendingOperator::Infix(op, _) => op.precedence(),
        }
    }
}

/// Returns true if operands of `op` group to the left, as in `(a - b) - c`.
fn groups_left(op: BinaryOp) -> bool {
    op != BinaryOp::Power
}

pub(super) fn is_comparison(op: BinaryOp) -> bool {
    op.precedence() == BinaryOp::Equal.precedence()
}

fn infix(sign: &str) -> Option<BinaryOp> {
    Some(match sign {
        "||" => BinaryOp::Or,
        "&&" => BinaryOp::And,
        "==" => BinaryOp::Equal,
        "!=" => BinaryOp::NotEqual,
        "<" => BinaryOp::Less,
        "<=" => BinaryOp::LessEqual,
        ">" => BinaryOp::Greater,
        ">=" => BinaryOp::GreaterEqual,
        "+" => BinaryOp::Add,
        "-" => BinaryOp::Subtract,
        "*" => BinaryOp::Multiply,
        "/" => BinaryOp::Divide,
        "^" => BinaryOp::Power,
        _ => return None,
    })
}

impl Builder<'_, '_, '_> {
    /// The tree of a `Rule::expression`; `None` if an error was reported.
    pub(super) fn expression(&mut self, pair: Pair<'_, Rule>) -> Option<Expr> {
        self.chain(pair).map(|operand| operand.expr)
    }

    /// Folds a chain by precedence with explicit stacks, so that a long chain does not use up the call stack.
    fn chain(&mut self, pair: Pair<'_, Rule>) -> Option<Operand> {
        let mut operands: Vec<Operand> = Vec::new();
        let mut waiting: Vec<PendingOperator> = Vec::new();
        for part in pair.into_inner() {
            let range = self.range(&part);
            match part.as_rule() {
                Rule::prefix => {
                    let op = if part.as_str() == "-" {
                        UnaryOp::Negate
                    } else {
                        UnaryOp::Not
                    };
                    waiting.push(PendingOperator::Prefix(op, range.start));
                }
                Rule::operator => {
                    let op = infix(part.as_str())?;
                    while let Some(top) = waiting.last() {
                        if let PendingOperator::Infix(first, place) = top {
                            if is_comparison(*first) && is_comparison(op) {
                                self.chained_comparison(*first, place.clone(), op, range);
                                return None;
                            }
                        }
                        let reduce = top.precedence() > op.precedence()
                            || top.precedence() == op.precedence() && groups_left(op);
                        if !reduce {
                            break;
                        }
                        self.reduce(&mut operands, &mut waiting)?;
                    }
                    waiting.push(PendingOperator::Infix(op, range));
                }
                Rule::slice => {
                    let base = operands.pop()?;
                    operands.push(self.slice(base, part)?);
                }
                Rule::member => {
                    let base = operands.pop()?;
                    operands.push(self.member_of(base, &part)?);
                }
                _ => operands.push(self.primary(part)?),
            }
        }
        while !waiting.is_empty() {
            self.reduce(&mut operands, &mut waiting)?;
        }
        operands.pop()
    }

    /// Applies the topmost operator.
    fn reduce(
        &mut self,
        operands: &mut Vec<Operand>,
        waiting: &mut Vec<PendingOperator>,
    ) -> Option<()> {
        let operator = waiting.pop()?;
        let right = operands.pop()?;
        let (kind, outer, depth) = match operator {
            PendingOperator::Prefix(op, start) => (
                ExprKind::Unary(op, Box::new(right.expr)),
                start..right.outer.end,
                right.depth,
            ),
            PendingOperator::Infix(op, _) => {
                let left = operands.pop()?;
                (
                    ExprKind::Binary(op, Box::new(left.expr), Box::new(right.expr)),
                    left.outer.start..right.outer.end,
                    left.depth.max(right.depth),
                )
            }
        };
        let operand = self.level(kind, outer, depth)?;
        operands.push(operand);
        Some(())
    }

    /// A node above children of depth `depth`.
    fn level(&mut self, kind: ExprKind, outer: Range<usize>, depth: usize) -> Option<Operand> {
        if depth >= MAX_EXPRESSION_DEPTH {
            let end = self.first_line(outer.clone());
            let found = Diagnostic::new(
                Code::TooDeep,
                self.span(&(outer.start..end)),
                format!("an expression of over {MAX_EXPRESSION_DEPTH} levels"),
            )
            .with_label("has too many levels from here on")
            .with_help("name a part of it with `name = ...`");
            self.report(found);
            return None;
        }
        Some(Operand {
            expr: Expr {
                kind,
                span: self.span(&outer),
            },
            outer,
            depth: depth + 1,
        })
    }

    fn slice(&mut self, base: Operand, pair: Pair<'_, Rule>) -> Option<Operand> {
        let outer = base.outer.start..self.range(&pair).end;
        let mut depth = base.depth;
        let mut ends = Vec::with_capacity(2);
        for part in pair.into_inner() {
            if part.as_rule() == Rule::expression {
                let end = self.chain(part)?;
                depth = depth.max(end.depth);
                ends.push(end.expr);
            }
        }
        let end = Box::new(ends.pop()?);
        let Some(start) = ends.pop() else {
            return self.element(base, end, outer, depth);
        };
        let kind = ExprKind::Slice {
            base: Box::new(base.expr),
            start: Box::new(start),
            end,
        };
        self.level(kind, outer, depth)
    }

    /// `base[index]`: the index of a name belongs to the name.
    fn element(
        &mut self,
        base: Operand,
        index: Box<Expr>,
        outer: Range<usize>,
        depth: usize,
    ) -> Option<Operand> {
        let mut expr = base.expr;
        // A name in parentheses is a value.
        let bare = expr.span == self.span(&base.outer);
        if let (ExprKind::Name(path) | ExprKind::Next(path), true) = (&mut expr.kind, bare) {
            if let Some(last) = path.parts.last_mut().filter(|last| last.index.is_none()) {
                last.span = last.span.to(self.span(&outer));
                last.index = Some(index);
                path.span = path.span.to(self.span(&outer));
                return self.level(expr.kind, outer, depth);
            }
        }
        let kind = ExprKind::Element {
            base: Box::new(expr),
            index,
        };
        self.level(kind, outer, depth)
    }

    /// `head[2].h`: one more word of a path whose last word has an index.
    fn member_of(&mut self, base: Operand, pair: &Pair<'_, Rule>) -> Option<Operand> {
        let word = self.member(pair);
        let outer = base.outer.start..self.range(pair).end;
        let mut expr = base.expr;
        match &mut expr.kind {
            ExprKind::Name(path) | ExprKind::Next(path) => {
                path.span = path.span.to(word.span);
                path.parts.push(word);
                expr.span = self.span(&outer);
                Some(Operand {
                    expr,
                    outer,
                    depth: base.depth,
                })
            }
            _ => {
                let found = Diagnostic::new(
                    Code::Syntax,
                    word.span,
                    format!("`.{}` after something that has no parts", word.name),
                )
                .with_help("parts belong to bundles and to uses of cells: `head[2].h`");
                self.report(found);
                None
            }
        }
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> Option<Operand> {
        let outer = self.range(&pair);
        let rule = pair.as_rule();
        let mut depth = 0;
        let kind = match rule {
            Rule::number => self.number(&pair)?,
            Rule::text => ExprKind::Text(super::build::unquoted(&pair)),
            Rule::path => ExprKind::Name(self.path(&pair)),
            Rule::group => {
                let inner = pair
                    .into_inner()
                    .find(|part| part.as_rule() == Rule::expression)?;
                return self
                    .chain(inner)
                    .map(|operand| Operand { outer, ..operand });
            }
            Rule::list => {
                let mut elements = Vec::new();
                for part in pair.into_inner() {
                    if part.as_rule() == Rule::expression {
                        let element = self.chain(part)?;
                        depth = depth.max(element.depth);
                        elements.push(element.expr);
                    }
                }
                ExprKind::List(elements)
            }
            Rule::next => {
                let path = pair
                    .into_inner()
                    .find(|part| part.as_rule() == Rule::path)?;
                ExprKind::Next(self.path(&path))
            }
            Rule::external => {
                let name = pair
                    .into_inner()
                    .find(|part| part.as_rule() == Rule::name)?;
                ExprKind::External(self.ident(&name))
            }
            _ => {
                let mut parts = pair.into_inner();
                let function = self.ident(&parts.next()?);
                let args;
                (args, depth) = self.arguments_and_depth(parts)?;
                ExprKind::Call { function, args }
            }
        };
        self.level(kind, outer, depth)
    }

    /// The `Rule::argument`s among `parts`.
    pub(super) fn arguments(&mut self, parts: Pairs<'_, Rule>) -> Option<Vec<Arg>> {
        self.arguments_and_depth(parts).map(|(args, _)| args)
    }

    fn arguments_and_depth(&mut self, parts: Pairs<'_, Rule>) -> Option<(Vec<Arg>, usize)> {
        let mut args: Vec<Arg> = Vec::new();
        let mut depth = 0;
        for part in parts.filter(|part| part.as_rule() == Rule::argument) {
            let range = self.range(&part);
            let mut name = None;
            for piece in part.into_inner() {
                match piece.as_rule() {
                    Rule::argument_name => name = Some(self.ident(&piece)),
                    Rule::expression => {
                        let value = self.chain(piece)?;
                        depth = depth.max(value.depth);
                        let last_name = args.last().and_then(|arg| arg.name.as_ref());
                        if let (None, Some(last)) = (&name, last_name) {
                            let found = Diagnostic::new(
                                Code::Syntax,
                                self.span(&range),
                                "a positional argument after a named one",
                            )
                            .with_secondary(last.span, "named argument")
                            .with_help("put the named arguments last");
                            self.report(found);
                            return None;
                        }
                        args.push(Arg {
                            name: name.take(),
                            value: value.expr,
                        });
                    }
                    _ => {}
                }
            }
        }
        Some((args, depth))
    }

    fn number(&mut self, pair: &Pair<'_, Rule>) -> Option<ExprKind> {
        let text = pair.as_str();
        match text.replace('_', "").parse::<f64>() {
            Ok(value) if value.is_finite() => Some(ExprKind::Number {
                value,
                text: text.to_string(),
            }),
            _ => {
                let span = self.span(&self.range(pair));
                self.report(
                    Diagnostic::new(Code::BadLiteral, span, "a number that is too large")
                        .with_help("the largest number is about `1.8e308`"),
                );
                None
            }
        }
    }

    fn chained_comparison(
        &mut self,
        first: BinaryOp,
        first_place: Range<usize>,
        second: BinaryOp,
        second_place: Range<usize>,
    ) {
        let found = Diagnostic::new(
            Code::Syntax,
            self.span(&second_place),
            "comparisons do not chain",
        )
        .with_secondary(self.span(&first_place), "the first comparison")
        .with_help(format!(
            "write `a {} b && b {} c`, or put one comparison in parentheses",
            first.sign(),
            second.sign()
        ));
        self.report(found);
    }
}
