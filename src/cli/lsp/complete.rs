//! Completion: the names, settings and keywords that may stand at the cursor.

use super::analysis::Analysis;
use super::meaning;
use super::symbols::{Kind, Symbol};
use super::words::{self, Context};
use crate::lang::catalog::Catalog;
use crate::lang::library;
use crate::lang::sema::functions::FUNCTIONS;
use crate::lang::settings::{Setting, SettingKind};
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// The kinds of the protocol.
#[derive(Clone, Copy)]
enum Sort {
    Function = 3,
    Variable = 6,
    Class = 7,
    Property = 10,
    Value = 12,
    Keyword = 14,
    Module = 9,
}

/// The completions, by label.
#[derive(Default)]
struct Items(BTreeMap<String, Value>);

impl Items {
    fn add(&mut self, label: &str, sort: Sort, detail: &str, about: &str) {
        let mut item = json!({ "label": label, "kind": sort as u32 });
        if !detail.is_empty() {
            item["detail"] = json!(detail);
        }
        if !about.is_empty() {
            item["documentation"] = json!({ "kind": "markdown", "value": about });
        }
        self.0.entry(label.to_owned()).or_insert(item);
    }

    fn words(&mut self, words: &[&str], sort: Sort) {
        for word in words {
            self.add(word, sort, "", meaning::keyword(word).unwrap_or(""));
        }
    }

    fn settings(&mut self, settings: &[Setting]) {
        for setting in settings {
            let detail = format!("= {}", setting.default);
            let about = meaning::setting(setting);
            self.add(setting.name, Sort::Property, &detail, &about);
        }
    }

    fn symbol(&mut self, symbol: &Symbol) {
        let sort = match symbol.kind {
            Kind::Dim | Kind::Index => Sort::Value,
            Kind::Rule | Kind::Cell => Sort::Class,
            Kind::Network | Kind::Bundle | Kind::Use => Sort::Module,
            Kind::Parameter | Kind::Declared(_) | Kind::Value | Kind::Setting => Sort::Variable,
        };
        self.add(&symbol.name, sort, symbol.kind.word(), "");
    }
}

/// The completions at a byte of a text. `known` is the last analysis in which all items could be read, `meant` the last with a model.
pub fn complete(
    text: &str,
    byte: usize,
    known: Option<&Analysis>,
    meant: Option<&Analysis>,
    catalog: &Catalog,
) -> Vec<Value> {
    let context = Context::at(text, byte);
    let mut items = Items::default();
    if !context.quoted {
        fill(&mut items, text, &context, [known, meant], catalog);
    }
    items.0.into_values().collect()
}

fn fill(
    items: &mut Items,
    text: &str,
    context: &Context<'_>,
    [known, meant]: [Option<&Analysis>; 2],
    catalog: &Catalog,
) {
    let before = context.before.as_slice();
    match before {
        [.., "external"] => return signals(items, meant),
        [.., "using"] => return rules(items, known),
        [.., "reset"] => {
            return items.words(&["episode", "trial", "never", "carry"], Sort::Value);
        }
        [.., "per"] => {
            return items.words(&["connection", "pre", "post", "network"], Sort::Value);
        }
        [.., "~"] => {
            let draws = ["uniform", "normal", "bernoulli", "constant", "identity"];
            return items.words(&draws, Sort::Function);
        }
        [.., "task", "."] => {
            let task = meant
                .and_then(Analysis::model)
                .and_then(|model| model.task.as_ref());
            for port in task.iter().flat_map(|task| &task.ports.sizes) {
                items.add(&port.name, Sort::Value, &format!("= {}", port.size), "");
            }
            return;
        }
        [.., "train", "."] => {
            let train = meant
                .and_then(Analysis::model)
                .and_then(|model| model.train.as_ref());
            return items.settings(train.map_or(&[], |train| train.trainer.settings));
        }
        [.., owner, "."] => return members(items, owner, known),
        ["cell", _, ":"] => return cells(items, known),
        _ => {}
    }
    let Some((block, _)) = context.blocks.last() else {
        return top(items, before, catalog);
    };
    if context.in_settings() {
        return settings(items, before, context, catalog);
    }
    if before.is_empty() {
        let words = [
            "input",
            "state",
            "noise",
            "weight",
            "coeff",
            "trained",
            "const",
            "trace",
            "modulator",
            "output",
            "plastic",
            "cell",
            "transmit",
            "connect where",
            "on",
            "when",
        ];
        items.words(&words, Sort::Keyword);
    } else {
        for function in FUNCTIONS {
            let usage = meaning::usage(function);
            items.add(function.name, Sort::Function, &usage, function.doc);
        }
        items.words(&["external", "next"], Sort::Keyword);
        items.add("task", Sort::Module, "sizes of the task", "");
        items.add("train", Sort::Module, "settings of the trainer", "");
        if *block == "plastic" || context.blocks.iter().any(|(word, _)| *word == "rule") {
            items.add("pre", Sort::Variable, "presynaptic activity", "");
            items.add("post", Sort::Variable, "postsynaptic activity", "");
        }
    }
    names(items, text, context, known);
}

/// Items at the top of a file, and the names after their words.
fn top(items: &mut Items, before: &[&str], catalog: &Catalog) {
    match before {
        [] => items.words(
            &["network", "rule", "cell", "dim", "import", "task", "train"],
            Sort::Keyword,
        ),
        ["task"] => {
            for task in &catalog.tasks {
                items.add(task.name, Sort::Class, "task", task.summary);
            }
        }
        ["train"] => {
            for trainer in &catalog.trainers {
                items.add(trainer.name, Sort::Class, "trainer", trainer.summary);
            }
        }
        _ => {}
    }
}

fn settings(items: &mut Items, before: &[&str], context: &Context<'_>, catalog: &Catalog) {
    let settings = meaning::settings(context, catalog);
    match before {
        [] => {
            items.settings(settings);
            if let Some(("train", name)) = context.blocks.last() {
                let trainer = catalog.trainers.iter().find(|one| one.name == *name);
                for block in trainer.iter().flat_map(|trainer| trainer.blocks) {
                    items.add(block.name(), Sort::Keyword, "block", block.summary());
                }
            }
        }
        ["optimizer"] => {
            for optimizer in &catalog.optimizers {
                items.add(optimizer.name, Sort::Class, "optimizer", optimizer.summary);
            }
        }
        [key, "="] => match settings
            .iter()
            .find(|row| row.name == *key)
            .map(|row| row.kind)
        {
            Some(SettingKind::Choice(words)) => items.words(words, Sort::Value),
            Some(SettingKind::Bool) => items.words(&["true", "false"], Sort::Value),
            _ => {}
        },
        _ => {}
    }
}

fn signals(items: &mut Items, meant: Option<&Analysis>) {
    let task = meant
        .and_then(Analysis::model)
        .and_then(|model| model.task.as_ref());
    for signal in task.iter().flat_map(|task| &task.ports.signals) {
        items.add(signal, Sort::Value, "signal of the task", "");
    }
    items.add(
        "trial_start",
        Sort::Value,
        "1 in the first step of a trial",
        "",
    );
    if task.is_none() {
        items.add("reward", Sort::Value, "signal of tasks with rewards", "");
    }
}

fn of_library(items: &mut Items, names: impl Iterator<Item = &'static str>) {
    for name in names {
        let about = meaning::about_library(name).unwrap_or_default();
        items.add(name, Sort::Class, "library", &about);
    }
}

fn rules(items: &mut Items, known: Option<&Analysis>) {
    of_kind(items, known, Kind::Rule);
    of_library(items, library::names());
}

fn cells(items: &mut Items, known: Option<&Analysis>) {
    of_kind(items, known, Kind::Cell);
    of_library(items, library::cell_names());
}

fn of_kind(items: &mut Items, known: Option<&Analysis>, kind: Kind) {
    let all = known.iter().flat_map(|known| &known.symbols.list);
    for symbol in all.filter(|symbol| symbol.kind == kind) {
        items.symbol(symbol);
    }
}

fn members(items: &mut Items, owner: &str, known: Option<&Analysis>) {
    let Some(known) = known else { return };
    let list = &known.symbols.list;
    let owners = list.iter().enumerate();
    let owners =
        owners.filter(|(_, one)| one.name == owner && matches!(one.kind, Kind::Bundle | Kind::Use));
    for (owner, _) in owners {
        for member in known.symbols.members(owner) {
            items.symbol(&list[member]);
        }
    }
}

/// The names that are seen at a place: of the item around it, of the bundle around it, and dims.
fn names(items: &mut Items, text: &str, context: &Context<'_>, known: Option<&Analysis>) {
    let Some(known) = known else {
        // Nothing could be read yet: the names that stand in the text.
        for (kind, range) in words::words(text) {
            if kind == words::Kind::Name && range != context.word {
                items.add(&text[range], Sort::Variable, "", "");
            }
        }
        return;
    };
    let list = &known.symbols.list;
    for symbol in list.iter().filter(|symbol| symbol.kind == Kind::Dim) {
        items.symbol(symbol);
    }
    for (word, name) in &context.blocks {
        let of = |kind: Kind| match *word {
            "network" => kind == Kind::Network,
            "rule" => kind == Kind::Rule,
            "cell" => matches!(kind, Kind::Cell | Kind::Use),
            "plastic" => kind == Kind::Bundle,
            _ => false,
        };
        for (owner, symbol) in list.iter().enumerate() {
            if symbol.name == *name && of(symbol.kind) {
                for member in known.symbols.members(owner) {
                    items.symbol(&list[member]);
                }
            }
        }
    }
}
