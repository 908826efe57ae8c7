//! The kernel of the backward pass.

use super::super::text::Text;
use super::kernels::Kernels;
use super::memory::{memory, seeds, vector_sums, whole, Offsets, BARRIERS};
use super::ops::{Op, Work};
use super::plan::Tile;
use super::sweeps::{of_tile, Hold, Tiles, Way};
use super::vectors::{units, End, Frame};
use crate::program::access::{sweep_reads, Access};
use crate::program::code::{Area, Instr, Sweep};
use crate::program::ir::Home;
use crate::program::layout::Slot;
impl Kernels<'_> {
    /// The kernel of the backward pass; returns the bytes of shared memory per block.
    pub(super) fn backward(&self, text: &mut Text) -> usize {
        let program = self.program;
        let back = &program.back;
        let threads = self.threads();
        let warps = self.shape.warps;
        let merged: Vec<&Sweep> = back
            .opening
            .iter()
            .map(|o| &back.sweeps[o.merged])
            .collect();
        let alone: Vec<&Sweep> = back.opening.iter().map(|o| &back.sweeps[o.alone]).collect();
        let closing: Vec<&Sweep> = back.closing.iter().map(|k| &back.sweeps[*k]).collect();
        let (sum_at, sum_size) = vector_sums(program, self.sums);
        let record = whole(program.record_size);
        let ring = record + whole(seeds(program));

        // The place of every tile; fetched traces first, whose transfers are of 16 bytes.
        let mut at = Offsets {
            memory: BARRIERS,
            ..Offsets::default()
        };
        let mut tiles = Tiles::default();
        let mut next = BARRIERS;
        for (b, layout) in self.held.blocks.iter().enumerate() {
            tiles.fetched.insert(b, next);
            next += self.tile(*layout).stored(threads);
        }
        self.hold_matrices(1, &mut tiles, &mut next);
        for (sum, layout) in &self.held.sums {
            let hold = self.hold(self.shape.sums_shared, *layout, &mut next);
            tiles.sums.insert(*sum, hold);
        }
        let groups = [merged.clone(), alone.clone(), closing.clone()];
        let [arrived, partial] = self.exchange_sizes(&groups, Way::Backward, &tiles);
        let lane = memory(&program.adjoint);
        at.memory = whole(next);
        at.arrived = at.memory + 2 * lane;
        at.values = at.arrived + 2 * arrived;
        at.partial = at.values + whole(self.copied.size);
        at.own = at.partial + partial;
        at.ring = at.own + whole(sum_size);
        at.size = at.ring + 3 * ring;
        let (trace_size, trace_at) = self.traces();

        text.raw(&format!(
            "#undef ARRIVED\n#undef BLOCK_FLOATS\n#define BLOCK_FLOATS {}\n#define ARRIVED ({} + (exchanges & 1) * {arrived})\n",
            at.size, at.arrived
        ));
        text.open(&format!("CLUSTER_KERNEL(backward, {warps}) {{"));
        text.line("CLUSTER_BEGIN");
        text.line("if (stopped(&a)) return;");
        text.line("int step = a.steps - 1;");
        text.line("if (step < 0) return;");
        self.declare_matrices(1, &tiles, text);
        for (b, layout) in self.held.blocks.iter().enumerate() {
            text.line(&format!("TILE(d{b}, {});", self.tile(*layout).size()));
        }
        for (sum, layout) in &self.held.sums {
            if tiles.sums[sum] == Hold::Registers {
                text.line(&format!("TILE(s{sum}, {});", self.tile(*layout).size()));
            }
        }
        text.open(&format!("UNIT({warps})"));
        self.clear(&at, warps, text);
        text.close("END_UNIT");
        let mut head = self.head(&at, lane);
        head.extend([
            format!("c.R = BASE + {} + step % 3 * {ring};", at.ring),
            format!("c.RB = BASE + {} + (step + 1) % 3 * {ring};", at.ring),
            format!("c.sums = BASE + {};", at.own),
        ]);
        text.open(&format!("UNIT({warps})"));
        head.iter().for_each(|line| text.line(line));
        self.matrices(&tiles, 1, text);
        for (b, layout) in self.held.blocks.iter().enumerate() {
            let tile = self.tile(*layout);
            let line = format!("OF_TILE(d{b}, k * {} + r) = 0.0f;", tile.rows);
            self.each_connection(tile, &[line], text);
        }
        for (sum, layout) in &self.held.sums {
            let tile = self.tile(*layout);
            let q = format!("k * {} + r", tile.rows);
            let to = of_tile(tiles.sums[sum], &format!("s{sum}"), threads, &q);
            self.each_connection(tile, &[format!("{to} = 0.0f;")], text);
        }
        let fetch_record = |of: &str| self.fetch_record(of, at.ring, (record, ring));
        let fetch_traces = |of: &str| -> Vec<String> {
            let each = self.held.blocks.iter().enumerate();
            each.flat_map(|(b, layout)| {
                self.fetch_trace(
                    tiles.fetched[&b],
                    self.tile(*layout),
                    (trace_size, trace_at[b]),
                    of,
                )
            })
            .collect()
        };
        text.open("if (warp == 0) {");
        fetch_record("step").iter().for_each(|line| text.line(line));
        text.close("}");
        fetch_traces("step").iter().for_each(|line| text.line(line));
        text.line("FETCHED;");
        text.close("END_UNIT");
        text.line("EXCHANGE_BEGIN;");
        text.line("exchanges--;");

        let writer = self.writer(Way::Backward, &tiles, at.partial);
        let names = self.names(&sum_at, warps);
        let instrs = |list: &[Instr], before: bool| -> Vec<Op> {
            let ops = list.iter().filter(|instr| !instr.is_sweep());
            ops.map(|instr| Op {
                work: Work::Instr(instr.clone()),
                before,
            })
            .collect()
        };
        let fetched = ["FETCHED;".to_owned()];
        let frame = |arrive: bool| Frame {
            head: &head,
            arrive,
            end: End::Barrier(&[]),
        };
        let is_seed = |access: Access| {
            let mut slots = program.seeds.iter().flatten();
            slots.any(|slot| access.meets(Access::lane(slot.at, slot.n)))
        };
        let of_sweeps = merged.iter().chain(&alone);
        let seeds_first =
            !back.early.is_empty() || of_sweeps.flat_map(|sweep| sweep_reads(sweep)).any(is_seed);
        for last in [true, false] {
            text.open(if last {
                "{"
            } else {
                "for (step = a.steps - 2; step >= 0; step--) {"
            });
            // Adjoints of outputs are read after the sweeps if these can do without.
            let mut seeds = self.read_seeds(record);
            let mut early = Vec::new();
            if seeds_first {
                early.append(&mut seeds);
            }
            early.extend(instrs(&back.early, false));
            units(&early, &names, &frame(false), text);
            // What the next step reads is fetched while the sums of this one are on their way.
            // The warp that fetches the record has a scheduler of a multiprocessor for itself, or shares it with the fewest.
            let mut next = fetch_traces("step - 1");
            next.push(format!("if (warp == {}) {{", (warps - 1).min(3)));
            next.extend(fetch_record("step - 1"));
            next.push("}".to_owned());
            let after = guarded("step > 0", next);
            let group = if last { &alone } else { &merged };
            let (mut ops, arrive) =
                self.sweeps(group, &writer, (&head, warps), [&after, &[]], text);
            ops.append(&mut seeds);
            if !last {
                ops.extend(instrs(&back.late, true));
                ops.extend(self.input_adjoints(true));
                for (slot, place, n) in &program.adjoints_out {
                    if let Home::Vector {
                        adjoint: Some(to), ..
                    } = program.homes[*slot]
                    {
                        ops.push(Op::new(Work::Move {
                            to: (Area::Lane, to),
                            from: place.aged(),
                            n: *n,
                        }));
                    }
                }
            }
            ops.extend(instrs(&back.main, false));
            let frame = Frame {
                end: End::Barrier(&fetched),
                ..frame(arrive)
            };
            units(&ops, &names, &frame, text);
            text.close("}");
        }
        // What the first step's own adjoints add.
        text.line("step = 0;");
        let (mut ops, arrive) = self.sweeps(&closing, &writer, (&head, warps), [&[], &[]], text);
        ops.extend(instrs(&back.late, false));
        ops.extend(self.input_adjoints(false));
        units(&ops, &names, &frame(arrive), text);
        text.open(&format!("UNIT({warps})"));
        text.line(&format!(
            "float *const sums = a.sums + (u64)lane * SUMS; const float *const own = BASE + {};",
            at.own
        ));
        text.open("LANES32");
        for (sum, own, n) in self.sums {
            if let Some(from) = sum_at.get(sum) {
                text.line(&format!(
                    "if (blk == 0) for (int i = tid; i < {n}; i += {threads}) sums[{own} + i] = own[{from} + i];"
                ));
            }
        }
        text.line("(void)own;");
        text.close("END32");
        for (sum, layout) in &self.held.sums {
            let tile = self.tile(*layout);
            let q = format!("k * {} + r", tile.rows);
            let value = of_tile(tiles.sums[sum], &format!("s{sum}"), threads, &q);
            let own = self.sums.iter().find(|(at, _, _)| at == sum);
            let own = own.map_or(0, |(_, own, _)| *own);
            let line = format!(
                "if (row < {} && column < {}) sums[{own} + (column / 16 * {} + row) * 16 + column % 16] = {value};",
                layout.rows, layout.cols, layout.rows
            );
            self.each_connection(tile, &[line], text);
        }
        text.close("END_UNIT");
        text.line("CLUSTER_END;");
        text.close("}");
        4 * at.size
    }

    /// Additions to the adjoints of inputs that others need; `before` if they belong to the step that ran before.
    fn input_adjoints(&self, before: bool) -> Vec<Op> {
        let adjoints = self.program.input_adjoints.iter();
        let ops = adjoints.filter_map(|(slot, place, n)| {
            let targets = &self.episode.input_adjoints;
            let (_, to) = targets.iter().find(|(k, _)| k == slot)?;
            Some(Op {
                work: Work::InputAdjoint {
                    from: *place,
                    n: *n,
                    to: *to,
                },
                before,
            })
        });
        ops.collect()
    }

    /// The adjoints of outputs, from where they were fetched to.
    fn read_seeds(&self, record: usize) -> Vec<Op> {
        let mut from = record;
        let mut ops = Vec::new();
        for slot in self.program.seeds.iter().flatten() {
            let Slot { at, n, .. } = *slot;
            let index = if n == 1 { "0" } else { "i" };
            ops.push(Op::new(Work::Given {
                to: (Area::Lane, at),
                n,
                value: format!("c.R[{from} + {index}]"),
            }));
            from += n;
        }
        ops
    }

    /// Code of one warp that fetches the record and the adjoints of outputs of a step.
    fn fetch_record(&self, of: &str, at: usize, (record, ring): (usize, usize)) -> Vec<String> {
        let size = self.program.record_size;
        let mut lines = vec![
            "LANES32".to_owned(),
            format!("    float *const to = BASE + {at} + ({of}) % 3 * {ring};"),
            format!("    const u64 row = (u64)lane * a.steps + ({of});"),
            format!("    const float *const record = a.records + row * {size};"),
        ];
        lines.push(match size.is_multiple_of(4) {
            true => {
                format!("    for (int i = 4 * l; i < {size}; i += 128) fetch4(to + i, record + i);")
            }
            false => {
                format!("    for (int i = l; i < {size}; i += 32) fetch1(to + i, record + i);")
            }
        });
        let mut to = record;
        for (slot, seed) in self.program.seeds.iter().enumerate() {
            let Some(Slot { n, .. }) = seed else { continue };
            let read = self.episode.read.iter().find(|(read, _)| *read == slot);
            if let Some((_, from)) = read {
                lines.push(format!(
                    "    for (int i = l; i < {n}; i += 32) fetch1(to + {to} + i, a.seeds + c.vectors * {from} + row * {n} + i);"
                ));
            }
            to += n;
        }
        lines.push("    (void)record; (void)row; (void)to;".to_owned());
        lines.push("END32".to_owned());
        lines
    }

    /// Code that fetches a thread's own part of a step's traces.
    fn fetch_trace(
        &self,
        to: usize,
        tile: Tile,
        (size, at): (usize, usize),
        of: &str,
    ) -> Vec<String> {
        let pieces = tile.padded_rows() / 4 * tile.columns;
        vec![
            "LANES32".to_owned(),
            format!("    const float *const kept = {};", self.stored(size, at, tile, of)),
            "    UNROLL".to_owned(),
            format!(
                "    for (int q = 0; q < {pieces}; q++) fetch4(BASE + {to} + (q * {threads} + tid) * 4, kept + q * {});",
                4 * self.threads(),
                threads = self.threads()
            ),
            "END32".to_owned(),
        ]
    }
}

fn guarded(condition: &str, lines: Vec<String>) -> Vec<String> {
    let mut out = vec![format!("if ({condition}) {{")];
    out.extend(lines);
    out.push("}".to_owned());
    out
}
