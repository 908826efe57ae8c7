use super::{Bandit, SETTINGS};
use crate::lang::settings::{SettingValue, Settings};
use crate::learn::tasks::{EpisodeKey, Lane, Task};

fn bandit(changes: &[(&'static str, SettingValue)]) -> Bandit {
    let mut settings = Settings::defaults(SETTINGS);
    for (name, value) in changes {
        settings.set(name, value.clone());
    }
    Bandit::new(&settings).unwrap()
}

fn started(task: &Bandit, iteration: u32) -> Box<dyn Lane> {
    let mut lane = task.lane();
    lane.reset(EpisodeKey {
        seed: 5,
        iteration,
        lane: 1,
        ..EpisodeKey::default()
    });
    lane
}

#[test]
fn an_arm_pays_as_often_as_its_chance() {
    let certain = [
        ("arms", SettingValue::Int(3)),
        ("high", SettingValue::Real(1.0)),
        ("low", SettingValue::Real(0.0)),
        ("reversal", SettingValue::Real(0.0)),
        ("reward", SettingValue::Real(2.0)),
    ];
    let task = bandit(&certain);
    let mut best = [0; 3];
    for iteration in 0..300 {
        for (arm, count) in best.iter_mut().enumerate() {
            let mut lane = started(&task, iteration);
            let rewards: Vec<f32> = (0..5).map(|_| lane.act(arm)).collect();
            assert!(rewards.iter().all(|r| *r == rewards[0]), "{rewards:?}");
            assert!(rewards[0] == 0.0 || rewards[0] == 2.0);
            *count += usize::from(rewards[0] == 2.0);
        }
    }
    assert_eq!(best.iter().sum::<usize>(), 300, "one arm is the best");
    assert!(best.iter().all(|n| (70..130).contains(n)), "{best:?}");

    let task = bandit(&[
        ("steps", SettingValue::Int(1000)),
        ("reversal", SettingValue::Real(0.0)),
    ]);
    let mut shares = Vec::new();
    for arm in 0..2 {
        let mut lane = started(&task, 0);
        shares.push((0..4000).map(|_| lane.act(arm)).sum::<f32>() / 4000.0);
    }
    shares.sort_by(f32::total_cmp);
    assert!(
        (shares[0] - 0.2).abs() < 0.02 && (shares[1] - 0.8).abs() < 0.02,
        "{shares:?}"
    );
}

#[test]
fn reversals_come_as_often_as_asked_and_change_the_best_arm() {
    let certain = [
        ("arms", SettingValue::Int(4)),
        ("high", SettingValue::Real(1.0)),
        ("low", SettingValue::Real(0.0)),
        ("reversal", SettingValue::Real(0.1)),
    ];
    let mut lane = started(&bandit(&certain), 3);
    let mut runs = Vec::new();
    let mut best = (0..4).find(|arm| lane.act(*arm) > 0.0);
    let mut pulls = 0;
    for _ in 0..4000 {
        let paid = best.is_some_and(|arm| lane.act(arm) > 0.0);
        pulls += 1;
        if !paid {
            runs.push(pulls);
            pulls = 0;
            // A reversal while searching can be missed, hence the rough bounds.
            best = (0..4).cycle().take(40).find(|arm| lane.act(*arm) > 0.0);
        }
    }
    let mean = runs.iter().sum::<usize>() as f64 / runs.len() as f64;
    assert!((7.0..13.0).contains(&mean), "{mean}");
}

#[test]
fn uniform_chances_fill_the_range() {
    let task = bandit(&[
        ("chances", SettingValue::Word("uniform")),
        ("low", SettingValue::Real(0.25)),
        ("high", SettingValue::Real(0.75)),
    ]);
    let mut drawn = Vec::new();
    for iteration in 0..500 {
        let key = EpisodeKey {
            seed: 5,
            iteration,
            lane: 1,
            ..EpisodeKey::default()
        };
        let mut chances = Vec::new();
        task.draw(key.episode(), None, &mut chances);
        drawn.extend(chances);
    }
    assert!(drawn.iter().all(|p| (0.25..0.75).contains(p)));
    let mean = drawn.iter().sum::<f32>() / drawn.len() as f32;
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
    assert!(drawn.iter().any(|p| *p < 0.27) && drawn.iter().any(|p| *p > 0.73));
}

#[test]
fn the_observation_is_what_the_page_says() {
    let task = bandit(&[
        ("arms", SettingValue::Int(3)),
        ("steps", SettingValue::Int(10)),
    ]);
    let mut lane = started(&task, 0);
    let mut obs = vec![f32::NAN; 6];
    lane.observe(&mut obs);
    assert_eq!(obs, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert!(lane.trial_starts());
    let reward = lane.act(2);
    lane.observe(&mut obs);
    assert_eq!(obs, [0.0, 0.0, 1.0, reward, 0.1, 1.0]);
    assert!(!lane.trial_starts());
    let mut signals = [f32::NAN];
    lane.signals(&mut signals);
    assert_eq!(signals, [reward]);
}

#[test]
fn chances_the_wrong_way_round_are_refused() {
    let mut settings = Settings::defaults(SETTINGS);
    settings.set("low", SettingValue::Real(0.9));
    let conflict = Bandit::new(&settings).unwrap_err();
    assert_eq!(
        (conflict.setting, conflict.message.as_str()),
        ("low", "`low` is 0.9, more than `high`, 0.8")
    );
}
