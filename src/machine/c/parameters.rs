//! Parameters on a device: their places, the form in which kernels read them, and their gradients from sums.

use super::slots::panelled;
use super::text::Text;
use super::values::Values;
use super::Product;
use crate::ir::{Graph, ParamSlot};
use crate::program::layout::{filled, PANEL};
use crate::program::layout::{Form, Slot};
use crate::program::parameters::{Origin, Placed};
use crate::program::{Program, Verified};
use std::collections::BTreeMap;

/// The place of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamPlace {
    /// An offset among the trained parameters.
    Trained(usize),
    /// An offset among the other parameters.
    Fixed(usize),
}

/// The places of a network's parameters on a device: the trained ones in sequence by slot, and likewise the
/// others.
#[derive(Clone, Debug, Default)]
pub struct ParamPlaces {
    /// The place by slot.
    pub places: Vec<ParamPlace>,
    /// The number of elements of the trained parameters.
    pub trained: usize,
    /// The number of elements of the others.
    pub fixed: usize,
}

impl ParamPlaces {
    /// The places for the parameters of a graph.
    pub fn new(slots: &[ParamSlot]) -> ParamPlaces {
        let mut all = ParamPlaces::default();
        for slot in slots {
            let n = slot.dims.iter().product::<usize>();
            let (count, place): (_, fn(usize) -> ParamPlace) = match slot.trained {
                true => (&mut all.trained, ParamPlace::Trained),
                false => (&mut all.fixed, ParamPlace::Fixed),
            };
            all.places.push(place(*count));
            *count += n;
        }
        all
    }

    /// The places of a part of the network, by the slots of the whole.
    pub fn part(&self, slots: &[usize]) -> ParamPlaces {
        ParamPlaces {
            places: slots.iter().map(|k| self.places[*k]).collect(),
            ..*self
        }
    }

    /// An element of a parameter as an expression; `a` is the expression of the launch arguments.
    pub(crate) fn element(&self, a: &str, k: usize, index: &str) -> String {
        match self.places[k] {
            ParamPlace::Trained(at) => format!("{a}parameters[{at} + {index}]"),
            ParamPlace::Fixed(at) => format!("{a}fixed[{at} + {index}]"),
        }
    }
}

/// The parameters in the form that a program's kernels read, and their gradients.
pub(super) struct Sharing<'a> {
    program: &'a Verified<Program>,
    graph: &'a Graph,
    pub places: &'a ParamPlaces,
    /// The values computed for the step, for the adjoint, and for gradients.
    values: [Values; 3],
}

impl<'a> Sharing<'a> {
    pub(super) fn new(
        program: &'a Verified<Program>,
        graph: &'a Graph,
        places: &'a ParamPlaces,
    ) -> Sharing<'a> {
        let step = Values::new(&program.step_prologue.graph, 0);
        let adjoint = Values::new(&program.adjoint_prologue.graph, step.end);
        let gradients = Values::new(&program.epilogue.graph, adjoint.end);
        Sharing {
            program,
            graph,
            places,
            values: [step, adjoint, gradients],
        }
    }

    /// The number of elements of the computed values.
    pub(super) fn computed(&self) -> usize {
        self.values[2].end
    }

    /// Returns true if values are computed from parameters, and for gradients.
    pub(super) fn computes(&self) -> [bool; 2] {
        [self.values[1].end > 0, self.computed() > self.values[1].end]
    }

    /// The number of elements of the largest value that the kernels read.
    pub(super) fn widest(&self) -> usize {
        let placed = [&self.program.step_prologue, &self.program.adjoint_prologue];
        let placed = placed.into_iter().flat_map(|p| &p.places);
        placed.map(|p| elements(&p.dims)).max().unwrap_or(0)
    }

    /// Writes the function called before a step: it computes values from parameters and copies parameters.
    pub(super) fn onward(&self, text: &mut Text) {
        let param = |k: usize, index: &str| self.places.element("a->", k, index);
        let [step, adjoint] = [&self.program.step_prologue, &self.program.adjoint_prologue];
        self.values[0].function("step_values", &step.graph, &param, text);
        self.values[1].function("adjoint_values", &adjoint.graph, &param, text);
        text.open("\nDEVICE void share_parameters(const Args *a, const int i) {");
        for (prologue, values) in [(step, &self.values[0]), (adjoint, &self.values[1])] {
            let results = values.results(&prologue.graph);
            for placed in &prologue.places {
                self.share(placed, &results, text);
            }
        }
        text.line("(void)a; (void)i;");
        text.close("}");
    }

    fn share(&self, placed: &Placed, results: &[std::ops::Range<usize>], text: &mut Text) {
        let n = elements(&placed.dims);
        let to = position(placed.slot.form, &placed.dims);
        let at = placed.slot.at;
        let value = match &placed.origin {
            Origin::Leaf(k) => self.places.element("a->", *k, "i"),
            Origin::Result(k) => format!("a->values[{} + i]", results[*k].start),
            Origin::Concat(parts) => {
                // The parts are tested from the last to the first: a column belongs to the first match.
                let width = placed.dims.last().copied().unwrap_or(1);
                let rows = n / width.max(1);
                let mut start = width;
                let mut chosen = String::from("0.0f");
                for k in parts.iter().rev() {
                    let own = elements(&self.graph.params[*k].dims) / rows.max(1);
                    start -= own;
                    let index = format!("(i / {width} * {own} + i % {width} - {start})");
                    let element = self.places.element("a->", *k, &index);
                    chosen = format!("(i % {width} >= {start} && i % {width} < {start} + {own} ? {element} : {chosen})");
                }
                chosen
            }
            Origin::Slice { .. } => unreachable!("only sums are cut"),
        };
        text.line(&format!("if (i < {n}) a->shared[{at} + {to}] = {value};"));
    }

    /// Writes the functions called after the backward pass: values computed from sums, and for each trained
    /// parameter with a gradient `gradient_K(a, i)`, its element `i`. `own` gives the offsets of a lane's own
    /// sums. Returns these parameters.
    pub(super) fn back(
        &self,
        own: &BTreeMap<usize, usize>,
        products: &[Product],
        text: &mut Text,
    ) -> Vec<usize> {
        let mut starts = BTreeMap::new();
        let mut next = 0;
        for product in products {
            starts.insert(product.sum, next);
            next += product.rows * product.cols;
        }
        let epilogue = &self.program.epilogue;
        // A sum may belong to the lanes, to a product, or to both.
        let summed = |slot: Slot, index: &str| {
            let index = match slot.form {
                Form::Panels(layout) => format!("({})", panelled(layout, index)),
                Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
                    index.to_owned()
                }
            };
            let own = own.get(&slot.at);
            let own = own.map(|at| format!("a->total[{at} + {index}]"));
            let product = starts.get(&slot.at);
            let product = product.map(|at| format!("(double)a->products[{at} + {index}]"));
            match (own, product) {
                (Some(own), Some(product)) => format!("((float)({own} + {product}))"),
                (Some(one), None) | (None, Some(one)) => format!("((float){one})"),
                (None, None) => "0.0f".to_owned(),
            }
        };
        let param = |k: usize, index: &str| match k.checked_sub(epilogue.parameters) {
            None => self.places.element("a->", k, index),
            Some(number) => summed(epilogue.sums[number], index),
        };
        self.values[2].function("gradient_values", &epilogue.graph, &param, text);
        let results = self.values[2].results(&epilogue.graph);
        let mut found = Vec::new();
        for (k, origin) in &epilogue.gradients {
            if !self.graph.params[*k].trained {
                continue;
            }
            let value = match origin {
                Origin::Leaf(number) => summed(epilogue.sums[*number], "i"),
                Origin::Slice { sum, start, width } => {
                    let slot = epilogue.sums[*sum];
                    let rows = elements(&self.graph.params[*k].dims) / width;
                    let whole = slot.n / rows.max(1);
                    summed(
                        slot,
                        &format!("(i / {width} * {whole} + {start} + i % {width})"),
                    )
                }
                Origin::Result(result) => format!("a->values[{} + i]", results[*result].start),
                Origin::Concat(_) => unreachable!("only parameters are joined"),
            };
            text.line(&format!(
                "DEVICE float gradient_{k}(const Args *a, const int i) {{ return {value}; }}"
            ));
            found.push(*k);
        }
        found
    }
}

fn elements(dims: &[usize]) -> usize {
    dims.iter().product()
}

/// The position of element `i` of a row-major matrix in a form.
fn position(form: Form, dims: &[usize]) -> String {
    let cols = dims.last().copied().unwrap_or(1);
    match form {
        Form::Plain => "i".to_owned(),
        Form::Panels(layout) => format!("({})", panelled(layout, "i")),
        Form::Rows(layout) => {
            let (cols, stride) = (layout.cols, filled(layout.cols));
            format!("(i / {cols} * {stride} + i % {cols})")
        }
        Form::Transposed(layout) => format!(
            "((i / {cols} / {PANEL} * {} + i % {cols}) * {PANEL} + i / {cols} % {PANEL})",
            layout.rows
        ),
        Form::TransposedRows(layout) => {
            format!("(i % {cols} * {} + i / {cols})", filled(layout.cols))
        }
    }
}
