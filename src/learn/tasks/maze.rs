#![doc = include_str!("maze.md")]

use super::SUBSTEPS;
use super::{ports, EpisodeKey, Lane, Task, TaskEntry};
use crate::lang::catalog::{Port, TaskInfo};
use crate::lang::settings::{Setting, SettingConflict, Settings};
use crate::machine::device::TaskSource;
use std::sync::Arc;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    info: TaskInfo {
        name: "maze",
        summary:
            "find an invisible reward in a grid and come back to it (Miconi et al. 2019, §4.2)",
        page: include_str!("maze.md"),
        settings: SETTINGS,
        ports: |settings, _| Ok(ports(&Maze::new(settings)?)),
    },
    build: |settings, _| Ok(Box::new(Maze::new(settings)?)),
};

const ACTIONS: usize = 4;

const SETTINGS: &[Setting] = &[
    Setting::int("size", (5, 199), 9, "Cells along a side, the walls around not counted; odd (paper: 9)."),
    Setting::int("steps", (1, 1_000_000), 200, "Steps of an episode (paper: 200)."),
    Setting::real("reward", (0.0, 1e6), 10.0, "Reward for entering the reward location (paper: 10)."),
    Setting::real("wall_penalty", (0.0, 1e6), 0.0, "Taken from the reward for a move into a wall (paper: 0)."),
    Setting::choice(
        "start",
        &["centre", "random"],
        "Where the agent starts: at the centre (paper), or on a random free cell other than the reward location.",
    ),
    Setting::int("view", (1, 11), 3, "Cells along a side of the square the agent sees; odd (paper: 3)."),
    Setting::choice(
        "observation",
        &["run", "paper"],
        "The published runs' inputs, with an unused 0, bias and time (`view`² + 8); or those the paper lists (`view`² + 5).",
    ),
    SUBSTEPS,
];

/// The offsets of the observation's parts, counted from the end of the view.
#[derive(Clone, Copy, Debug)]
struct Layout {
    width: usize,
    bias: Option<usize>,
    time: Option<usize>,
    action: usize,
    reward: usize,
}

const PAPER: Layout = Layout {
    width: 5,
    bias: None,
    time: None,
    action: 0,
    reward: 4,
};

const RUN: Layout = Layout {
    width: 8,
    bias: Some(1),
    time: Some(2),
    reward: 3,
    action: 4,
};

/// A cell: row and column from 0.
type Cell = (usize, usize);

/// The task with its settings.
#[derive(Clone, Debug)]
pub struct Maze {
    size: usize,
    steps: usize,
    reward: f32,
    wall_penalty: f32,
    random_start: bool,
    view: usize,
    layout: Layout,
    free: Vec<Cell>,
}

impl Maze {
    /// Checks the settings and lays out the maze.
    ///
    /// # Errors
    /// Where `size` or `view` is even.
    pub fn new(settings: &Settings) -> Result<Maze, SettingConflict> {
        for setting in ["size", "view"] {
            let value = settings.int(setting);
            if value.is_multiple_of(2) {
                return Err(SettingConflict {
                    setting,
                    message: format!(
                        "`{setting}` is {value}, an even number, and needs a middle cell"
                    ),
                    help: format!("set it to {} or {}", value - 1, value + 1),
                });
            }
        }
        let mut maze = Maze {
            size: settings.int("size"),
            steps: settings.int("steps"),
            reward: settings.real("reward") as f32,
            wall_penalty: settings.real("wall_penalty") as f32,
            random_start: settings.word("start") == "random",
            view: settings.int("view"),
            layout: if settings.word("observation") == "paper" {
                PAPER
            } else {
                RUN
            },
            free: Vec::new(),
        };
        maze.free = (0..maze.size)
            .flat_map(|row| (0..maze.size).map(move |column| (row, column)))
            .filter(|cell| !maze.is_wall(*cell))
            .collect();
        Ok(maze)
    }

    fn centre(&self) -> Cell {
        (self.size / 2, self.size / 2)
    }

    /// Cells are counted from 0 here, so the paper's even coordinates are odd ones.
    fn is_wall(&self, cell: Cell) -> bool {
        cell.0 % 2 == 1 && cell.1 % 2 == 1 && cell != self.centre()
    }

    /// The cell `(down, right)` of `cell`, or nothing where there is a wall.
    fn neighbour(&self, cell: Cell, down: isize, right: isize) -> Option<Cell> {
        let row = cell.0.checked_add_signed(down)?;
        let column = cell.1.checked_add_signed(right)?;
        let inside = row < self.size && column < self.size;
        (inside && !self.is_wall((row, column))).then_some((row, column))
    }

    /// The free cell with number `choice`, numbered without `taken`.
    fn free_except(&self, taken: Cell, choice: usize) -> Cell {
        let skipped = self.free.binary_search(&taken).unwrap_or(self.free.len());
        self.free[choice + usize::from(choice >= skipped)]
    }

    fn width(&self) -> usize {
        self.view * self.view + self.layout.width
    }
}

impl Task for Maze {
    fn steps(&self) -> usize {
        self.steps
    }

    fn sizes(&self) -> Vec<Port> {
        let size = Port::new;
        vec![
            size("obs", self.width()),
            size("actions", ACTIONS),
            size("steps", self.steps),
        ]
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::new("obs", self.width())]
    }

    fn signals(&self) -> Vec<&str> {
        vec!["reward"]
    }

    fn targets(&self) -> Vec<Port> {
        Vec::new()
    }

    fn device(&self) -> Option<TaskSource> {
        let at = |place: Option<usize>| place.map_or(-1, |at| at as i64);
        Some(TaskSource {
            settings: TaskSource::settings(&[
                ("SIZE", self.size as i64),
                ("STEPS", self.steps as i64),
                ("FREE", self.free.len() as i64),
                ("RANDOM_START", i64::from(u8::from(self.random_start))),
                ("VIEW", self.view as i64),
                ("BIAS", at(self.layout.bias)),
                ("TIME", at(self.layout.time)),
                ("ACTION", self.layout.action as i64),
                ("REWARD_AT", self.layout.reward as i64),
            ]) + &TaskSource::reals(&[
                ("REWARD", f64::from(self.reward)),
                ("WALL_PENALTY", f64::from(self.wall_penalty)),
            ]),
            source: include_str!("maze.h"),
            words: 8,
        })
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(MazeLane {
            position: self.centre(),
            goal: self.centre(),
            maze: Arc::new(self.clone()),
            key: EpisodeKey::default(),
            step: 0,
            trial_starts: true,
            last_action: None,
            last_reward: 0.0,
        })
    }
}

struct MazeLane {
    maze: Arc<Maze>,
    key: EpisodeKey,
    position: Cell,
    goal: Cell,
    step: usize,
    trial_starts: bool,
    last_action: Option<usize>,
    last_reward: f32,
}

impl Lane for MazeLane {
    fn reset(&mut self, key: EpisodeKey) {
        let others = self.maze.free.len() - 1;
        let place = key.episode();
        self.key = key;
        self.goal = self
            .maze
            .free_except(self.maze.centre(), place.below(0, others));
        self.position = if self.maze.random_start {
            self.maze.free_except(self.goal, place.below(1, others))
        } else {
            self.maze.centre()
        };
        self.step = 0;
        self.trial_starts = true;
        self.last_action = None;
        self.last_reward = 0.0;
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        inputs.fill(0.0);
        let (view, rest) = inputs.split_at_mut(self.maze.view * self.maze.view);
        let radius = (self.maze.view / 2) as isize;
        let offsets =
            (-radius..=radius).flat_map(|down| (-radius..=radius).map(move |right| (down, right)));
        for (slot, (down, right)) in view.iter_mut().zip(offsets) {
            let wall = self.maze.neighbour(self.position, down, right).is_none();
            *slot = f32::from(u8::from(wall));
        }
        let layout = self.maze.layout;
        if let Some(slot) = layout.bias {
            rest[slot] = 1.0;
        }
        if let Some(slot) = layout.time {
            rest[slot] = self.step as f32 / self.maze.steps as f32;
        }
        rest[layout.reward] = self.last_reward;
        if let Some(action) = self.last_action.filter(|action| *action < ACTIONS) {
            rest[layout.action + action] = 1.0;
        }
    }

    fn signals(&mut self, signals: &mut [f32]) {
        signals.copy_from_slice(&[self.last_reward]);
    }

    fn trial_starts(&self) -> bool {
        self.trial_starts
    }

    fn act(&mut self, action: usize) -> f32 {
        let (down, right) = match action {
            0 => (-1, 0),
            1 => (1, 0),
            2 => (0, -1),
            3 => (0, 1),
            _ => (0, 0),
        };
        let mut reward = 0.0;
        match self.maze.neighbour(self.position, down, right) {
            Some(cell) => self.position = cell,
            None => reward -= self.maze.wall_penalty,
        }
        self.trial_starts = self.position == self.goal;
        if self.position == self.goal {
            reward += self.maze.reward;
            let choice = self.key.step(self.step).below(0, self.maze.free.len() - 1);
            self.position = self.maze.free_except(self.goal, choice);
        }
        self.step += 1;
        self.last_action = Some(action);
        self.last_reward = reward;
        reward
    }

    fn target(&mut self, _targets: &mut [f32], _weights: &mut [f32]) {}
}

#[cfg(test)]
mod tests;
