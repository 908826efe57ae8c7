//! Lanes whose episodes another process runs, and what the lanes of a group ask it together.

use super::protocol::{answers, request, Description, Ended, Order};
use super::server::Server;
use crate::lang::catalog::Actions;
use crate::learn::tasks::{EpisodeKey, Lane, Outcome, Part, Together};
use rand_core::RngCore;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of a lane's episode.
#[derive(Debug, Default)]
struct Cell {
    key: EpisodeKey,
    order: Order,
    inputs: Vec<f32>,
    signals: Vec<f32>,
    reward: f32,
    ended: Ended,
    /// The action of this step: a number for each head, or the numbers.
    action: Vec<f32>,
    /// The action of the step before; `None` at the first step.
    before: Option<Vec<f32>>,
    /// The mark of the time between the end of an episode and the beginning of the next.
    over: bool,
    /// The mark of a step without an action of its own.
    idle: bool,
    /// The mark of a lane that begins its next episode itself.
    streams: bool,
    /// The mark of an episode that the next run goes on with.
    runs: bool,
    /// Steps of this run so far.
    step: usize,
}

/// Shows an action as an input: one-hot for each head, or the numbers.
fn show(actions: &Actions, action: &[f32], input: &mut [f32]) {
    match actions {
        Actions::Numbers(_) => input.copy_from_slice(action),
        Actions::Choices(sizes) => {
            let mut at = 0;
            for (size, choice) in sizes.iter().zip(action) {
                input[at + *choice as usize] = 1.0;
                at += size;
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lane of an environment in another process.
pub(super) struct ProcessLane {
    /// True if episodes of training follow each other.
    streams: bool,
    description: Arc<Description>,
    cell: Arc<Mutex<Cell>>,
}

impl Lane for ProcessLane {
    fn reset(&mut self, key: EpisodeKey) {
        let mut cell = locked(&self.cell);
        cell.key = key;
        cell.step = 0;
        cell.streams = self.streams && key.part == Part::Train;
        cell.order = match cell.streams && cell.runs {
            true => Order::Wait,
            false => Order::Reset(key.episode().draws().next_u64()),
        };
        cell.runs = cell.streams;
        cell.idle = false;
    }

    fn observe(&mut self, inputs: &mut [f32]) {
        let cell = locked(&self.cell);
        let (own, action) = inputs.split_at_mut(cell.inputs.len());
        own.copy_from_slice(&cell.inputs);
        action.fill(0.0);
        // An environment may show actions itself.
        if let Some(before) = cell.before.as_ref().filter(|_| !action.is_empty()) {
            show(&self.description.actions, before, action);
        }
    }

    fn signals(&mut self, signals: &mut [f32]) {
        let cell = locked(&self.cell);
        let (own, reward) = signals.split_at_mut(cell.signals.len());
        own.copy_from_slice(&cell.signals);
        reward.fill(cell.reward);
    }

    fn trial_starts(&self) -> bool {
        let cell = locked(&self.cell);
        cell.before.is_none() && !cell.over
    }

    fn act(&mut self, action: usize) -> f32 {
        self.act_with(&[action as f32])
    }

    fn act_with(&mut self, action: &[f32]) -> f32 {
        let mut cell = locked(&self.cell);
        cell.idle = cell.over;
        cell.action.clear();
        cell.action.extend_from_slice(action);
        cell.order = match (cell.over, cell.streams) {
            (false, _) => Order::Act,
            (true, false) => Order::Wait,
            (true, true) => Order::Reset(cell.key.step(cell.step).draws().next_u64()),
        };
        cell.step += 1;
        0.0
    }

    fn target(&mut self, _targets: &mut [f32], _weights: &mut [f32]) {}

    fn outcome(&self) -> Option<Outcome> {
        let cell = locked(&self.cell);
        Some(Outcome {
            reward: if cell.idle { 0.0 } else { cell.reward },
            ended: cell.ended,
            idle: cell.idle,
        })
    }

    fn is_over(&self) -> bool {
        let cell = locked(&self.cell);
        // The step after the end shows what an episode that is cut off would have gone on from.
        !cell.streams && cell.over && (cell.idle || cell.ended == Ended::Terminated)
    }

    fn streams(&self) -> bool {
        locked(&self.cell).streams
    }
}

/// The lanes of a group, which ask their process together.
pub(super) struct Exchange {
    server: Arc<Mutex<Server>>,
    description: Arc<Description>,
    /// The first lane, counted in the batch and in the process.
    first: [usize; 2],
    cells: Vec<Arc<Mutex<Cell>>>,
    frame: Vec<u8>,
    orders: Vec<Order>,
    /// The actions of all lanes, one after another.
    actions: Vec<f32>,
}

impl Exchange {
    /// The lanes of a group, from `first` as counted in the batch and in the process, with what they do together.
    pub fn lanes(
        server: &Arc<Mutex<Server>>,
        description: &Arc<Description>,
        streams: bool,
        first: [usize; 2],
        count: usize,
    ) -> (Vec<Box<dyn Lane>>, Exchange) {
        let cell = || Cell {
            inputs: vec![0.0; description.width()],
            signals: vec![0.0; description.signals.len()],
            ..Cell::default()
        };
        let cells: Vec<Arc<Mutex<Cell>>> =
            (0..count).map(|_| Arc::new(Mutex::new(cell()))).collect();
        let lane = |cell: &Arc<Mutex<Cell>>| -> Box<dyn Lane> {
            Box::new(ProcessLane {
                streams,
                description: Arc::clone(description),
                cell: Arc::clone(cell),
            })
        };
        let lanes = cells.iter().map(lane).collect();
        let exchange = Exchange {
            server: Arc::clone(server),
            description: Arc::clone(description),
            first,
            cells,
            frame: Vec::new(),
            orders: Vec::new(),
            actions: Vec::new(),
        };
        (lanes, exchange)
    }
}

impl Together for Exchange {
    fn exchange(&mut self, step: Option<usize>) -> Result<(), String> {
        self.orders.clear();
        let orders = self.cells.iter().map(|cell| locked(cell).order);
        self.orders.extend(orders);
        if self.orders.iter().all(|order| *order == Order::Wait) {
            return Ok(());
        }
        let width = self.description.actions.width();
        self.actions.clear();
        for cell in &self.cells {
            let cell = locked(cell);
            match cell.order {
                Order::Act => self.actions.extend_from_slice(&cell.action),
                Order::Wait | Order::Reset(_) => {
                    self.actions.extend(std::iter::repeat_n(0.0, width));
                }
            }
        }
        let actions = (&self.description.actions, self.actions.as_slice());
        request(self.first[1], &self.orders, actions, &mut self.frame);
        let mut server = locked(&self.server);
        let lanes = self.cells.len();
        let wanted = self.description.answer_bytes(lanes);
        let first = self.first[0];
        let at = |lane: Option<usize>| {
            let when = match step {
                None => "at the beginning of the episode".to_owned(),
                Some(step) => format!("step {step}"),
            };
            match (lane, lanes) {
                (Some(lane), _) => format!("lane {}, {when}", first + lane),
                (None, 1) => format!("lane {first}, {when}"),
                (None, _) => format!("lanes {first} to {}, {when}", first + lanes - 1),
            }
        };
        let answer = server.exchange(&self.frame, wanted);
        let taken = match answer {
            Ok(answer) => take(&self.description, answer, &self.cells),
            Err(clause) => Err((None, clause)),
        };
        taken.map_err(|(lane, clause)| server.fault(&at(lane), &clause))
    }
}

/// Takes the answers of lanes; an error is what is wrong, and the lane where it is one alone.
fn take(
    description: &Description,
    answer: &[u8],
    cells: &[Arc<Mutex<Cell>>],
) -> Result<(), (Option<usize>, String)> {
    let all = answers(description, answer, cells.len()).map_err(|clause| (None, clause))?;
    for (lane, (one, cell)) in all.zip(cells).enumerate() {
        let cell = &mut *locked(cell);
        cell.before = match cell.order {
            Order::Wait => continue,
            Order::Act => {
                let spare = cell.before.take().unwrap_or_default();
                Some(std::mem::replace(&mut cell.action, spare))
            }
            Order::Reset(_) => None,
        };
        let read = one.read(&mut cell.inputs, &mut cell.signals);
        let (reward, ended) = read.map_err(|clause| (Some(lane), clause))?;
        // Nothing was earned before the first step.
        let begins = cell.before.is_none();
        cell.reward = if begins { 0.0 } else { reward };
        cell.ended = if begins { Ended::No } else { ended };
        cell.over = cell.ended != Ended::No;
        cell.order = Order::Wait;
    }
    Ok(())
}
