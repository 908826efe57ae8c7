//! `bpmc grad`.

use super::options::{from_one, Backend, Overrides, Passes};
use super::screen::Screen;
use super::{output, spec, timing, Failure, Outcome};
use crate::engine::bptt::least_memory_interval;
use crate::engine::candle::{self, Candle};
use crate::engine::episode::Engine;
use crate::engine::experiment::Experiment;
use crate::engine::in_step::InStep;
use crate::engine::lanes::{Lanes, Shape};
use crate::engine::reference::Reference;
use crate::lang::sema::model::TrainModel;
use crate::learn::given::evaluate;
use crate::learn::values::{extent, not_finite, results_json, ValuesLayout};
use crate::step::passes::Selection;
use crate::step::Compiled;
use anyhow::Context;
use clap::{ArgGroup, Args, ValueEnum};
use serde_json::Value;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const AFTER_HELP: &str = "\
Examples:
  bpmc grad agent.bpm --template -o values.json     a file of values, to be filled in
  bpmc grad agent.bpm --values values.json          loss, final states and all gradients

With it the numbers of bpmc can be compared with those of any other framework.

The loss is that of the trainer. `bpmc explain train NAME` prints it as a formula with its means, \
and \"loss_is\" in the results repeats it. `stop(x)` in a formula is a number whose derivative is 0. \
The advantage of a2c is one: finite differences of that loss are its gradients only if it is held.

A target may be null: the step then has weight 0. \"weight\" holds the weights of all steps, as \
[steps][lanes], and \"weight.NAME\" those of the output NAME. A result that is not finite is written \
as \"NaN\", \"Infinity\" or \"-Infinity\", and a warning names it.";

/// Evaluate the loss of a spec and all its gradients for given values.
///
/// Inputs, initial states and parameters are named by their path in the spec, such as rec.alpha.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
#[command(group = ArgGroup::new("source").required(true).args(["values", "template"]))]
pub struct Arguments {
    /// The spec
    pub spec: PathBuf,

    /// A JSON file with the values
    #[arg(long, value_name = "FILE")]
    pub values: Option<PathBuf>,

    /// Print a file of values: parameters as train.seed draws them, states at their first values, noise at its
    /// mean, weights 1, all else 0
    #[arg(long)]
    pub template: bool,

    /// Steps of the template [default: those of the task, or train.steps]
    #[arg(long, value_name = "T", conflicts_with = "values", value_parser = from_one)]
    pub steps: Option<NonZeroUsize>,

    /// Lanes of the template [default: train.batch]
    #[arg(long, value_name = "B", conflicts_with = "values", value_parser = from_one)]
    pub lanes: Option<NonZeroUsize>,

    /// Precision; f32 is that of training
    #[arg(long, value_enum, default_value_t = Precision::F64)]
    pub dtype: Precision,

    /// The evaluator [default: fused; for `--opt 0`, reference for f64 and candle for f32]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    #[command(flatten)]
    pub passes: Passes,

    #[command(flatten)]
    pub overrides: Overrides,

    /// Write to this file instead of standard output
    #[arg(short, long, alias = "output", value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The type of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32 bits
    F32,
    /// 64 bits
    F64,
}

/// Numbers a template may hold.
const TEMPLATE_NUMBERS: usize = 10_000_000;

/// Prints a template, or loss and gradients.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let selection = arguments.passes.selection(Selection::level(0))?;
    let compilation = spec::compile(&arguments.spec, &arguments.overrides.set)?;
    let program = spec::program(&compilation, screen)?;
    let train = program.model.train.as_ref().ok_or_else(|| {
        anyhow::anyhow!(
            "the spec has no `train` block, which says what the loss is; add for instance \
             `train supervised {{ }}`"
        )
    })?;
    let json = match &arguments.values {
        Some(path) => {
            let (json, experiment, notes) = results(arguments, &selection, program, train, path)?;
            for note in notes {
                screen.say(&note);
            }
            if arguments.passes.time_passes {
                let times = experiment.times().iter();
                screen.say(&timing::table(&compilation, &experiment, times));
            }
            json
        }
        None => template(arguments, program, train)?,
    };
    output::write(arguments.out.as_deref(), &layout(&json), screen)
}

/// An object of objects with a line for each value, however many numbers it holds.
fn layout(json: &Value) -> String {
    let mut lines = Vec::new();
    for (section, values) in json.as_object().into_iter().flatten() {
        let section = Value::from(section.as_str());
        match values {
            Value::Object(values) if !values.is_empty() => {
                let values: Vec<String> = values
                    .iter()
                    .map(|(name, value)| format!("    {}: {value}", Value::from(name.as_str())))
                    .collect();
                lines.push(format!("  {section}: {{\n{}\n  }}", values.join(",\n")));
            }
            other => lines.push(format!("  {section}: {other}")),
        }
    }
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn template(
    arguments: &Arguments,
    program: &Compiled,
    train: &TrainModel,
) -> Result<Value, Failure> {
    let (steps, lanes) = spec::extent(&program.model);
    let steps = arguments.steps.map_or(steps, NonZeroUsize::get);
    let lanes = arguments.lanes.map_or(lanes, NonZeroUsize::get);
    let layout = ValuesLayout::new(program, train.trainer.kind, steps, lanes);
    let numbers = layout.elements();
    if numbers > TEMPLATE_NUMBERS {
        return Err(Failure::Usage(format!(
            "a file for {steps} steps and {lanes} lanes would hold {numbers} numbers; \
             choose fewer with `--steps` and `--lanes`"
        )));
    }
    let seed = train.settings.int("seed") as u64;
    Ok(layout.template(&program.step, seed))
}

fn results(
    arguments: &Arguments,
    selection: &Selection,
    program: &Compiled,
    train: &TrainModel,
    path: &Path,
) -> Result<(Value, Experiment, Vec<String>), Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the values {shown}"))?;
    let file: Value =
        serde_json::from_str(&text).with_context(|| format!("{shown} is not JSON"))?;
    let (steps, lanes) = extent(&file).with_context(|| shown.to_string())?;
    let layout = ValuesLayout::new(program, train.trainer.kind, steps, lanes);
    let given = layout
        .read(&file, &program.step)
        .with_context(|| shown.to_string())?;
    let failed = |error| Failure::Run(anyhow::Error::new(error));
    let backend = arguments
        .backend
        .unwrap_or(match (selection.opt(), arguments.dtype) {
            (1.., _) => Backend::Fused,
            (0, Precision::F64) => Backend::Reference,
            (0, Precision::F32) => Backend::Candle,
        });
    let experiment = Experiment::observed(&program.step, backend.kind().target(), selection)
        .map_err(|error| Failure::Run(anyhow::Error::new(error)))?;
    let stage = experiment.whole();
    let (step, backward) = (stage.graphs.step.clone(), stage.graphs.adjoint.clone());
    let interval = least_memory_interval(steps);
    let mut engine: Box<dyn Engine> = match (backend, arguments.dtype) {
        (Backend::Reference, Precision::F32) => {
            return Err(Failure::Usage(
                "the reference backend computes in f64 only; leave `--dtype f32` or choose \
                 `--backend candle`"
                    .to_owned(),
            ));
        }
        (Backend::Reference, Precision::F64) => {
            let executor = Reference::new(step, backward, lanes);
            Box::new(InStep::new(vec![executor], interval))
        }
        (Backend::Fused, dtype) => {
            let fused = stage.fused().expect("kernels were compiled for them");
            let (fused, shape) = (Arc::clone(fused), Shape::together(lanes, steps));
            match dtype {
                Precision::F32 => Box::new(Lanes::<f32>::new(fused, Arc::new(step), shape)),
                Precision::F64 => Box::new(Lanes::<f64>::new(fused, Arc::new(step), shape)),
            }
        }
        (Backend::Candle, dtype) => {
            let precision = match dtype {
                Precision::F32 => candle::Precision::Single,
                Precision::F64 => candle::Precision::Double,
            };
            let device = candle_core::Device::Cpu;
            let executor =
                Candle::new(step, backward, lanes, precision, &device).map_err(failed)?;
            Box::new(InStep::new(vec![executor], interval))
        }
    };
    let results = evaluate(engine.as_mut(), train, &given).map_err(failed)?;
    let mut notes = Vec::new();
    for output in layout.without_targets(&given) {
        notes.push(format!(
            "note: the output `{output}` has no targets in {shown} and adds nothing to the loss"
        ));
    }
    let bad = not_finite(&program.step, &given, &results);
    if !bad.is_empty() {
        notes.push(format!(
            "warning: not finite: {}; JSON has no such numbers, so they are texts: \"NaN\", \"Infinity\" or \"-Infinity\"",
            bad.join(", ")
        ));
    }
    let loss_is = train.loss_in_a_line();
    let json = results_json(&program.step, &given, &results, &loss_is);
    Ok((json, experiment, notes))
}

#[cfg(test)]
mod tests {
    use super::layout;
    use serde_json::{json, Value};

    #[test]
    fn a_laid_out_object_is_the_same_object() {
        let value = json!({
            "loss": 0.5,
            "outputs": { "a \"b\"": [[1.0, -2.0]], "c": 3 },
            "none": {},
        });
        let text = layout(&value);
        assert_eq!(text.lines().count(), 8);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
