use super::{CueReward, SETTINGS};
use crate::lang::settings::{SettingValue, Settings};
use crate::learn::tasks::{EpisodeKey, Task};

fn task(changes: &[(&'static str, SettingValue)]) -> CueReward {
    let mut settings = Settings::defaults(SETTINGS);
    for (name, value) in changes {
        settings.set(name, value.clone());
    }
    CueReward::new(&settings).unwrap()
}

fn int(value: u64) -> SettingValue {
    SettingValue::Int(value)
}

/// The record of one episode: observations, `go` and trial starts per step, with the actions of `policy`.
struct Episode {
    observations: Vec<Vec<f32>>,
    go: Vec<bool>,
    starts: Vec<usize>,
    actions: Vec<usize>,
    rewards: Vec<f32>,
}

fn play(task: &CueReward, iteration: u32, policy: impl Fn(usize) -> usize) -> Episode {
    let mut lane = task.lane();
    lane.reset(EpisodeKey {
        seed: 5,
        iteration,
        lane: 1,
        batch: 2,
        ..EpisodeKey::default()
    });
    let mut episode = Episode {
        observations: Vec::new(),
        go: Vec::new(),
        starts: Vec::new(),
        actions: Vec::new(),
        rewards: Vec::new(),
    };
    let mut previous = 0.0;
    for step in 0..task.steps() {
        let mut inputs = vec![f32::NAN; task.inputs()[0].size];
        let mut signals = [f32::NAN; 2];
        lane.observe(&mut inputs);
        lane.signals(&mut signals);
        assert_eq!(signals[0], previous);
        if lane.trial_starts() {
            episode.starts.push(step);
        }
        episode.observations.push(inputs);
        episode.go.push(signals[1] == 1.0);
        episode.actions.push(policy(step));
        previous = lane.act(policy(step));
        episode.rewards.push(previous);
    }
    episode
}

impl Episode {
    /// Ranges of the trials that are not cut off.
    fn trials(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Different patterns on the cue bits, blank ones left out.
    fn patterns(&self, steps: std::ops::Range<usize>, bits: usize) -> Vec<Vec<f32>> {
        let mut patterns = Vec::new();
        for observation in &self.observations[steps] {
            let pattern = observation[..bits].to_vec();
            if pattern.iter().any(|bit| *bit != 0.0) && !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        patterns
    }
}

#[test]
fn trials_follow_the_timing_of_the_runs() {
    let task = task(&[]);
    let mut lengths = [0usize; 4];
    for iteration in 0..60 {
        let episode = play(&task, iteration, |_| 0);
        assert_eq!(episode.starts[0], 0);
        for trial in episode.trials() {
            lengths[trial.len() - 5] += 1;
            let last = trial.end - 1;
            let cue_steps: Vec<usize> = trial
                .clone()
                .filter(|step| {
                    episode.observations[*step][..20]
                        .iter()
                        .any(|bit| *bit != 0.0)
                })
                .collect();
            assert_eq!(cue_steps.len(), 2, "two cues, one step each");
            assert_eq!(
                episode.patterns(trial.clone(), 20).len(),
                2,
                "different cues"
            );
            assert!(cue_steps[0] > trial.start && cue_steps[1] < last - 1);
            for step in trial.clone() {
                assert_eq!(episode.go[step], step == last - 1);
                assert_eq!(
                    episode.observations[step][20],
                    f32::from(u8::from(step == last - 1))
                );
            }
        }
    }
    let total: usize = lengths.iter().sum();
    assert!(total > 1600, "{lengths:?}");
    for n in lengths {
        assert!(n * 5 > total && n * 10 < total * 3, "{lengths:?}");
    }
}

#[test]
fn blanks_stand_anywhere_among_the_cues() {
    let task = task(&[("min_blanks", int(1)), ("max_blanks", int(1))]);
    let mut middle_blank = [0usize; 3];
    for iteration in 0..20 {
        let episode = play(&task, iteration, |_| 0);
        for trial in episode.trials() {
            assert_eq!(trial.len(), 6);
            for (k, count) in middle_blank.iter_mut().enumerate() {
                *count += usize::from(episode.observations[trial.start + 1 + k][0] == 0.0);
            }
        }
    }
    let total: usize = middle_blank.iter().sum();
    assert!(
        middle_blank.iter().all(|n| n * 4 > total),
        "{middle_blank:?}"
    );
}

#[test]
fn the_observation_of_the_runs_has_27_slots() {
    let task = task(&[]);
    let episode = play(&task, 0, |step| step % 2);
    assert_eq!(task.sizes()[0].size, 27);
    for (step, observation) in episode.observations.iter().enumerate() {
        assert_eq!(observation[21], 1.0);
        assert_eq!(observation[22], step as f32 / 200.0);
        assert_eq!(observation[24], 0.0);
        if step == 0 {
            assert_eq!(
                (observation[23], &observation[25..]),
                (0.0, &[0.0, 0.0][..])
            );
        } else {
            let mut action = [0.0, 0.0];
            action[episode.actions[step - 1]] = 1.0;
            assert_eq!(observation[23], episode.rewards[step - 1]);
            assert_eq!(observation[25..], action);
        }
    }
}

#[test]
fn the_observation_of_the_paper_has_24_slots_and_shows_the_response_cue_on_the_bits() {
    let task = task(&[("observation", SettingValue::Word("paper"))]);
    let episode = play(&task, 0, |step| (step / 3) % 2);
    assert_eq!(task.sizes()[0].size, 24);
    for (step, observation) in episode.observations.iter().enumerate() {
        let all_set = observation[..20].iter().all(|bit| *bit == 1.0);
        assert_eq!(all_set, episode.go[step]);
        assert_eq!(observation[20], step as f32 / 200.0);
        if step > 0 {
            assert_eq!(observation[21 + episode.actions[step - 1]], 1.0);
            assert_eq!(observation[22 - episode.actions[step - 1]], 0.0);
            assert_eq!(observation[23], episode.rewards[step - 1]);
        }
    }
}

#[test]
fn cues_are_four_different_patterns_redrawn_every_episode() {
    let small = task(&[("bits", int(2))]);
    let normal = task(&[]);
    let mut seen = Vec::new();
    for iteration in 0..20 {
        assert_eq!(play(&small, iteration, |_| 0).patterns(0..200, 2).len(), 4);
        let patterns = play(&normal, iteration, |_| 0).patterns(0..200, 20);
        assert_eq!(patterns.len(), 4);
        for pattern in patterns {
            assert!(pattern.iter().all(|bit| bit.abs() == 1.0));
            assert!(!seen.contains(&pattern));
            seen.push(pattern);
        }
    }
}

#[test]
fn the_reward_says_whether_the_target_was_shown() {
    let task = task(&[]);
    let mut targets = [0usize; 4];
    for iteration in 0..40 {
        let yes = play(&task, iteration, |_| 1);
        let no = play(&task, iteration, |_| 0);
        // Rewards leave exactly one cue that can be the target: in every trial with reward for "yes",
        // and in none without.
        let mut candidates = yes.patterns(0..200, 20);
        let all = candidates.clone();
        for trial in yes.trials() {
            let go = trial.end - 2;
            assert_eq!(yes.rewards[go].abs(), 1.0);
            assert_eq!(yes.rewards[go], -no.rewards[go]);
            let rewarded = yes.rewards[go] == 1.0;
            let shown = yes.patterns(trial.clone(), 20);
            candidates.retain(|cue| shown.contains(cue) == rewarded);
            for step in trial.filter(|step| *step != go) {
                assert_eq!(yes.rewards[step], 0.0);
            }
        }
        assert_eq!(candidates.len(), 1);
        targets[all.iter().position(|cue| *cue == candidates[0]).unwrap()] += 1;
    }
    assert!(targets.iter().all(|n| *n > 2), "{targets:?}");
}

#[test]
fn flipped_rewards_have_their_probability_and_change_nothing_else() {
    let plain = task(&[]);
    let flipping = task(&[("flip", SettingValue::Real(0.25))]);
    let (mut flips, mut answers) = (0, 0);
    for iteration in 0..40 {
        let before = play(&plain, iteration, |_| 1);
        let after = play(&flipping, iteration, |_| 1);
        assert_eq!(before.go, after.go);
        for (a, b) in before.rewards.iter().zip(&after.rewards) {
            assert_eq!(a.abs(), b.abs());
            answers += usize::from(*a != 0.0);
            flips += usize::from(a != b);
        }
    }
    let part = flips as f64 / answers as f64;
    assert!((part - 0.25).abs() < 0.04, "{part} of {answers}");
}

#[test]
fn the_control_shows_fixed_one_hot_cues() {
    let task = task(&[
        ("patterns", SettingValue::Word("one_hot")),
        ("bits", int(4)),
    ]);
    assert_eq!(task.sizes()[0].size, 11);
    for iteration in 0..5 {
        let mut patterns = play(&task, iteration, |_| 0).patterns(0..200, 4);
        patterns.sort_by(|a, b| b.partial_cmp(a).unwrap());
        for (k, pattern) in patterns.iter().enumerate() {
            let one_hot: Vec<f32> = (0..4).map(|bit| f32::from(u8::from(bit == k))).collect();
            assert_eq!(*pattern, one_hot);
        }
        assert_eq!(patterns.len(), 4);
    }
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    let conflict = |changes: &[(&'static str, u64)]| {
        let mut settings = Settings::defaults(SETTINGS);
        for (name, value) in changes {
            settings.set(name, int(*value));
        }
        CueReward::new(&settings).unwrap_err().setting
    };
    assert_eq!(conflict(&[("shown", 4)]), "shown");
    assert_eq!(conflict(&[("min_blanks", 4)]), "min_blanks");
    assert_eq!(conflict(&[("bits", 1)]), "bits");
    assert_eq!(conflict(&[("steps", 4), ("shown", 3)]), "steps");

    let mut settings = Settings::defaults(SETTINGS);
    settings.set("observation", SettingValue::Word("paper"));
    settings.set("bits", int(2));
    assert_eq!(CueReward::new(&settings).unwrap_err().setting, "bits");
    settings.set("patterns", SettingValue::Word("one_hot"));
    settings.set("bits", int(3));
    assert_eq!(CueReward::new(&settings).unwrap_err().setting, "bits");
}
