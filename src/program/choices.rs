//! Which passes run over a program.

use super::passes::{KernelPass, KERNEL_PASSES};

/// A set of kernel passes; every one gives the same numbers to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Passes by their place in [`KERNEL_PASSES`].
    on: u32,
}

impl Default for Choices {
    /// All passes.
    fn default() -> Choices {
        KERNEL_PASSES.iter().fold(Choices::none(), Choices::with)
    }
}

impl Choices {
    /// No pass.
    pub const fn none() -> Choices {
        Choices { on: 0 }
    }

    /// Also this pass.
    #[must_use]
    pub fn with(self, pass: &KernelPass) -> Choices {
        Choices {
            on: self.on | bit(pass),
        }
    }

    /// Not this pass.
    #[must_use]
    pub fn without(self, pass: &KernelPass) -> Choices {
        Choices {
            on: self.on & !bit(pass),
        }
    }

    /// The passes of the set, in the order in which they run.
    pub fn passes(self) -> impl Iterator<Item = &'static KernelPass> {
        KERNEL_PASSES
            .iter()
            .filter(move |pass| self.on & bit(pass) != 0)
    }
}

fn bit(pass: &KernelPass) -> u32 {
    let place = KERNEL_PASSES.iter().position(|one| one.name == pass.name);
    place.map_or(0, |place| 1 << place)
}
