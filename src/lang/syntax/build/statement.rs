//! The builder of statements.

use pest::iterators::Pair;

use crate::lang::syntax::ast::{
    DeclEntry, DeclKind, Expr, ExprKind, Ident, Initialiser, Path, RuleUse, Stmt, StmtKind,
};
use crate::lang::syntax::expected::BrokenPart;
use crate::lang::syntax::parse::Rule;

use super::Builder;

impl Builder<'_, '_, '_> {
    pub(super) fn body(&mut self, pair: Pair<'_, Rule>) -> Option<Vec<Stmt>> {
        let mut body = Some(Vec::new());
        for part in pair.into_inner() {
            let stmt = match part.as_rule() {
                Rule::brace_open | Rule::brace_close | Rule::semicolon => continue,
                Rule::broken_statement => {
                    self.broken(BrokenPart::Statement, part);
                    None
                }
                _ => {
                    let span = self.span(&self.used(&part));
                    self.statement(part).map(|kind| Stmt { kind, span })
                }
            };
            match (stmt, &mut body) {
                (Some(stmt), Some(list)) => list.push(stmt),
                _ => body = None,
            }
        }
        body
    }

    fn statement(&mut self, pair: Pair<'_, Rule>) -> Option<StmtKind> {
        match pair.as_rule() {
            Rule::declaration => self.declaration(pair),
            Rule::plastic => self.plastic(pair),
            Rule::instance => self.instance(pair),
            Rule::allowance => self.allowance(pair),
            rule => self.simple_statement(rule, pair),
        }
    }

    fn allowance(&mut self, pair: Pair<'_, Rule>) -> Option<StmtKind> {
        let (mut code, mut reason) = (None, None);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => code = Some(self.ident(&part)),
                Rule::text => {
                    reason = Some(Expr {
                        kind: ExprKind::Text(super::unquoted(&part)),
                        span: self.span(&self.range(&part)),
                    });
                }
                _ => {}
            }
        }
        Some(StmtKind::Allow {
            code: code?,
            reason: reason?,
        })
    }

    /// Builds a statement of at most one name, some expressions and a body.
    fn simple_statement(&mut self, rule: Rule, pair: Pair<'_, Rule>) -> Option<StmtKind> {
        let mut name = None;
        let mut size = None;
        let mut expressions: Vec<Option<Expr>> = Vec::new();
        let mut body = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.ident(&part)),
                Rule::index => self.index(name.as_mut()?, part)?,
                Rule::size => size = Some(self.inner_expression(part)?),
                Rule::expression => expressions.push(self.expression(part)),
                Rule::body => body = self.body(part),
                _ => {}
            }
        }
        let mut expressions = expressions.into_iter();
        let first = expressions.next()??;
        Some(match rule {
            Rule::transmit => StmtKind::Transmit { value: first },
            Rule::connection => StmtKind::Connect { mask: first },
            Rule::value => StmtKind::Let {
                target: name?,
                size,
                value: first,
            },
            Rule::update => StmtKind::Update {
                target: name?,
                value: first,
            },
            Rule::region => StmtKind::On {
                side: name?,
                start: first,
                end: expressions.next()??,
                body: body?,
            },
            Rule::repetition => StmtKind::For {
                variable: name?,
                start: first,
                end: expressions.next()??,
                body: body?,
            },
            _ => StmtKind::When {
                condition: first,
                body: body?,
            },
        })
    }

    fn declaration(&mut self, pair: Pair<'_, Rule>) -> Option<StmtKind> {
        let mut kind = None;
        let mut entries = Some(Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::declaration_word if kind.is_none() => kind = declaration_kind(part.as_str()),
                Rule::declared => match (self.declared(part), &mut entries) {
                    (Some(entry), Some(list)) => list.push(entry),
                    _ => entries = None,
                },
                _ => {}
            }
        }
        Some(StmtKind::Decl {
            kind: kind?,
            entries: entries?,
        })
    }

    fn declared(&mut self, pair: Pair<'_, Rule>) -> Option<DeclEntry> {
        let span = self.span(&self.used(&pair));
        let mut parts = pair.into_inner();
        let mut entry = DeclEntry {
            name: self.ident(&parts.next()?),
            size: None,
            init: None,
            per: None,
            reset: None,
            span,
        };
        let mut sound = true;
        for part in parts {
            let rule = part.as_rule();
            if rule == Rule::index {
                self.index(&mut entry.name, part)?;
                continue;
            }
            for piece in part.into_inner() {
                match (rule, piece.as_rule()) {
                    (Rule::per, Rule::granularity) => entry.per = Some(self.ident(&piece)),
                    (Rule::reset, Rule::name) => entry.reset = Some(self.ident(&piece)),
                    (_, Rule::expression) => {
                        let Some(expr) = self.expression(piece) else {
                            sound = false;
                            continue;
                        };
                        match rule {
                            Rule::size => entry.size = Some(expr),
                            Rule::draw => entry.init = Some(Initialiser::Draw(expr)),
                            _ => entry.init = Some(Initialiser::Value(expr)),
                        }
                    }
                    _ => {}
                }
            }
        }
        sound.then_some(entry)
    }

    fn plastic(&mut self, pair: Pair<'_, Rule>) -> Option<StmtKind> {
        let mut name = None;
        let mut paths = Vec::with_capacity(2);
        let mut using = None;
        let mut reset = None;
        let mut body = Some(Vec::new());
        let mut sound = true;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.ident(&part)),
                Rule::index => self.index(name.as_mut()?, part)?,
                Rule::side => paths.push(self.side(part)?),
                Rule::using => {
                    using = self.using(part);
                    sound = using.is_some();
                }
                Rule::reset => reset = self.reset(part),
                Rule::body => body = self.body(part),
                _ => {}
            }
        }
        let mut paths = paths.into_iter();
        let plastic = StmtKind::Plastic {
            name: name?,
            pre: paths.next()?,
            post: paths.next()?,
            using,
            reset,
            body: body?,
        };
        sound.then_some(plastic)
    }

    fn instance(&mut self, pair: Pair<'_, Rule>) -> Option<StmtKind> {
        let mut name = None;
        let mut cell = None;
        let mut using = None;
        let mut reset = None;
        let mut body = Some(Vec::new());
        let mut sound = true;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.ident(&part)),
                Rule::index => self.index(name.as_mut()?, part)?,
                Rule::call => cell = self.using(part),
                Rule::using => {
                    using = self.using(part);
                    sound = using.is_some();
                }
                Rule::reset => reset = self.reset(part),
                Rule::body => body = self.body(part),
                _ => {}
            }
        }
        let instance = StmtKind::Cell {
            name: name?,
            cell: cell?,
            using,
            reset,
            body: body?,
        };
        sound.then_some(instance)
    }

    /// The side of a bundle, `h` or `head[k].h`.
    fn side(&mut self, pair: Pair<'_, Rule>) -> Option<Path> {
        let mut path: Option<Path> = None;
        for part in pair.into_inner() {
            let Some(found) = &mut path else {
                path = Some(self.path(&part));
                continue;
            };
            match part.as_rule() {
                Rule::index => self.index(found.parts.last_mut()?, part.clone())?,
                _ => found.parts.push(self.member(&part)),
            }
            found.span = found.span.to(self.span(&self.used(&part)));
        }
        path
    }

    /// The word after a dot.
    pub(in crate::lang::syntax) fn member(&self, pair: &Pair<'_, Rule>) -> Ident {
        let range = self.range(pair);
        Ident::new(
            &pair.as_str()[1..],
            self.span(&(range.start + 1..range.end)),
        )
    }

    /// Gives a name its index.
    fn index(&mut self, name: &mut Ident, pair: Pair<'_, Rule>) -> Option<()> {
        name.span = name.span.to(self.span(&self.range(&pair)));
        name.index = Some(Box::new(self.inner_expression(pair)?));
        Some(())
    }

    /// The only expression inside.
    fn inner_expression(&mut self, pair: Pair<'_, Rule>) -> Option<Expr> {
        let inner = pair
            .into_inner()
            .find(|part| part.as_rule() == Rule::expression)?;
        self.expression(inner)
    }

    /// The policy after `reset`.
    fn reset(&mut self, pair: Pair<'_, Rule>) -> Option<Ident> {
        let word = pair
            .into_inner()
            .find(|part| part.as_rule() == Rule::name)?;
        Some(self.ident(&word))
    }

    /// The rule after `using`, or the cell, with its arguments.
    fn using(&mut self, pair: Pair<'_, Rule>) -> Option<RuleUse> {
        let span = self.span(&self.used(&pair));
        let parts = pair.into_inner();
        let name = parts.clone().find(|part| part.as_rule() == Rule::name)?;
        Some(RuleUse {
            name: self.ident(&name),
            args: self.arguments(parts)?,
            span,
        })
    }
}

pub(in crate::lang::syntax) fn declaration_kind(word: &str) -> Option<DeclKind> {
    const KINDS: [DeclKind; 10] = [
        DeclKind::Input,
        DeclKind::State,
        DeclKind::Noise,
        DeclKind::Weight,
        DeclKind::Coeff,
        DeclKind::Trained,
        DeclKind::Const,
        DeclKind::Trace,
        DeclKind::Modulator,
        DeclKind::Output,
    ];
    KINDS.into_iter().find(|kind| kind.word() == word)
}
