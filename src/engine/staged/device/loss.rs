//! The end of a text chunk on a device: the loss of its words, and the optimizer step.

use super::THREADS;
use crate::ir::ParamSlot;
use crate::machine::c::{opening, write_update, ParamPlaces, Update, UpdateSizes};
use crate::machine::device::{Args, Device, DeviceError, Launch};

/// A value in the tables shared by stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The start: the number of elements in the tables before it.
    pub after: usize,
    /// The number of elements per row.
    pub width: usize,
}

/// The terms of the loss.
#[derive(Clone, Copy, Debug)]
pub struct TextLoss {
    /// The logits of the next word.
    pub logits: Table,
    /// The coefficient of the mean square of an activity.
    pub activity: Option<(f64, Table)>,
    /// The coefficient of the mean square of the change of an activity from step to step.
    pub change: Option<(f64, Table)>,
}

/// The kernels.
#[derive(Clone, Debug)]
pub struct LossSource {
    /// The source.
    pub text: String,
    /// The sizes for whole iterations.
    pub update: UpdateSizes,
    penalties: bool,
}

impl LossSource {
    /// Writes the kernels.
    pub fn new(
        loss: &TextLoss,
        update: &Update,
        (slots, places): (&[ParamSlot], &ParamPlaces),
    ) -> LossSource {
        let sizes = UpdateSizes::new(places, update, THREADS);
        let mut text = opening(THREADS);
        let Table { after, width } = loss.logits;
        let penalties = loss.activity.is_some() || loss.change.is_some();
        text.raw(&format!(
            "\n#define WORDS {width}\n#define LOGITS {after}\n#define PENALTIES {}\n",
            u8::from(penalties)
        ));
        for (penalty, coefficient, name) in [
            (loss.activity, "ACTIVITY", "DROPPED"),
            (loss.change, "CHANGE", "STEADY"),
        ] {
            let nothing = Table { after: 0, width: 0 };
            let (factor, Table { after, width }) = penalty.unwrap_or((0.0, nothing));
            text.raw(&format!(
                "#define {coefficient} {factor:e}\n#define {name} {after}\n#define {name}_WIDTH {width}\n"
            ));
        }
        text.raw(include_str!("loss.h"));
        text.raw(&format!("\n#define TRAINED {}\n", places.trained));
        // The stages have added their gradients to it.
        text.open("\nDEVICE float gradient_of(const Args *a, const int i) {");
        text.line("return a->gradients[i];");
        text.close("}");
        write_update(update, &sizes, (slots, places), "1", &mut text);
        LossSource {
            text: text.finish(),
            update: sizes,
            penalties,
        }
    }

    /// Computes the loss of the words to predict, and in training its adjoints.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn run(
        &self,
        device: &mut dyn Device,
        args: &Args,
        rows: usize,
    ) -> Result<(), DeviceError> {
        let mut launch = |kernel: &str, lanes: usize, shared: usize| {
            let launch = Launch {
                shared_bytes: 4 * shared,
                ..Launch::apart(kernel, lanes, THREADS)
            };
            device.launch(launch, args)
        };
        launch("words", rows, 2 * THREADS)?;
        if self.penalties && args.learn != 0 {
            launch("penalties", rows, THREADS)?;
        }
        launch("loss", 1, 0)
    }
}
