//! The kernels of a stage, and the order of launches.

use super::layout::{is_gradient, is_hot, Layout};
use super::{Action, Address, Area, Extent, Size, THREADS};
use crate::ir::{Graph, NoiseKind, Op, ResultKind, ValueId};
use crate::machine::c::element::number;
use crate::machine::c::slots::draw;
use crate::machine::c::text::Text;
use crate::machine::c::values::{element, Body, Operand};
use crate::machine::c::{opening, ParamPlace, ParamPlaces};
use crate::step::split::{Source, Stage};

/// The properties that the kernels of a stage depend on.
#[derive(Clone, Copy, Debug)]
pub struct RowsStage<'a> {
    /// The stage.
    pub stage: &'a Stage,
    /// Its step and its adjoint.
    pub graphs: [&'a Graph; 2],
    /// The places of the network's parameters.
    pub places: &'a ParamPlaces,
    /// The start of each value passed from stage to stage: the number of elements in the tables before it.
    pub tables: &'a [usize],
}

/// The kernels of a stage.
#[derive(Clone, Debug)]
pub struct RowsSource {
    /// The source.
    pub text: String,
    /// The actions of the forward pass.
    pub forward: Vec<Action>,
    /// The actions of the backward pass; adjoints of inputs are added to their tables, and gradients to those
    /// of the network.
    pub backward: Vec<Action>,
    /// The size of the values that the stage stores.
    pub locals: Extent,
}

/// The name of a kernel.
pub(super) fn kernel_name(number: usize) -> String {
    format!("rows_{number}")
}

impl RowsSource {
    /// Writes the kernels.
    pub fn new(stage: RowsStage<'_>) -> RowsSource {
        let mut text = opening(THREADS);
        let places = stage.places.part(&stage.stage.params);
        let mut kernels = 0;
        let [forward, backward] = [0, 1].map(|way| {
            let graph = stage.graphs[way];
            let mut writer = Writer {
                stage,
                graph,
                places: &places,
                layout: Layout::new(graph),
                way: ["ahead", "back"][way],
                text: &mut text,
                kernels: &mut kernels,
                actions: Vec::new(),
            };
            writer.noises();
            writer.values();
            writer.results();
            (writer.actions, writer.layout.extent)
        });
        RowsSource {
            text: text.finish(),
            forward: forward.0,
            backward: backward.0,
            locals: forward.1.largest(backward.1),
        }
    }
}

/// A writer of one direction.
struct Writer<'a> {
    stage: RowsStage<'a>,
    graph: &'a Graph,
    places: &'a ParamPlaces,
    layout: Layout,
    way: &'static str,
    text: &'a mut Text,
    kernels: &'a mut usize,
    actions: Vec<Action>,
}

impl Writer<'_> {
    /// Noise is drawn where it is read.
    fn noises(&mut self) {
        for (slot, noise) in self.graph.noises.iter().enumerate() {
            let columns = noise.dims.last().copied().unwrap_or(1).max(1);
            let drawn = draw(&noise.draw, columns);
            let (step, still) = match noise.kind {
                NoiseKind::Step => ("row % a->steps", None),
                NoiseKind::Mask => ("0", Some(noise.draw.mean())),
            };
            self.text.open(&format!(
                "\nDEVICE float {}_noise_{slot}(const Args *a, const int row, const int i) {{",
                self.way
            ));
            if let Some(mean) = still {
                let mean = number(mean as f32);
                self.text.line(&format!("if (!a->learn) return {mean};"));
            }
            self.text.line(&format!(
                "const Place place = place_of(a->keys + {}, a->iteration, {step}, row / a->steps);",
                4 + 2 * self.stage.stage.noises[slot]
            ));
            self.text.line("(void)place;");
            self.text.line(&format!("return {drawn};"));
            self.text.close("}");
        }
    }

    /// Element `i`, an expression, of a value in row `row`.
    fn read(&self, id: ValueId, i: &str) -> String {
        let value = self.graph.value(id);
        let n = value.shape.elements();
        if let Some(at) = self.layout.place(id) {
            return match value.shape.lane {
                true => format!("a.arena[rows * {at} + (u64)row * {n} + {i}]"),
                false => format!("a.arena[rows * {} + {at} + {i}]", self.layout.extent.of_row),
            };
        }
        match self.leaf(id, i) {
            Some(leaf) => leaf,
            None => self.body(id, i).value,
        }
    }

    /// Element `i` of a leaf, wherever it is stored.
    fn leaf(&self, id: ValueId, i: &str) -> Option<String> {
        let value = self.graph.value(id);
        let n = value.shape.elements();
        let table = |memory: &str, number: usize| {
            let after = self.stage.tables[number];
            format!("a.{memory}[rows * {after} + (u64)row * {n} + {i}]")
        };
        Some(match &value.op {
            Op::Param(k) => self.places.element("a.", k.index(), i),
            Op::Input(slot) => match self.stage.stage.inputs[slot.index()] {
                Source::Input(_) => format!("f_truth({i} == (int)a.words[row])"),
                Source::Earlier(number) => table("inputs", number),
            },
            Op::Seed(slot) => table("seeds", self.stage.stage.outputs[slot.index()]),
            Op::Noise(slot) => format!("{}_noise_{}(&a, row, {i})", self.way, slot.index()),
            _ => return None,
        })
    }

    /// Element `i` of a value, as a computation.
    fn body(&self, id: ValueId, i: &str) -> Body {
        let value = self.graph.value(id);
        if let Some(value) = self.leaf(id, i) {
            let before = String::new();
            return Body { before, value };
        }
        let term = match value.op {
            Op::LaneSum => Some(self.read(value.operands[0], i)),
            Op::Outer => {
                let columns = value.shape.dims[1];
                let a = self.read(value.operands[0], &format!("({i} / {columns})"));
                let b = self.read(value.operands[1], &format!("({i} % {columns})"));
                let lanes = value.operands.iter().any(|o| self.graph.shape(*o).lane);
                lanes.then(|| format!("{a} * {b}"))
            }
            _ => None,
        };
        if let Some(term) = term {
            return Body {
                before: format!(
                    "double sum = 0.0; for (int row = 0; row < (int)rows; row++) sum += (double)({term});"
                ),
                value: "(float)sum".to_owned(),
            };
        }
        let operands: Vec<Operand<'_>> = value
            .operands
            .iter()
            .map(|operand| Operand {
                dims: self.graph.dims(*operand),
                at: Box::new(|index: &str| self.read(*operand, index)),
            })
            .collect();
        element(value, &operands, i)
    }

    /// Writes a kernel over the elements of a value: `body` for element `i`, of row `row` if there are rows.
    fn kernel(&mut self, lane: bool, n: usize, body: &str) {
        let number = *self.kernels;
        *self.kernels += 1;
        let text = &mut *self.text;
        text.open(&format!("\nKERNEL({}) {{", kernel_name(number)));
        text.line("BEGIN_LANE");
        text.line("const u64 rows = (u64)a.lanes * a.steps;");
        text.open("PHASE");
        text.line("const u64 at = (u64)lane * THREADS + tid;");
        if lane {
            text.open(&format!("if (at < rows * {n}) {{"));
            text.line(&format!(
                "const int row = (int)(at / {n}), i = (int)(at % {n});"
            ));
            text.line("(void)row;");
        } else {
            text.open(&format!("if (at < {n}) {{"));
            text.line("const int i = (int)at;");
        }
        text.line(body);
        text.line("(void)i;");
        text.close("}");
        text.close("END_LAST");
        text.line("(void)rows;");
        text.close("}");
        let extent = match lane {
            true => Extent { of_row: n, once: 0 },
            false => Extent { of_row: 0, once: n },
        };
        self.actions.push(Action::Kernel(number, extent));
    }

    /// Writes the stored values, in order.
    fn values(&mut self) {
        for id in self.graph.ids() {
            if self.layout.place(id).is_some() && self.layout.needed.contains(&id) {
                self.value(id);
            }
        }
    }

    fn value(&mut self, id: ValueId) {
        let value = self.graph.value(id);
        let operands = &value.operands;
        let lanes: Vec<bool> = operands.iter().map(|o| self.graph.shape(*o).lane).collect();
        match value.op {
            Op::MatVec { transposed } if lanes[0] => self.times_matrix(id, transposed),
            Op::Outer if lanes == [true, true] => self.outer(id),
            _ => {
                let to = self.kept(id, "i");
                let body = self.body(id, "i");
                let (lane, n) = (value.shape.lane, value.shape.elements());
                self.kernel(lane, n, &format!("{} {to} = {};", body.before, body.value));
            }
        }
    }

    /// Writes the computation of a stored value.
    fn kept(&self, id: ValueId, i: &str) -> String {
        debug_assert!(self.layout.place(id).is_some(), "{id} is kept");
        self.read(id, i)
    }

    /// Writes `v m` for all rows: rows of the matrix if `v` is one-hot, else a product.
    fn times_matrix(&mut self, id: ValueId, transposed: bool) {
        let value = self.graph.value(id);
        let [v, m] = [value.operands[0], value.operands[1]];
        let n = value.shape.elements();
        let columns = self.graph.dims(m)[1];
        if is_hot(self.graph, v) {
            let entry = match transposed {
                true => format!("(i * {columns} + word)"),
                false => format!("(word * {columns} + i)"),
            };
            let body = format!(
                "const int word = (int)a.words[row]; {} = {} * {};",
                self.kept(id, "i"),
                self.read(v, "word"),
                self.read(m, &entry)
            );
            self.kernel(true, n, &body);
            return;
        }
        let action = Action::Product {
            a: self.address(v),
            a_turned: false,
            b: self.address(m),
            b_turned: transposed,
            out: self.address(id),
            sizes: [
                Size::Rows,
                Size::Of(self.graph.shape(v).elements()),
                Size::Of(n),
            ],
        };
        self.actions.push(action);
    }

    /// Writes `Σ_rows a bᵀ`: sums at the words if `a` is one-hot, else a product.
    fn outer(&mut self, id: ValueId) {
        let value = self.graph.value(id);
        let [a, b] = [value.operands[0], value.operands[1]];
        let [m, n] = [value.shape.dims[0], value.shape.dims[1]];
        if is_hot(self.graph, a) {
            let zero = format!("{} = 0.0f;", self.kept(id, "i"));
            self.kernel(false, m * n, &zero);
            // The first row with a word adds up the sums of all rows with it, in order.
            let body = format!(
                "const int first = row, word = (int)a.words[first]; int taken = 0; \
                 for (int k = 0; k < first; k++) taken |= (int)a.words[k] == word; \
                 if (!taken) {{ float sum = 0.0f; \
                 for (int row = first; row < (int)rows; row++) \
                 if ((int)a.words[row] == word) sum += {} * {}; \
                 {} = sum; }}",
                self.read(a, "word"),
                self.read(b, "i"),
                self.kept(id, &format!("(word * {n} + i)"))
            );
            self.kernel(true, n, &body);
            return;
        }
        let action = Action::Product {
            a: self.address(a),
            a_turned: true,
            b: self.address(b),
            b_turned: false,
            out: self.address(id),
            sizes: [Size::Of(m), Size::Rows, Size::Of(n)],
        };
        self.actions.push(action);
    }

    /// The address of a value.
    fn address(&self, id: ValueId) -> Address {
        let value = self.graph.value(id);
        let at = |area: Area, of_row: usize, once: usize| Address {
            area,
            after: Extent { of_row, once },
        };
        if let Some(place) = self.layout.place(id) {
            return match value.shape.lane {
                true => at(Area::Locals, place, 0),
                false => at(Area::Locals, self.layout.extent.of_row, place),
            };
        }
        match &value.op {
            Op::Param(k) => match self.places.places[k.index()] {
                ParamPlace::Trained(place) => at(Area::Parameters, 0, place),
                ParamPlace::Fixed(place) => at(Area::Fixed, 0, place),
            },
            Op::Seed(slot) => {
                let number = self.stage.stage.outputs[slot.index()];
                at(Area::Adjoints, self.stage.tables[number], 0)
            }
            Op::Input(slot) => match self.stage.stage.inputs[slot.index()] {
                Source::Earlier(number) => at(Area::Tables, self.stage.tables[number], 0),
                Source::Input(_) => unreachable!("words that a product reads are kept"),
            },
            _ => unreachable!("what a product reads is kept"),
        }
    }

    /// Writes outputs, adjoints of inputs, and gradients.
    fn results(&mut self) {
        for (result, id) in self.graph.results().to_vec() {
            let n = self.graph.shape(id).elements();
            let table = |memory: &str, number: usize| {
                let after = self.stage.tables[number];
                format!("a.{memory}[rows * {after} + (u64)row * {n} + i]")
            };
            let stage = self.stage.stage;
            let (to, sign) = match result {
                ResultKind::Output(slot) => (table("outputs", stage.outputs[slot.index()]), "="),
                ResultKind::InputAdjoint(slot) => match stage.inputs[slot.index()] {
                    Source::Earlier(number) => (table("input_adjoints", number), "+="),
                    Source::Input(_) => continue,
                },
                ResultKind::Gradient(k) => match self.places.places[k.index()] {
                    ParamPlace::Trained(at) => (format!("a.gradients[{at} + i]"), "+="),
                    ParamPlace::Fixed(_) => continue,
                },
                ResultKind::Next(_) | ResultKind::AdjointOut(_) => continue,
            };
            let text = format!("{to} {sign} {};", self.read(id, "i"));
            self.kernel(!is_gradient(result), n, &text);
        }
    }
}
