//! Rules 13 and 14: gradient sums, and the gradients of parameters computed from them.

use super::Faults;
use crate::program::code::{Instr, RootKind};
use crate::program::ir::Program;
use crate::program::layout::{Form, Slot};
use crate::program::parameters::{Origin, Prologue};

pub(super) fn check(program: &Program, faults: &mut Faults) {
    added(program, faults);
    gradients(program, faults);
    for prologue in [&program.step_prologue, &program.adjoint_prologue] {
        shared(prologue, faults);
    }
}

/// Checks that each sum is added to once in a backward step.
fn added(program: &Program, faults: &mut Faults) {
    let back = &program.back;
    let sums = &program.epilogue.sums;
    let mut times = vec![0usize; sums.len()];
    let mut used = vec![0usize; program.outers.len()];
    let mut add = |at: usize, fits: &dyn Fn(&Slot) -> bool, faults: &mut Faults| {
        let found = sums.iter().position(|slot| slot.at == at);
        let sound = found.is_some_and(|k| fits(&sums[k]));
        faults.check(13, sound, || {
            format!("what is added at {at} is no gradient sum of that form")
        });
        if let Some(k) = found {
            times[k] += 1;
        }
    };
    let plain = |n: usize| move |slot: &Slot| slot.form == Form::Plain && slot.n == n;
    for instr in back.early.iter().chain(&back.main).chain(&back.late) {
        match *instr {
            Instr::AddTo { sum, n, .. } => add(sum, &plain(n), faults),
            Instr::AddOuter {
                sum, rows, cols, ..
            } => add(sum, &plain(rows * cols), faults),
            Instr::KeepOuter {
                index, rows, cols, ..
            } => {
                let outer = program.outers.get(index).copied();
                let sound = outer.is_some_and(|outer| (outer.rows, outer.cols) == (rows, cols));
                faults.check(13, sound, || {
                    format!("vectors of {rows} and {cols} elements are kept for outer {index}")
                });
                if let Some(outer) = outer {
                    used[index] += 1;
                    add(outer.sum, &plain(rows * cols), faults);
                }
            }
            _ => {}
        }
    }
    let main = back.main.iter().filter_map(|instr| match instr {
        Instr::Sweep(k) => Some(*k),
        _ => None,
    });
    let opening = back.opening.iter().map(|opening| opening.alone);
    for k in opening.chain(main).chain(back.closing.iter().copied()) {
        let sweep = &back.sweeps[k];
        for root in &sweep.roots {
            if let RootKind::Gradient(at) = root.kind {
                let fits = |slot: &Slot| slot.form == Form::Panels(sweep.layout);
                add(at, &fits, faults);
            }
        }
    }
    for (k, times) in times.iter().enumerate() {
        faults.check(13, *times == 1, || {
            format!("gradient sum {k} is added to {times} times a step")
        });
    }
    for (k, used) in used.iter().enumerate() {
        faults.check(13, *used == 1, || {
            format!("vectors of outer {k} are kept {used} times a step")
        });
    }
}

/// Checks that each trained parameter has its gradient.
fn gradients(program: &Program, faults: &mut Faults) {
    let epilogue = &program.epilogue;
    let own = epilogue.graph.params.iter().take(epilogue.parameters);
    for (k, parameter) in own.enumerate() {
        let of_it = epilogue.gradients.iter().filter(|(slot, _)| *slot == k);
        let found = of_it.count();
        faults.check(14, found == usize::from(parameter.trained), || {
            format!("`{}` has {found} gradients", parameter.path)
        });
    }
    for (k, origin) in &epilogue.gradients {
        let parameter = epilogue.graph.params.get(*k);
        let n: usize = parameter.map_or(0, |slot| slot.dims.iter().product());
        let sum = |k: usize| epilogue.sums.get(k).map_or(0, |slot| slot.n);
        let sound = match origin {
            Origin::Leaf(k) => sum(*k) == n,
            Origin::Slice {
                sum: k,
                start,
                width,
            } => {
                let rows = n.checked_div(*width).unwrap_or(0);
                let cols = sum(*k).checked_div(rows).unwrap_or(0);
                rows * width == n && rows * cols == sum(*k) && start + width <= cols
            }
            Origin::Result(k) => result(&epilogue.graph, *k) == n,
            Origin::Concat(_) => false,
        };
        faults.check(14, n > 0 && sound, || {
            format!("the gradient of parameter {k} has not its {n} elements")
        });
    }
}

/// The number of elements of a graph's result.
fn result(graph: &crate::ir::Graph, k: usize) -> usize {
    let result = graph.results().get(k);
    result.map_or(0, |(_, id)| graph.dims(*id).iter().product())
}

/// Checks that shared values have the elements of their origins.
fn shared(prologue: &Prologue, faults: &mut Faults) {
    for placed in &prologue.places {
        let param = |k: usize| {
            let slot = prologue.graph.params.get(k);
            slot.map_or(0, |slot| slot.dims.iter().product::<usize>())
        };
        let n = match &placed.origin {
            Origin::Leaf(k) => param(*k),
            Origin::Concat(parts) => parts.iter().map(|k| param(*k)).sum(),
            Origin::Result(k) => result(&prologue.graph, *k),
            Origin::Slice { .. } => 0,
        };
        faults.check(14, n == placed.slot.n, || {
            format!(
                "the shared value at {} has not its {n} elements",
                placed.slot.at
            )
        });
    }
}
