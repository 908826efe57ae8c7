//! From the parser's pairs to items and statements; what is broken is explained and left out.

use std::ops::Range;

use pest::iterators::{Pair, Pairs};

use crate::diag::{Diagnostic, Diagnostics, Span};

use super::ast::{
    Block, DeclEntry, DeclKind, Entry, Expr, Ident, Initialiser, Item, ItemKind, Path, RuleParam,
    RuleUse, Stmt, StmtKind,
};
use super::expected::Part;
use super::parse::Rule;
use super::report::Reporter;

/// Builds the tree of one region. Each method gives nothing where an error was reported, after it has
/// looked at everything else inside.
pub(super) struct Builder<'t, 'r, 'd> {
    /// The whole text.
    pub(super) text: &'t str,
    /// Where the region begins in it.
    pub(super) offset: usize,
    reporter: &'r mut Reporter<'d>,
}

/// The characters between the quotes of a `Rule::text`.
pub(super) fn unquoted(pair: &Pair<'_, Rule>) -> String {
    pair.as_str().trim_matches('"').to_string()
}

impl<'t, 'r, 'd> Builder<'t, 'r, 'd> {
    pub(super) fn new(
        text: &'t str,
        offset: usize,
        reporter: &'r mut Reporter<'d>,
    ) -> Builder<'t, 'r, 'd> {
        Builder {
            text,
            offset,
            reporter,
        }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.reporter.report(diagnostic);
    }

    pub(super) fn is_full(&self) -> bool {
        self.reporter.is_full()
    }

    pub(super) fn span(&self, range: &Range<usize>) -> Span {
        Span::new(self.reporter.source(), range.start, range.end)
    }

    /// The bytes of the whole text that `pair` covers.
    pub(super) fn range(&self, pair: &Pair<'_, Rule>) -> Range<usize> {
        let span = pair.as_span();
        self.offset + span.start()..self.offset + span.end()
    }

    /// Where the first line of `range` ends.
    pub(super) fn first_line(&self, range: Range<usize>) -> usize {
        let line = &self.text[range.clone()];
        let line = &line[..super::token::line_end(line, 0)];
        range.start + line.trim_end().len()
    }

    /// What `pair` covers up to the end of its last token, without the blanks the parser counts to it.
    fn used(&self, pair: &Pair<'_, Rule>) -> Range<usize> {
        let range = self.range(pair);
        let last = pair
            .clone()
            .into_inner()
            .rev()
            .find(|part| !part.as_str().is_empty());
        match last {
            Some(part) => range.start..self.used(&part).end,
            None => range,
        }
    }

    // ---- Items ----

    /// The sound items of a `Rule::file`.
    pub(super) fn file(&mut self, pairs: Pairs<'_, Rule>) -> Vec<Item> {
        let mut items = Vec::new();
        for pair in pairs.flat_map(Pair::into_inner) {
            if pair.as_rule() == Rule::EOI {
                continue;
            }
            let span = self.span(&self.used(&pair));
            if let Some(kind) = self.item(pair) {
                items.push(Item { kind, span });
            }
        }
        items
    }

    fn item(&mut self, pair: Pair<'_, Rule>) -> Option<ItemKind> {
        let rule = pair.as_rule();
        if rule == Rule::broken_item {
            self.broken(Part::Item, pair);
            return None;
        }
        if rule == Rule::block {
            return self.block(pair, true).map(ItemKind::Block);
        }
        let mut name = None;
        let mut value = None;
        let mut params = Some(Vec::new());
        let mut body = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::text => {
                    return Some(ItemKind::Import {
                        path: unquoted(&part),
                        path_span: self.span(&self.range(&part)),
                    });
                }
                Rule::name => name = Some(self.ident(&part)),
                Rule::expression => value = self.expression(part),
                Rule::parameter => match (self.parameter(part), &mut params) {
                    (Some(param), Some(list)) => list.push(param),
                    _ => params = None,
                },
                Rule::body => body = self.body(part),
                _ => {}
            }
        }
        let name = name?;
        Some(match rule {
            Rule::dim => ItemKind::Dim {
                name,
                value: value?,
            },
            Rule::trace_rule => ItemKind::Rule {
                name,
                params: params?,
                body: body?,
            },
            _ => ItemKind::Network { name, body: body? },
        })
    }

    fn parameter(&mut self, pair: Pair<'_, Rule>) -> Option<RuleParam> {
        let span = self.span(&self.used(&pair));
        let mut name = None;
        let mut default = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.ident(&part)),
                Rule::expression => default = Some(self.expression(part)?),
                _ => {}
            }
        }
        Some(RuleParam {
            name: name?,
            default,
            span,
        })
    }

    fn block(&mut self, pair: Pair<'_, Rule>, top: bool) -> Option<Block> {
        let span = self.span(&self.range(&pair));
        let mut words = Vec::with_capacity(2);
        let mut entries = None;
        for part in pair.into_inner() {
            if part.as_rule() == Rule::entries {
                let keyword: &Ident = words.first()?;
                if top && self.is_misspelt_item(keyword, &part) {
                    return None;
                }
                entries = self.entries(part);
            } else {
                words.push(self.ident(&part));
            }
        }
        let mut words = words.into_iter();
        Some(Block {
            keyword: words.next()?,
            name: words.next(),
            entries: entries?,
            span,
        })
    }

    /// `netwrk a { input x }` reads as a block of settings; one error says it better than one a line.
    fn is_misspelt_item(&mut self, keyword: &Ident, entries: &Pair<'_, Rule>) -> bool {
        let broken = |part: Pair<'_, Rule>| part.as_rule() == Rule::broken_entry;
        let Some(meant) = Diagnostics::nearest(&keyword.name, ["network", "rule"]) else {
            return false;
        };
        if !entries.clone().into_inner().any(broken) {
            return false;
        }
        let found = Diagnostic::new(
            crate::diag::Code::Syntax,
            keyword.span,
            format!("expected an item, found `{}`", keyword.name),
        )
        .with_help(format!("did you mean `{meant}`?"));
        self.report(found);
        true
    }

    fn entries(&mut self, pair: Pair<'_, Rule>) -> Option<Vec<Entry>> {
        let mut entries = Some(Vec::new());
        for part in pair.into_inner() {
            let entry = match part.as_rule() {
                Rule::setting => self.setting(part),
                Rule::inner_block => self.block(part, false).map(Entry::Block),
                Rule::broken_entry => {
                    self.broken(Part::Entry, part);
                    None
                }
                _ => continue,
            };
            match (entry, &mut entries) {
                (Some(entry), Some(list)) => list.push(entry),
                _ => entries = None,
            }
        }
        entries
    }

    fn setting(&mut self, pair: Pair<'_, Rule>) -> Option<Entry> {
        let span = self.span(&self.used(&pair));
        let mut key = None;
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::setting_key => key = Some(self.path(&part)),
                Rule::expression => value = self.expression(part),
                _ => {}
            }
        }
        Some(Entry::Setting {
            key: key?,
            value: value?,
            span,
        })
    }

    // ---- Statements ----

    fn body(&mut self, pair: Pair<'_, Rule>) -> Option<Vec<Stmt>> {
        let mut body = Some(Vec::new());
        for part in pair.into_inner() {
            let stmt = match part.as_rule() {
                Rule::brace_open | Rule::brace_close | Rule::semicolon => continue,
                Rule::broken_statement => {
                    self.broken(Part::Statement, part);
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
            rule => self.simple_statement(rule, pair),
        }
    }

    /// Statements of at most one name, some expressions and a body.
    fn simple_statement(&mut self, rule: Rule, pair: Pair<'_, Rule>) -> Option<StmtKind> {
        let mut name = None;
        let mut expressions: Vec<Option<Expr>> = Vec::new();
        let mut body = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.ident(&part)),
                Rule::expression => expressions.push(self.expression(part)),
                Rule::body => body = self.body(part),
                _ => {}
            }
        }
        let mut expressions = expressions.into_iter();
        let first = expressions.next()??;
        Some(match rule {
            Rule::transmit => StmtKind::Transmit { value: first },
            Rule::value => StmtKind::Let {
                target: name?,
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
        let mut body = Some(Vec::new());
        let mut sound = true;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.ident(&part)),
                Rule::path => paths.push(self.path(&part)),
                Rule::using => {
                    using = self.using(part);
                    sound = using.is_some();
                }
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
            body: body?,
        };
        sound.then_some(plastic)
    }

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

    // ---- Words and values ----

    pub(super) fn ident(&self, pair: &Pair<'_, Rule>) -> Ident {
        Ident {
            name: pair.as_str().to_string(),
            span: self.span(&self.range(pair)),
        }
    }

    pub(super) fn path(&self, pair: &Pair<'_, Rule>) -> Path {
        let range = self.range(pair);
        let mut start = range.start;
        let mut parts = Vec::new();
        for part in pair.as_str().split('.') {
            parts.push(Ident {
                name: part.to_string(),
                span: self.span(&(start..start + part.len())),
            });
            start += part.len() + 1;
        }
        Path {
            parts,
            span: self.span(&range),
        }
    }

    /// The value of a `Rule::one_value`.
    pub(super) fn value(&mut self, pairs: Pairs<'_, Rule>) -> Option<Initialiser> {
        let pair = pairs.flat_map(Pair::into_inner).next()?;
        if pair.as_rule() == Rule::expression {
            return self.expression(pair).map(Initialiser::Value);
        }
        let drawn = pair
            .into_inner()
            .find(|part| part.as_rule() == Rule::expression)?;
        self.expression(drawn).map(Initialiser::Draw)
    }

    // ---- Errors ----

    /// Explains a broken part and looks for errors in the bodies inside it.
    fn broken(&mut self, part: Part, pair: Pair<'_, Rule>) {
        if self.is_full() {
            return;
        }
        let range = self.range(&pair);
        self.explain(part, range);
        for inner in pair.into_inner() {
            match inner.as_rule() {
                Rule::body => drop(self.body(inner)),
                Rule::entries => drop(self.entries(inner)),
                _ => {}
            }
        }
    }
}

fn declaration_kind(word: &str) -> Option<DeclKind> {
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
