//! Whole iterations on a device: the functions that `update.h` calls.

use super::parameters::{ParamPlace, ParamPlaces, Sharing};
use super::writer::Writer;
use super::Product;
use crate::device::OptimizerSource;

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
    /// Moments of an element.
    pub moments: usize,
}

impl UpdateSizes {
    pub(super) fn new(places: &ParamPlaces, update: &Update) -> UpdateSizes {
        UpdateSizes {
            trained: places.trained,
            fixed: places.fixed,
            moments: update.optimizer.moments,
        }
    }
}

impl Writer<'_> {
    /// How the kernels' parameters are laid out, and the gradient by element of the trained parameters, of those of the
    /// network that the program has.
    pub(super) fn sharing(&mut self, sharing: &Sharing<'_>, products: &[Product]) {
        self.text
            .raw(&format!("\n#define TRAINED {}\n", sharing.places.trained));
        sharing.onward(&mut self.text);
        let found = sharing.back(&self.sums, products, &mut self.text);
        let text = &mut self.text;
        let slots = &self.episode.graph.params;
        text.open("\nDEVICE float gradient_of(const Args *a, const int i) {");
        for k in found {
            let ParamPlace::Trained(at) = sharing.places.places[k] else {
                continue;
            };
            let end = at + slots[k].dims.iter().product::<usize>();
            text.line(&format!(
                "if (i >= {at} && i < {end}) return gradient_{k}(a, i - {at});"
            ));
        }
        text.line("(void)a; (void)i;");
        text.line("return 0.0f;");
        text.close("}");
        self.text.raw(include_str!("parameters.h"));
    }

    /// The step of the optimiser.
    pub(super) fn update(&mut self, places: &ParamPlaces, update: &Update) {
        let mut text = format!(
            "\n#define MOMENTS {}\n#define CLIP_NORM {:e}\n",
            update.optimizer.moments, update.clip_norm
        );
        text.push_str(&update.optimizer.settings);
        text.push_str(update.optimizer.source);
        self.text.raw(&text);
        let text = &mut self.text;
        text.open("\nDEVICE float grad_scaled(const int i, const float x) {");
        for (place, slot) in places.places.iter().zip(&self.episode.graph.params) {
            let ParamPlace::Trained(at) = *place else {
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
        self.text.raw(include_str!("update.h"));
    }
}
