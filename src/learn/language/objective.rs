//! The training objective for a text: predicting it, with penalties on activity.

use super::error::LanguageError;
use super::loss::{cross_entropy, Loss};
use super::reader::{OutputAdjoints, Outputs};
use super::stream::Chunk;
use crate::ir::Graph;
use crate::lang::settings::Settings;

/// The outputs that make up the loss of a text. The penalties are those of Merity et al. 2018, §4.6.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextObjective {
    /// The slot of the output that predicts.
    pub output: usize,
    /// The number of words it distinguishes.
    pub words: usize,
    /// The coefficient of the mean square of the last layer's activity after dropout, and the slot of that
    /// activity.
    pub activity: Option<(f64, usize)>,
    /// The coefficient of the mean square of the change of the activity from step to step, and the slot of
    /// the activity before dropout.
    pub change: Option<(f64, usize)>,
}

impl TextObjective {
    /// Builds the objective from checked settings, for a network with this step.
    ///
    /// # Errors
    /// Fails if a penalty refers to an output that the network lacks.
    pub fn new(
        step: &Graph,
        words: usize,
        settings: &Settings,
    ) -> Result<TextObjective, LanguageError> {
        let slot = |name: &str| step.outputs.iter().position(|slot| slot.path == name);
        let penalty = |setting: &'static str, output: &'static str| {
            let coefficient = settings.real(setting);
            match (coefficient == 0.0, slot(output)) {
                (true, _) => Ok(None),
                (false, Some(slot)) => Ok(Some((coefficient, slot))),
                (false, None) => Err(LanguageError::NoOutput { setting, output }),
            }
        };
        Ok(TextObjective {
            output: slot("next_word").expect("the output was checked against the trainer"),
            words,
            activity: penalty("activity", "dropped")?,
            change: penalty("change", "activity")?,
        })
    }

    /// The loss of the last chunk, the sum of the penalties, and the adjoints of both.
    pub fn of(&self, mut outputs: Outputs<'_>, chunk: &Chunk) -> (Loss, f64, OutputAdjoints) {
        let mut adjoints = vec![(self.output, Vec::new())];
        let penalty = self.penalise(&mut outputs, chunk, &mut adjoints);
        // The table may be that of a penalty, too, so it is taken last.
        let mut logits = std::mem::take(outputs.get(self.output));
        let loss = cross_entropy(&mut logits, self.words, &chunk.targets, &chunk.weights);
        adjoints[0].1 = logits;
        (loss, penalty, adjoints)
    }

    /// Adds the adjoints of the penalties and returns their sum: the mean square of the activity, and that of
    /// its change from step to step.
    fn penalise(
        &self,
        outputs: &mut Outputs<'_>,
        chunk: &Chunk,
        adjoints: &mut OutputAdjoints,
    ) -> f64 {
        let mut cost = 0.0;
        let rows = chunk.inputs.len();
        if let Some((coefficient, slot)) = self.activity {
            let values = outputs.get(slot);
            let scale = coefficient / values.len() as f64;
            cost += scale * values.iter().map(|x| f64::from(*x * *x)).sum::<f64>();
            let adjoint = values.iter().map(|x| (2.0 * scale) as f32 * x);
            adjoints.push((slot, adjoint.collect()));
        }
        if let Some((coefficient, slot)) = self.change {
            let values = outputs.get(slot);
            let width = values.len() / rows.max(1);
            let pairs = rows - rows / chunk.steps;
            let scale = coefficient / (pairs * width).max(1) as f64;
            let mut adjoint = vec![0.0f32; values.len()];
            for row in 1..rows {
                if row % chunk.steps == 0 {
                    continue;
                }
                for k in row * width..(row + 1) * width {
                    let change = values[k] - values[k - width];
                    cost += scale * f64::from(change * change);
                    adjoint[k] += (2.0 * scale) as f32 * change;
                    adjoint[k - width] -= (2.0 * scale) as f32 * change;
                }
            }
            adjoints.push((slot, adjoint));
        }
        cost
    }
}
