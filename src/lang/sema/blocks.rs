//! The blocks `task NAME { ... }` and `train NAME { ... }`: settings checked against their tables.

use super::analyser::Analyser;
use super::constants::{dotted, listed};
use super::model::{OutputLoss, TaskModel, TrainModel};
use super::scope::Context;
use crate::lang::catalog::{substeps, Interface, TrainerBlock, TrainerKind};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::settings::{parse_bytes, Setting, SettingKind, SettingValue, Settings};
use crate::lang::syntax::ast::{
    BinaryOp, Block, DeclKind, Entry, Expr, ExprKind, Initialiser, ItemKind, StmtKind,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Builds the task block of the spec.
pub(super) fn task(analyser: &mut Analyser<'_, '_>) -> Option<TaskModel> {
    analyser.report_unknown_blocks();
    let block = analyser.only_block("task")?;
    let tasks = &analyser.catalog.tasks;
    let names: Vec<&str> = tasks.iter().map(|task| task.name).collect();
    let name = block.name.as_ref().or_else(|| {
        analyser.nameless(block, &names);
        None
    })?;
    let Some(info) = tasks.iter().find(|task| task.name == name.name) else {
        analyser.unknown_word("task", name.span, &name.name, &names);
        return None;
    };
    let (settings, places) = analyser.settings(block, "task", info.settings, &[])?;
    match (info.ports)(&settings, &analyser.interface()) {
        Ok(mut ports) => {
            ports.steps *= substeps(info, &settings);
            Some(TaskModel {
                info,
                settings,
                ports,
                span: name.span,
            })
        }
        Err(conflict) => {
            analyser.conflict(conflict, &places, name.span);
            None
        }
    }
}

/// Builds the train block of the spec.
pub(super) fn train(analyser: &mut Analyser<'_, '_>) -> Option<TrainModel> {
    let block = analyser.only_block("train")?;
    let trainers = &analyser.catalog.trainers;
    let names: Vec<&str> = trainers.iter().map(|trainer| trainer.name).collect();
    let name = block.name.as_ref().or_else(|| {
        analyser.nameless(block, &names);
        None
    })?;
    let Some(info) = trainers.iter().find(|info| info.name == name.name) else {
        analyser.unknown_word("trainer", name.span, &name.name, &names);
        return None;
    };
    let inner: Vec<&'static str> = info.blocks.iter().map(|b| b.name()).collect();
    let settings = analyser.settings(block, "train", info.settings, &inner);
    let mut optimizer = None;
    let mut optimizer_block = None;
    let (mut losses, mut loss_block) = (Vec::new(), None);
    for block in inner_blocks(block) {
        let Some(kind) = info.blocks.iter().find(|b| b.name() == block.keyword.name) else {
            analyser.unknown_word(
                "block of `train`",
                block.keyword.span,
                &block.keyword.name,
                &inner,
            );
            continue;
        };
        match kind {
            TrainerBlock::Optimizer => {
                if optimizer_block.is_some() {
                    analyser.diagnostics.push(Diagnostic::new(
                        Code::Duplicate,
                        block.keyword.span,
                        "there is a second optimizer here",
                    ));
                }
                optimizer_block = Some(block);
            }
            TrainerBlock::GradScale => analyser.grad_scales(block),
            TrainerBlock::Loss => {
                let words = info.settings.iter().find(|row| row.name == "loss");
                if let Some(SettingKind::Choice(words)) = words.map(|row| row.kind) {
                    analyser.output_losses(block, words, &mut losses);
                }
                loss_block = Some(block.keyword.span);
            }
        }
    }
    let catalog = analyser.catalog;
    let names: Vec<&str> = catalog.optimizers.iter().map(|info| info.name).collect();
    let find = |name: &str| catalog.optimizers.iter().find(|info| info.name == name);
    let chosen = match optimizer_block.and_then(|b| b.name.as_ref()) {
        Some(word) => match find(&word.name) {
            Some(found) => Some(found),
            None => {
                analyser.unknown_word("optimizer", word.span, &word.name, &names);
                None
            }
        },
        None => {
            if let Some(block) = optimizer_block {
                analyser.nameless(block, &names);
            }
            find(catalog.default_optimizer)
        }
    };
    if let Some(chosen) = chosen {
        let found = match optimizer_block {
            Some(block) => analyser.settings(block, "train.optimizer", chosen.settings, &[]),
            None => analyser.settings_of(&[], "train.optimizer", chosen.settings, &[]),
        };
        if let Some((settings, places)) = found {
            if let Err(conflict) = (chosen.check)(&settings) {
                analyser.conflict(conflict, &places, name.span);
            }
            optimizer = Some((chosen, settings));
        }
    }
    let (settings, places) = settings?;
    let both = (places.get("iterations"), places.get("epochs"));
    if let ((Some(iterations), Some(epochs)), true) = (
        both,
        info.kind == TrainerKind::Supervised && settings.int("epochs") > 0,
    ) {
        analyser.diagnostics.push(
            Diagnostic::new(
                Code::BadSetting,
                *epochs,
                "the length of the run is given in epochs and in iterations",
            )
            .with_secondary(*iterations, "iterations are given here")
            .with_help("leave one of them out; `--set train.epochs=0` counts iterations"),
        );
    }
    if let (Some(here), Some(setting)) = (loss_block, places.get("loss")) {
        analyser.diagnostics.push(
            Diagnostic::new(Code::Duplicate, here, "the loss is given twice")
                .with_secondary(*setting, "first given here")
                .with_help("leave out `loss = ...`: the block gives each output its own"),
        );
    }
    let (optimizer, optimizer_settings) = optimizer?;
    Some(TrainModel {
        trainer: info,
        settings,
        losses,
        optimizer,
        optimizer_settings,
        span: name.span,
    })
}

fn inner_blocks(block: &Block) -> impl Iterator<Item = &Block> {
    block.entries.iter().filter_map(|entry| match entry {
        Entry::Block(block) => Some(block),
        Entry::Setting { .. } => None,
    })
}

impl<'a> Analyser<'a, '_> {
    /// The names of inputs and outputs of the network, as far as they are declared at its top level.
    pub(super) fn interface(&self) -> Interface {
        let mut interface = Interface::default();
        let networks = self.files.iter().flat_map(|file| &file.items);
        let body = networks.filter_map(|item| match &item.kind {
            ItemKind::Network { body, .. } => Some(body),
            _ => None,
        });
        for stmt in body.flatten() {
            if let StmtKind::Decl { kind, entries } = &stmt.kind {
                let names = entries.iter().map(|entry| entry.name.name.clone());
                match kind {
                    DeclKind::Input => interface.inputs.extend(names),
                    DeclKind::Output => interface.outputs.extend(names),
                    _ => {}
                }
            }
        }
        interface
    }

    fn report_unknown_blocks(&mut self) {
        let files = self.files;
        for item in files.iter().flat_map(|file| &file.items) {
            if let ItemKind::Block(block) = &item.kind {
                if !["task", "train"].contains(&block.keyword.name.as_str()) {
                    let words = ["network", "task", "train", "rule", "cell", "dim", "import"];
                    self.unknown_word("block", block.keyword.span, &block.keyword.name, &words);
                }
            }
        }
    }

    /// The only block with this keyword; more than one is an error.
    fn only_block(&mut self, keyword: &'static str) -> Option<&'a Block> {
        let mut blocks = self.blocks(keyword);
        let first = blocks.next()?;
        if let Some(second) = blocks.next() {
            self.diagnostics.push(
                Diagnostic::new(
                    Code::Duplicate,
                    second.keyword.span,
                    format!("an experiment has one `{keyword}` block, and this is the second"),
                )
                .with_secondary(first.keyword.span, "the first is here"),
            );
        }
        Some(first)
    }

    fn nameless(&mut self, block: &Block, names: &[&str]) {
        self.diagnostics.push(
            Diagnostic::new(
                Code::UnknownBlock,
                block.keyword.span,
                format!("`{}` does not say which", block.keyword.name),
            )
            .with_help(format!("there are {}", listed(names))),
        );
    }

    fn unknown_word(&mut self, what: &str, span: Span, word: &str, names: &[&str]) {
        let help = match Diagnostics::nearest(word, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", listed(names)),
        };
        self.diagnostics.push(
            Diagnostic::new(
                Code::UnknownBlock,
                span,
                format!("no {what} is called `{word}`"),
            )
            .with_help(help),
        );
    }

    fn conflict(
        &mut self,
        conflict: crate::lang::settings::SettingConflict,
        places: &BTreeMap<&'static str, Span>,
        otherwise: Span,
    ) {
        let span = places.get(conflict.setting).copied().unwrap_or(otherwise);
        self.diagnostics.push(
            Diagnostic::new(Code::BadSetting, span, conflict.message).with_help(conflict.help),
        );
    }

    fn settings(
        &mut self,
        block: &'a Block,
        path: &str,
        table: &'static [Setting],
        inner: &[&str],
    ) -> Option<(Settings, BTreeMap<&'static str, Span>)> {
        if inner.is_empty() {
            for block in inner_blocks(block) {
                self.diagnostics.push(Diagnostic::new(
                    Code::UnknownBlock,
                    block.keyword.span,
                    format!("no block `{}` can stand here", block.keyword.name),
                ));
            }
        }
        self.settings_of(&block.entries, path, table, inner)
    }

    /// The values of a table from entries and overrides, and the place of each; `None` on errors.
    fn settings_of(
        &mut self,
        entries: &'a [Entry],
        path: &str,
        table: &'static [Setting],
        inner: &[&str],
    ) -> Option<(Settings, BTreeMap<&'static str, Span>)> {
        let errors = self.diagnostics.error_count();
        let mut settings = Settings::defaults(table);
        let mut places: BTreeMap<&'static str, Span> = BTreeMap::new();
        for entry in entries {
            let Entry::Setting { key, value, .. } = entry else {
                continue;
            };
            let name = dotted(key);
            let Some(row) = table.iter().find(|row| row.name == name) else {
                let names = table
                    .iter()
                    .map(|row| row.name)
                    .chain(inner.iter().copied());
                let near = Diagnostics::nearest(&name, names);
                let mut diagnostic = Diagnostic::new(
                    Code::UnknownSetting,
                    key.span,
                    format!("no setting is called `{name}` here"),
                );
                diagnostic = match near {
                    Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
                    None => {
                        let names: Vec<&str> = table.iter().map(|row| row.name).collect();
                        diagnostic.with_help(format!("there are {}", listed(&names)))
                    }
                };
                self.diagnostics.push(diagnostic);
                continue;
            };
            if let Some(earlier) = places.insert(row.name, value.span) {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::Duplicate,
                        key.span,
                        format!("setting `{name}` is given twice"),
                    )
                    .with_secondary(earlier, "first given here"),
                );
            }
            if self.overrides.get(&format!("{path}.{name}")).is_none() {
                let directory = &self.catalog.directory;
                if let Some(value) = self.setting_value(row, value, directory) {
                    settings.set(row.name, value);
                }
            }
        }
        for row in table {
            if row.kind == SettingKind::Folder && !places.contains_key(row.name) {
                let folder = self.catalog.directory.as_path();
                settings.set(row.name, SettingValue::Folder(Some(folder.into())));
            }
            let full = format!("{path}.{}", row.name);
            self.known_paths.insert(full.clone());
            if let Some((Initialiser::Value(value) | Initialiser::Draw(value), span)) =
                self.overrides.get(&full)
            {
                places.insert(row.name, *span);
                if let Some(value) = self.setting_value(row, value, Path::new("")) {
                    settings.set(row.name, value);
                }
            }
        }
        (self.diagnostics.error_count() == errors).then_some((settings, places))
    }

    /// The value of a setting; paths are relative to `directory`.
    fn setting_value(
        &mut self,
        row: &Setting,
        value: &'a Expr,
        directory: &Path,
    ) -> Option<SettingValue> {
        let expected = match row.kind {
            SettingKind::Int { min, max } => {
                let number = self.setting_number(row, value)?;
                if number.fract() == 0.0 && number >= min as f64 && number <= max as f64 {
                    return Some(SettingValue::Int(number as u64));
                }
                format!("a whole number from {}", range(min, max))
            }
            SettingKind::Real { min, max } => {
                let number = self.setting_number(row, value)?;
                if number >= min && number <= max {
                    return Some(SettingValue::Real(number));
                }
                format!("a number from {min} to {max}")
            }
            SettingKind::Bool => match word(value) {
                Some("true") => return Some(SettingValue::Bool(true)),
                Some("false") => return Some(SettingValue::Bool(false)),
                _ => "`true` or `false`".to_owned(),
            },
            SettingKind::Bytes => {
                if let ExprKind::Text(text) = &value.kind {
                    if let Some(bytes) = parse_bytes(text) {
                        return Some(SettingValue::Bytes(Some(bytes)));
                    }
                }
                "a size such as \"200MB\" or \"1.5 GB\"".to_owned()
            }
            SettingKind::File => {
                if let ExprKind::Text(text) = &value.kind {
                    return Some(SettingValue::File(Some(directory.join(text).into())));
                }
                "a path such as \"train.npz\"".to_owned()
            }
            SettingKind::Folder => {
                if let ExprKind::Text(text) = &value.kind {
                    return Some(SettingValue::Folder(Some(directory.join(text).into())));
                }
                "the path of a folder such as \"worlds\"".to_owned()
            }
            SettingKind::Text => {
                if let ExprKind::Text(text) = &value.kind {
                    return Some(SettingValue::Text(Some(text.as_str().into())));
                }
                "a text in quotes".to_owned()
            }
            SettingKind::Choice(words) => {
                if let Some(found) =
                    word(value).and_then(|word| words.iter().find(|choice| **choice == word))
                {
                    return Some(SettingValue::Word(found));
                }
                let mut expected = format!("one of {}", listed(words));
                if let Some(near) =
                    word(value).and_then(|w| Diagnostics::nearest(w, words.iter().copied()))
                {
                    expected = format!("one of {}; did you mean `{near}`?", listed(words));
                }
                expected
            }
        };
        self.diagnostics.push(
            Diagnostic::new(
                Code::BadSetting,
                value.span,
                format!("`{}` cannot be this", row.name),
            )
            .with_help(format!("it takes {expected}")),
        );
        None
    }

    fn setting_number(&mut self, row: &Setting, value: &'a Expr) -> Option<f64> {
        match self.try_constant(value, Context::NETWORK) {
            Ok(number) if number.is_finite() => Some(number),
            Ok(_) | Err(Some(_)) => {
                let expected = match row.kind {
                    SettingKind::Int { min, max } => {
                        format!("a whole number from {}", range(min, max))
                    }
                    SettingKind::Real { min, max } => format!("a number from {min} to {max}"),
                    SettingKind::Bool
                    | SettingKind::Choice(_)
                    | SettingKind::Bytes
                    | SettingKind::File
                    | SettingKind::Folder
                    | SettingKind::Text => String::new(),
                };
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::BadSetting,
                        value.span,
                        format!("`{}` cannot be this", row.name),
                    )
                    .with_help(format!("it takes {expected}")),
                );
                None
            }
            Err(None) => None,
        }
    }

    /// The entries of `loss { label = cross_entropy, recall = 0.5 * mean_squares }`.
    fn output_losses(
        &mut self,
        block: &'a Block,
        words: &'static [&'static str],
        losses: &mut Vec<OutputLoss>,
    ) {
        for entry in &block.entries {
            let (key, value) = match entry {
                Entry::Setting { key, value, .. } => (key, value),
                Entry::Block(inner) => {
                    self.diagnostics.push(Diagnostic::new(
                        Code::UnknownBlock,
                        inner.keyword.span,
                        "no block can stand here",
                    ));
                    continue;
                }
            };
            let known = |expr: &Expr| {
                let word = word(expr)?;
                words.iter().find(|choice| **choice == word).copied()
            };
            let product = match &value.kind {
                ExprKind::Binary(BinaryOp::Multiply, a, b) => match (known(a), known(b)) {
                    (None, Some(function)) => Some((function, Some(a))),
                    (Some(function), None) => Some((function, Some(b))),
                    _ => None,
                },
                _ => known(value).map(|function| (function, None)),
            };
            let Some((function, factor)) = product else {
                let near = word(value).and_then(|w| Diagnostics::nearest(w, words.iter().copied()));
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it is one of {}, or a number times it", listed(words)),
                };
                self.diagnostics.push(
                    Diagnostic::new(Code::BadSetting, value.span, "this is no loss")
                        .with_help(help),
                );
                continue;
            };
            let factor = match factor {
                Some(factor) => self.constant(factor, Context::NETWORK),
                None => Some(1.0),
            };
            let Some(factor) = factor else { continue };
            let output = dotted(key);
            if let Some(first) = losses.iter().find(|loss| loss.output == output) {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::Duplicate,
                        key.span,
                        format!("the loss of `{output}` is given twice"),
                    )
                    .with_secondary(first.span, "first given here"),
                );
                continue;
            }
            losses.push(OutputLoss {
                output,
                function,
                factor,
                span: key.span,
            });
        }
    }

    /// Stores `grad_scale { rec.alpha = 0.001 }` until parameters are known.
    fn grad_scales(&mut self, block: &'a Block) {
        for entry in &block.entries {
            match entry {
                Entry::Setting { key, value, .. } => {
                    if let Some(scale) = self.constant(value, Context::NETWORK) {
                        self.grad_scales.push((dotted(key), key.span, scale));
                    }
                }
                Entry::Block(inner) => self.diagnostics.push(Diagnostic::new(
                    Code::UnknownBlock,
                    inner.keyword.span,
                    "no block can stand here",
                )),
            }
        }
    }
}

fn range(min: u64, max: u64) -> String {
    if max == u64::MAX {
        min.to_string()
    } else {
        format!("{min} to {max}")
    }
}

fn word(value: &Expr) -> Option<&str> {
    match &value.kind {
        ExprKind::Name(path) if path.parts.len() == 1 => Some(&path.parts[0].name),
        ExprKind::Text(text) => Some(text),
        _ => None,
    }
}
