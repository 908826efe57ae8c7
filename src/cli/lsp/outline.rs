//! The parts of a text as a tree, and the sizes that nobody wrote.

use super::analysis::Analysis;
use super::symbols::{Kind, Symbol};
use super::text;
use crate::lang::diag::{LineIndex, SourceId};
use crate::lang::syntax::ast::ItemKind;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// The tree of a text.
pub fn outline(all: &Analysis) -> Vec<Value> {
    let index = LineIndex::new(all.text());
    // The symbols of the text by what they belong to.
    let mut parts: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (k, symbol) in all.symbols.list.iter().enumerate() {
        if symbol.kind != Kind::Setting && symbol.span.source == SourceId(0) {
            parts.entry(symbol.parent).or_default().push(k);
        }
    }
    let mut found = children(all, &index, &parts, None);
    let first = all.parsed.files.first();
    for item in first.iter().flat_map(|file| &file.items) {
        if let ItemKind::Block(block) = &item.kind {
            let name = block.name.as_ref();
            let label = name.map_or(block.keyword.name.clone(), |name| {
                format!("{} {}", block.keyword.name, name.name)
            });
            let place = text::range(&index, block.keyword.span.range());
            found.push(json!({
                "name": label, "kind": 19, "range": text::range(&index, item.span.range()), "selectionRange": place,
            }));
        }
    }
    found
}

fn children(
    all: &Analysis,
    index: &LineIndex<'_>,
    parts: &BTreeMap<Option<usize>, Vec<usize>>,
    parent: Option<usize>,
) -> Vec<Value> {
    let own = parts.get(&parent).map_or(&[][..], Vec::as_slice);
    let child = |k: &usize| {
        let symbol = &all.symbols.list[*k];
        json!({
            "name": symbol.name,
            "detail": symbol.kind.word(),
            "kind": sort(symbol),
            "range": text::range(index, symbol.whole.to(symbol.span).range()),
            "selectionRange": text::range(index, symbol.span.range()),
            "children": children(all, index, parts, Some(*k)),
        })
    };
    own.iter().map(child).collect()
}

/// The number of a kind in the protocol.
pub fn sort(symbol: &Symbol) -> u32 {
    match symbol.kind {
        Kind::Network => 2,
        Kind::Cell | Kind::Bundle => 5,
        Kind::Setting => 7,
        Kind::Rule => 12,
        Kind::Use => 19,
        Kind::Dim => 14,
        Kind::Parameter | Kind::Declared(_) | Kind::Value | Kind::Index => 13,
    }
}

/// The sizes of vectors and bundles behind names that are declared without one, in a part of a text.
pub fn hints(all: &Analysis, within: &Range<usize>) -> Vec<Value> {
    let text = all.text();
    let index = LineIndex::new(text);
    let mut found = Vec::new();
    for (k, symbol) in all.symbols.list.iter().enumerate() {
        let place = symbol.span;
        if place.source != SourceId(0) || !within.contains(&(place.start as usize)) {
            continue;
        }
        // A size or the sides of a bundle stand behind a colon.
        let written = text[place.end as usize..].trim_start().starts_with(':');
        let bundle = symbol.kind == Kind::Bundle;
        let Some(shape) = all.shape(k, None) else {
            continue;
        };
        if shape == "[]" || (written && !bundle) {
            continue;
        }
        let label = if bundle { shape } else { format!(": {shape}") };
        found.push(json!({
            "position": text::position(&index, place.end as usize), "label": label, "kind": 1, "paddingLeft": bundle,
        }));
    }
    found
}
