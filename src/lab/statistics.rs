//! Order statistics.

/// The quantile of sorted values at `part` (from 0 to 1), interpolated linearly between the two nearest;
/// `None` without values.
pub fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = part.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    Some(below + (above - below) * place.fract())
}

/// Cohen's d: the distance of the mean of `other` from that of `base` in pooled standard deviations; `None`
/// if either has fewer than two values, or nothing varies.
pub fn cohens_d(base: &[f64], other: &[f64]) -> Option<f64> {
    let (base_mean, base_squares) = mean_and_squares(base)?;
    let (other_mean, other_squares) = mean_and_squares(other)?;
    if base.len() < 2 || other.len() < 2 {
        return None;
    }
    let freedom = (base.len() + other.len() - 2) as f64;
    let deviation = ((base_squares + other_squares) / freedom).sqrt();
    (deviation > 0.0).then(|| (other_mean - base_mean) / deviation)
}

fn mean_and_squares(values: &[f64]) -> Option<(f64, f64)> {
    let count = (!values.is_empty()).then_some(values.len() as f64)?;
    let mean = values.iter().sum::<f64>() / count;
    Some((mean, values.iter().map(|x| (x - mean).powi(2)).sum()))
}

/// The matched-pairs rank-biserial correlation (Kerby 2014), from -1 to 1: the positive share of the rank sum
/// of the differences `other - base`, minus the negative share. Equal pairs are left out, and equal
/// differences share their ranks. `None` if all pairs are equal.
pub fn rank_biserial(base: &[f64], other: &[f64]) -> Option<f64> {
    let mut differences: Vec<f64> = base
        .iter()
        .zip(other)
        .map(|(base, other)| other - base)
        .filter(|difference| *difference != 0.0)
        .collect();
    differences.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let (mut above, mut below) = (0.0, 0.0);
    let mut first = 0;
    while first < differences.len() {
        let size = differences[first].abs();
        let mut end = first;
        while end < differences.len() && differences[end].abs() == size {
            end += 1;
        }
        // These share the ranks first + 1 to end.
        let rank = (first + 1 + end) as f64 / 2.0;
        for difference in &differences[first..end] {
            *(if *difference > 0.0 {
                &mut above
            } else {
                &mut below
            }) += rank;
        }
        first = end;
    }
    (above + below > 0.0).then(|| (above - below) / (above + below))
}

#[cfg(test)]
mod tests {
    use super::{cohens_d, quantile, rank_biserial};

    #[test]
    fn effects_have_sign_and_size() {
        let (base, other) = ([1.0, 2.0, 3.0], [3.0, 4.0, 5.0]);
        assert_eq!(cohens_d(&base, &other), Some(2.0));
        assert_eq!(cohens_d(&other, &base), Some(-2.0));
        assert_eq!(cohens_d(&base, &[4.0]), None);
        assert_eq!(cohens_d(&[1.0, 1.0], &[2.0, 2.0]), None);

        assert_eq!(rank_biserial(&base, &other), Some(1.0));
        assert_eq!(rank_biserial(&base, &base), None);
        // Differences -1, 2, 2, 3: ranks 1, 2.5, 2.5, 4.
        let found = rank_biserial(&[0.0; 5], &[-1.0, 2.0, 2.0, 3.0, 0.0]);
        assert_eq!(found, Some((9.0 - 1.0) / 10.0));
    }

    #[test]
    fn quartiles_lie_between_values() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&sorted, 0.25), Some(1.75));
        assert_eq!(quantile(&sorted, 0.5), Some(2.5));
        assert_eq!(quantile(&sorted, 1.0), Some(4.0));
        assert_eq!(quantile(&[7.0], 0.75), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
