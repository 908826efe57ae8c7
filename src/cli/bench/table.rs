//! The measurements as tables.

use crate::engine::plan::megabytes;
use crate::lab::bench::report::{kernel_floor, PhaseShares, SpecReport, WorkSource};
use crate::lab::bench::{Document, Machine};
use crate::machine::kernel::KernelReport;

/// The text for a missing measurement.
pub(super) const NONE: &str = "-";

/// Renders all tables.
pub fn render(document: &Document, color: bool) -> String {
    let mut text = String::new();
    let specs = &document.specs;
    if let Some(first) = specs.first() {
        text.push_str(&format!(
            "{} on {}\n\n",
            first.backend,
            counted(first.threads, "thread")
        ));
    }
    text.push_str(&layout(&times(specs), color));
    text.push('\n');
    text.push_str(&layout(&phases(specs), color));
    for spec in specs.iter().filter(|spec| !spec.kernels.is_empty()) {
        text.push_str(&format!("\nKernels of one iteration, {}\n\n", spec.spec));
        text.push_str(&layout(
            &kernels(&spec.kernels, document.machine.as_ref()),
            color,
        ));
        text.push_str(
            "\nOne more iteration gives these times, each kernel timed by itself, so that they add up to more than an iteration.\n",
        );
    }
    if let Some(machine) = &document.machine {
        text.push('\n');
        text.push_str(&layout(&floors(specs), color));
        text.push_str("\nThe floor counts loops over connections and not the vector code between them, which is most of a small network.\n");
        text.push('\n');
        text.push_str(&layout(&rates(machine), color));
    }
    text
}

pub(super) type Row = Vec<String>;

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Row {
    cells.map(str::to_owned).to_vec()
}

fn times(specs: &[SpecReport]) -> Vec<Row> {
    let mut rows = vec![row([
        "Speed",
        "median",
        "fastest",
        "quartiles",
        "iterations/s",
        "steps/s",
        "memory",
        "compiled in",
    ])];
    for spec in specs {
        let s = spec.seconds;
        rows.push(vec![
            spec.spec.clone(),
            seconds(s.median),
            seconds(s.minimum),
            format!(
                "{} to {}",
                seconds(s.lower_quartile),
                seconds(s.upper_quartile)
            ),
            figures(spec.iterations_per_second),
            scaled(spec.environment_steps_per_second, ""),
            spec.peak_memory_bytes
                .map_or_else(|| NONE.to_owned(), megabytes),
            seconds(spec.compile_ms / 1e3),
        ]);
    }
    rows
}

fn phases(specs: &[SpecReport]) -> Vec<Row> {
    let mut rows = vec![row([
        "Time by phase",
        "lanes x steps",
        "parameters",
        "iterations",
        "forward",
        "task",
        "backward",
        "update",
        "other",
    ])];
    for spec in specs {
        let share = |part: fn(&PhaseShares) -> f64| {
            let shares = spec.phases.as_ref();
            shares.map_or_else(|| NONE.to_owned(), |shares| percent(part(shares)))
        };
        rows.push(vec![
            spec.spec.clone(),
            format!("{} x {}", spec.lanes, spec.steps),
            spec.parameters.to_string(),
            spec.iterations.to_string(),
            share(|s| s.forward),
            share(|s| s.task),
            share(|s| s.backward),
            share(|s| s.update),
            share(|s| s.other),
        ]);
    }
    rows
}

fn kernels(kernels: &[KernelReport], machine: Option<&Machine>) -> Vec<Row> {
    let mut rows = vec![row([
        "Kernel",
        "form",
        "calls",
        "time",
        "bytes",
        "operations",
        "of its floor",
    ])];
    for kernel in kernels {
        let reached = machine
            .filter(|_| kernel.seconds > 0.0 && kernel.bytes + kernel.operations > 0.0)
            .map(|machine| kernel_floor(kernel, machine) / kernel.seconds);
        rows.push(vec![
            kernel.name.clone(),
            kernel.form.clone(),
            scaled(kernel.calls, ""),
            seconds(kernel.seconds),
            known(kernel.bytes, "B"),
            known(kernel.operations, ""),
            reached.map_or_else(|| NONE.to_owned(), percent),
        ]);
    }
    rows
}

fn floors(specs: &[SpecReport]) -> Vec<Row> {
    let mut rows = vec![row([
        "Floors of an iteration",
        "bytes",
        "in",
        "operations",
        "in",
        "reached",
        "counted from",
    ])];
    for spec in specs {
        let Some(floor) = &spec.floor else { continue };
        rows.push(vec![
            spec.spec.clone(),
            scaled(spec.work.bytes, "B"),
            seconds(floor.bytes_seconds),
            scaled(spec.work.operations, ""),
            seconds(floor.operations_seconds),
            percent(floor.reached),
            match spec.counted_from {
                WorkSource::Kernels => "kernels",
                WorkSource::Graph => "the graph",
            }
            .to_owned(),
        ]);
    }
    rows
}

fn rates(machine: &Machine) -> Vec<Row> {
    let both = |name: String, rates: crate::lab::bench::machine::Rates, unit: &str| {
        vec![name, scaled(rates.one, unit), scaled(rates.all, unit)]
    };
    let on = machine.device.is_some();
    let unit = if on { "block" } else { "thread" };
    let near = megabytes(machine.near_bytes as u64);
    vec![
        vec![
            match &machine.device {
                Some(name) => format!("{name}, a second"),
                None => "This machine, a second".to_owned(),
            },
            counted(1, unit),
            counted(machine.threads, unit),
        ],
        both(
            match on {
                true => "operations".to_owned(),
                false => format!("operations, vectors of {} bits", machine.vector_bits),
            },
            machine.operations_per_second,
            "",
        ),
        both(
            match on {
                true => format!("bytes in place, {near} of shared memory"),
                false => format!("bytes in place, {near}"),
            },
            machine.near_bytes_per_second,
            "B",
        ),
        both(
            match on {
                true => "bytes in place, the device's memory",
                false => "bytes in place, outside the second-level cache",
            }
            .to_owned(),
            machine.far_bytes_per_second,
            "B",
        ),
    ]
}

/// Aligns columns: the first to the left, the others to the right. The first row is the heading.
pub(super) fn layout(rows: &[Row], color: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (k, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                line.push_str(&format!("{cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        if k == 0 && color {
            text.push_str(&format!("\u{1b}[1m{}\u{1b}[0m\n", line.trim_end()));
        } else {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Formats three digits, more than a time measurement justifies.
fn figures(value: f64) -> String {
    let before = if value < 1.0 {
        1
    } else {
        value.log10().floor() as usize + 1
    };
    format!("{value:.*}", 3usize.saturating_sub(before))
}

pub(super) fn seconds(value: f64) -> String {
    if value >= 1.0 {
        format!("{} s", figures(value))
    } else if value >= 1e-3 {
        format!("{} ms", figures(value * 1e3))
    } else {
        format!("{} us", figures(value * 1e6))
    }
}

fn scaled(value: f64, unit: &str) -> String {
    let (value, prefix) = match value {
        v if v >= 1e12 => (v / 1e12, "T"),
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    format!("{} {prefix}{unit}", figures(value))
        .trim_end()
        .to_owned()
}

/// A count with its unit, or a dash if it is unknown.
fn known(value: f64, unit: &str) -> String {
    match value > 0.0 {
        true => scaled(value, unit),
        false => NONE.to_owned(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
pub(super) use tests::sample;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::bench::machine::Rates;
    use crate::lab::bench::report::Quartiles;
    use crate::lab::bench::work::Work;

    #[test]
    fn numbers_have_three_figures_and_units() {
        assert_eq!(seconds(0.02541), "25.4 ms");
        assert_eq!(seconds(12.345), "12.3 s");
        assert_eq!(seconds(3.2e-5), "32.0 us");
        assert_eq!(scaled(40_812.0, ""), "40.8 k");
        assert_eq!(scaled(1.5e9, "B"), "1.50 GB");
        assert_eq!(scaled(12.0, ""), "12.0");
        assert_eq!(figures(1234.5), "1234");
        assert_eq!(figures(0.123), "0.12");
        assert_eq!(percent(0.256), "26 %");
    }

    pub fn sample() -> Document {
        let machine = Machine {
            device: None,
            threads: 2,
            vector_bits: 256,
            operations_per_second: Rates {
                one: 1e11,
                all: 2e11,
            },
            near_bytes: 1 << 18,
            near_bytes_per_second: Rates {
                one: 5e10,
                all: 1e11,
            },
            far_bytes_per_second: Rates {
                one: 1e10,
                all: 2e10,
            },
        };
        let spec = SpecReport {
            spec: "maze.bpm".to_owned(),
            device: "cpu".to_owned(),
            backend: "fused".to_owned(),
            threads: 2,
            lanes: 30,
            steps: 200,
            parameters: 21_000,
            compile_ms: 31.0,
            iterations: 40,
            seconds: Quartiles {
                minimum: 0.024,
                lower_quartile: 0.0245,
                median: 0.025,
                upper_quartile: 0.027,
            },
            iterations_per_second: 40.0,
            environment_steps_per_second: 240_000.0,
            peak_memory_bytes: None,
            phases: Some(PhaseShares {
                forward: 0.25,
                task: 0.05,
                backward: 0.6,
                update: 0.04,
                other: 0.06,
            }),
            work: Work {
                bytes: 1e9,
                operations: 1e9,
            },
            counted_from: WorkSource::Kernels,
            floor: None,
            kernels: vec![KernelReport {
                name: "step: apply, transmit".to_owned(),
                form: "machine code, 256 bits".to_owned(),
                calls: 6000.0,
                seconds: 0.01,
                bytes: 2.5e8,
                operations: 1e8,
            }],
        };
        Document {
            version: "1".to_owned(),
            specs: vec![spec.on(&machine)],
            machine: Some(machine),
        }
    }

    #[test]
    fn tables_line_up() {
        insta::assert_snapshot!(render(&sample(), false), @r"
        fused on 2 threads

        Speed      median  fastest           quartiles  iterations/s  steps/s  memory  compiled in
        maze.bpm  25.0 ms  24.0 ms  24.5 ms to 27.0 ms          40.0    240 k       -      31.0 ms

        Time by phase  lanes x steps  parameters  iterations  forward  task  backward  update  other
        maze.bpm            30 x 200       21000          40     25 %   5 %      60 %     4 %    6 %

        Kernels of one iteration, maze.bpm

        Kernel                                   form   calls     time   bytes  operations  of its floor
        step: apply, transmit  machine code, 256 bits  6.00 k  10.0 ms  250 MB       100 M          50 %

        One more iteration gives these times, each kernel timed by itself, so that they add up to more than an iteration.

        Floors of an iteration    bytes       in  operations       in  reached  counted from
        maze.bpm                1.00 GB  10.0 ms      1.00 G  5.00 ms     40 %       kernels

        The floor counts loops over connections and not the vector code between them, which is most of a small network.

        This machine, a second                          1 thread  2 threads
        operations, vectors of 256 bits                    100 G      200 G
        bytes in place, 262.1 kB                         50.0 GB     100 GB
        bytes in place, outside the second-level cache   10.0 GB    20.0 GB
        ");
    }

    #[test]
    fn headings_are_bold_where_there_is_colour() {
        let text = render(&sample(), true);
        assert!(text.contains("\u{1b}[1mSpeed"));
        assert!(!render(&sample(), false).contains('\u{1b}'));
    }
}
