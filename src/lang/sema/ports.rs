//! Ports: the inputs and outputs of the network, checked against the task and the trainer.

use super::constants::listed;
use super::model::{DefKind, Definition, Model, TrainModel};
use super::targets::TARGET;
use crate::ir::STARTS;
use crate::lang::catalog::{Actions, Port, Start, TrainerKind, LOG_STD};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};

/// Checks inputs and outputs against the task and the trainer.
pub(super) fn check(model: &Model, diagnostics: &mut Diagnostics) {
    check_inputs(model, diagnostics);
    check_outputs(model, diagnostics);
    check_epochs(model, diagnostics);
    check_losses(model, diagnostics);
}

/// Marks the states whose first values come from the task, and checks that they are there with these dimensions.
pub(super) fn give_states(model: &mut Model, diagnostics: &mut Diagnostics) {
    let Some(task) = &model.task else { return };
    // A computed first value gives way to a given one.
    for first in &model.firsts {
        let path = &model.states[first.state.index()].path;
        if task.ports.starts.iter().any(|start| start.path == *path) {
            model.states[first.starts.index()].init = 0.0;
        }
    }
    for start in &task.ports.starts {
        let Start { path, dims, origin } = start;
        let slot = model.states.iter_mut().find(|slot| slot.path == *path);
        if let Some(slot) = slot {
            slot.given = true;
            if slot.dims == *dims {
                continue;
            }
            let message = format!(
                "{origin}: it has {dims:?} for each sequence, and `{path}` is {:?}",
                slot.dims
            );
            let mut diagnostic = Diagnostic::new(Code::WrongPort, task.span, message);
            if let Some(span) = slot.span {
                diagnostic = diagnostic.with_secondary(span, "the state is declared here");
            }
            diagnostics.push(
                diagnostic
                    .with_help("its shape is [sequences, ...], with the dimensions of the state"),
            );
            continue;
        }
        let states = model.states.iter();
        let states = states.filter(|slot| !slot.path.ends_with(STARTS));
        let states = states.map(|slot| format!("`{}` {:?}", slot.path, slot.dims));
        let help = match states.collect::<Vec<_>>().join(", ") {
            all if all.is_empty() => "the network has no states".to_owned(),
            all => format!("there are {all}"),
        };
        let message = format!("{origin}: the network has no state `{path}`");
        diagnostics.push(Diagnostic::new(Code::WrongPort, task.span, message).with_help(help));
    }
}

/// Checks that a `loss` block names the outputs with targets, all of them.
fn check_losses(model: &Model, diagnostics: &mut Diagnostics) {
    let Some(train) = model
        .train
        .as_ref()
        .filter(|train| !train.losses.is_empty())
    else {
        return;
    };
    let outputs = || {
        model
            .outputs
            .iter()
            .map(|id| model.definitions[id.index()].path.as_str())
    };
    let scored: Vec<&str> = match &model.task {
        Some(task) => task
            .ports
            .targets
            .iter()
            .map(|port| port.name.as_str())
            .collect(),
        None => outputs().collect(),
    };
    for loss in &train.losses {
        if scored.contains(&loss.output.as_str()) {
            continue;
        }
        let message = if outputs().any(|output| output == loss.output) {
            format!("the output `{}` has no target", loss.output)
        } else {
            format!("the network has no output `{}`", loss.output)
        };
        let near = Diagnostics::nearest(&loss.output, scored.iter().copied());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are targets of {}", listed(&scored)),
        };
        diagnostics.push(Diagnostic::new(Code::WrongPort, loss.span, message).with_help(help));
    }
    for output in scored {
        if !train.losses.iter().any(|loss| loss.output == output) {
            diagnostics.push(
                Diagnostic::new(
                    Code::WrongPort,
                    train.span,
                    format!("the output `{output}` has a target, and `loss {{ }}` does not name it"),
                )
                .with_help(format!(
                    "add `{output} = mean_squares`, or `{output} = 0 * mean_squares` to learn nothing from it"
                )),
            );
        }
    }
}

/// Checks that a trainer by epochs has a task whose episodes are counted.
fn check_epochs(model: &Model, diagnostics: &mut Diagnostics) {
    let (Some(train), Some(task)) = (&model.train, &model.task) else {
        return;
    };
    let supervised = train.trainer.kind == TrainerKind::Supervised;
    if supervised && train.settings.int("epochs") > 0 && task.ports.sequences.is_none() {
        diagnostics.push(
            Diagnostic::new(
                Code::BadSetting,
                train.span,
                format!(
                    "there are no epochs, since `{}` draws its episodes without end",
                    task.info.name
                ),
            )
            .with_secondary(task.span, "the task is chosen here")
            .with_help("write `iterations = N`"),
        );
    }
}

fn check_inputs(model: &Model, diagnostics: &mut Diagnostics) {
    let Some(task) = &model.task else { return };
    let ports = &task.ports.inputs;
    for slot in &model.inputs {
        let Some(span) = slot.span else { continue };
        if slot.path.starts_with("external.") || slot.path.starts_with(TARGET) {
            continue;
        }
        let Some(port) = ports.iter().find(|port| port.name == slot.path) else {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            diagnostics.push(
                Diagnostic::new(
                    Code::WrongPort,
                    span,
                    format!("task `{}` gives no input `{}`", task.info.name, slot.path),
                )
                .with_secondary(task.span, "the task is chosen here")
                .with_help(format!("it gives {}", listed(&names))),
            );
            continue;
        };
        let size: usize = slot.dims.iter().product();
        if size != port.size {
            diagnostics.push(
                Diagnostic::new(
                    Code::WrongPort,
                    span,
                    format!(
                        "input `{}` has size {size}, but the task gives {}",
                        slot.path, port.size
                    ),
                )
                .with_secondary(task.span, "the task is chosen here")
                .with_help(size_help(port)),
            );
        }
    }
}

/// The remedy for an input of another size than its port.
fn size_help(port: &Port) -> String {
    let name = &port.name;
    if port.classes {
        return format!(
            "whole numbers are classes, with one element for each: write `input {name}: [task.{name}]`; for numbers save floats, `{name}.astype(np.float32)`"
        );
    }
    format!("write `input {name}: [task.{name}]`")
}

fn check_outputs(model: &Model, diagnostics: &mut Diagnostics) {
    let Some(train) = &model.train else { return };
    match train.trainer.kind {
        TrainerKind::Reward => {
            check_policy(model, train, diagnostics);
        }
        TrainerKind::Language if model.task.as_ref().is_none_or(|task| !task.ports.is_text) => {
            let mut diagnostic = Diagnostic::new(
                Code::WrongPort,
                train.span,
                "`language_model` needs the task `text`",
            )
            .with_help("add for instance `task text { words = 10_000 }`");
            if let Some(task) = &model.task {
                diagnostic = diagnostic.with_secondary(task.span, "the task is chosen here");
            }
            diagnostics.push(diagnostic);
        }
        TrainerKind::Supervised | TrainerKind::Language => {
            let targets = model.task.as_ref().map(|task| &task.ports.targets);
            match (&model.task, targets) {
                (Some(task), Some(targets)) if targets.is_empty() => {
                    diagnostics.push(
                        Diagnostic::new(
                            Code::WrongPort,
                            train.span,
                            format!(
                                "`supervised` needs a task with targets, and `{}` has none",
                                task.info.name
                            ),
                        )
                        .with_secondary(task.span, "the task is chosen here")
                        .with_help("tasks with rewards are trained with `train a2c`"),
                    );
                }
                (_, Some(targets)) => {
                    for port in targets {
                        let size = port.size.to_string();
                        require(
                            model,
                            &port.name,
                            Some(port.size),
                            train.span,
                            &size,
                            diagnostics,
                        );
                    }
                }
                (_, None) => {
                    if model.outputs.is_empty() {
                        diagnostics.push(
                            Diagnostic::new(
                                Code::MissingOutput,
                                train.span,
                                "`supervised` needs at least one output",
                            )
                            .with_help("add `output prediction = linear(y, 3)`"),
                        );
                    }
                }
            }
        }
    }
}

/// Checks the outputs of a trainer that learns from rewards.
fn check_policy(model: &Model, train: &TrainModel, diagnostics: &mut Diagnostics) {
    let size = |name: &str| {
        let definition = output(model, name)?;
        Some(model.dims(definition.expr.ty).iter().product())
    };
    let actions = match &model.task {
        Some(task) => task.ports.actions.clone(),
        None => Some(Actions::of_outputs(size)),
    };
    let (Some(actions), task) = (actions, model.task.as_ref()) else {
        let task = model.task.as_ref().expect("a network alone has actions");
        diagnostics.push(
            Diagnostic::new(
                Code::WrongPort,
                train.span,
                format!(
                    "`{}` needs a task with actions, and `{}` has none",
                    train.trainer.name, task.info.name
                ),
            )
            .with_secondary(task.span, "the task is chosen here")
            .with_help("tasks with targets are trained with `train supervised`"),
        );
        return;
    };
    for (name, size) in actions.outputs() {
        let (wanted, needed) = match task {
            Some(_) => (size.to_string(), Some(size)),
            // Without a task the policy may have any size, and its parts the same.
            None => ("[2]".to_owned(), (name == LOG_STD).then_some(size)),
        };
        require(model, &name, needed, train.span, &wanted, diagnostics);
    }
    require(model, "value", Some(1), train.span, "1", diagnostics);
    match (&actions, output(model, LOG_STD), task) {
        (Actions::Choices(_), Some(definition), Some(task)) => diagnostics.push(
            Diagnostic::new(
                Code::WrongPort,
                definition.span,
                format!(
                    "`{LOG_STD}` is for actions that are numbers, and those of `{}` are choices",
                    task.info.name
                ),
            )
            .with_secondary(task.span, "the task is chosen here")
            .with_help("`policy` has a logit for each action; take this output away"),
        ),
        (Actions::Numbers(_), _, _) if train.settings.real("concentration") != 0.0 => diagnostics.push(
            Diagnostic::new(
                Code::BadSetting,
                train.span,
                "actions that are numbers have no probabilities, whose squares `concentration` would add",
            )
            .with_help("take `concentration` away; `entropy` keeps the policy open"),
        ),
        _ => {}
    }
}

/// The output with this name.
fn output<'a>(model: &'a Model, name: &str) -> Option<&'a Definition> {
    let definitions = model
        .outputs
        .iter()
        .map(|id| &model.definitions[id.index()]);
    definitions
        .into_iter()
        .find(|definition| definition.path == name)
}

/// Checks that an output for the trainer exists and has the right size.
fn require(
    model: &Model,
    name: &str,
    size: Option<usize>,
    at: Span,
    wanted: &str,
    diagnostics: &mut Diagnostics,
) {
    let Some(definition) = output(model, name) else {
        let near = model
            .definitions
            .iter()
            .find(|d| d.path == name && d.kind != DefKind::Output);
        let mut diagnostic = Diagnostic::new(
            Code::MissingOutput,
            at,
            format!("this trainer needs an output called `{name}`, and the network has none"),
        );
        diagnostic = match near {
            Some(near) => diagnostic
                .with_secondary(near.span, "this is a value, not an output")
                .with_help(format!("write `output {name} = ...`")),
            None if name == LOG_STD => diagnostic.with_help(format!(
                "the actions are numbers, with `policy` as their mean: add `trained spread: [{wanted}] = -0.5` and `output {name} = spread`, or compute it as `linear(y, {wanted})`"
            )),
            None => diagnostic.with_help(format!(
                "add `output {name} = linear(y, {wanted})` with `y` the network's activity"
            )),
        };
        diagnostics.push(diagnostic);
        return;
    };
    let actual: usize = model.dims(definition.expr.ty).iter().product();
    if let Some(size) = size {
        if actual != size {
            diagnostics.push(
                Diagnostic::new(
                    Code::WrongPort,
                    definition.span,
                    format!("output `{name}` has size {actual}, but size {size} is needed"),
                )
                .with_secondary(at, "needed here"),
            );
        }
    }
}
