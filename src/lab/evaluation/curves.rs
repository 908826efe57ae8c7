//! The reward over the steps and over the trials of an episode.

use crate::learn::episodes::LaneResult;
use serde::Serialize;

/// Mean rewards within an episode; empty for tasks without rewards.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curves {
    /// The mean over episodes, by step; an episode that is over earns 0.
    pub steps: Vec<f64>,
    /// The mean by trial; empty if an episode is one trial.
    pub trials: Vec<TrialReward>,
}

/// The mean reward of one trial: the first of an episode, the second, and so on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialReward {
    /// The number of the trial, counted from 1.
    pub trial: usize,
    /// The number of episodes in which the trial took place.
    pub episodes: usize,
    /// The mean reward over these episodes. A trial cut off by the end of its episode counts with the reward
    /// it had.
    pub reward: f64,
}

impl Curves {
    /// The curves of episodes.
    pub(super) fn of(episodes: &[LaneResult]) -> Curves {
        let lengths = episodes.iter().map(|episode| episode.rewards.len());
        let steps = lengths.max().unwrap_or(0);
        let mut curves = Curves {
            steps: vec![0.0; steps],
            trials: Vec::new(),
        };
        for episode in episodes {
            for (sum, reward) in curves.steps.iter_mut().zip(&episode.rewards) {
                *sum += reward / episodes.len() as f64;
            }
            if steps == 0 {
                continue;
            }
            let steps = episode.rewards.len();
            for (k, start) in episode.trials.iter().enumerate() {
                let end = episode.trials.get(k + 1).copied().unwrap_or(steps);
                if curves.trials.len() == k {
                    curves.trials.push(TrialReward {
                        trial: k + 1,
                        episodes: 0,
                        reward: 0.0,
                    });
                }
                let trial = &mut curves.trials[k];
                trial.episodes += 1;
                trial.reward += episode.rewards[*start..end].iter().sum::<f64>();
            }
        }
        for trial in &mut curves.trials {
            trial.reward /= trial.episodes as f64;
        }
        if curves.trials.len() < 2 {
            curves.trials.clear();
        }
        curves
    }

    /// The mean reward per step in `count` equal parts of the episode, each with its first step.
    pub fn parts(&self, count: usize) -> Vec<(usize, f64)> {
        let steps = self.steps.len();
        let count = count.min(steps);
        (0..count)
            .map(|k| {
                let (start, end) = (steps * k / count, steps * (k + 1) / count);
                let sum: f64 = self.steps[start..end].iter().sum();
                (start, sum / (end - start) as f64)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_end_where_the_next_begins() {
        let episode = |rewards: &[f64], trials: &[usize]| LaneResult {
            rewards: rewards.to_vec(),
            trials: trials.to_vec(),
            ..LaneResult::default()
        };
        let curves = Curves::of(&[
            episode(&[1.0, 2.0, 4.0, 8.0], &[0, 2]),
            episode(&[1.0, 0.0, 0.0, 2.0], &[0, 1, 3]),
        ]);
        assert_eq!(curves.steps, [1.0, 1.0, 2.0, 5.0]);
        let trials: Vec<(usize, f64)> = curves
            .trials
            .iter()
            .map(|trial| (trial.episodes, trial.reward))
            .collect();
        assert_eq!(trials, [(2, 2.0), (2, 6.0), (1, 2.0)]);
        assert_eq!(curves.parts(2), [(0, 1.0), (2, 3.5)]);
        assert_eq!(curves.parts(3).len(), 3);
        assert_eq!(Curves::of(&[]), Curves::default());
    }
}
