//! The kernel of the forward pass.

use super::super::element::number;
use super::super::text::Text;
use super::kernels::Kernels;
use super::memory::{memory, whole, Offsets, BARRIERS};
use super::ops::{Op, Work};
use super::sweeps::{Tiles, Way};
use super::task::TaskMemory;
use super::vectors::{units, End, Frame, Names};
use crate::program::access::{reads, sweep_reads, writes, Access};
use crate::program::code::{Area, Instr, RootKind, Sweep};
use crate::program::ir::Home;
use crate::program::sweep::older;
use crate::program::Program;
use std::collections::BTreeMap;
/// Vector code up to a sweep, and the sweep.
type Segment = (Vec<Op>, Option<usize>);

/// The instructions of a step in segments: each sweep as early as its operands are there.
fn segments(program: &Program, instrs: &[Instr]) -> Vec<Segment> {
    let mut left: Vec<&Instr> = instrs.iter().collect();
    let mut segments: Vec<Segment> = Vec::new();
    while let Some(at) = left.iter().position(|instr| instr.is_sweep()) {
        let Instr::Sweep(k) = *left[at] else { break };
        let mut needed: Vec<Access> = sweep_reads(&program.ahead.sweeps[k]).collect();
        let mut first = Vec::new();
        let mut kept = Vec::new();
        for instr in left[..at].iter().rev() {
            let feeds =
                writes(instr).is_some_and(|written| needed.iter().any(|read| read.meets(written)));
            if feeds {
                needed.extend(reads(instr));
                first.push((*instr).clone());
            } else {
                kept.push(*instr);
            }
        }
        first.reverse();
        kept.reverse();
        kept.extend(&left[at + 1..]);
        left = kept;
        let ops = first.into_iter().map(|i| Op::new(Work::Instr(i)));
        segments.push((ops.collect(), Some(k)));
    }
    let rest = left.into_iter().map(|i| Op::new(Work::Instr(i.clone())));
    segments.push((rest.collect(), None));
    segments
}

impl Kernels<'_> {
    /// The kernel of the forward pass; returns the bytes of shared memory per block.
    pub(super) fn forward(&self, text: &mut Text) -> usize {
        let program = self.program;
        let ahead = &program.ahead;
        let mut tiles = Tiles::default();
        let mut next = BARRIERS;
        self.hold_matrices(0, &mut tiles, &mut next);
        // Updates that wait run before the sweeps of the next step.
        let updates: Vec<Sweep> = ahead.updates.iter().map(older).collect();
        let groups: Vec<Vec<&Sweep>> = ahead.sweeps.iter().map(|sweep| vec![sweep]).collect();
        let [arrived, partial] = self.exchange_sizes(&groups, Way::Forward, &tiles);
        let lane = memory(&program.lane);
        let mut at = Offsets {
            memory: whole(next),
            ..Offsets::default()
        };
        at.arrived = at.memory + 2 * lane;
        at.values = at.arrived + 2 * arrived;
        at.partial = at.values + whole(self.copied.size);
        at.own = at.partial + partial;
        let task = self.task_memory.map_or(0, TaskMemory::floats);
        at.size = whole(at.own + task);
        let warps = self.shape.warps + 1;
        let (trace_size, trace_at) = self.traces();

        text.raw(&format!(
            "#undef ARRIVED\n#undef BLOCK_FLOATS\n#define BLOCK_FLOATS {}\n#define ARRIVED ({} + (exchanges & 1) * {arrived})\n",
            at.size, at.arrived
        ));
        self.action(text);
        text.open(&format!("CLUSTER_KERNEL(forward, {warps}) {{"));
        text.line("CLUSTER_BEGIN");
        text.line("if (stopped(&a)) return;");
        text.line("int step = 0;");
        self.declare_matrices(0, &tiles, text);
        for (b, layout) in self.held.blocks.iter().enumerate() {
            text.line(&format!("TILE(p{b}, {});", self.tile(*layout).size()));
        }
        text.open(&format!("UNIT({warps})"));
        // The task begins meanwhile.
        let cleared = Offsets {
            size: at.own,
            ..at.clone()
        };
        self.clear(&cleared, warps, text);
        self.begin_task(&at).iter().for_each(|line| text.line(line));
        self.matrices(&tiles, 0, text);
        for (slot, home) in program.homes.iter().enumerate() {
            if let Home::Block { index, layout } = home {
                let tile = self.tile(*layout);
                let first = number(program.first[slot] as f32);
                let value = match self.carried[slot] {
                    Some((from, _)) => format!(
                        "row < {} && column < {cols} ? a.carried[(u64)lane * CARRIED + {from} + row * {cols} + column] : 0.0f",
                        layout.rows,
                        cols = layout.cols
                    ),
                    None => first,
                };
                let put = format!("OF_TILE(p{index}, k * {} + r) = {value};", tile.rows);
                self.each_connection(tile, &[put], text);
            }
        }
        text.close("END_UNIT");
        let head = self.head(&at, lane);
        // The first values of states, and the task at its beginning.
        text.open(&format!("UNIT({warps})"));
        head.iter().for_each(|line| text.line(line));
        text.open("LANES32");
        for (slot, home) in program.homes.iter().enumerate() {
            if let Home::Vector {
                step: Some(to), n, ..
            } = home
            {
                let first = match self.carried[slot] {
                    Some((from, _)) => format!("a.carried[(u64)lane * CARRIED + {from} + i]"),
                    None => number(program.first[slot] as f32),
                };
                text.line(&format!(
                    "for (int i = tid; i < {n}; i += {}) {{ c.L[{to} + i] = {first}; c.B[{to} + i] = {first}; }}",
                    warps * 32
                ));
            }
        }
        text.close("END32");
        text.close("END_UNIT");
        text.line("EXCHANGE_BEGIN;");
        text.line("exchanges--;");

        let writer = self.writer(Way::Forward, &tiles, at.partial);
        let no_sums = BTreeMap::new();
        let names = self.names(&no_sums, warps);
        let segments = segments(program, &ahead.instrs);
        let frame = |arrive: bool| Frame {
            head: &head,
            arrive,
            end: End::Barrier(&[]),
        };
        // The task must be ahead of code that leads to the first sweep, if that reads what it gives.
        let is_input = |access: &Access| {
            let mut given = program.inputs.iter().chain(&program.noises).flatten();
            given.any(|slot| access.meets(Access::lane(slot.at, slot.n)))
        };
        let first_reads = segments.first().is_some_and(|(ops, sweep)| {
            let of_ops = ops.iter().any(|op| match &op.work {
                Work::Instr(instr) => reads(instr).iter().any(is_input),
                _ => false,
            });
            let of_sweep = sweep
                .is_some_and(|k| sweep_reads(&ahead.sweeps[k]).any(|access| is_input(&access)));
            of_ops || of_sweep
        });
        for first in [true, false] {
            text.open(if first {
                "if (a.steps > 0) {"
            } else {
                "for (step = 1; step < a.steps; step++) {"
            });
            let task = self.task(&at, first);
            let mut task_left = true;
            let alone = first_reads || segments.first().is_none_or(|(_, sweep)| sweep.is_none());
            let keep_record = if first {
                Vec::new()
            } else {
                self.keep_record()
            };
            let mut record_left = !keep_record.is_empty();
            if alone {
                text.open(&format!("UNIT({warps})"));
                head.iter().for_each(|line| text.line(line));
                text.open(&format!("if (warp < {}) {{", self.shape.warps));
                keep_record.iter().for_each(|line| text.line(line));
                text.close("}");
                text.open("else {");
                task.iter().for_each(|line| text.line(line));
                text.close("}");
                text.close("END_UNIT");
                task_left = false;
                record_left = false;
            }
            let mut waiting: Vec<Op> = Vec::new();
            let mut arrive = false;
            let mut updated = false;
            for (k, (ops, sweep)) in segments.iter().enumerate() {
                waiting.extend(ops.iter().cloned());
                let Some(sweep) = sweep else {
                    waiting.extend(self.moves());
                    match self.ahead(&at) {
                        Some(call) => self.beside(&waiting, &names, (&head, arrive), &call, text),
                        None => units(&waiting, &names, &frame(arrive), text),
                    }
                    continue;
                };
                units(&waiting, &names, &frame(arrive), text);
                let mut group: Vec<&Sweep> = Vec::new();
                // Updates of the step before.
                if !first && !updated && !ahead.deferred {
                    group.extend(&updates);
                }
                if !first && !updated && ahead.deferred {
                    group.extend(ahead.apart.iter().map(|k| &ahead.sweeps[*k]));
                }
                let merged = ahead.merged[*sweep].filter(|_| !first && ahead.deferred);
                group.push(&ahead.sweeps[merged.unwrap_or(*sweep)]);
                // The traces on entry are complete after the sweeps that update them.
                let mut after = Vec::new();
                for (b, layout) in self.held.blocks.iter().enumerate() {
                    let here = match (first, ahead.deferred) {
                        (true, _) | (_, false) => k == 0,
                        (false, true) => group.iter().any(|sweep| writes_block(sweep, b)),
                    };
                    if here {
                        after.extend(self.keep_trace(b, *layout, trace_size, trace_at[b]));
                    }
                }
                updated = true;
                if record_left {
                    after.extend(keep_record.iter().cloned());
                }
                let beside: &[String] = if task_left { &task } else { &[] };
                (record_left, task_left) = (false, false);
                (waiting, arrive) =
                    self.sweeps(&group, &writer, (&head, warps), [&after, beside], text);
            }
            text.close("}");
        }
        // The record and the action of the last step, and what outlives it.
        text.line("step = a.steps;");
        if self.carried.iter().any(Option::is_some) {
            let updates: Vec<&Sweep> = updates.iter().collect();
            let (ops, arrive) = self.sweeps(&updates, &writer, (&head, warps), [&[], &[]], text);
            units(&ops, &names, &frame(arrive), text);
        }
        text.open(&format!("UNIT({warps})"));
        head.iter().for_each(|line| text.line(line));
        text.open(&format!("if (warp < {}) {{", self.shape.warps));
        self.keep_record().iter().for_each(|line| text.line(line));
        text.close("}");
        if self.episode.task.is_some() {
            text.open("else {");
            self.act(&at).iter().for_each(|line| text.line(line));
            text.close("}");
        }
        self.hand_on(text);
        text.close("END_UNIT");
        text.line("CLUSTER_END;");
        text.close("}");
        4 * at.size
    }

    /// Vector code, with code of the warp that runs the task beside it.
    fn beside(
        &self,
        ops: &[Op],
        names: &Names<'_>,
        (head, arrive): (&[String], bool),
        task: &str,
        text: &mut Text,
    ) {
        let warps = self.shape.warps;
        let names = Names { warps, ..*names };
        text.open(&format!("SPLIT({warps})"));
        let frame = Frame {
            head,
            arrive,
            end: End::Open,
        };
        units(ops, &names, &frame, text);
        text.close("BESIDE");
        text.open("{");
        text.line(&format!("const int warp = {warps};"));
        text.line(task);
        text.close("}");
        text.line("JOIN");
    }

    /// Moves of states into the memory of the next step.
    fn moves(&self) -> Vec<Op> {
        let program = self.program;
        let moved = program.nexts.iter().filter_map(|(slot, place, n)| {
            let Home::Vector { step: Some(at), .. } = program.homes[*slot] else {
                return None;
            };
            Some(Op::new(Work::Move {
                to: (Area::Before, at),
                from: *place,
                n: *n,
            }))
        });
        moved.collect()
    }
}

fn writes_block(sweep: &Sweep, b: usize) -> bool {
    let mut roots = sweep.roots.iter();
    roots.any(|root| root.kind == RootKind::State(b))
}
