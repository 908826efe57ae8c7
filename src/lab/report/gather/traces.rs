//! Traces at the end of episodes: one matrix, the distribution of all values, and the share at a bound.

use crate::lang::sema::model::{ExprKind, Model};

/// The number of bins in a histogram.
pub const BINS: usize = 41;

/// The bounds that the update of a state clips to; `None` if it does not clip.
pub fn bounds(model: &Model, state: usize) -> Option<(f64, f64)> {
    let update = model.nexts.get(state)?.as_ref()?;
    let mut found = None;
    update.walk(&mut |expr| {
        if let (ExprKind::Clip(_, lo, hi, _), None) = (&expr.kind, found) {
            found = Some((*lo, *hi));
        }
    });
    found
}

/// The distribution of some values.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The lower end of the first bin and the upper end of the last.
    pub bounds: (f64, f64),
    /// The share of each of [`BINS`] bins.
    pub shares: Vec<f64>,
    /// The share at or beyond a clip bound, if there is one.
    pub saturated: Option<f64>,
}

/// The distribution of `values` between the clip bounds, or else between their minimum and maximum.
pub fn distribution(values: &[f64], clip: Option<(f64, f64)>) -> Distribution {
    let largest = values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let bounds = match clip {
        Some((lo, hi)) if lo < hi => (lo, hi),
        _ if largest > 0.0 => (-largest, largest),
        _ => (-1.0, 1.0),
    };
    let mut counts = vec![0u64; BINS];
    for value in values {
        let part = (value - bounds.0) / (bounds.1 - bounds.0);
        // A cast from a float saturates, and NaN falls into the first bin.
        counts[((part * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let all = values.len().max(1) as f64;
    let saturated = clip.map(|(lo, hi)| {
        // Bounds are rounded to 32 bits because traces are.
        let (lo, hi) = (f64::from(lo as f32), f64::from(hi as f32));
        let at = values.iter().filter(|x| **x <= lo || **x >= hi).count();
        at as f64 / all
    });
    Distribution {
        bounds,
        shares: counts.into_iter().map(|count| count as f64 / all).collect(),
        saturated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{compile, from_disk};

    #[test]
    fn shares_by_hand() {
        let values = [-1.0, -1.0, 0.0, 0.01, 1.0, 0.5, 0.5, 0.5];
        let found = distribution(&values, Some((-1.0, 1.0)));
        assert_eq!(found.bounds, (-1.0, 1.0));
        assert_eq!(found.saturated, Some(3.0 / 8.0));
        assert_eq!(found.shares[0], 2.0 / 8.0);
        assert_eq!(found.shares[BINS / 2], 2.0 / 8.0);
        assert_eq!(found.shares[BINS - 1], 1.0 / 8.0);
        // 0.5 is three quarters of the way: bin 30 of 41.
        assert_eq!(found.shares[30], 3.0 / 8.0);
        assert_eq!(found.shares.iter().sum::<f64>(), 1.0);

        let free = distribution(&[-3.0, 1.0], None);
        assert_eq!((free.bounds, free.saturated), ((-3.0, 3.0), None));
        assert_eq!(distribution(&[], None).bounds, (-1.0, 1.0));
    }

    #[test]
    fn the_clip_of_an_update_is_found() {
        let spec = include_str!("../../../../specs/quickstart.bpm");
        let done = compile("a.bpm", spec, &[], &from_disk).unwrap();
        let model = done.program.unwrap().model;
        let state = |path: &str| model.states.iter().position(|s| s.path == path).unwrap();
        assert_eq!(bounds(&model, state("rec.hebb")), Some((-1.0, 1.0)));
        assert_eq!(bounds(&model, state("rec.e")), None);
    }
}
