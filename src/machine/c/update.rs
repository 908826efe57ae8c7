//! Whole iterations on a device: the functions that `update.h` calls.

use super::parameters::{ParamPlace, ParamPlaces, Sharing};
use super::text::Text;
use super::writer::Writer;
use super::Product;
use crate::ir::ParamSlot;
use crate::machine::device::OptimizerSource;

/// Blocks that share the gradient, at most: each has one sum of squares.
const GRADIENT_BLOCKS: usize = 1024;

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
    /// Threads of a block.
    pub threads: usize,
}

impl UpdateSizes {
    /// For blocks of so many threads.
    pub fn new(places: &ParamPlaces, update: &Update, threads: usize) -> UpdateSizes {
        UpdateSizes {
            trained: places.trained,
            fixed: places.fixed,
            moments: update.optimizer.moments,
            threads,
        }
    }

    /// Blocks with a thread for each trained element.
    pub(super) fn blocks(&self) -> usize {
        self.trained.div_ceil(self.threads).max(1)
    }

    /// Blocks that share the gradient.
    pub(super) fn gradient_blocks(&self) -> usize {
        self.blocks().min(GRADIENT_BLOCKS)
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
}

/// Writes the step of the optimiser over the parameters of these slots. `losses` is how many entries of a loss there are;
/// `gradient_of` and `TRAINED` come before.
pub(crate) fn write_update(
    update: &Update,
    sizes: &UpdateSizes,
    (slots, places): (&[ParamSlot], &ParamPlaces),
    losses: &str,
    text: &mut Text,
) {
    text.raw(&format!(
        "\n#define LOSSES {losses}\n#define GRADIENT_BLOCKS {}\n#define MOMENTS {}\n#define CLIP_NORM {:e}\n",
        sizes.gradient_blocks(),
        update.optimizer.moments,
        update.clip_norm
    ));
    text.raw(&update.optimizer.settings);
    text.raw(update.optimizer.source);
    text.open("\nDEVICE float grad_scaled(const int i, const float x) {");
    for (place, slot) in places.places.iter().zip(slots) {
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
    text.raw(include_str!("update.h"));
}
