//! The choice of actions.

use crate::ir::rng::Place;

/// Samples an action from the softmax of `logits`, with an index of `place` (in the stream
/// [`crate::ir::rng::Stream::Action`]). If all logits are NaN, it is the last action.
pub fn sample(logits: &[f64], place: Place, index: u32) -> usize {
    choose(logits, place.uniform(index))
}

/// The action with the largest logit; the first of equals.
pub fn greedy(logits: &[f64]) -> usize {
    let mut best = 0;
    for (action, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = action;
        }
    }
    best
}

/// The action whose interval contains `uniform`, in `[0, 1)`, if the probabilities are laid end to end.
fn choose(logits: &[f64], uniform: f64) -> usize {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |logit: &f64| (logit - largest).exp();
    let threshold = uniform * logits.iter().map(weight).sum::<f64>();
    let mut below = 0.0;
    let mut last_possible = logits.len().saturating_sub(1);
    for (action, logit) in logits.iter().enumerate() {
        let weight = weight(logit);
        below += weight;
        if threshold < below {
            return action;
        }
        if weight > 0.0 {
            last_possible = action;
        }
    }
    last_possible
}

#[cfg(test)]
mod tests {
    use super::{choose, greedy, sample};
    use crate::ir::rng::{Key, Stream};

    #[test]
    fn frequencies_are_the_softmax() {
        let logits = [0.5, -1.0, 2.0];
        let total: f64 = logits.iter().map(|l: &f64| l.exp()).sum();
        let mut counts = [0usize; 3];
        let key = Key::new(4, Stream::Action);
        for lane in 0..20_000 {
            counts[sample(&logits, key.at(7, 8, lane), 0)] += 1;
        }
        for (n, logit) in counts.iter().zip(logits) {
            let expected = logit.exp() / total;
            assert!((*n as f64 / 20_000.0 - expected).abs() < 0.012);
        }
        assert_eq!(greedy(&logits), 2);
        assert_eq!(greedy(&[1.0, 1.0]), 0);
    }

    #[test]
    fn impossible_actions_are_not_taken() {
        let logits = [-1e6, 0.0, -1e6];
        assert_eq!(choose(&logits, 0.0), 1);
        assert_eq!(choose(&logits, 1.0 - f64::EPSILON), 1);
        assert_eq!(choose(&[0.0, 0.0], 0.5), 1);
        assert_eq!(choose(&[0.0, 0.0], 0.499), 0);
        assert_eq!(choose(&[f64::NAN, f64::NAN], 0.3), 1);
    }
}
