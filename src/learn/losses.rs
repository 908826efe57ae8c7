//! The loss of each output, with its factor.

use super::supervised::SupervisedLoss;
use crate::lang::sema::model::TrainModel;
use std::sync::Arc;

/// The losses of a supervised trainer, one for each output.
#[derive(Clone, Debug)]
pub struct Losses {
    /// The loss of all outputs, where none has its own.
    usual: SupervisedLoss,
    /// By name.
    own: Arc<[(String, SupervisedLoss, f64)]>,
}

impl Losses {
    /// One loss for all outputs.
    pub fn all(usual: SupervisedLoss) -> Losses {
        Losses {
            usual,
            own: Arc::new([]),
        }
    }

    /// The losses of a `train` block.
    pub fn new(train: &TrainModel) -> Losses {
        let parse = |word: &str| {
            let found = SupervisedLoss::parse(word);
            found.expect("the setting is a choice among the names of losses")
        };
        let own = train.losses.iter();
        let own = own.map(|loss| (loss.output.clone(), parse(loss.function), loss.factor));
        Losses {
            usual: parse(train.settings.word("loss")),
            own: own.collect(),
        }
    }

    /// The loss of an output and the factor on it.
    pub fn of(&self, output: &str) -> (SupervisedLoss, f64) {
        let own = self.own.iter().find(|(name, _, _)| name == output);
        own.map_or((self.usual, 1.0), |(_, loss, factor)| (*loss, *factor))
    }
}
