//! Lane programs as CUDA C: the same instructions and sweeps in the same memories, one lane a block of threads.
//!
//! An episode is one launch forward and one back: traces, their adjoints and the vectors of a step stay in shared memory as far
//! as there is room, the task's device code ([`TaskSource`]) gives observations and rewards between steps, and `reduce` adds what
//! the lanes have in their order. There are no atomic operations: the same numbers give the same bits.
//!
//! The source is also C for the processor (`prelude.h` says how), which is how it is tested where there is no GPU.
//!
//! | file | what it writes |
//! |---|---|
//! | `prelude.h` | phases, groups of threads, random numbers |
//! | `kernels.h` | the episode forward and back, the loss |
//! | `element` | operations on single numbers |
//! | `vectors` | vector code |
//! | `sweeps` | sweeps |
//!
//! and `lanes` runs it.

mod element;
mod lanes;
mod sweeps;
mod text;
mod vectors;

pub use lanes::{bytes, DeviceLanes, DeviceLoss, DeviceRun};

use super::assemble::{Form, Slot};
use super::code::{Instr, Place, RootKind, Sweep};
use super::layout::Layout;
use super::program::{Fused, Home};
use crate::device::{BlockLimits, TaskSource};
use crate::ir::{Draw, Graph, NoiseKind, Reset};
use element::{at, number};
use std::collections::BTreeMap;
use std::fmt::Write;
use text::Text;
use vectors::{instructions, Names};

/// Threads of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threads(usize);

impl Threads {
    fn groups(self) -> usize {
        self.0 / 16
    }
}

/// Where the values of an input come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The task's observation, from an element on.
    Observation(usize),
    /// A signal of the task.
    Signal(usize),
    /// Whether the step is the first of a trial.
    TrialStart,
    /// The host gives them before the episode.
    Given,
}

/// The coefficients of the reward loss.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients {
    /// Discount.
    pub gamma: f64,
    /// Of the squared value error.
    pub value: f64,
    /// Of the sum of squared probabilities.
    pub concentration: f64,
    /// Of the entropy.
    pub entropy: f64,
}

/// What kernels are made for, beside the program.
#[derive(Clone, Debug)]
pub struct Episode<'a> {
    /// The step, for its slots.
    pub graph: &'a Graph,
    /// Steps.
    pub steps: usize,
    /// Steps between checkpoints of the traces.
    pub interval: usize,
    /// By input slot.
    pub feeds: Vec<Feed>,
    /// Output slots that are kept, in order; with a reward loss, policy and value.
    pub read: Vec<usize>,
    /// The task, where it runs on the device.
    pub task: Option<TaskSource>,
    /// The reward loss, where it is computed there.
    pub objective: Option<Coefficients>,
}

/// Sizes of the arrays of a lane, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Threads of a block.
    pub threads: usize,
    /// What does not fit in shared memory: floats.
    pub arena: usize,
    /// Vectors kept of every step: floats.
    pub record: usize,
    /// Traces: floats.
    pub traces: usize,
    /// Checkpoints of the traces.
    pub checkpoints: usize,
    /// Steps between them.
    pub interval: usize,
    /// Gradient sums but for outer products: floats.
    pub sums: usize,
    /// Vectors of outer products of a step: floats.
    pub outers: usize,
    /// Inputs that the host gives, of a step: floats.
    pub inputs: usize,
    /// Outputs kept, of a step: floats.
    pub outputs: usize,
    /// States that outlive an episode: floats.
    pub carried: usize,
    /// The task's memory: words.
    pub task: usize,
    /// Steps.
    pub steps: usize,
    /// Bytes of shared memory forward.
    pub shared_forward: usize,
    /// Bytes of shared memory back.
    pub shared_backward: usize,
}

/// An outer product over lanes and time, `Σ aᵀ b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Offset in the gradient sums, where it lies row after row.
    pub sum: usize,
    /// Elements of `a`.
    pub rows: usize,
    /// Elements of `b`.
    pub cols: usize,
    /// Where `a` begins among the vectors of outer products, in vectors of all lanes and steps.
    pub a: usize,
    /// Where `b` begins.
    pub b: usize,
}

/// Kernels for a program.
#[derive(Clone, Debug)]
pub struct DeviceSource {
    /// The source.
    pub text: String,
    /// Sizes.
    pub sizes: Sizes,
    /// Outer products.
    pub products: Vec<Product>,
    /// Offsets of gradient sums: in the program's, in a lane's, and how many.
    pub sums: Vec<(usize, usize, usize)>,
    /// By slot: where states that outlive an episode are among the carried ones, and how many elements.
    pub carried: Vec<Option<(usize, usize)>>,
}

/// Arrays of a kernel that are in shared memory where there is room, in order of preference.
struct Arena {
    items: Vec<(&'static str, usize)>,
}

impl Arena {
    /// Where each item is, floats of shared memory and of other memory.
    fn place(&self, shared_bytes: usize) -> (Vec<(&'static str, String)>, usize, usize) {
        let (mut shared, mut other) = (0usize, 0usize);
        let mut places = Vec::new();
        for (name, size) in &self.items {
            let size = size.next_multiple_of(32);
            if (shared + size) * 4 <= shared_bytes {
                places.push((*name, format!("shared_memory + {shared}")));
                shared += size;
            } else {
                places.push((*name, format!("a->arena + (u64)lane * ARENA + {other}")));
                other += size;
            }
        }
        (places, shared, other)
    }
}

impl Fused {
    /// The program as CUDA C.
    pub fn device_source(&self, episode: &Episode<'_>, limits: BlockLimits) -> DeviceSource {
        let threads = self.threads(limits);
        let blocks: Vec<usize> = self
            .blocks
            .iter()
            .scan(0, |next, layout| {
                let at = *next;
                *next += layout.size();
                Some(at)
            })
            .collect();
        let traces: usize = self.blocks.iter().map(|b| b.size()).sum();
        let (sums, own_sums) = self.own_sums();
        let sum_names: BTreeMap<usize, usize> =
            sums.iter().map(|(at, own, _)| (*at, *own)).collect();
        let mut products = Vec::new();
        let mut outers = 0;
        for outer in &self.outers {
            products.push(Product {
                sum: outer.sum,
                rows: outer.rows,
                cols: outer.cols,
                a: outers,
                b: outers + outer.rows,
            });
            outers += outer.rows + outer.cols;
        }
        let mut carried = vec![None; episode.graph.states.len()];
        let mut carried_size = 0;
        for (slot, state) in episode.graph.states.iter().enumerate() {
            if matches!(state.reset, Reset::Never | Reset::Carry) {
                let n = state.dims.iter().product();
                carried[slot] = Some((carried_size, n));
                carried_size += n;
            }
        }
        let moved = self.moved().map(|(_, _, n)| n).sum();
        let ahead = [&self.ahead.instrs[..]];
        let scratch = self.scratch(&ahead, &[&self.ahead.sweeps, &self.ahead.replay], threads);
        let forward = Arena {
            items: vec![
                ("L", self.lane_size),
                ("scratch", scratch.max(moved)),
                ("traces", traces),
            ],
        };
        let lists = [
            &self.back.early[..],
            &self.back.late[..],
            &self.back.main[..],
        ];
        let sweeps = [&self.back.sweeps, &self.ahead.replay];
        let backward = Arena {
            items: vec![
                ("L", self.adjoint_size),
                ("B", self.adjoint_size),
                ("scratch", self.scratch(&lists, &sweeps.map(|s| s), threads)),
                ("adj", traces),
                ("sums", own_sums),
            ],
        };
        let (forward, shared_forward, arena_forward) = forward.place(limits.shared_bytes);
        let (backward, shared_backward, arena_backward) = backward.place(limits.shared_bytes);
        let inputs = episode.graph.inputs.iter().zip(&episode.feeds);
        let sizes = Sizes {
            threads: threads.0,
            arena: arena_forward.max(arena_backward),
            record: self.record_size,
            traces,
            checkpoints: episode.steps.div_ceil(episode.interval),
            interval: episode.interval,
            sums: own_sums,
            outers,
            inputs: inputs
                .filter(|(_, feed)| **feed == Feed::Given)
                .map(|(slot, _)| slot.dims.iter().product::<usize>())
                .sum(),
            outputs: episode.read.iter().map(|slot| self.outputs[*slot].1).sum(),
            carried: carried_size,
            task: episode.task.as_ref().map_or(0, |task| task.words),
            steps: episode.steps,
            shared_forward: shared_forward * 4,
            shared_backward: shared_backward * 4,
        };
        let mut writer = Writer {
            program: self,
            episode,
            threads,
            blocks,
            sums: sum_names,
            text: Text::default(),
        };
        writer.definitions(&sizes);
        writer.text.raw(include_str!("prelude.h"));
        writer.context();
        if let Some(task) = &episode.task {
            writer.text.raw("\n");
            writer.text.raw(&task.settings);
            writer.text.raw(task.source);
        }
        writer.memory("forward_memory", &forward);
        writer.memory("backward_memory", &backward);
        writer.products(&products);
        writer.states(&carried);
        writer.observe();
        writer.outputs();
        writer.sweeps();
        writer.steps();
        writer.text.raw("\n");
        writer.text.raw(include_str!("kernels.h"));
        DeviceSource {
            text: writer.text.finish(),
            sizes,
            products,
            sums,
            carried,
        }
    }

    /// Threads of a block: enough groups to share the panels of the largest block of connections.
    fn threads(&self, limits: BlockLimits) -> Threads {
        let most = limits.threads / 32 * 32;
        let widest = self.blocks.iter().map(|layout| layout.size()).max();
        Threads(match widest {
            // Some sixteen elements of each thread.
            Some(size) => (size / 16).next_multiple_of(32).clamp(64.min(most), most),
            None => 256.min(most),
        })
    }

    /// Gradient sums that a lane adds up itself: offset in all, offset in its own, elements; and how many its own are.
    fn own_sums(&self) -> (Vec<(usize, usize, usize)>, usize) {
        let mut found: BTreeMap<usize, usize> = BTreeMap::new();
        let back = &self.back;
        for instr in back.early.iter().chain(&back.late).chain(&back.main) {
            if let Instr::AddTo { sum, n, .. } = instr {
                found.insert(*sum, *n);
            }
        }
        for sweep in &back.sweeps {
            for root in &sweep.roots {
                if let RootKind::Gradient(sum) = root.kind {
                    found.insert(sum, sweep.layout.size());
                }
            }
        }
        let mut next = 0;
        let own = found
            .into_iter()
            .map(|(at, n)| {
                let own = next;
                next += n;
                (at, own, n)
            })
            .collect();
        (own, next)
    }

    /// Floats of scratch memory that any of these needs.
    fn scratch(&self, lists: &[&[Instr]], sweeps: &[&Vec<Sweep>], threads: Threads) -> usize {
        let instrs = lists.iter().flat_map(|list| list.iter());
        let sweeps = sweeps.iter().flat_map(|list| list.iter());
        instrs
            .map(|instr| vectors::scratch(instr, threads))
            .chain(sweeps.map(|sweep| sweeps::scratch(sweep, threads)))
            .max()
            .unwrap_or(0)
    }

    /// Vector states that the next step reads: where to, where from, elements.
    fn moved(&self) -> impl Iterator<Item = (usize, Place, usize)> + '_ {
        self.nexts
            .iter()
            .filter_map(|(slot, place, n)| match self.homes[*slot] {
                Home::Vector { step: Some(at), .. } => Some((at, *place, *n)),
                Home::Vector { step: None, .. } | Home::Block { .. } => None,
            })
    }
}

/// A source that is being written.
struct Writer<'a> {
    program: &'a Fused,
    episode: &'a Episode<'a>,
    threads: Threads,
    /// Offsets of blocks of connections.
    blocks: Vec<usize>,
    /// Offsets of gradient sums in a lane's own.
    sums: BTreeMap<usize, usize>,
    text: Text,
}

/// The index in panels of element `i` of a matrix row after row.
fn panelled(layout: Layout) -> String {
    let (rows, cols) = (layout.rows, layout.cols);
    format!("((i % {cols} / 16) * {rows} + i / {cols}) * 16 + i % {cols} % 16")
}

fn fill(n: usize, body: &str) -> String {
    format!("for (int i = tid; i < {n}; i += THREADS) {body}")
}

impl Writer<'_> {
    fn definitions(&mut self, sizes: &Sizes) {
        let mut text = String::from("/* Written by bpmc. */\n\n");
        let program = self.program;
        for (name, value) in [
            ("THREADS", sizes.threads),
            ("STEPS", sizes.steps),
            ("INTERVAL", sizes.interval),
            ("CHECKPOINTS", sizes.checkpoints),
            ("LANE", program.lane_size),
            ("ADJOINT", program.adjoint_size),
            ("RECORD", sizes.record),
            ("TRACES", sizes.traces),
            ("ARENA", sizes.arena),
            ("SUMS", sizes.sums),
            ("INPUTS", sizes.inputs),
            ("OUTPUTS", sizes.outputs),
            ("CARRIED", sizes.carried),
            ("TASK_WORDS", sizes.task),
            ("ONE_PASS", usize::from(program.choices.one_pass)),
            ("DEVICE_TASK", usize::from(self.episode.task.is_some())),
            ("A2C", usize::from(self.episode.objective.is_some())),
        ] {
            writeln!(text, "#define {name} {value}").expect("writing to a string");
        }
        if let Some(objective) = self.episode.objective {
            let actions = sizes.outputs.saturating_sub(1);
            writeln!(text, "#define ACTIONS {actions}").expect("writing to a string");
            for (name, value) in [
                ("GAMMA", objective.gamma),
                ("VALUE", objective.value),
                ("CONCENTRATION", objective.concentration),
                ("ENTROPY", objective.entropy),
            ] {
                writeln!(text, "#define {name} {value:e}").expect("writing to a string");
            }
        }
        self.text.raw(&text);
        self.text.raw("\n");
    }

    fn context(&mut self) {
        self.text.raw(include_str!("context.h"));
    }

    fn memory(&mut self, name: &str, places: &[(&'static str, String)]) {
        let text = &mut self.text;
        text.open(&format!(
            "\nDEVICE Context {name}(const Args *a, const int lane, float *shared_memory) {{"
        ));
        text.line("Context c;");
        text.line("c.L = 0; c.B = 0; c.R = 0; c.RB = 0; c.scratch = 0; c.sums = 0;");
        text.line("c.in = 0; c.out = 0; c.adj = 0; c.row = 0;");
        text.line("c.S = a->shared;");
        text.line("c.outers = a->outers;");
        text.line("c.vectors = (u64)a->lanes * STEPS;");
        for (name, place) in places {
            if *name == "traces" {
                text.line(&format!("c.out = {place};"));
                text.line("c.in = c.out;");
            } else {
                text.line(&format!("c.{name} = {place};"));
            }
        }
        text.line("return c;");
        text.close("}");
    }

    fn products(&mut self, products: &[Product]) {
        for (k, product) in products.iter().enumerate() {
            for (side, at, n) in [
                ("a", product.a, product.rows),
                ("b", product.b, product.cols),
            ] {
                self.text.line(&format!(
                    "DEVICE float *outer_{side}{k}(const Context c) {{ return c.outers + c.vectors * {at} + c.row * {n}; }}"
                ));
            }
        }
    }

    fn states(&mut self, carried: &[Option<(usize, usize)>]) {
        let (program, graph) = (self.program, self.episode.graph);
        let text = &mut self.text;
        text.open("\nDEVICE void first_states(const Context c, const Args *a, const int lane) {");
        text.line("const float *carried = a->carried + (u64)lane * CARRIED;");
        text.open("PHASE");
        for (slot, home) in program.homes.iter().enumerate() {
            let first = number(program.first[slot] as f32);
            let value = match carried[slot] {
                Some((from, _)) => format!("carried[{from} + i]"),
                None => first.clone(),
            };
            match home {
                Home::Vector {
                    step: Some(at), n, ..
                } => text.line(&fill(*n, &format!("c.L[{at} + i] = {value};"))),
                Home::Vector { step: None, .. } => {}
                Home::Block { index, layout } => {
                    let block = self.blocks[*index];
                    text.line(&fill(
                        layout.size(),
                        &format!("c.out[{block} + i] = {first};"),
                    ));
                    if carried[slot].is_some() {
                        text.close("END_PHASE");
                        text.open("PHASE");
                        text.line(&fill(
                            layout.rows * layout.cols,
                            &format!("c.out[{block} + {}] = {value};", panelled(*layout)),
                        ));
                    }
                }
            }
        }
        text.close("END_PHASE");
        text.line("(void)carried;");
        text.close("}");

        text.open("\nDEVICE void last_states(const Context c, const Args *a, const int lane) {");
        text.line("float *carried = a->carried + (u64)lane * CARRIED;");
        text.open("PHASE");
        for (slot, home) in program.homes.iter().enumerate() {
            let Some((to, n)) = carried[slot] else {
                continue;
            };
            let value = match home {
                Home::Vector { step: Some(at), .. } => format!("c.L[{at} + i]"),
                Home::Vector { step: None, .. } => {
                    match program.nexts.iter().find(|(k, _, _)| *k == slot) {
                        Some((_, place, _)) => at(*place, "i"),
                        None => number(program.first[slot] as f32),
                    }
                }
                Home::Block { index, layout } => {
                    format!("c.in[{} + {}]", self.blocks[*index], panelled(*layout))
                }
            };
            text.line(&fill(n, &format!("carried[{to} + i] = {value};")));
        }
        text.close("END_PHASE");
        text.line("(void)carried;");
        text.close("}");
        debug_assert_eq!(graph.states.len(), program.homes.len());

        // All at once: no target is read after another was written.
        text.open("\nDEVICE void move_states(const Context c) {");
        for way in 0..2 {
            text.open("PHASE");
            let mut from = 0;
            for (to, place, n) in program.moved() {
                text.line(&fill(
                    n,
                    &match way {
                        0 => format!("c.scratch[{from} + i] = {};", at(place, "i")),
                        _ => format!("c.L[{to} + i] = c.scratch[{from} + i];"),
                    },
                ));
                from += n;
            }
            text.close("END_PHASE");
        }
        text.close("}");

        text.open("\nDEVICE void keep_constant(const Context c) {");
        text.open("PHASE");
        for k in &program.constant {
            let (block, size) = (self.blocks[*k], program.blocks[*k].size());
            text.line(&fill(
                size,
                &format!("c.out[{block} + i] = c.in[{block} + i];"),
            ));
        }
        text.close("END_PHASE");
        text.close("}");
    }

    fn observe(&mut self) {
        let (program, episode) = (self.program, self.episode);
        let text = &mut self.text;
        text.open("\nDEVICE void observe(const Context c, const Args *a, const int lane, const int step) {");
        text.line("const float *given = a->inputs + ((u64)lane * STEPS + step) * INPUTS;");
        text.line("const int *task = a->task + (u64)lane * TASK_WORDS;");
        text.open("PHASE");
        let mut next = 0;
        for (slot, feed) in episode.feeds.iter().enumerate() {
            let n: usize = episode.graph.inputs[slot].dims.iter().product();
            let value = match feed {
                Feed::Observation(from) => format!("task_observation(task, {from} + i)"),
                Feed::Signal(k) => format!("task_signal(task, {k})"),
                Feed::TrialStart => "f_truth(task_trial_starts(task))".to_owned(),
                Feed::Given => {
                    next += n;
                    format!("given[{} + i]", next - n)
                }
            };
            if let Some(to) = program.inputs[slot] {
                text.line(&put(to, &value));
            }
        }
        for (slot, noise) in episode.graph.noises.iter().enumerate() {
            let Some(to) = program.noises[slot] else {
                continue;
            };
            let (step, still) = match noise.kind {
                NoiseKind::Step => ("step", None),
                NoiseKind::Mask => ("0", Some(noise.draw.mean())),
            };
            let columns = noise.dims.last().copied().unwrap_or(1).max(1);
            let drawn = draw(&noise.draw, columns);
            let value = match still {
                Some(mean) => format!("a->learn ? {drawn} : {}", number(mean as f32)),
                None => drawn,
            };
            text.open("{");
            text.line(&format!(
                "const Place place = place_of(a->keys + {}, a->iteration, {step}, lane);",
                4 + 2 * slot
            ));
            text.line(&put(to, &value));
            text.line("(void)place;");
            text.close("}");
        }
        text.close("END_PHASE");
        text.line("(void)given;");
        text.line("(void)task;");
        text.close("}");
    }

    fn outputs(&mut self) {
        let (program, episode) = (self.program, self.episode);
        let text = &mut self.text;
        text.open("\nDEVICE void keep_outputs(const Context c, float *outputs, const int tid) {");
        let mut next = 0;
        for slot in &episode.read {
            let (place, n) = program.outputs[*slot];
            text.line(&fill(
                n,
                &format!("outputs[{next} + i] = {};", at(place, "i")),
            ));
            next += n;
        }
        text.close("}");
        text.open("\nDEVICE void read_seeds(const Context c, const float *seeds) {");
        text.open("PHASE");
        for (slot, to) in program.seeds.iter().enumerate() {
            let Some(Slot { at, n, .. }) = to else {
                continue;
            };
            let before = episode.read.iter().position(|read| *read == slot);
            let value = match before {
                Some(k) => {
                    let skipped = &episode.read[..k];
                    let from: usize = skipped.iter().map(|slot| program.outputs[*slot].1).sum();
                    format!("seeds[{from} + i]")
                }
                None => "0.0f".to_owned(),
            };
            text.line(&fill(*n, &format!("c.L[{at} + i] = {value};")));
        }
        text.close("END_PHASE");
        text.close("}");
    }

    fn sweeps(&mut self) {
        let program = self.program;
        let kinds = [
            ("ahead", &program.ahead.sweeps),
            ("replay", &program.ahead.replay),
            ("back", &program.back.sweeps),
        ];
        for (kind, sweeps) in kinds {
            for (k, sweep) in sweeps.iter().enumerate() {
                self.text.line("");
                let name = format!("{kind}_{k}");
                sweeps::function(
                    &name,
                    sweep,
                    &self.blocks,
                    &self.sums,
                    self.threads,
                    &mut self.text,
                );
            }
        }
    }

    fn steps(&mut self) {
        let program = self.program;
        let names = Names {
            sums: &self.sums,
            threads: self.threads,
        };
        let text = &mut self.text;
        let back = |k: usize, text: &mut Text| text.line(&format!("back_{k}(c);"));
        text.open("\nDEVICE void ahead(const Context c, const int pending) {");
        for k in &program.ahead.apart {
            text.line(&format!("if (pending) ahead_{k}(c);"));
        }
        instructions(&program.ahead.instrs, &names, text, |k, text| {
            text.line(&match program.ahead.merged[k] {
                Some(merged) => format!("if (pending) ahead_{merged}(c); else ahead_{k}(c);"),
                None => format!("ahead_{k}(c);"),
            });
        });
        text.close("}");
        for name in ["settle", "replay"] {
            text.open(&format!("\nDEVICE void {name}(const Context c) {{"));
            for k in 0..program.ahead.replay.len() {
                text.line(&format!("replay_{k}(c);"));
            }
            text.close("}");
        }
        for (name, instrs) in [
            ("early", &program.back.early),
            ("late", &program.back.late),
            ("main_back", &program.back.main),
        ] {
            text.open(&format!("\nDEVICE void {name}(const Context c) {{"));
            instructions(instrs, &names, text, back);
            text.close("}");
        }
        text.open("\nDEVICE void opening(const Context c, const int later) {");
        for opening in &program.back.opening {
            text.line(&format!(
                "if (later) back_{}(c); else back_{}(c);",
                opening.merged, opening.alone
            ));
        }
        text.close("}");
        text.open("\nDEVICE void closing(const Context c) {");
        for k in &program.back.closing {
            back(*k, text);
        }
        text.close("}");
        text.open("\nDEVICE void hand_on(const Context c) {");
        text.open("PHASE");
        for (slot, place, n) in &program.adjoints_out {
            if let Home::Vector {
                adjoint: Some(to), ..
            } = program.homes[*slot]
            {
                let from = Place {
                    area: place.area.aged(),
                    ..*place
                };
                text.line(&fill(*n, &format!("c.L[{to} + i] = {};", at(from, "i"))));
            }
        }
        text.close("END_PHASE");
        text.close("}");
    }
}

/// Writes a leaf, element by element.
fn put(to: Slot, value: &str) -> String {
    let Slot { at, n, form } = to;
    let index = match form {
        Form::Panels(layout) => panelled(layout),
        Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
            "i".to_owned()
        }
    };
    fill(n, &format!("c.L[{at} + {index}] = {value};"))
}

/// A draw at `place`, as src/rng/fill.rs.
fn draw(draw: &Draw, columns: usize) -> String {
    match *draw {
        Draw::Constant(x) => number(x as f32),
        Draw::Uniform(low, high) => {
            format!(
                "(float)fmin({low:e} + ({high:e} - {low:e}) * place_uniform(&place, i), {:e})",
                high.next_down().max(low)
            )
        }
        Draw::Normal(mean, deviation) => {
            format!("(float)({mean:e} + {deviation:e} * place_normal(&place, i))")
        }
        Draw::Bernoulli(p) => format!("f_truth(place_uniform(&place, i) < {p:e})"),
        Draw::Identity(scale) => format!(
            "(i / {columns} == i % {columns} ? {} : 0.0f)",
            number(scale as f32)
        ),
    }
}
