//! The table of `--time-passes`.

use crate::driver::Compilation;
use crate::engine::experiment::Experiment;
use crate::step::StageTime;
use std::fmt::Write;

/// The table: a row for each pass that ran and for each stage of the compiler, in order.
pub fn table<'a>(
    compilation: &'a Compilation,
    experiment: &Experiment,
    times: impl Iterator<Item = &'a StageTime>,
) -> String {
    let mut text = format!(
        "{:<24}{:>10}{:>10}{:>10}{:>12}\n",
        "pass", "rewrites", "values", "after", "ms"
    );
    let mut row = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("writing to a string");
    };
    for pass in experiment.applied() {
        row(format_args!(
            "{:<24}{:>10}{:>10}{:>10}{:>12.3}\n",
            pass.pass,
            pass.rewrites,
            pass.before,
            pass.after,
            pass.seconds * 1e3
        ));
    }
    for (k, form) in experiment.forms().enumerate() {
        let before = if k == 0 { "\n" } else { "" };
        row(format_args!("{before}{form}\n"));
    }
    row(format_args!("\n{:<24}{:>42}\n", "stage", "ms"));
    let mut total = 0.0;
    for StageTime { stage, seconds } in compilation.stages.iter().chain(times) {
        total += seconds;
        row(format_args!("{stage:<24}{:>42.3}\n", seconds * 1e3));
    }
    row(format_args!("{:<24}{:>42.3}", "together", total * 1e3));
    text
}
