//! Whole iterations on a device: where parameters lie there, where what the kernels read and the gradients come from, and the
//! functions that `update.h` calls.

use super::slots::panelled;
use super::values::Values;
use super::writer::Writer;
use super::Product;
use crate::backend::fused::assemble::Form;
use crate::backend::fused::program::Fused;
use crate::backend::BackendError;
use crate::device::OptimizerSource;
use crate::ir::Graph;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Elements that come from nowhere.
const NOWHERE: u32 = u32::MAX;

/// The step of the optimiser that ends an iteration.
#[derive(Clone, Debug)]
pub struct Update {
    /// The optimiser.
    pub optimizer: OptimizerSource,
    /// Largest norm of the gradient, 0 without bound.
    pub clip_norm: f64,
}

/// Where parameters lie on a device, and from where elements go to where.
#[derive(Clone, Debug)]
pub struct UpdatePlan {
    /// Elements of trained parameters, which lie one after another in the order of the slots.
    pub trained: usize,
    /// Elements of the others, likewise.
    pub fixed: usize,
    /// Elements of what is computed of parameters and sums.
    pub values: usize,
    /// Moments of an element.
    pub moments: usize,
    /// Whether anything is computed of parameters, and for gradients.
    pub computes: [bool; 2],
    /// For each element that the kernels read: a parameter, then a fixed one, then a computed value.
    pub share_from: Vec<u32>,
    /// For each trained element: the sum of the lanes' own that its gradient is.
    pub sum_from: Vec<u32>,
    /// For each trained element: the element of the products that is added, or else the computed value.
    pub product_from: Vec<u32>,
}

/// Where a parameter begins.
#[derive(Clone, Copy)]
enum Place {
    Trained(usize),
    Fixed(usize),
}

/// All that the plan and the source need to know.
pub(super) struct Updating<'a> {
    program: &'a Fused,
    update: &'a Update,
    graph: &'a Graph,
    places: Vec<Place>,
    trained: usize,
    fixed: usize,
    values: [Values; 3],
}

impl<'a> Updating<'a> {
    pub(super) fn new(program: &'a Fused, update: &'a Update, graph: &'a Graph) -> Updating<'a> {
        let (mut trained, mut fixed) = (0, 0);
        let places = graph.params.iter().map(|slot| {
            let n = slot.dims.iter().product::<usize>();
            if slot.trained {
                trained += n;
                Place::Trained(trained - n)
            } else {
                fixed += n;
                Place::Fixed(fixed - n)
            }
        });
        let places = places.collect();
        let [step, adjoint, gradients] = program.parameter_graphs();
        let step = Values::new(step, 0);
        let adjoint = Values::new(adjoint, step.end);
        let gradients = Values::new(gradients, adjoint.end);
        Updating {
            program,
            update,
            graph,
            places,
            trained,
            fixed,
            values: [step, adjoint, gradients],
        }
    }

    fn computed(&self) -> usize {
        self.values[2].end
    }

    /// Where everything comes from. `sums` tells where the sums that a lane has of its own are: in all, in its own, elements.
    pub(super) fn plan(
        &self,
        sums: &[(usize, usize, usize)],
        products: &[Product],
    ) -> Result<UpdatePlan, BackendError> {
        let [step, adjoint, gradients] = self.program.parameter_graphs();
        // Numbers from 1, so that 0 is nowhere: of parameters, then of computed values.
        let numbers = |first: usize, n: usize| (first..first + n).map(|k| (k + 1) as f64).collect();
        let parameters: Vec<Vec<f64>> = self
            .places
            .iter()
            .zip(&self.graph.params)
            .map(|(place, slot)| {
                let n = slot.dims.iter().product();
                match place {
                    Place::Trained(at) => numbers(*at, n),
                    Place::Fixed(at) => numbers(self.trained + at, n),
                }
            })
            .collect();
        let results = |values: &Values, graph: &Graph, first: usize| -> Vec<Vec<f64>> {
            let results = values.results(graph).into_iter();
            results.map(|r| numbers(first + r.start, r.len())).collect()
        };
        let first = self.trained + self.fixed;
        let of_step = results(&self.values[0], step, first);
        let of_adjoint = results(&self.values[1], adjoint, first);
        let shared = self
            .program
            .shared_origins(&parameters, [&of_step, &of_adjoint])?;
        let all = self.program.sums_size();
        let of_sums: Vec<f64> = numbers(0, all);
        let of_gradients = results(&self.values[2], gradients, all);
        let origins = self.program.gradient_origins(&of_sums, &of_gradients);
        let from_sums = SumPlaces::new(all, sums, products);
        let (mut sum_from, mut product_from) = (Vec::new(), Vec::new());
        for (slot, origin) in self.graph.params.iter().zip(&origins) {
            if !slot.trained {
                continue;
            }
            let n = slot.dims.iter().product::<usize>();
            let Some(origin) = origin else {
                sum_from.extend(std::iter::repeat_n(NOWHERE, n));
                product_from.extend(std::iter::repeat_n(NOWHERE, n));
                continue;
            };
            for number in origin {
                let (sum, product) = match (*number as usize).checked_sub(1) {
                    None => (NOWHERE, NOWHERE),
                    Some(at) if at < all => (from_sums.own[at], from_sums.product[at]),
                    Some(at) => (NOWHERE, (from_sums.products + at - all) as u32),
                };
                sum_from.push(sum);
                product_from.push(product);
            }
        }
        let from = |number: &f64| match (*number as usize).checked_sub(1) {
            None => NOWHERE,
            Some(at) => at as u32,
        };
        Ok(UpdatePlan {
            trained: self.trained,
            fixed: self.fixed,
            values: self.computed(),
            moments: self.update.optimizer.moments,
            computes: [self.values[1].end > 0, self.computed() > self.values[1].end],
            share_from: shared.iter().map(from).collect(),
            sum_from,
            product_from,
        })
    }
}

/// Where the elements of the gradient sums are on a device.
struct SumPlaces {
    own: Vec<u32>,
    product: Vec<u32>,
    /// Elements of all products.
    products: usize,
}

impl SumPlaces {
    fn new(all: usize, sums: &[(usize, usize, usize)], products: &[Product]) -> SumPlaces {
        let (mut own, mut product) = (vec![NOWHERE; all], vec![NOWHERE; all]);
        for (at, from, n) in sums {
            for k in 0..*n {
                own[at + k] = (from + k) as u32;
            }
        }
        let mut next = 0;
        for p in products {
            for k in 0..p.rows * p.cols {
                product[p.sum + k] = next as u32;
                next += 1;
            }
        }
        SumPlaces {
            own,
            product,
            products: next,
        }
    }
}

impl Writer<'_> {
    pub(super) fn update(&mut self, updating: &Updating<'_>, products: &[Product]) {
        let Updating {
            program,
            update,
            graph,
            places,
            ..
        } = updating;
        let mut text = String::from("\n");
        let all_products: usize = products.iter().map(|p| p.rows * p.cols).sum();
        for (name, value) in [
            ("SHARED", program.shared_size()),
            ("TRAINED", updating.trained),
            ("FIXED", updating.fixed),
            ("VALUES", updating.computed()),
            ("PRODUCTS", all_products),
            ("MOMENTS", update.optimizer.moments),
        ] {
            writeln!(text, "#define {name} {value}").expect("writing to a string");
        }
        writeln!(text, "#define CLIP_NORM {:e}", update.clip_norm).expect("writing to a string");
        text.push_str(&update.optimizer.settings);
        text.push_str(update.optimizer.source);
        self.text.raw(&text);

        let text = &mut self.text;
        text.open("\nDEVICE float grad_scaled(const int i, const float x) {");
        for (place, slot) in places.iter().zip(&graph.params) {
            let Place::Trained(at) = place else {
                continue;
            };
            if slot.grad_scale != 1.0 {
                let end = at + slot.dims.iter().product::<usize>();
                text.line(&format!(
                    "if (i >= {at} && i < {end}) return (float)((double)x * {:e});",
                    slot.grad_scale
                ));
            }
        }
        text.line("(void)i;");
        text.line("return x;");
        text.close("}");

        let param = |k: usize, index: &str| match places[k] {
            Place::Trained(at) => format!("a->parameters[{at} + {index}]"),
            Place::Fixed(at) => format!("a->fixed[{at} + {index}]"),
        };
        // A sum may be the lanes' own, a product, or both.
        let mut starts = BTreeMap::new();
        let mut next = 0;
        for product in products {
            starts.insert(product.sum, next);
            next += product.rows * product.cols;
        }
        let sums = self.sums.clone();
        let either = |k: usize, index: &str| {
            let Some(number) = k.checked_sub(places.len()) else {
                return param(k, index);
            };
            let slot = program.summed()[number];
            let index = match slot.form {
                Form::Panels(layout) => format!("({})", panelled(layout, index)),
                Form::Plain | Form::Transposed(_) | Form::Rows(_) | Form::TransposedRows(_) => {
                    index.to_owned()
                }
            };
            let own = sums.get(&slot.at);
            let own = own.map(|at| format!("a->total[{at} + {index}]"));
            let product = starts.get(&slot.at);
            let product = product.map(|at| format!("(double)a->products[{at} + {index}]"));
            match (own, product) {
                (Some(own), Some(product)) => format!("((float)({own} + {product}))"),
                (Some(one), None) | (None, Some(one)) => format!("((float){one})"),
                (None, None) => "0.0f".to_owned(),
            }
        };
        let graphs = program.parameter_graphs();
        let [step, adjoint, gradients] = &updating.values;
        step.function("step_values", graphs[0], &param, &mut self.text);
        adjoint.function("adjoint_values", graphs[1], &param, &mut self.text);
        gradients.function("gradient_values", graphs[2], &either, &mut self.text);
        self.text.raw(include_str!("update.h"));
    }
}
