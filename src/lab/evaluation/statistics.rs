//! What episodes come to: one number each, and what an ablation does to them.

use super::Outcome;
use crate::lab::statistics::{cohens_d, quantile, rank_biserial};
use serde::Serialize;

/// Of one number per episode. The field names are those of `bpmc eval --json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the sample.
    pub standard_deviation: f64,
    /// The smallest.
    pub minimum: f64,
    /// A quarter lies below.
    pub lower_quartile: f64,
    /// Half lies below.
    pub median: f64,
    /// Three quarters lie below.
    pub upper_quartile: f64,
    /// The largest.
    pub maximum: f64,
}

impl Statistics {
    /// `None` where there are no values.
    pub fn of(values: &[f64]) -> Option<Statistics> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (minimum, maximum) = (*sorted.first()?, *sorted.last()?);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let squares: f64 = sorted.iter().map(|x| (x - mean).powi(2)).sum();
        Some(Statistics {
            mean,
            standard_deviation: (squares / (count - 1.0).max(1.0)).sqrt(),
            minimum,
            lower_quartile: quantile(&sorted, 0.25)?,
            median: quantile(&sorted, 0.5)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            maximum,
        })
    }
}

/// What taking a part away did to the measure; each is positive where the measure is larger without the part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Difference of the means.
    pub mean_difference: f64,
    /// Median of the differences of episodes.
    pub median_difference: f64,
    /// In pooled standard deviations; `null` where nothing varies.
    pub cohens_d: Option<f64>,
    /// Over pairs of equal episodes; `null` where all are equal.
    pub rank_biserial: Option<f64>,
}

impl Effect {
    /// Of an ablation, on the same episodes as the intact network.
    pub fn of(intact: &Outcome, ablated: &Outcome) -> Effect {
        let mut differences: Vec<f64> = intact
            .values
            .iter()
            .zip(&ablated.values)
            .map(|(base, other)| other - base)
            .collect();
        differences.sort_by(f64::total_cmp);
        let count = differences.len().max(1) as f64;
        Effect {
            mean_difference: differences.iter().sum::<f64>() / count,
            median_difference: quantile(&differences, 0.5).unwrap_or(0.0),
            cohens_d: cohens_d(&intact.values, &ablated.values),
            rank_biserial: rank_biserial(&intact.values, &ablated.values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        let found = Statistics::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        let wanted = Statistics {
            mean: 2.5,
            standard_deviation: (5.0f64 / 3.0).sqrt(),
            minimum: 1.0,
            lower_quartile: 1.75,
            median: 2.5,
            upper_quartile: 3.25,
            maximum: 4.0,
        };
        assert_eq!(found, wanted);
        assert_eq!(Statistics::of(&[7.0]).unwrap().standard_deviation, 0.0);
        assert_eq!(Statistics::of(&[]), None);
    }
}
