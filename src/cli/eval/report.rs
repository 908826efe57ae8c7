//! The output of `bpmc eval`. The field names are those of the JSON form.

use super::Arguments;
use crate::lab::evaluation::{Ablation, Curves, Effect, Outcome, Statistics};
use serde::Serialize;
use std::fmt::Write;

/// The number of rows of the reward over steps in the text form.
const PARTS: usize = 10;
/// The largest number of rows of the reward over trials in the text form.
const MOST_TRIALS: usize = 20;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    run: String,
    iteration: u64,
    episodes: usize,
    greedy: bool,
    /// The loss of a batch.
    loss: f64,
    /// The name of the measure behind `statistics`: `reward`, a score of an episode, or its loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    measure: Option<String>,
    /// The scores over all episodes together.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    scores: serde_json::Map<String, serde_json::Value>,
    #[serde(flatten)]
    statistics: Option<Statistics>,
    /// The mean reward by step and by trial.
    curves: Curves,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ablations: Vec<Ablated>,
}

/// The network with one ablation.
#[derive(Debug, Serialize)]
struct Ablated {
    ablation: String,
    loss: f64,
    #[serde(flatten)]
    statistics: Option<Statistics>,
    effect: Effect,
    curves: Curves,
}

impl Report {
    pub(super) fn new(arguments: &Arguments, iteration: u64, intact: &Outcome) -> Report {
        Report {
            run: arguments.run.display().to_string(),
            iteration,
            episodes: intact.episodes.len(),
            greedy: arguments.greedy,
            loss: intact.loss,
            measure: intact.measure.clone(),
            scores: intact
                .scores
                .iter()
                .map(|(name, value)| (name.clone(), (*value).into()))
                .collect(),
            statistics: Statistics::of(&intact.values),
            curves: intact.curves(),
            ablations: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, ablation: &Ablation, intact: &Outcome, outcome: &Outcome) {
        self.ablations.push(Ablated {
            ablation: ablation.to_string(),
            loss: outcome.loss,
            statistics: Statistics::of(&outcome.values),
            effect: Effect::of(intact, outcome),
            curves: outcome.curves(),
        });
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} after {} iterations, {} episodes{}\n\n",
            self.run,
            self.iteration,
            self.episodes,
            if self.greedy { ", greedy" } else { "" }
        );
        let mut row = |name: &str, value: f64| {
            text.push_str(&format!("{name:<20}{value:>12.4}\n"));
        };
        if let (Some(measure), Some(s)) = (&self.measure, &self.statistics) {
            row(&format!("mean {measure}"), s.mean);
            row("standard deviation", s.standard_deviation);
            row("minimum", s.minimum);
            row("lower quartile", s.lower_quartile);
            row("median", s.median);
            row("upper quartile", s.upper_quartile);
            row("maximum", s.maximum);
        }
        for (score, value) in &self.scores {
            let name = match score.as_str() {
                "length" => "mean length".to_owned(),
                score => format!("{score} of all"),
            };
            row(&name, value.as_f64().unwrap_or(f64::NAN));
        }
        row("loss of a batch", self.loss);
        self.curve(&mut text);
        self.table(&mut text);
        text
    }

    fn curve(&self, text: &mut String) {
        let parts = self.curves.parts(PARTS);
        if parts.is_empty() {
            return;
        }
        text.push_str("\nfrom step   reward a step\n");
        for (step, reward) in parts {
            writeln!(text, "{step:>9}{reward:>16.4}").expect("writing to a string");
        }
        if self.curves.trials.is_empty() {
            return;
        }
        text.push_str("\nReward by trial. A trial that the end of its episode cuts off counts with the reward it has, often 0.\n");
        text.push_str("\n    trial   reward   episodes\n");
        for trial in self.curves.trials.iter().take(MOST_TRIALS) {
            let (number, reward, episodes) = (trial.trial, trial.reward, trial.episodes);
            writeln!(text, "{number:>9}{reward:>9.4}{episodes:>11}").expect("writing to a string");
        }
        if self.curves.trials.len() > MOST_TRIALS {
            let more = self.curves.trials.len() - MOST_TRIALS;
            writeln!(text, "      ... and {more} more (--json has all)")
                .expect("writing to a string");
        }
    }

    fn table(&self, text: &mut String) {
        if self.ablations.is_empty() {
            return;
        }
        let longest = self.ablations.iter().map(|one| one.ablation.len());
        let width = longest.max().unwrap_or(0).max("ablation".len());
        writeln!(
            text,
            "\n{:<width$}{:>10}{:>10}{:>12}{:>11}{:>15}",
            "ablation", "mean", "median", "difference", "Cohen's d", "rank-biserial"
        )
        .expect("writing to a string");
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |x| format!("{x:.3}"));
        let mut row = |name: &str, s: &Statistics, effect: Option<&Effect>| {
            write!(text, "{name:<width$}{:>10.4}{:>10.4}", s.mean, s.median)
                .expect("writing to a string");
            if let Some(effect) = effect {
                write!(
                    text,
                    "{:>12.4}{:>11}{:>15}",
                    effect.mean_difference,
                    number(effect.cohens_d),
                    number(effect.rank_biserial),
                )
                .expect("writing to a string");
            }
            text.push('\n');
        };
        if let Some(statistics) = &self.statistics {
            row("(intact)", statistics, None);
        }
        for one in &self.ablations {
            if let Some(statistics) = &one.statistics {
                row(&one.ablation, statistics, Some(&one.effect));
            }
        }
    }
}
