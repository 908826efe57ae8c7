//! The sections on the experiment: equations, parameters, and the difference from the paper.

use super::Html;
use crate::lab::report::figures::number::whole;
use crate::lab::report::gather::equations::Declared;
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
                html.text(if equation.leaves { " ← " } else { " = " });
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
        "A name on the right is the value that entered the step; ← gives the one that leaves it, and all of them change \
         at once. i is a presynaptic and j a postsynaptic neuron; traces and states are each episode's own. · is the \
         product, also of vectors with matrices, and ∘ the product element by element.",
    );
    let others: Vec<Vec<String>> = equations.others.iter().map(declared).collect();
    if !others.is_empty() {
        html.tag("h3", "Inputs, states, traces and noise");
        html.table(
            &["name", "what", "shape", "first value or distribution"],
            &others,
        );
    }
}

/// Writes the parameters with their numbers.
pub fn parameters(experiment: &Experiment, html: &mut Html) {
    let Some(equations) = &experiment.equations else {
        return html.tag("p", "They are not known without the equations.");
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
    let header = ["parameter", "shape", "numbers", "first values", "what"];
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
        (None, None) => html.tag(
            "p",
            "There is no experiment of the paper to compare this with.",
        ),
    }
}

fn compared(difference: &Difference, html: &mut Html) {
    let preset = format!("specs/paper/{}", difference.preset);
    if difference.lines.is_empty() {
        return html.tag(
            "p",
            &format!("Nothing differs from {preset} but the seed and where it ran."),
        );
    }
    let lines = match difference.count {
        1 => "1 line differs".to_owned(),
        count => format!("{count} lines differ"),
    };
    html.tag(
        "p",
        &format!(
            "{lines} from {preset}, the nearest experiment of the paper with this task: − stands in the preset, + in \
             what was run. Comments and layout do not count."
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
