//! The builder: from the parser's pairs to items. Broken parts are explained and left out.

mod statement;

pub(in crate::lang::syntax) use statement::declaration_kind;

use std::ops::Range;

use pest::iterators::{Pair, Pairs};

use crate::lang::diag::{Diagnostic, Diagnostics, Span};

use crate::lang::syntax::ast::{Block, Entry, Ident, Initialiser, Item, ItemKind, Path, RuleParam};
use crate::lang::syntax::expected::BrokenPart;
use crate::lang::syntax::parse::Rule;
use crate::lang::syntax::report::Reporter;

/// A builder of the tree of one region. Each method returns `None` if it reported an error, after checking
/// everything else inside.
pub(in crate::lang::syntax) struct Builder<'t, 'r, 'd> {
    /// The whole text.
    pub(in crate::lang::syntax) text: &'t str,
    /// The start of the region in the text.
    pub(in crate::lang::syntax) offset: usize,
    reporter: &'r mut Reporter<'d>,
}

/// The characters between the quotes of a `Rule::text`.
pub(in crate::lang::syntax) fn unquoted(pair: &Pair<'_, Rule>) -> String {
    pair.as_str().trim_matches('"').to_string()
}

impl<'t, 'r, 'd> Builder<'t, 'r, 'd> {
    pub(in crate::lang::syntax) fn new(
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

    pub(in crate::lang::syntax) fn report(&mut self, diagnostic: Diagnostic) {
        self.reporter.report(diagnostic);
    }

    pub(in crate::lang::syntax) fn is_full(&self) -> bool {
        self.reporter.is_full()
    }

    pub(in crate::lang::syntax) fn span(&self, range: &Range<usize>) -> Span {
        Span::new(self.reporter.source(), range.start, range.end)
    }

    /// The bytes of the whole text that `pair` covers.
    pub(in crate::lang::syntax) fn range(&self, pair: &Pair<'_, Rule>) -> Range<usize> {
        let span = pair.as_span();
        self.offset + span.start()..self.offset + span.end()
    }

    /// The end of the first line of `range`.
    pub(in crate::lang::syntax) fn first_line(&self, range: Range<usize>) -> usize {
        let line = &self.text[range.clone()];
        let line = &line[..crate::lang::syntax::token::line_end(line, 0)];
        range.start + line.trim_end().len()
    }

    /// The range of `pair` up to the end of its last token, without trailing blanks.
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

    /// The valid items of a `Rule::file`.
    pub(in crate::lang::syntax) fn file(&mut self, pairs: Pairs<'_, Rule>) -> Vec<Item> {
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
            self.broken(BrokenPart::Item, pair);
            return None;
        }
        if rule == Rule::block {
            return self.block(pair, true).map(ItemKind::Block);
        }
        if rule == Rule::version {
            return Some(ItemKind::Version);
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
            Rule::cell => ItemKind::Cell {
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

    /// Returns true if a block of settings is a misspelt item such as `netwrk a { input x }`; one error explains it
    /// better than one per line.
    fn is_misspelt_item(&mut self, keyword: &Ident, entries: &Pair<'_, Rule>) -> bool {
        let broken = |part: Pair<'_, Rule>| part.as_rule() == Rule::broken_entry;
        let Some(meant) = Diagnostics::nearest(&keyword.name, ["network", "rule", "cell"]) else {
            return false;
        };
        if !entries.clone().into_inner().any(broken) {
            return false;
        }
        let found = Diagnostic::new(
            crate::lang::diag::Code::Syntax,
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
                    self.broken(BrokenPart::Entry, part);
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

    // ---- Words and values ----

    pub(in crate::lang::syntax) fn ident(&self, pair: &Pair<'_, Rule>) -> Ident {
        Ident::new(pair.as_str(), self.span(&self.range(pair)))
    }

    pub(in crate::lang::syntax) fn path(&self, pair: &Pair<'_, Rule>) -> Path {
        let range = self.range(pair);
        let mut start = range.start;
        let mut parts = Vec::new();
        for part in pair.as_str().split('.') {
            parts.push(Ident::new(part, self.span(&(start..start + part.len()))));
            start += part.len() + 1;
        }
        Path {
            parts,
            span: self.span(&range),
        }
    }

    /// The value of a `Rule::one_value`.
    pub(in crate::lang::syntax) fn value(&mut self, pairs: Pairs<'_, Rule>) -> Option<Initialiser> {
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

    /// Explains a broken part and checks the bodies inside it.
    fn broken(&mut self, part: BrokenPart, pair: Pair<'_, Rule>) {
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
