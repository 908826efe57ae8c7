//! The slots of a step: states, inputs and noise, outputs and their adjoints.

use super::element::{at, number};
use super::writer::Writer;
use super::{Episode, Feed};
use crate::ir::{Draw, NoiseKind};
use crate::program::ir::Home;
use crate::program::layout::Layout;
use crate::program::layout::{Form, Slot};
use crate::program::Program;

/// The index in panels of element `i` of a row-major matrix.
pub(super) fn panelled(layout: Layout, i: &str) -> String {
    let (rows, cols) = (layout.rows, layout.cols);
    format!("(({i} % {cols} / 16) * {rows} + {i} / {cols}) * 16 + {i} % {cols} % 16")
}

pub(super) fn fill(n: usize, body: &str) -> String {
    format!("for (int i = tid; i < {n}; i += THREADS) {body}")
}

impl Writer<'_> {
    pub(super) fn states(&mut self, carried: &[Option<(usize, usize)>]) {
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
                            &format!("c.out[{block} + {}] = {value};", panelled(*layout, "i")),
                        ));
                    }
                }
            }
        }
        text.close("END_PHASE");
        text.line("(void)carried;");
        text.close("}");

        text.open("\nDEVICE void last_states(const Context c, const Args *a, const int lane) {");
        text.line("float *carried = a->carried_next + (u64)lane * CARRIED;");
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
                    format!("c.in[{} + {}]", self.blocks[*index], panelled(*layout, "i"))
                }
            };
            text.line(&fill(n, &format!("carried[{to} + i] = {value};")));
        }
        text.close("END_PHASE");
        text.line("(void)carried;");
        text.close("}");
        debug_assert_eq!(graph.states.len(), program.homes.len());

        // All moves happen at once: no target is read after another was written.
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

    pub(super) fn observe(&mut self) {
        let (program, episode) = (self.program, self.episode);
        let text = &mut self.text;
        text.open("\nDEVICE void observe(const Context c, const Args *a, const int lane, const int step) {");
        text.line("const int *task = a->task + (u64)lane * TASK_WORDS;");
        text.open("PHASE");
        for leaf in leaves(program, episode, "a->") {
            let put = fill(leaf.to.n, &leaf.put());
            match &leaf.place {
                Some(place) => {
                    text.open("{");
                    text.line(place);
                    text.line(&put);
                    text.line("(void)place;");
                    text.close("}");
                }
                None => text.line(&put),
            }
        }
        text.close("END_PHASE");
        text.line("(void)task;");
        text.close("}");
    }

    pub(super) fn outputs(&mut self) {
        let (program, episode) = (self.program, self.episode);
        let text = &mut self.text;
        text.open("\nDEVICE void keep_outputs(const Context c, const Args *a, const int tid) {");
        for (slot, to) in &episode.read {
            let (place, n) = program.outputs[*slot];
            let to = row(*to, n);
            text.line(&fill(n, &format!("a->outputs[{to}] = {};", at(place, "i"))));
        }
        text.close("}");
        text.open("\nDEVICE void read_seeds(const Context c, const Args *a) {");
        text.open("PHASE");
        for (slot, to) in program.seeds.iter().enumerate() {
            let Some(Slot { at, n, .. }) = to else {
                continue;
            };
            let read = episode.read.iter().find(|(read, _)| *read == slot);
            let value = match read {
                Some((_, from)) => format!("a->seeds[{}]", row(*from, *n)),
                None => "0.0f".to_owned(),
            };
            text.line(&fill(*n, &format!("c.L[{at} + i] = {value};")));
        }
        text.close("END_PHASE");
        text.close("}");
    }
}

/// Element `i` of this step and lane in a table with `n` elements per step and lane, after tables of `from`
/// elements.
pub(super) fn row(from: usize, n: usize) -> String {
    format!("c.vectors * {from} + c.row * {n} + i")
}

/// A value that a step is given: an input or noise.
pub(super) struct Leaf {
    pub to: Slot,
    /// The expression of element `i`.
    pub value: String,
    /// True if the task gives it.
    pub of_task: bool,
    /// The definition of the place that noise is drawn at.
    pub place: Option<String>,
}

impl Leaf {
    /// The assignment of element `i`.
    pub(super) fn put(&self) -> String {
        let index = match self.to.form {
            Form::Panels(layout) => panelled(layout, "i"),
            Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
                "i".to_owned()
            }
        };
        format!("c.L[{} + {index}] = {};", self.to.at, self.value)
    }
}

/// The values that a step is given; `a` leads to the arguments of the launch.
pub(super) fn leaves(program: &Program, episode: &Episode<'_>, a: &str) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (slot, feed) in episode.feeds.iter().enumerate() {
        let n: usize = episode.graph.inputs[slot].dims.iter().product();
        let value = match feed {
            Feed::Observation(from) => format!("task_observation(task, {from} + i)"),
            Feed::Signal(k) => format!("task_signal(task, {k})"),
            Feed::TrialStart => "f_truth(task_trial_starts(task))".to_owned(),
            Feed::Given(from) => format!("{a}inputs[{}]", row(*from, n)),
            Feed::Word => format!("f_truth(i == (int){a}words[c.row])"),
        };
        leaves.extend(program.inputs[slot].map(|to| Leaf {
            to,
            value: value.clone(),
            of_task: matches!(
                feed,
                Feed::Observation(_) | Feed::Signal(_) | Feed::TrialStart
            ),
            place: None,
        }));
    }
    for (slot, noise) in episode.graph.noises.iter().enumerate() {
        let Some(to) = program.noises[slot] else {
            continue;
        };
        let (step, still) = match noise.kind {
            NoiseKind::Step => (format!("{a}first + step"), None),
            NoiseKind::Mask => ("0".to_owned(), Some(noise.draw.mean())),
        };
        let columns = noise.dims.last().copied().unwrap_or(1).max(1);
        let drawn = draw(&noise.draw, columns);
        let value = match still {
            Some(mean) => format!("{a}learn ? {drawn} : {}", number(mean as f32)),
            None => drawn,
        };
        let key = 4 + 2 * episode.noises[slot];
        let place =
            format!("const Place place = place_of({a}keys + {key}, {a}iteration, {step}, lane);");
        leaves.push(Leaf {
            to,
            value,
            of_task: false,
            place: Some(place),
        });
    }
    leaves
}

/// Sample `i` at `place`, as in src/ir/rng/fill.rs.
pub(crate) fn draw(draw: &Draw, columns: usize) -> String {
    match *draw {
        // Noise has no file, and parameters are drawn by the host.
        Draw::Given(_) => number(draw.mean() as f32),
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
