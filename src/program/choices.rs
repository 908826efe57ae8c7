//! The passes that run over a program.

use super::passes::{KernelPass, KERNEL_PASSES};

/// A set of kernel passes; every one gives the same numbers to rounding.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// Passes by their place in [`KERNEL_PASSES`].
    on: u32,
    /// Runs in the place of the pass of its name.
    instead: Option<&'static KernelPass>,
}

/// Sets of the same passes are equal, whatever code runs for one of them.
impl PartialEq for Choices {
    fn eq(&self, other: &Choices) -> bool {
        self.on == other.on
    }
}

impl Eq for Choices {}

impl Default for Choices {
    /// All passes.
    fn default() -> Choices {
        KERNEL_PASSES.iter().fold(Choices::none(), Choices::with)
    }
}

impl Choices {
    /// No pass.
    pub const fn none() -> Choices {
        Choices {
            on: 0,
            instead: None,
        }
    }

    /// Also this pass. One with other code than the pass of its name in [`KERNEL_PASSES`] runs in its place: tests plant
    /// faults so.
    #[must_use]
    pub fn with(self, pass: &'static KernelPass) -> Choices {
        let known = KERNEL_PASSES.iter().find(|known| known.name == pass.name);
        let other = known.is_some_and(|known| known.run as usize != pass.run as usize);
        Choices {
            on: self.on | bit(pass),
            instead: if other { Some(pass) } else { self.instead },
        }
    }

    /// Not this pass.
    #[must_use]
    pub fn without(self, pass: &KernelPass) -> Choices {
        Choices {
            on: self.on & !bit(pass),
            ..self
        }
    }

    /// The passes of the set, in the order in which they run.
    pub fn passes(self) -> impl Iterator<Item = &'static KernelPass> {
        KERNEL_PASSES
            .iter()
            .filter(move |pass| self.on & bit(pass) != 0)
            .map(move |pass| match self.instead {
                Some(other) if other.name == pass.name => other,
                _ => pass,
            })
    }
}

fn bit(pass: &KernelPass) -> u32 {
    let place = KERNEL_PASSES.iter().position(|one| one.name == pass.name);
    place.map_or(0, |place| 1 << place)
}
