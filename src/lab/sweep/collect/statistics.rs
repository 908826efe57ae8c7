//! Medians and quartiles, as in the figures of the paper.

use serde::Serialize;

/// The median and quartiles of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quartiles {
    /// The number of values.
    pub count: usize,
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub lower_quartile: f64,
    /// The upper quartile.
    pub upper_quartile: f64,
}

impl Quartiles {
    /// The median and quartiles of `values`, finite and in any order; `None` without values.
    pub fn of(values: &[f64]) -> Option<Quartiles> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Quartiles {
            count: sorted.len(),
            median: quantile(&sorted, 0.5)?,
            lower_quartile: quantile(&sorted, 0.25)?,
            upper_quartile: quantile(&sorted, 0.75)?,
        })
    }
}

/// The quantile of sorted values at `share`, interpolated between neighbours (type 7 of Hyndman and Fan 1996,
/// the usual one).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    let part = place - below as f64;
    Some(sorted[below] + (sorted[above] - sorted[below]) * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_values() {
        let quartiles = Quartiles::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        let wanted = Quartiles {
            count: 4,
            median: 2.5,
            lower_quartile: 1.75,
            upper_quartile: 3.25,
        };
        assert_eq!(quartiles, wanted);
        let one = Quartiles::of(&[7.0]).unwrap();
        assert_eq!(
            (one.median, one.lower_quartile, one.upper_quartile),
            (7.0, 7.0, 7.0)
        );
        assert_eq!(Quartiles::of(&[]), None);
    }
}
