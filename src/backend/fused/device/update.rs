//! Whole iterations on a device: the functions that `update.h` calls.

use super::parameters::{ParamPlace, ParamPlaces, Sharing};
use super::writer::Writer;
use super::Product;
use crate::device::OptimizerSource;
use std::fmt::Write;

/// The step of the optimiser that ends an iteration.
#[derive(Clone, Debug)]
pub struct Update {
    /// The optimiser.
    pub optimizer: OptimizerSource,
    /// Largest norm of the gradient, 0 without bound.
    pub clip_norm: f64,
}

/// Sizes of what whole iterations need, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateSizes {
    /// Trained parameters.
    pub trained: usize,
    /// The others.
    pub fixed: usize,
    /// What is computed of parameters and sums.
    pub values: usize,
    /// Moments of an element.
    pub moments: usize,
    /// Whether anything is computed of parameters, and for gradients.
    pub computes: [bool; 2],
    /// The largest value that kernels read.
    pub widest: usize,
}

impl UpdateSizes {
    pub(super) fn new(sharing: &Sharing<'_>, places: &ParamPlaces, update: &Update) -> UpdateSizes {
        UpdateSizes {
            trained: places.trained,
            fixed: places.fixed,
            values: sharing.computed(),
            moments: update.optimizer.moments,
            computes: sharing.computes(),
            widest: sharing.widest(),
        }
    }
}

impl Writer<'_> {
    pub(super) fn update(
        &mut self,
        sharing: &Sharing<'_>,
        places: &ParamPlaces,
        update: &Update,
        products: &[Product],
    ) {
        let mut text = String::from("\n");
        for (name, value) in [
            ("TRAINED", places.trained),
            ("MOMENTS", update.optimizer.moments),
        ] {
            writeln!(text, "#define {name} {value}").expect("writing to a string");
        }
        writeln!(text, "#define CLIP_NORM {:e}", update.clip_norm).expect("writing to a string");
        text.push_str(&update.optimizer.settings);
        text.push_str(update.optimizer.source);
        self.text.raw(&text);
        sharing.onward(&mut self.text);
        let found = sharing.back(&self.sums, products, &mut self.text);
        let text = &mut self.text;
        text.open("\nDEVICE float gradient_of(const Args *a, const int i) {");
        let slots = &self.episode.graph.params;
        for k in found {
            let ParamPlace::Trained(at) = places.places[k] else {
                continue;
            };
            let end = at + slots[k].dims.iter().product::<usize>();
            let mut value = format!("gradient_{k}(a, i - {at})");
            if slots[k].grad_scale != 1.0 {
                value = format!("(float)((double){value} * {:e})", slots[k].grad_scale);
            }
            text.line(&format!("if (i >= {at} && i < {end}) return {value};"));
        }
        text.line("(void)a; (void)i;");
        text.line("return 0.0f;");
        text.close("}");
        self.text.raw(include_str!("update.h"));
    }
}
