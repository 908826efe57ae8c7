//! The command `bpmc eval` for a language model: the loss on validation and test text.

use super::super::screen::Screen;
use super::super::{Failure, Outcome};
use super::Arguments;
use crate::lab::run::OpenedRun;
use crate::learn::checkpoint::Checkpoint;
use crate::learn::text::Part;
use crate::learn::trainer::Trainer;
use crate::step::Compiled;
use anyhow::Context;
use std::fmt::Write;
use std::path::PathBuf;

/// Evaluates and prints.
pub(super) fn run(
    arguments: &Arguments,
    screen: &Screen,
    opened: &OpenedRun,
    program: &Compiled,
    checkpoint: &Checkpoint,
) -> Outcome {
    if let Some(ablation) = arguments.ablate.first() {
        return Err(Failure::Usage(format!(
            "--ablate {ablation}: ablations are of episodes, and a language model has none; override a value with \
             `bpmc train --set` instead"
        )));
    }
    let of_run = opened.manifest.data.as_ref().map(PathBuf::from);
    let data = arguments.data.clone().or(of_run);
    let mut options = opened.options(arguments.threads.count());
    options.passes = arguments.passes.selection(opened.passes())?;
    let mut trainer =
        Trainer::with_data(program, options, data.as_deref()).map_err(anyhow::Error::new)?;
    trainer
        .restore_parameters(checkpoint)
        .map_err(anyhow::Error::new)?;
    let mut rows = serde_json::Map::new();
    let mut text = format!("checkpoint of iteration {}\n", checkpoint.header.iteration);
    for part in [Part::Valid, Part::Test] {
        let Some(cost) = trainer.perplexity(part).map_err(anyhow::Error::new)? else {
            continue;
        };
        let _ = writeln!(
            text,
            "{:<6} perplexity {:.3}, {:.4} bits per word, {} words",
            part.name(),
            cost.value(),
            cost.bits(),
            cost.words
        );
        rows.insert(
            part.name().to_owned(),
            serde_json::json!({
                "perplexity": cost.value(),
                "bits_per_word": cost.bits(),
                "words": cost.words,
            }),
        );
    }
    if arguments.json {
        rows.insert("iteration".to_owned(), checkpoint.header.iteration.into());
        text = serde_json::to_string(&rows).context("cannot write the report as JSON")? + "\n";
    }
    screen.print(&text)
}
