//! Softmax of a few logits, safe for logits of any size.

/// Returns `log Σ exp logits`, and writes the logits minus that to `log_probabilities`.
pub(super) fn log_softmax(logits: &[f64], log_probabilities: &mut [f64]) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let log_sum = sum.ln();
    for (out, logit) in log_probabilities.iter_mut().zip(logits) {
        *out = logit - largest - log_sum;
    }
}

#[cfg(test)]
mod tests {
    use super::log_softmax;

    #[test]
    fn large_logits_do_not_overflow() {
        let mut out = [0.0; 3];
        log_softmax(&[1000.0, 1000.0, -1000.0], &mut out);
        assert!((out[0] + 2f64.ln()).abs() < 1e-12);
        assert_eq!(out[2], -2000.0 - 2f64.ln());
        log_softmax(&[-1e5, -1e5 - 1.0, -1e5], &mut out);
        let total: f64 = out.iter().map(|l| l.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}
