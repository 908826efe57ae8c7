//! Whole iterations on a device: the functions that `update.h` calls.

use super::parameters::{ParamPlace, ParamPlaces, Sharing};
use super::text::Text;
use super::writer::Writer;
use super::Product;
use crate::ir::ParamSlot;
use crate::machine::device::OptimizerSource;

/// The largest number of blocks that share the gradient; each has one sum of squares.
const GRADIENT_BLOCKS: usize = 1024;

/// The optimizer step that ends an iteration.
#[derive(Clone, Debug)]
pub struct Update {
    /// The optimizer.
    pub optimizer: OptimizerSource,
    /// The largest norm of the gradient; 0 for no bound.
    pub clip_norm: f64,
}

/// The sizes for whole iterations, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateSizes {
    /// The number of trained elements.
    pub trained: usize,
    /// The number of other elements.
    pub fixed: usize,
    /// The number of moments per element.
    pub moments: usize,
    /// The number of threads per block.
    pub threads: usize,
}

impl UpdateSizes {
    /// The sizes for blocks of `threads` threads.
    pub fn new(places: &ParamPlaces, update: &Update, threads: usize) -> UpdateSizes {
        UpdateSizes {
            trained: places.trained,
            fixed: places.fixed,
            moments: update.optimizer.moments,
            threads,
        }
    }

    /// The number of blocks with a thread for each trained element.
    pub(crate) fn blocks(&self) -> usize {
        self.trained.div_ceil(self.threads).max(1)
    }

    /// The number of blocks that share the gradient.
    pub(crate) fn gradient_blocks(&self) -> usize {
        self.blocks().min(GRADIENT_BLOCKS)
    }
}

impl Writer<'_> {
    /// Writes the layout of the kernels' parameters, and the gradient by element for the network's trained
    /// parameters that the program has.
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

/// Writes the optimizer step over the parameters of these slots. `losses` is the number of entries of a loss;
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
    text.raw(&update.optimizer.source);
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
