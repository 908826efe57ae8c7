use super::{Maze, MazeLane, ACTIONS, SETTINGS};
use crate::ir::rng::{Key, Stream};
use crate::lang::settings::{SettingValue, Settings};
use crate::learn::tasks::{EpisodeKey, Lane, Task};
use std::sync::Arc;

fn maze(changes: &[(&'static str, SettingValue)]) -> Maze {
    let mut settings = Settings::defaults(SETTINGS);
    for (name, value) in changes {
        settings.set(name, value.clone());
    }
    Maze::new(&settings).unwrap()
}

fn lane(maze: &Maze, iteration: u32) -> MazeLane {
    let mut lane = MazeLane {
        maze: Arc::new(maze.clone()),
        key: key(0),
        position: (0, 0),
        goal: (0, 0),
        step: 0,
        trial_starts: false,
        last_action: None,
        last_reward: 0.0,
    };
    lane.reset(key(iteration));
    lane
}

fn key(iteration: u32) -> EpisodeKey {
    EpisodeKey {
        seed: 9,
        iteration,
        ..EpisodeKey::default()
    }
}

fn picture(maze: &Maze) -> Vec<String> {
    (0..maze.size)
        .map(|row| {
            (0..maze.size)
                .map(|column| {
                    if maze.is_wall((row, column)) {
                        '#'
                    } else {
                        '.'
                    }
                })
                .collect()
        })
        .collect()
}

#[test]
fn the_layout_is_the_papers() {
    let maze9 = maze(&[]);
    let open = ".........";
    let posts = ".#.#.#.#.";
    assert_eq!(
        picture(&maze9),
        [open, posts, open, posts, open, posts, open, posts, open]
    );
    assert_eq!(maze9.free.len(), 65);
    assert_eq!(
        picture(&maze(&[("size", SettingValue::Int(7))])),
        [".......", ".#.#.#.", ".......", ".#...#.", ".......", ".#.#.#.", "......."]
    );
    let page = super::ENTRY.info.page.replace('S', ".").replace(' ', "");
    assert!(page.contains(&picture(&maze9).join("\n")));
}

#[test]
fn even_sizes_are_refused() {
    for name in ["size", "view"] {
        let mut settings = Settings::defaults(SETTINGS);
        settings.set(name, SettingValue::Int(6));
        assert_eq!(Maze::new(&settings).unwrap_err().setting, name);
    }
}

#[test]
fn moves_and_walls() {
    let maze = maze(&[("wall_penalty", SettingValue::Real(0.5))]);
    let mut lane = lane(&maze, 0);
    lane.goal = (8, 8);
    assert_eq!(lane.position, (4, 4));
    for (action, position, reward) in [
        (0, (3, 4), 0.0),
        (2, (3, 4), -0.5), // (3, 3) is a wall
        (3, (3, 4), -0.5), // so is (3, 5)
        (1, (4, 4), 0.0),
        (2, (4, 3), 0.0),
        (0, (4, 3), -0.5),
        (3, (4, 4), 0.0),
    ] {
        assert_eq!(lane.act(action), reward);
        assert_eq!(lane.position, position);
    }
    lane.position = (0, 0);
    assert_eq!(lane.act(0), -0.5);
    assert_eq!(lane.act(2), -0.5);
    assert_eq!(lane.position, (0, 0));
    lane.position = (8, 7);
    lane.act(1);
    assert_eq!(lane.position, (8, 7));
}

#[test]
fn the_observation_of_the_paper_has_14_slots() {
    let maze = maze(&[("observation", SettingValue::Word("paper"))]);
    assert_eq!(maze.sizes()[0].size, 14);
    let mut lane = lane(&maze, 0);
    lane.goal = (4, 6);
    let mut seen = [f32::NAN; 14];
    lane.observe(&mut seen);
    assert_eq!(
        seen,
        [1., 0., 1., 0., 0., 0., 1., 0., 1., 0., 0., 0., 0., 0.]
    );
    lane.act(3);
    lane.observe(&mut seen);
    assert_eq!(
        seen,
        [0., 1., 0., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0.]
    );
    lane.position = (4, 5);
    lane.act(3);
    lane.observe(&mut seen);
    assert_eq!(seen[9..], [0., 0., 0., 1., 10.]);
    lane.position = (0, 1);
    lane.observe(&mut seen);
    assert_eq!(seen[..9], [1., 1., 1., 0., 0., 0., 0., 1., 0.]);
}

#[test]
fn the_observation_of_the_runs_has_17_slots() {
    let maze = maze(&[("observation", SettingValue::Word("run"))]);
    assert_eq!(maze.sizes()[0].size, 17);
    let mut lane = lane(&maze, 0);
    lane.goal = (3, 4);
    let mut seen = [f32::NAN; 17];
    lane.observe(&mut seen);
    assert_eq!(seen[9..], [0., 1., 0., 0., 0., 0., 0., 0.]);
    assert_eq!(lane.act(0), 10.0);
    let mut signals = [f32::NAN];
    lane.signals(&mut signals);
    lane.observe(&mut seen);
    assert_eq!(seen[9..], [0., 1., 1. / 200., 10., 1., 0., 0., 0.]);
    assert_eq!(signals, [10.0]);
}

#[test]
fn teleports_reach_every_free_cell_but_the_reward_location() {
    let maze = maze(&[]);
    let mut visits = vec![0usize; maze.free.len()];
    let mut rewards = 0;
    for iteration in 0..2000 {
        let mut lane = lane(&maze, iteration);
        let goal = lane.goal;
        let place = Key::new(1, Stream::Action).at(iteration, 0, 0);
        for step in 0..200 {
            let reward = lane.act(place.below(step, ACTIONS));
            assert_eq!(lane.goal, goal, "fixed for the episode");
            assert!(maze.free.contains(&lane.position) && lane.position != goal);
            assert_eq!(lane.trial_starts(), reward != 0.0);
            if reward != 0.0 {
                assert_eq!(reward, 10.0);
                rewards += 1;
                visits[maze.free.binary_search(&lane.position).unwrap()] += 1;
            }
        }
    }
    assert!(rewards > 500, "{rewards}");
    assert!(visits.iter().all(|n| *n > 0), "{visits:?}");
}

#[test]
fn the_reward_location_is_uniform_over_free_cells_but_the_centre() {
    let maze = maze(&[]);
    let mut counts = vec![0usize; maze.free.len()];
    let draws = 12_800;
    for iteration in 0..draws {
        let lane = lane(&maze, iteration);
        assert_eq!(lane.position, (4, 4));
        assert!(lane.trial_starts());
        counts[maze.free.binary_search(&lane.goal).unwrap()] += 1;
    }
    let centre = maze.free.binary_search(&(4, 4)).unwrap();
    assert_eq!(counts.remove(centre), 0);
    let expected = f64::from(draws) / 64.0;
    let chi_square: f64 = counts
        .iter()
        .map(|n| (*n as f64 - expected).powi(2) / expected)
        .sum();
    // 63 degrees of freedom: mean 63, standard deviation 11.2.
    assert!((30.0..105.0).contains(&chi_square), "{chi_square}");
}

#[test]
fn a_random_start_is_free_and_not_the_reward_location() {
    let maze = maze(&[("start", SettingValue::Word("random"))]);
    let mut starts = std::collections::BTreeSet::new();
    for iteration in 0..1000 {
        let lane = lane(&maze, iteration);
        assert!(maze.free.contains(&lane.position) && lane.position != lane.goal);
        starts.insert(lane.position);
    }
    assert_eq!(starts.len(), 65);
}
