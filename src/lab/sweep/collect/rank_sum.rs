//! The Wilcoxon rank-sum test (Wilcoxon 1945; Mann and Whitney 1947), two-sided, with mid-ranks for ties. The
//! paper uses it between groups of runs (Miconi et al. 2019, Fig. 2).

use serde::Serialize;

/// The number of values in both groups up to which the exact distribution is used.
const EXACT_UP_TO: usize = 50;

/// The method that gave a probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The exact distribution: all assignments of ranks to groups, counted.
    Exact,
    /// A normal distribution with corrections for ties and continuity.
    Normal,
}

/// The result of a test between two groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RankSum {
    /// The rank sum of the first group.
    pub rank_sum: f64,
    /// The Mann–Whitney U of the first group: pairs in which its value is larger, plus half of the equal
    /// pairs.
    pub u: f64,
    /// The two-sided probability of a difference at least as large by chance.
    pub p: f64,
    /// The method.
    pub method: Method,
}

/// Tests whether `first` and `second` differ; `None` if a group is empty or contains a non-finite number.
pub fn rank_sum(first: &[f64], second: &[f64]) -> Option<RankSum> {
    let finite = first.iter().chain(second).all(|x| x.is_finite());
    if first.is_empty() || second.is_empty() || !finite {
        return None;
    }
    let doubled = doubled_ranks(first, second);
    let sum: usize = doubled[..first.len()].iter().sum();
    let (p, method) = if doubled.len() <= EXACT_UP_TO {
        (exact(&doubled, first.len(), sum), Method::Exact)
    } else {
        (normal(&doubled, first.len(), sum), Method::Normal)
    };
    let n = first.len() as f64;
    let rank_sum = sum as f64 / 2.0;
    Some(RankSum {
        rank_sum,
        u: rank_sum - n * (n + 1.0) / 2.0,
        p,
        method,
    })
}

/// Twice the mid-rank of each value, those of `first` before those of `second`. Doubling keeps ties whole
/// numbers.
fn doubled_ranks(first: &[f64], second: &[f64]) -> Vec<usize> {
    let values: Vec<f64> = first.iter().chain(second).copied().collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    let mut from = 0;
    while from < order.len() {
        // `==` instead of the order: 0 and -0 are ties.
        let same = |k: &usize| values[*k] == values[order[from]];
        let to = from + order[from..].iter().take_while(|k| same(k)).count();
        for k in &order[from..to] {
            // The mean of the ranks from + 1 to `to`, doubled.
            ranks[*k] = from + 1 + to;
        }
        from = to;
    }
    ranks
}

/// The share of all choices of `size` ranks whose sum is at least as far from the mean as `sum`.
fn exact(doubled: &[usize], size: usize, sum: usize) -> f64 {
    let total: usize = doubled.iter().sum();
    // ways[k][s]: the number of choices of k ranks with the sum s. At 50 values it is at most 1.3e14, so f64
    // counts exactly.
    let mut ways = vec![vec![0.0f64; total + 1]; size + 1];
    ways[0][0] = 1.0;
    for &rank in doubled {
        for k in (1..=size).rev() {
            let (fewer, these) = ways.split_at_mut(k);
            for s in (rank..=total).rev() {
                these[0][s] += fewer[k - 1][s - rank];
            }
        }
    }
    // Distances from the mean total·size/n, times n to keep them whole.
    let n = doubled.len();
    let distance = |s: usize| (s * n).abs_diff(total * size);
    let found = distance(sum);
    let all: f64 = ways[size].iter().sum();
    let far: f64 = ways[size]
        .iter()
        .enumerate()
        .filter(|(s, _)| distance(*s) >= found)
        .map(|(_, ways)| ways)
        .sum();
    far / all
}

fn normal(doubled: &[usize], size: usize, sum: usize) -> f64 {
    let n = doubled.len() as f64;
    let (a, b) = (size as f64, n - size as f64);
    let mut sorted = doubled.to_vec();
    sorted.sort_unstable();
    let ties: f64 = sorted
        .chunk_by(|x, y| x == y)
        .map(|same| (same.len() as f64).powi(3) - same.len() as f64)
        .sum();
    let variance = a * b / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    let distance = (sum as f64 / 2.0 - a * (n + 1.0) / 2.0).abs() - 0.5;
    if variance <= 0.0 || distance <= 0.0 {
        return 1.0;
    }
    complementary_error(distance / (2.0 * variance).sqrt()).min(1.0)
}

/// 1 − erf(x) for x ≥ 0: the series near 0, the continued fraction of Legendre beyond (Abramowitz and Stegun 7.1.5
/// and 7.1.14).
fn complementary_error(x: f64) -> f64 {
    let scale = 1.0 / std::f64::consts::PI.sqrt();
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for k in 1..60 {
            let k = f64::from(k);
            term *= -x * x / k;
            sum += term / (2.0 * k + 1.0);
        }
        return 1.0 - 2.0 * scale * sum;
    }
    let mut fraction = 0.0;
    for k in (1..=120).rev() {
        fraction = f64::from(k) / 2.0 / (x + fraction);
    }
    scale * (-x * x).exp() / (x + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64, tolerance: f64) {
        assert!((found - wanted).abs() <= tolerance, "{found} {wanted}");
    }

    fn numbers(range: std::ops::Range<usize>) -> Vec<f64> {
        range.map(|k| k as f64).collect()
    }

    /// Groups without ties whose first one has the rank sum `sum`, filled from the lowest ranks.
    fn with_sum(first: usize, second: usize, sum: usize) -> RankSum {
        let mut ranks: Vec<usize> = (1..=first).collect();
        let mut missing = sum - first * (first + 1) / 2;
        for rank in ranks.iter_mut().rev() {
            let step = missing.min(second);
            *rank += step;
            missing -= step;
        }
        let others = (1..=first + second).filter(|rank| !ranks.contains(rank));
        let second: Vec<f64> = others.map(|rank| rank as f64).collect();
        let first: Vec<f64> = ranks.iter().map(|rank| *rank as f64).collect();
        let test = rank_sum(&first, &second).unwrap();
        close(test.rank_sum, sum as f64, 0.0);
        test
    }

    #[test]
    fn critical_values_are_those_of_the_tables() {
        // Two-sided 5 % limits of the lower rank sum (Wilcoxon and Wilcox 1964; Owen 1962).
        for (first, second, limit) in [
            (4, 4, 10),
            (5, 5, 17),
            (6, 6, 26),
            (7, 7, 36),
            (8, 8, 49),
            (9, 9, 62),
            (10, 10, 78),
            (5, 8, 21),
            (6, 10, 32),
        ] {
            let (at, above) = (
                with_sum(first, second, limit).p,
                with_sum(first, second, limit + 1).p,
            );
            assert!(at <= 0.05 && above > 0.05, "{first} {second}: {at} {above}");
        }
    }

    #[test]
    fn probabilities_are_those_of_counting() {
        // The first group all below the second: 2 of C(n + m, n) ways.
        for (n, m, ways) in [
            (3, 3, 20.0),
            (4, 4, 70.0),
            (5, 5, 252.0),
            (10, 10, 184_756.0),
        ] {
            let test = rank_sum(&numbers(0..n), &numbers(n..n + m)).unwrap();
            assert_eq!((test.u, test.method), (0.0, Method::Exact));
            close(test.p, 2.0 / ways, 1e-15);
        }
        // Ties: ranks 1, 2.5, 2.5, 4; of the 6 pairs 3.5, 3.5, 5, 5, 6.5, 6.5, those at 1.5 from 5.
        let test = rank_sum(&[1.0, 2.0], &[2.0, 3.0]).unwrap();
        assert_eq!((test.rank_sum, test.u), (3.5, 0.5));
        close(test.p, 4.0 / 6.0, 1e-15);
        // All values equal: no evidence.
        close(rank_sum(&[1.0; 4], &[1.0; 5]).unwrap().p, 1.0, 0.0);
        close(rank_sum(&[0.0], &[-0.0]).unwrap().p, 1.0, 0.0);
    }

    #[test]
    fn both_sides_are_alike() {
        let (a, b) = ([1.0, 5.0, 2.5, 9.0], [3.0, 7.0, 11.0, 2.5, 8.0]);
        let (one, other) = (rank_sum(&a, &b).unwrap(), rank_sum(&b, &a).unwrap());
        close(one.p, other.p, 1e-15);
        close(one.u + other.u, 20.0, 0.0);
    }

    #[test]
    fn many_values_are_normal() {
        // 30 against 30, shifted by half: mean of U 450, variance 30·30·61/12 = 4575.
        let first: Vec<f64> = numbers(0..30);
        let second: Vec<f64> = numbers(0..30).iter().map(|x| x + 10.5).collect();
        let test = rank_sum(&first, &second).unwrap();
        assert_eq!((test.method, test.u), (Method::Normal, 190.0));
        // z = 259.5 / 67.639 = 3.83655; twice the upper tail.
        close(test.p, 1.247_705_378_91e-4, 1e-13);
        // The normal approximation is close to the exact count.
        let ranks = doubled_ranks(&numbers(0..12), &numbers(4..20));
        let sum = ranks[..12].iter().sum();
        close(exact(&ranks, 12, sum), normal(&ranks, 12, sum), 0.01);
    }

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        for (x, wanted) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (1.999, 0.004_698_443_348_629_488),
            (2.0, 0.004_677_734_981_047_266),
            (3.0, 2.209_049_699_858_544e-5),
            (5.0, 1.537_459_794_428_034_7e-12),
        ] {
            close(complementary_error(x) / wanted, 1.0, 1e-10);
        }
        close(complementary_error(1.0), 0.157_299_207_050_285_13, 1e-14);
        close(complementary_error(2.0), 0.004_677_734_981_047_266, 1e-16);
        close(complementary_error(3.0), 2.209_049_699_858_544e-5, 1e-18);
    }

    #[test]
    fn nothing_is_said_about_nothing() {
        assert_eq!(rank_sum(&[], &[1.0]), None);
        assert_eq!(rank_sum(&[1.0], &[f64::NAN]), None);
    }
}
