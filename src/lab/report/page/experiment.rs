//! The sections on the experiment: equations, parameters, and the difference from the paper.

use super::Html;
use crate::lab::report::figures::number::whole;
use crate::lab::report::gather::equations::Declared;
use crate::lab::report::gather::learned::Learned;
use crate::lab::report::gather::preset::{Change, Difference};
use crate::lab::report::gather::Experiment;

/// Writes the equations.
pub fn equations(experiment: &Experiment, html: &mut Html) {
    let Some(equations) = &experiment.equations else {
        return html.element("p", &[("class", "missing")], |html| {
            html.text("The spec has errors in this version of bpmc; `bpmc check` shows them.");
        });
    };
    let bundles = match equations.bundles.as_slice() {
        [] => "It has no plastic connections.".to_owned(),
        all => format!("Plastic bundles: {}.", all.join("; ")),
    };
    html.tag(
        "p",
        &format!(
            "One step of the network {}, as it ran. {bundles}",
            equations.network
        ),
    );
    html.element("div", &[("class", "equations")], |html| {
        for equation in &equations.equations {
            html.element("div", &[], |html| {
                html.formula(&equation.left);
                html.text(&format!(" {} ", equation.sign));
                html.formula(&equation.right);
                let mut what = equation.what.to_owned();
                if !equation.dims.is_empty() {
                    what = format!("{what} {}", shape(&equation.dims));
                }
                html.element("span", &[("class", "what")], |html| html.text(what.trim()));
            });
        }
    });
    html.note(
        "A state on the right has its value on entry to the step; ← defines its value on exit. All states change at \
         once. The index 0 marks the value at the first step, ∼ a draw. i is a presynaptic and j a postsynaptic neuron; each episode has its own traces and states. · is the \
         product, also of a vector with a matrix, and ∘ the elementwise product.",
    );
    let others: Vec<Vec<String>> = equations.others.iter().map(declared).collect();
    if !others.is_empty() {
        html.tag("h3", "Inputs, states, traces and noise");
        html.table(
            &["name", "what", "shape", "initial value or distribution"],
            &others,
        );
    }
}

/// Writes the rules of traces with the numbers that training found.
pub fn learned(rules: &[Learned], html: &mut Html) {
    html.element("div", &[("class", "equations")], |html| {
        for rule in rules {
            let (before, sign) = rule.signs();
            html.element("div", &[], |html| {
                html.text(before);
                html.formula(&rule.trace);
                html.text(sign);
                html.formula(&rule.right);
                html.text(&rule.within());
            });
        }
    });
    html.note(
        "Trained parameters that are one number stand here with their value, rounded to three digits. Products are \
         multiplied out, terms that are alike added, and the largest stand first. Δ is the change of the trace in one step.",
    );
}

/// Writes the parameters with their numbers.
pub fn parameters(experiment: &Experiment, html: &mut Html) {
    let Some(equations) = &experiment.equations else {
        return html.tag("p", "They are unknown without the equations.");
    };
    let all = equations.parameters.iter();
    let mut rows: Vec<Vec<String>> = all.map(counted).collect();
    rows.push(vec![
        "all trained".to_owned(),
        String::new(),
        whole(equations.trained()),
        String::new(),
        String::new(),
    ]);
    let header = ["parameter", "shape", "numbers", "initial values", "what"];
    html.table(&header, &rows);
}

fn counted(one: &Declared) -> Vec<String> {
    vec![
        one.path.clone(),
        shape(&one.dims),
        whole(one.count()),
        one.first.clone(),
        one.what.to_owned(),
    ]
}

fn declared(one: &Declared) -> Vec<String> {
    vec![
        one.path.clone(),
        one.what.to_owned(),
        shape(&one.dims),
        one.first.clone(),
    ]
}

/// The dimensions as `[200, 200]`; empty for a scalar.
fn shape(dims: &[usize]) -> String {
    match dims {
        [] => "one number".to_owned(),
        dims => format!("{dims:?}"),
    }
}

/// Writes the difference from the paper's preset.
pub fn difference(experiment: &Experiment, html: &mut Html) {
    match (&experiment.difference, experiment.task) {
        (Some(difference), _) => compared(difference, html),
        (None, Some(task)) => html.tag(
            "p",
            &format!("The paper has no experiment with the task {task} to compare this with."),
        ),
        (None, None) => html.tag("p", "The paper has no experiment to compare this with."),
    }
}

fn compared(difference: &Difference, html: &mut Html) {
    let preset = format!("specs/paper/{}", difference.preset);
    if difference.lines.is_empty() {
        return html.tag(
            "p",
            &format!("Only the seed and the machine differ from {preset}."),
        );
    }
    let lines = match difference.count {
        1 => "1 line differs".to_owned(),
        count => format!("{count} lines differ"),
    };
    html.tag(
        "p",
        &format!(
            "{lines} from {preset}, the nearest experiment of the paper with this task: − marks lines of the preset, + \
             lines of the run. Comments and layout do not count."
        ),
    );
    html.element("pre", &[("class", "diff")], |html| {
        for line in &difference.lines {
            let (class, text) = match line {
                Change::Same(text) => ("same", format!("  {text}")),
                Change::Preset(text) => ("preset", format!("− {text}")),
                Change::Run(text) => ("run", format!("+ {text}")),
                Change::Gap => ("gap", "  …".to_owned()),
            };
            html.element("span", &[("class", class)], |html| html.text(&text));
            html.text("\n");
        }
    });
}
