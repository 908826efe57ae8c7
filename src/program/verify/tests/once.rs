//! Faults of traces, gradients and slots, by the number of the rule.

use super::planted::caught;
use super::*;
use crate::program::code::{Instr, Root, RootKind, Source};
use crate::program::ir::Home;
use crate::program::parameters::Origin;

#[test]
fn rule_11_traces_are_stored_once_and_after_their_reads() {
    let plain = || program(Choices::none());
    let mut program = plain();
    let again = program.ahead.updates[0].clone();
    program.ahead.updates.push(again);
    assert!(verify(&program)[0].starts_with("rule 11:"));
    let mut program = plain();
    program.ahead.updates.remove(0);
    assert!(verify(&program)[0].starts_with("rule 11:"));
    let mut program = plain();
    let root = program.ahead.updates[0].roots[0];
    let at =
        program.ahead.sweeps.iter().position(|sweep| {
            sweep.layout == program.ahead.updates[0].layout && !sweep.ops.is_empty()
        });
    program.ahead.sweeps[at.unwrap()].roots.push(Root {
        value: Source::Temporary(0),
        times: None,
        ..root
    });
    assert!(verify(&program)[0].starts_with("rule 11:"));
    // A sweep that reads a trace runs before the one that applies its update.
    let mut program = super::program(Choices::default());
    let merged = program
        .ahead
        .merged
        .iter()
        .position(Option::is_some)
        .unwrap();
    let early = program.ahead.sweeps[merged].clone();
    let number = program.ahead.sweeps.len();
    program.ahead.sweeps.push(early);
    program.ahead.merged.push(None);
    program.ahead.instrs.insert(0, Instr::Sweep(number));
    let faults = verify(&program);
    assert!(
        faults.iter().any(|fault| fault.starts_with("rule 11:")),
        "{faults:?}"
    );
}

#[test]
fn rule_12_adjoints_of_traces_are_stored_once_and_after_their_reads() {
    let plain = || program(Choices::none());
    let stores = |program: &Program| {
        let is = |root: &Root| matches!(root.kind, RootKind::Adjoint(_));
        let sweeps = &program.back.sweeps;
        sweeps
            .iter()
            .position(|sweep| sweep.roots.iter().any(is))
            .unwrap()
    };
    let mut program = plain();
    let k = stores(&program);
    let roots = &mut program.back.sweeps[k].roots;
    roots.retain(|root| !matches!(root.kind, RootKind::Adjoint(_)));
    assert!(verify(&program)[0].starts_with("rule 12:"));
    let mut program = plain();
    let k = stores(&program);
    program.back.main.push(Instr::Sweep(k));
    let faults = verify(&program);
    assert!(
        faults.iter().any(|fault| fault.starts_with("rule 12:")),
        "{faults:?}"
    );
}

#[test]
fn rule_13_gradient_sums_are_added_to_once() {
    let is_sum = |instr: &Instr| {
        matches!(
            instr,
            Instr::AddTo { .. } | Instr::AddOuter { .. } | Instr::KeepOuter { .. }
        )
    };
    caught(13, |program| {
        let all = [&program.back.early, &program.back.main, &program.back.late];
        let instr = all
            .into_iter()
            .flatten()
            .find(|i| is_sum(i))
            .unwrap()
            .clone();
        program.back.main.push(instr);
    });
    caught(13, |program| {
        let lists = [
            &mut program.back.early,
            &mut program.back.main,
            &mut program.back.late,
        ];
        for list in lists {
            list.retain(|instr| !is_sum(instr));
        }
    });
    caught(13, |program| {
        for sweep in &mut program.back.sweeps {
            for root in &mut sweep.roots {
                if let RootKind::Gradient(at) = &mut root.kind {
                    *at += 1;
                }
            }
        }
    });
}

#[test]
fn rule_14_parameters_have_gradients() {
    caught(14, |program| {
        program.epilogue.gradients.pop();
    });
    caught(14, |program| {
        let again = program.epilogue.gradients[0].clone();
        program.epilogue.gradients.push(again);
    });
    caught(14, |program| {
        program.epilogue.gradients[0].1 = Origin::Leaf(1000);
    });
    caught(14, |program| program.step_prologue.places[0].slot.n -= 1);
}

#[test]
fn rule_15_what_is_fed_has_its_own_region() {
    caught(15, |program| {
        let at = program.homes.iter().find_map(|home| match home {
            Home::Vector { step, .. } => *step,
            Home::Block { .. } => None,
        });
        program.inputs[0].as_mut().unwrap().at = at.unwrap();
    });
    caught(15, |program| program.inputs[0].as_mut().unwrap().n += 100);
    caught(15, |program| program.blocks[0].rows += 1);
    caught(15, |program| {
        program.first.pop();
    });
}

#[test]
fn rule_16_states_leave_and_outputs_are_there() {
    caught(16, |program| {
        program.nexts.pop();
    });
    caught(16, |program| {
        program.adjoints_out.pop();
    });
    caught(16, |program| program.nexts[0].2 -= 1);
    caught(16, |program| {
        program.outputs.pop();
    });
}

#[test]
fn a_fault_of_a_pass_is_told_with_its_name() {
    let mut program = program(Choices::none());
    program.ahead.instrs.reverse();
    let fault = Verified::new("reversal", program).unwrap_err();
    let text = fault.to_string();
    assert!(text.contains("(reversal): rule 5:"), "{text}");
}
