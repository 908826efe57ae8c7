use super::{DelayedMatch, SETTINGS};
use crate::lang::settings::{SettingValue, Settings};
use crate::learn::tasks::{EpisodeKey, Task};

fn settings(changes: &[(&'static str, SettingValue)]) -> Settings {
    let mut settings = Settings::defaults(SETTINGS);
    for (name, value) in changes {
        settings.set(name, value.clone());
    }
    settings
}

/// Observations of an episode with the rewards of an agent that remembers the sample.
fn episode(task: &DelayedMatch, iteration: u32) -> (Vec<Vec<f32>>, Vec<f32>, Vec<bool>) {
    let mut lane = task.lane();
    lane.reset(EpisodeKey {
        seed: 2,
        iteration,
        ..EpisodeKey::default()
    });
    let (mut observations, mut rewards, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let mut sample = None;
    for _ in 0..task.steps {
        let mut obs = vec![f32::NAN; task.width()];
        lane.observe(&mut obs);
        let shown = obs[..task.stimuli].iter().position(|x| *x == 1.0);
        starts.push(lane.trial_starts());
        if lane.trial_starts() {
            sample = shown;
        }
        let says_same = shown.is_some() && shown == sample;
        rewards.push(lane.act(usize::from(says_same)));
        observations.push(obs);
    }
    (observations, rewards, starts)
}

#[test]
fn an_agent_that_remembers_is_always_right() {
    let changes = [
        ("steps", SettingValue::Int(500)),
        ("reward", SettingValue::Real(3.0)),
        ("distractors", SettingValue::Real(0.5)),
    ];
    let task = DelayedMatch::new(&settings(&changes)).unwrap();
    let (observations, rewards, starts) = episode(&task, 0);
    let mut tests = 0;
    let mut same = 0;
    for (t, (obs, reward)) in observations.iter().zip(&rewards).enumerate() {
        let go = obs[task.stimuli];
        assert_eq!(*reward, 3.0 * go, "step {t}");
        tests += usize::from(go == 1.0);
        if go == 1.0 {
            assert!(
                starts.get(t + 2).is_none_or(|starts| *starts),
                "a blank, then the next"
            );
            let begin = (0..t).rev().find(|s| starts[*s]).unwrap();
            let delay = t - begin - 1;
            assert!((2..=6).contains(&delay), "{delay}");
            same += usize::from(obs[..4] == observations[begin][..4]);
        }
    }
    assert!(tests > 50, "{tests}");
    assert!(
        (tests / 3..tests * 2 / 3 + 1).contains(&same),
        "{same} of {tests}"
    );
}

#[test]
fn distractors_are_other_stimuli_and_come_as_often_as_asked() {
    for (probability, range) in [(0.0, 0..1), (0.5, 400..600), (1.0, 1000..1001)] {
        let changes = [
            ("steps", SettingValue::Int(100_000)),
            ("distractors", SettingValue::Real(probability)),
        ];
        let task = DelayedMatch::new(&settings(&changes)).unwrap();
        let (observations, _, starts) = episode(&task, 1);
        let mut sample = 0;
        let (mut delays, mut shown) = (0, 0);
        let mut in_delay = false;
        for (obs, starts) in observations.iter().zip(starts) {
            let stimulus = obs[..4].iter().position(|x| *x == 1.0);
            if starts {
                sample = stimulus.unwrap();
                in_delay = true;
            } else if obs[4] == 1.0 {
                in_delay = false;
            } else if in_delay && delays < 1000 {
                delays += 1;
                shown += usize::from(stimulus.is_some());
                assert_ne!(stimulus, Some(sample));
            }
        }
        assert!(range.contains(&shown), "{probability}: {shown}");
    }
}

#[test]
fn the_observation_is_what_the_page_says() {
    let changes = [
        ("min_delay", SettingValue::Int(0)),
        ("max_delay", SettingValue::Int(0)),
        ("steps", SettingValue::Int(4)),
    ];
    let task = DelayedMatch::new(&settings(&changes)).unwrap();
    let (observations, rewards, starts) = episode(&task, 4);
    assert_eq!(starts, [true, false, false, true]);
    assert_eq!(rewards, [0.0, 1.0, 0.0, 0.0]);
    // Saying "the same" is action 1 on the sample, too.
    let same = f32::from(u8::from(observations[0][..4] == observations[1][..4]));
    assert_eq!(observations[0][4..], [0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(observations[1][4..], [1.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(observations[2][..4], [0.0; 4]);
    assert_eq!(observations[2][4..], [0.0, 1.0, 1.0 - same, same, 1.0]);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let conflict = |changes: &[(&'static str, SettingValue)]| {
        DelayedMatch::new(&settings(changes)).unwrap_err()
    };
    let delays = conflict(&[("min_delay", SettingValue::Int(7))]);
    assert_eq!(delays.message, "`min_delay` is 7, more than `max_delay`, 6");
    let short = conflict(&[("steps", SettingValue::Int(7))]);
    assert_eq!(short.help, "set `steps` to 8 or more");
}
