//! The number of classes of an array of labels.

use super::conflict;
use super::layout::Layout;
use crate::lang::settings::SettingConflict;
use crate::learn::data::{DataError, Element, Source};

/// Most classes: more are hardly meant as such.
const MOST_CLASSES: i64 = 1_000_000;

impl Layout {
    /// Gives classes their number: the largest label of all parts and 1.
    pub(super) fn count_classes(
        &mut self,
        sources: &[(&'static str, Source)],
    ) -> Result<(), SettingConflict> {
        for value in self.inputs.iter_mut().chain(&mut self.targets) {
            if !value.port.classes {
                continue;
            }
            let mut largest = -1;
            for (part, source) in sources {
                let label = largest_label(source, &value.port.name);
                largest = label.map_err(|error| conflict(part, error))?.max(largest);
            }
            value.port.size = usize::try_from(largest + 1).unwrap_or(0);
        }
        Ok(())
    }
}

/// The largest label of an array.
fn largest_label(source: &Source, name: &str) -> Result<i64, DataError> {
    let array = source.array(name)?;
    let count: usize = array.header.dims.iter().product();
    let mut largest = -1;
    for k in 0..count {
        // A label that is below 0 is told where it is read: it may stand for no target.
        largest = array.whole(k).unwrap_or(i64::MAX).max(largest);
    }
    if !(0..MOST_CLASSES).contains(&largest) {
        let label = if largest == i64::MAX && array.header.element == Element::Unsigned(8) {
            "above 9223372036854775807".to_owned()
        } else {
            largest.to_string()
        };
        let what =
            format!("whole numbers [sequences, steps] are classes, and the largest is {label}");
        return Err(source.fault_of(name, &what).help(&format!(
            "classes are counted from 0; for numbers save floats: `{name}.astype(np.float32)`"
        )));
    }
    Ok(largest)
}
