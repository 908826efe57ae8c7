//! Faults of memories, order and sweeps, by the number of the rule.

use super::*;
use crate::program::access;
use crate::program::code::{Area, Element, Instr, Place, Root, RootKind, Source};
use crate::program::layout::Form;

/// The rules that a program breaks after a change, with and without passes.
fn broken(change: impl Fn(&mut Program)) -> Vec<[bool; 17]> {
    [Choices::default(), Choices::none()]
        .into_iter()
        .map(|choices| {
            let mut program = program(choices);
            assert_eq!(verify(&program), [] as [String; 0]);
            change(&mut program);
            let faults = verify(&program);
            std::array::from_fn(|rule| {
                let start = format!("rule {rule}:");
                faults.iter().any(|fault| fault.starts_with(&start))
            })
        })
        .collect()
}

#[track_caller]
pub(super) fn caught(rule: usize, change: impl Fn(&mut Program)) {
    for (k, found) in broken(change).into_iter().enumerate() {
        let passes = ["with all passes", "without passes"][k];
        let rules: Vec<usize> = (1..17).filter(|rule| found[*rule]).collect();
        assert!(found[rule], "{passes}: {rules:?} instead of {rule}");
    }
}

/// The first vector instruction that is such a one.
fn first(instrs: &mut [Instr], is: impl Fn(&Instr) -> bool) -> &mut Instr {
    instrs.iter_mut().find(|instr| is(instr)).unwrap()
}

fn is_element(instr: &Instr) -> bool {
    matches!(instr, Instr::Element { operands, .. } if operands[0].area == Area::Lane)
}

#[test]
fn rule_1_places_of_regions_and_slots() {
    caught(1, |program| {
        let size = program.lane.size;
        program.lane.all.last_mut().unwrap().at = size;
    });
    caught(1, |program| program.lane.all[0].at += 16);
    caught(1, |program| program.lane.all[1].start = 0);
    caught(1, |program| program.record_size += 16);
    caught(1, |program| program.shared_size -= 16);
    caught(1, |program| {
        let at = program.step_prologue.places[0].slot.at;
        program.step_prologue.places[1].slot.at = at;
    });
    caught(1, |program| program.epilogue.sums[0].at += 16);
}

#[test]
fn rule_2_places_inside_regions() {
    caught(2, |program| {
        if let Instr::Element { n, .. } = first(&mut program.ahead.instrs, is_element) {
            *n += 1000;
        }
    });
    caught(2, |program| {
        let is = |instr: &Instr| matches!(instr, Instr::MatVec { .. });
        if let Instr::MatVec { m, .. } = first(&mut program.ahead.instrs, is) {
            *m += 16;
        }
    });
    caught(2, |program| {
        for placed in &mut program.step_prologue.places {
            if let Form::Panels(layout) = placed.slot.form {
                placed.slot.form = Form::Rows(layout);
            }
        }
    });
    caught(2, |program| {
        for sweep in &mut program.back.sweeps {
            for op in &mut sweep.ops {
                for source in &mut op.operands {
                    if let Source::Post(place) = source {
                        place.at += usize::from(place.stride > 0);
                    }
                }
            }
        }
    });
}

#[test]
fn rule_3_memories_that_are_there() {
    caught(3, |program| {
        if let Instr::Element { operands, .. } = first(&mut program.ahead.instrs, is_element) {
            *operands = operands.map(|place| Place {
                area: Area::Before,
                ..place
            });
        }
    });
    caught(3, |program| {
        for op in &mut program.ahead.updates[0].ops {
            for source in &mut op.operands {
                if let Source::Post(place) | Source::Pre(place) = source {
                    place.area = Area::Lane;
                }
            }
        }
    });
    caught(3, |program| {
        for root in &mut program.ahead.sweeps[0].roots {
            if let RootKind::SumPre(area, _) = &mut root.kind {
                *area = Area::Before;
            }
        }
        // The sweep that also applies an update would give something else.
        let first = program.ahead.sweeps[0].roots.clone();
        if let Some(merged) = program.ahead.merged[0] {
            let joint = &mut program.ahead.sweeps[merged].roots;
            joint.retain(|root| matches!(root.kind, RootKind::State(_)));
            joint.extend(first.into_iter().map(|root| Root {
                value: Source::Temporary(0),
                times: None,
                ..root
            }));
        }
    });
}

#[test]
fn rule_4_lengths_and_strides() {
    caught(4, |program| {
        if let Instr::Element { n, .. } = first(&mut program.ahead.instrs, is_element) {
            *n = 0;
        }
    });
    caught(4, |program| {
        if let Instr::Element { operands, .. } = first(&mut program.ahead.instrs, is_element) {
            operands[0].stride = 2;
        }
    });
    caught(4, |program| program.ahead.sweeps[0].layout.rows = 0);
}

#[test]
fn rule_5_written_before_read() {
    caught(5, |program| {
        let instrs = &mut program.ahead.instrs;
        let k = instrs
            .iter()
            .position(|i| matches!(i, Instr::MatVec { .. }));
        instrs.remove(k.unwrap());
    });
    caught(5, |program| program.ahead.instrs.reverse());
    caught(5, |program| program.back.main.reverse());
    caught(5, |program| {
        let instrs = &mut program.back.main;
        let k = instrs.iter().position(|i| access::writes(i).is_some());
        instrs.remove(k.unwrap());
    });
    caught(5, |program| {
        program.seeds.iter_mut().for_each(|seed| *seed = None);
    });
    caught(5, |program| {
        program.inputs.iter_mut().for_each(|input| *input = None);
    });
}

#[test]
fn rule_6_written_once() {
    caught(6, |program| {
        let instr = first(&mut program.ahead.instrs, is_element).clone();
        program.ahead.instrs.push(instr);
    });
    caught(6, |program| {
        let at = program.inputs[0].unwrap().at;
        program.ahead.instrs.push(Instr::Zero { to: at, n: 1 });
    });
}

#[test]
fn rule_7_regions_alive_together_lie_apart() {
    caught(7, |program| {
        program
            .adjoint
            .all
            .iter_mut()
            .for_each(|region| region.at = 0);
    });
    caught(7, |program| {
        // The entering state and what is computed of it.
        let kept = program.record_size;
        let last = program
            .lane
            .all
            .iter()
            .rposition(|region| region.start >= kept);
        program.lane.all[last.unwrap()].at = 0;
    });
}

#[test]
fn rule_8_operations_in_order() {
    caught(8, |program| program.ahead.updates[0].ops.swap(0, 1));
    caught(8, |program| program.back.sweeps[0].temporaries += 1);
    caught(8, |program| {
        let sweep = &mut program.back.sweeps[0];
        let last = sweep.ops.len() - 1;
        sweep.ops[0].operands[0] = Source::Temporary(last);
    });
    caught(8, |program| {
        let ops = program
            .ahead
            .updates
            .iter_mut()
            .flat_map(|sweep| &mut sweep.ops);
        for op in ops.filter(|op| op.f.arity() == 1) {
            op.operands[1] = Source::Number(0);
        }
        let sweep = &mut program.ahead.updates[0];
        sweep.ops[0].f = Element::Copy;
        sweep.ops[0].operands[1] = Source::Number(0);
    });
    caught(8, |program| {
        program.back.sweeps[0].roots[0].value = Source::Temporary(1000);
    });
}

#[test]
fn rule_9_blocks_of_sweeps() {
    caught(9, |program| {
        let sweep = &mut program.ahead.updates[0];
        sweep.layout.rows += 1;
    });
    caught(9, |program| {
        program.ahead.updates[0].roots[0].value = Source::State(0);
    });
    caught(9, |program| {
        let root = program.ahead.updates[0].roots[0];
        program.ahead.updates[0].roots.push(root);
    });
}

#[test]
fn rule_10_sweeps_that_exist_and_join() {
    caught(10, |program| program.ahead.instrs.push(Instr::Sweep(1000)));
    caught(10, |program| program.back.early.push(Instr::Sweep(0)));
    caught(10, |program| program.back.closing.push(0));
    let mut program = program(Choices::default());
    let merged = program.back.opening[0].merged;
    program.back.sweeps[merged].roots.pop();
    assert!(verify(&program)[0].starts_with("rule 10:"));
    let mut program = super::program(Choices::default());
    program.ahead.merged.fill(None);
    assert!(verify(&program)[0].starts_with("rule 10:"));
}
