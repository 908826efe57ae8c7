//! Means over the iterations between two records of the metrics.

use crate::lab::metrics::Record;
use crate::learn::checkpoint::Pending;
use crate::learn::trainer::IterationReport;

/// The sums since the last record.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    iterations: u64,
    sums: Vec<f64>,
    /// By sum: the iterations that had such a number. A chunk without targets has no loss.
    counts: Vec<u64>,
}

impl Window {
    /// The window, as a checkpoint stores it.
    pub(super) fn pending(&self) -> Option<Pending> {
        (self.iterations > 0).then(|| Pending {
            iterations: self.iterations,
            sums: self.sums.clone(),
            counts: match self.counts.iter().all(|count| *count == self.iterations) {
                true => Vec::new(),
                false => self.counts.clone(),
            },
        })
    }

    /// The window that was stored in a checkpoint.
    pub(super) fn restore(pending: Option<&Pending>) -> Window {
        pending.map_or_else(Window::default, |pending| Window {
            iterations: pending.iterations,
            sums: pending.sums.clone(),
            counts: match pending.counts.is_empty() {
                true => vec![pending.iterations; pending.sums.len()],
                false => pending.counts.clone(),
            },
        })
    }

    /// The number of iterations in the window.
    pub(super) fn iterations(&self) -> u64 {
        self.iterations
    }

    /// Adds an iteration.
    pub(super) fn add(&mut self, report: &IterationReport) {
        let numbers = numbers(report);
        self.sums.resize(numbers.len(), 0.0);
        self.counts.resize(numbers.len(), 0);
        let sums = self.sums.iter_mut().zip(&mut self.counts);
        for ((sum, count), (_, value)) in sums.zip(numbers) {
            if !value.is_nan() {
                *sum += value;
                *count += 1;
            }
        }
        self.iterations += 1;
    }

    /// The record of the added iterations, of which `report` was the last; `validates` where validation data are looked
    /// at.
    pub(super) fn record(&self, report: &IterationReport, validates: bool) -> Record {
        let mut record = Record::new(report.iteration);
        let sums = self.sums.iter().zip(&self.counts);
        for ((sum, count), (name, _)) in sums.zip(numbers(report)) {
            record = record.set(name, sum / *count as f64);
        }
        if let Some(epoch) = report.epoch {
            record = record.set("epoch", epoch as f64);
            if validates {
                let validation = report.validation.as_ref();
                record = record.set("valid_loss", validation.map_or(f64::NAN, |v| v.loss));
                // The columns of the table are those of the first record.
                if report.reads_text {
                    let perplexity = validation.and_then(|v| v.perplexity);
                    record = record.set("valid_perplexity", perplexity.unwrap_or(f64::NAN));
                } else {
                    let found = validation.map_or(&[][..], |v| &v.scores);
                    for (name, _) in &report.scores {
                        let own = found.iter().find(|(own, _)| own == name);
                        let value = own.map_or(f64::NAN, |(_, value)| *value);
                        record = record.set(&format!("valid_{name}"), value);
                    }
                }
            }
        }
        record
    }
}

/// The fields of a record, in order.
fn numbers(report: &IterationReport) -> Vec<(&str, f64)> {
    let mut numbers = vec![("loss", report.loss)];
    numbers.extend(report.reward.map(|reward| ("reward", reward)));
    let scores = report.scores.iter();
    numbers.extend(scores.map(|(name, value)| (name.as_str(), *value)));
    numbers.push(("gradient_norm", report.gradient_norm));
    if let Some(parts) = report.parts {
        numbers.extend([
            ("policy_loss", parts.policy),
            ("value_loss", parts.value),
            ("concentration_loss", parts.concentration),
            ("entropy_loss", parts.entropy),
        ]);
    }
    numbers
}
