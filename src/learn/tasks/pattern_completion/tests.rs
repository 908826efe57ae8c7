use super::{PatternCompletion, SETTINGS};
use crate::lang::settings::{SettingValue, Settings};
use crate::learn::tasks::{EpisodeKey, Lane, Task};

fn task(changes: &[(&'static str, u64)]) -> PatternCompletion {
    let mut settings = Settings::defaults(SETTINGS);
    for (name, value) in changes {
        settings.set(name, SettingValue::Int(*value));
    }
    PatternCompletion::new(&settings).unwrap()
}

fn play(task: &PatternCompletion, iteration: u32) -> (Box<dyn Lane>, Vec<Vec<f32>>, Vec<f32>) {
    let mut lane = task.lane();
    lane.reset(EpisodeKey {
        seed: 2,
        iteration,
        ..EpisodeKey::default()
    });
    let (mut shown, mut target) = (Vec::new(), vec![f32::NAN; task.bits]);
    for step in 0..task.steps() {
        let mut inputs = vec![f32::NAN; task.bits];
        lane.observe(&mut inputs);
        shown.push(inputs);
        let mut weights = [f32::NAN];
        lane.target(&mut target, &mut weights);
        assert_eq!(weights, [f32::from(u8::from(step == task.steps() - 1))]);
    }
    (lane, shown, target)
}

#[test]
fn the_papers_episode() {
    let task = task(&[]);
    assert_eq!(task.steps(), 106);
    let (_, shown, target) = play(&task, 0);
    let mut counts: Vec<(Vec<f32>, usize)> = Vec::new();
    for presentation in 0..10 {
        let start = presentation * 10;
        for step in start..start + 10 {
            if step < start + 6 {
                assert_eq!(shown[step], shown[start]);
                assert!(shown[step].iter().all(|bit| bit.abs() == 1.0));
            } else {
                assert!(shown[step].iter().all(|bit| *bit == 0.0));
            }
        }
        match counts
            .iter_mut()
            .find(|(pattern, _)| *pattern == shown[start])
        {
            Some((_, n)) => *n += 1,
            None => counts.push((shown[start].clone(), 1)),
        }
        if presentation == 4 {
            assert_eq!(counts.len(), 5, "every pattern once a round");
        }
    }
    assert_eq!(counts.len(), 5);
    assert!(counts.iter().all(|(_, n)| *n == 2));
    assert!(counts.iter().any(|(pattern, _)| *pattern == target));

    let probe = &shown[100];
    assert_eq!(probe.iter().filter(|bit| **bit == 0.0).count(), 500);
    assert!(probe.iter().zip(&target).all(|(p, t)| *p == 0.0 || p == t));
    assert!(shown[100..].iter().all(|inputs| inputs == probe));
}

#[test]
fn the_score_counts_erased_bits_only() {
    let task = task(&[("bits", 40)]);
    let (lane, shown, target) = play(&task, 1);
    let score = |outputs: &[f32]| lane.score(outputs).unwrap().value;
    assert_eq!(score(&target), 0.0);
    assert_eq!(score(&shown[105]), 1.0, "0 is wrong");
    let mut outputs = target.clone();
    let erased: Vec<usize> = (0..40).filter(|bit| shown[105][*bit] == 0.0).collect();
    let visible = (0..40).find(|bit| shown[105][*bit] != 0.0).unwrap();
    outputs[visible] *= -1.0;
    assert_eq!(score(&outputs), 0.0);
    outputs[erased[3]] *= -0.1;
    assert_eq!(score(&outputs), 1.0 / 20.0);
}

#[test]
fn every_pattern_is_probed_some_time() {
    let task = task(&[("bits", 30), ("gap", 0), ("show", 1)]);
    let mut probed = [0usize; 5];
    for iteration in 0..100 {
        let (_, shown, target) = play(&task, iteration);
        probed[shown.iter().position(|inputs| *inputs == target).unwrap()] += 1;
    }
    assert!(probed.iter().all(|n| *n > 8), "{probed:?}");
}

#[test]
fn an_endless_episode_is_refused() {
    let mut settings = Settings::defaults(SETTINGS);
    settings.set("presentations", SettingValue::Int(1000));
    settings.set("show", SettingValue::Int(1000));
    assert_eq!(
        PatternCompletion::new(&settings).unwrap_err().setting,
        "presentations"
    );
}
