//! Measurements beside earlier ones.

use super::super::Failure;
use super::table::{layout, row, seconds, Row, NONE};
use crate::engine::plan::megabytes;
use crate::lab::bench::report::SpecReport;
use crate::lab::bench::Document;
use anyhow::Context;
use std::path::Path;

/// Reads what an earlier `bpmc bench --json` printed.
///
/// # Errors
/// A message where the file cannot be read, or is something else.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    let shown = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let read = serde_json::from_slice(&text);
    Ok(read.with_context(|| format!("{shown} is not what `bpmc bench --json` prints"))?)
}

/// Renders times and memory of both, and of the kernels that both have.
pub(super) fn render(now: &Document, before: &Document, color: bool) -> String {
    let mut rows = vec![row([
        "Compared", "before", "now", "fastest", "now", "ratio", "memory", "now",
    ])];
    let mut notes = String::new();
    for spec in &now.specs {
        let Some(old) = before.specs.iter().find(|old| same(old, spec)) else {
            notes += &format!("{} was not measured before\n", spec.spec);
            continue;
        };
        let memory = |spec: &SpecReport| {
            let bytes = spec.peak_memory_bytes;
            bytes.map_or_else(|| NONE.to_owned(), megabytes)
        };
        rows.push(vec![
            spec.spec.clone(),
            seconds(old.seconds.median),
            seconds(spec.seconds.median),
            seconds(old.seconds.minimum),
            seconds(spec.seconds.minimum),
            format!("{:.2}", spec.seconds.minimum / old.seconds.minimum),
            memory(old),
            memory(spec),
        ]);
        for (what, then, here) in [
            ("threads", old.threads, spec.threads),
            ("lanes", old.lanes, spec.lanes),
            ("steps", old.steps, spec.steps),
            ("parameters", old.parameters, spec.parameters),
        ] {
            if then != here {
                notes += &format!("{}: {then} {what} before, {here} now\n", spec.spec);
            }
        }
        rows.extend(kernels(old, spec));
    }
    let mut text = layout(&rows, color);
    if !notes.is_empty() {
        text += "\n";
        text += &notes;
    }
    text
}

fn same(old: &SpecReport, spec: &SpecReport) -> bool {
    old.spec == spec.spec && old.device == spec.device
}

/// The times of the kernels of one iteration.
fn kernels(old: &SpecReport, spec: &SpecReport) -> Vec<Row> {
    let of = |kernel: &crate::machine::kernel::KernelReport| {
        let before = old.kernels.iter().find(|old| old.name == kernel.name)?;
        let ratio = match before.seconds > 0.0 {
            true => format!("{:.2}", kernel.seconds / before.seconds),
            false => NONE.to_owned(),
        };
        Some(vec![
            format!("  {}", kernel.name),
            seconds(before.seconds),
            seconds(kernel.seconds),
            NONE.to_owned(),
            NONE.to_owned(),
            ratio,
            NONE.to_owned(),
            NONE.to_owned(),
        ])
    };
    spec.kernels.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::table::sample;
    use super::*;

    #[test]
    fn ratios_are_of_the_fastest_times_and_changes_of_the_setup_are_told() {
        let before = sample();
        let mut now = sample();
        now.specs[0].seconds.minimum = 0.012;
        now.specs[0].kernels[0].seconds = 0.005;
        now.specs[0].lanes = 60;
        let mut other = now.specs[0].clone();
        other.spec = "other.bpm".to_owned();
        now.specs.push(other);
        insta::assert_snapshot!(render(&now, &before, false), @r"
        Compared                  before      now  fastest      now  ratio  memory  now
        maze.bpm                 25.0 ms  25.0 ms  24.0 ms  12.0 ms   0.50       -    -
          step: apply, transmit  10.0 ms  5.00 ms        -        -   0.50       -    -

        maze.bpm: 30 lanes before, 60 now
        other.bpm was not measured before
        ");
    }
}
