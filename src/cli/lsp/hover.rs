//! Hover texts: meaning, sizes and equations of the word under the pointer.

use super::analysis::Analysis;
use super::meaning;
use super::symbols::{Kind, Occurrence};
use super::words::Context;
use crate::lang::catalog::Catalog;
use crate::lang::diag::SourceId;
use std::collections::BTreeSet;
use std::ops::Range;

/// The most statements that are shown of a name.
const MOST_STATEMENTS: usize = 6;

/// The text about the word at a byte, in Markdown, and the place of the word. `earlier` is the last analysis with a model.
pub fn hover(
    all: &Analysis,
    earlier: Option<&Analysis>,
    catalog: &Catalog,
    byte: usize,
) -> Option<(String, Range<usize>)> {
    let text = all.text();
    let context = Context::at(text, byte);
    if context.quoted || context.word.is_empty() {
        return None;
    }
    let word = &text[context.word.clone()];
    let found = all.symbols.at(SourceId(0), byte);
    let setting = meaning::settings(&context, catalog)
        .iter()
        .find(|setting| setting.name == word && context.before.is_empty());
    let about = if let Some(setting) = setting {
        meaning::setting(setting)
    } else if let Some(page) = meaning::block(context.last(), word, catalog) {
        page
    } else if context.last() == "external" {
        signal(earlier.unwrap_or(all), word)
    } else if let Some(found) = found {
        symbol(all, earlier, catalog, found)
    } else if let [.., "task", "."] = context.before.as_slice() {
        let task = earlier.unwrap_or(all).model()?.task.as_ref()?;
        let size = task.ports.sizes.iter().find(|port| port.name == word)?;
        format!(
            "**{word}**: size {} of task `{}`",
            size.size, task.info.name
        )
    } else if let Some(function) = meaning::function(word) {
        format!(
            "```bpm\n{}\n```\n{}",
            meaning::usage(function),
            function.doc
        )
    } else if let Some(about) = meaning::about_library(word) {
        about
    } else {
        plain(word)?
    };
    Some((about, context.word))
}

/// Words with a fixed meaning.
fn plain(word: &str) -> Option<String> {
    let about = match word {
        "pre" => "The presynaptic activity, one number per presynaptic neuron.",
        "post" => "The postsynaptic activity of this step, one number per postsynaptic neuron.",
        word => meaning::keyword(word)?,
    };
    Some(about.to_owned())
}

fn signal(all: &Analysis, word: &str) -> String {
    let task = all.model().and_then(|model| model.task.as_ref());
    let of = task.map_or(String::new(), |task| {
        format!(" of task `{}`", task.info.name)
    });
    format!("**{word}**: a signal{of}, one number a step")
}

fn symbol(
    all: &Analysis,
    earlier: Option<&Analysis>,
    catalog: &Catalog,
    found: &Occurrence,
) -> String {
    let symbol = &all.symbols.list[found.symbol];
    let place = symbol.span;
    let mut about = format!("**{}**: {}", symbol.name, symbol.kind.word());
    if let Some(shape) = all.shape(found.symbol, earlier) {
        about.push_str(&match shape.as_str() {
            "[]" => ", one number".to_owned(),
            shape => format!(", `{shape}`"),
        });
    }
    if let Some(parent) = symbol.parent.map(|parent| &all.symbols.list[parent]) {
        let word = parent.kind.word();
        about.push_str(&format!(", in {word} `{}`", parent.name));
    }
    about.push('\n');
    if let Some(comment) = all.comment_above(symbol.whole) {
        about.push_str(&format!("\n{comment}\n"));
    } else if matches!(symbol.kind, Kind::Rule | Kind::Cell) {
        if let Some(comment) = meaning::about_library(&symbol.name) {
            about.push_str(&format!("\n{comment}\n"));
        }
    }
    if symbol.kind == Kind::Setting {
        let context = Context::at(all.text_of(place.source), place.start as usize);
        let settings = meaning::settings(&context, catalog).iter();
        if let Some(row) = settings.into_iter().find(|row| row.name == symbol.name) {
            about.push_str(&format!("\n{}\n", meaning::setting(row)));
        }
    }
    let mut shown = BTreeSet::new();
    let mut statements = String::new();
    for statement in all.symbols.of(found.symbol).filter_map(|one| one.defines) {
        if shown.len() < MOST_STATEMENTS && shown.insert((statement.source, statement.start)) {
            let text = &all.text_of(statement.source)[statement.range()];
            // Of a bundle or a rule the first line.
            let line = text.lines().next().unwrap_or(text).trim_end();
            let whole = if text.lines().count() > 3 { line } else { text };
            let word = match symbol.kind {
                Kind::Declared(kind) if shown.len() == 1 => format!("{} ", kind.word()),
                _ => String::new(),
            };
            statements.push_str(&format!("{word}{whole}\n"));
        }
    }
    if !statements.is_empty() {
        about.push_str(&format!("\n```bpm\n{statements}```\n"));
    }
    about
}

impl Analysis {
    /// The comment lines right above a declaration.
    fn comment_above(&self, whole: crate::lang::diag::Span) -> Option<String> {
        let before = &self.text_of(whole.source)[..whole.start as usize];
        // The word of the declaration stands before it.
        let before = &before[..before.rfind('\n')?];
        let lines = before.lines().rev();
        let mut found: Vec<&str> = lines
            .map_while(|line| line.trim_start().strip_prefix("//"))
            .map(|line| line.trim_start_matches(['!', '/']).trim())
            .collect();
        found.reverse();
        (!found.is_empty()).then(|| found.join("\n"))
    }
}
