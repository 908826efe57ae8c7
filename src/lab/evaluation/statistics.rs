//! Statistics over episodes, and the effect of an ablation.

use super::Outcome;
use crate::lab::statistics::{cohens_d, quantile, rank_biserial};
use serde::Serialize;

/// Statistics of one number per episode. The field names are those of `bpmc eval --json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the sample.
    pub standard_deviation: f64,
    /// The minimum.
    pub minimum: f64,
    /// The lower quartile.
    pub lower_quartile: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub upper_quartile: f64,
    /// The maximum.
    pub maximum: f64,
}

impl Statistics {
    /// The statistics of `values`; `None` if there are none.
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

/// The effect of an ablation on the measure; each number is positive if the measure is larger without the
/// part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The difference of the means.
    pub mean_difference: f64,
    /// The median of the differences per episode.
    pub median_difference: f64,
    /// Cohen's d, in pooled standard deviations; `null` if nothing varies.
    pub cohens_d: Option<f64>,
    /// The rank-biserial correlation over pairs of equal episodes; `null` if all pairs are equal.
    pub rank_biserial: Option<f64>,
}

impl Effect {
    /// The effect of an ablation, on the same episodes as the intact network.
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
