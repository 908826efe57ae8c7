//! One lane's episode as the trainer sees it: inputs in, outputs and actions out, loss and seeds at the end.

use super::a2c::{Episode, Mark, Parts};
use super::block::{EpisodeOptions, Objective};
use super::policy::Policy;
use super::ppo::Ppo;
use super::score::{Kind, Tally};
use super::supervised::{Errors, SupervisedLoss};
use crate::ir::rng::{noise, Key, Stream};
use crate::ir::Graph;
use crate::lang::sema::targets::TARGET;
use crate::learn::tasks::{Ended, EpisodeKey, Lane, Score, Task};
use crate::machine::c::Feed;
use crate::step::lower::{GIVEN, TRIAL_START};

/// The source of the values of an input slot.
#[derive(Clone, Copy, Debug)]
enum InputSource {
    /// Elements of the task's observation from an offset, so many.
    Port(usize, usize),
    /// A signal of the task.
    Signal(usize),
    /// 1 in the first step of a trial, else 0.
    TrialStart,
    /// Elements of the task's targets from an offset, so many.
    Target(usize, usize),
    /// Given by whoever runs the episode.
    Given,
}

/// The connections of a step graph with a task and a trainer. Shared by all lanes.
#[derive(Clone, Debug)]
pub struct Wiring {
    objective: Objective,
    /// The policy of a reward task.
    policy: Policy,
    sources: Vec<InputSource>,
    observation: usize,
    signals: usize,
    /// For each output the trainer reads, in the order of the policy with the value at the end, or of the targets: its slot and size.
    read: Vec<(usize, usize)>,
    /// For each of these, its loss and the factor on it; none for rewards.
    losses: Vec<(SupervisedLoss, f64)>,
    /// For each of these, its empty score.
    scores: Vec<Tally>,
    steps: usize,
    /// The steps of the network in each step of the task.
    substeps: usize,
    /// The states that begin an episode with values of the task: slot, path and number of elements.
    given: Vec<(usize, String, usize)>,
}

impl Wiring {
    /// For a step whose slots were checked against the task and the trainer.
    pub fn new(graph: &Graph, task: &dyn Task, objective: Objective) -> Wiring {
        let ports = task.inputs();
        let sources = graph
            .inputs
            .iter()
            .map(|slot| {
                if slot.path == TRIAL_START {
                    return InputSource::TrialStart;
                }
                if slot.path.starts_with(GIVEN) {
                    return InputSource::Given;
                }
                if let Some(name) = slot.path.strip_prefix("external.") {
                    let k = task.signals().iter().position(|signal| *signal == name);
                    return InputSource::Signal(k.expect("signals were checked against the task"));
                }
                let targets = task.targets();
                if let Some(name) = slot.path.strip_prefix(TARGET) {
                    let k = targets.iter().position(|port| port.name == name);
                    let k = k.expect("targets were checked against the task");
                    let before = targets[..k].iter().map(|port| port.size).sum();
                    return InputSource::Target(before, targets[k].size);
                }
                let k = ports.iter().position(|port| port.name == slot.path);
                let k = k.expect("inputs were checked against the task");
                InputSource::Port(ports[..k].iter().map(|port| port.size).sum(), ports[k].size)
            })
            .collect();
        let targets = task.targets();
        let actions = task.actions();
        let policy = actions.map_or_else(Policy::none, |actions| Policy { actions });
        let names: Vec<String> = match &objective {
            Objective::A2c(_) | Objective::Ppo(_) => policy.reads(),
            Objective::Supervised(_) => targets.iter().map(|port| port.name.clone()).collect(),
        };
        let read = names
            .iter()
            .map(|name| {
                let slot = graph.outputs.iter().position(|slot| slot.path == *name);
                let slot = slot.expect("outputs were checked against the trainer");
                (slot, graph.outputs[slot].dims.iter().product())
            })
            .collect();
        let losses: Vec<(SupervisedLoss, f64)> = match &objective {
            Objective::A2c(_) | Objective::Ppo(_) => Vec::new(),
            Objective::Supervised(losses) => names.iter().map(|name| losses.of(name)).collect(),
        };
        let states = graph.states.iter().enumerate();
        let given = states
            .filter(|(_, state)| state.given)
            .map(|(slot, state)| (slot, state.path.clone(), state.dims.iter().product()));
        let several = losses.len() > 1;
        let scores = losses.iter().zip(&names);
        let scores = scores.map(|((loss, _), name)| {
            let output = several.then_some(name.as_str());
            Tally::new(Kind::of(*loss), output)
        });
        Wiring {
            scores: scores.collect(),
            losses,
            objective,
            policy,
            sources,
            observation: ports.iter().map(|port| port.size).sum(),
            signals: task.signals().len(),
            read,
            steps: task.steps(),
            substeps: task.substeps(),
            given: given.collect(),
        }
    }

    /// The same for so many steps.
    #[must_use]
    pub fn with_steps(self, steps: usize) -> Wiring {
        Wiring { steps, ..self }
    }

    /// Steps of an episode.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The sources of the input slots, as generated kernels name them.
    pub fn feeds(&self) -> Vec<Feed> {
        let feed = |source: &InputSource| match source {
            InputSource::Port(offset, _) => Feed::Observation(*offset),
            InputSource::Signal(k) => Feed::Signal(*k),
            InputSource::TrialStart => Feed::TrialStart,
            InputSource::Given | InputSource::Target(..) => Feed::Given(0),
        };
        self.sources.iter().map(feed).collect()
    }

    /// The policy of a reward task.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sizes of the outputs the trainer reads.
    pub fn read_sizes(&self) -> impl Iterator<Item = usize> + '_ {
        self.read.iter().map(|(_, size)| *size)
    }

    /// Outputs that are all 0, in the order of [`LaneEpisode::take`].
    pub fn silent(&self) -> Vec<Vec<f64>> {
        self.read_sizes().map(|size| vec![0.0; size]).collect()
    }

    /// Slots of the outputs the trainer reads, in the order of [`LaneEpisode::take`].
    pub fn read(&self) -> impl Iterator<Item = usize> + '_ {
        self.read.iter().map(|(slot, _)| *slot)
    }
}

/// One lane and what its episode has given so far. Buffers are kept from one episode to the next.
pub struct LaneEpisode {
    lane: Box<dyn Lane>,
    index: u32,
    observation: Vec<f32>,
    signals: Vec<f32>,
    /// Outputs read, `[output][T * size]`.
    outputs: Vec<Vec<f64>>,
    /// The actions, `[T, width]`.
    actions: Vec<f64>,
    /// The present action, and as the task takes it.
    action: Vec<f64>,
    sent: Vec<f32>,
    rewards: Vec<f64>,
    /// For reward tasks, the place of each step in its episode.
    marks: Vec<Mark>,
    /// The observations, `[slot][T * size]`; kept where episodes are run again.
    inputs: Vec<Vec<f32>>,
    keeps: bool,
    /// Episodes that are over, and the present one: reward and length.
    over: Vec<(f64, usize)>,
    present: (f64, usize),
    /// The mark of a run whose episode the next run goes on with.
    streams: bool,
    /// Targets, `[output][T * size]`.
    targets: Vec<Vec<f64>>,
    /// The weight of each step, `[output][T]`.
    weights: Vec<Vec<f64>>,
    target: Vec<f32>,
    weight: Vec<f32>,
    /// First values of states: slot and elements.
    first: Vec<(usize, Vec<f64>)>,
}

/// The share of one lane's episode in the batch.
#[derive(Clone, Debug, Default)]
pub struct LaneLoss {
    /// Terms of the reward loss.
    pub parts: Parts,
    /// The loss.
    pub loss: f64,
    /// Reward of each episode that is over, for reward tasks.
    pub rewards: Vec<f64>,
    /// Steps of each of these episodes, where they end at any step.
    pub lengths: Vec<usize>,
    /// The task's own measure, or the score of each output.
    pub scores: Vec<Tally>,
    /// Adjoints of the outputs read, `[output][T * size]`.
    pub seeds: Vec<Vec<f64>>,
    /// The reason why the task could not give the episode.
    pub fault: Option<String>,
    /// True if any step has a weight.
    pub weighted: bool,
}

impl LaneEpisode {
    /// Lane `index` of the batch.
    pub fn new(wiring: &Wiring, lane: Box<dyn Lane>, index: usize) -> LaneEpisode {
        LaneEpisode {
            lane,
            index: index as u32,
            observation: vec![0.0; wiring.observation],
            signals: vec![0.0; wiring.signals],
            outputs: vec![Vec::new(); wiring.read.len()],
            actions: Vec::new(),
            action: Vec::new(),
            sent: Vec::new(),
            rewards: Vec::new(),
            marks: Vec::new(),
            inputs: vec![Vec::new(); wiring.sources.len()],
            keeps: matches!(wiring.objective, Objective::Ppo(_)),
            over: Vec::new(),
            present: (0.0, 0),
            streams: false,
            targets: vec![Vec::new(); wiring.read.len()],
            weights: vec![Vec::new(); wiring.read.len()],
            target: vec![0.0; wiring.read.iter().map(|(_, size)| size).sum()],
            weight: vec![0.0; wiring.read.len()],
            first: Vec::new(),
        }
    }

    /// Starts the episode of an iteration, or goes to the chunk of it that is run.
    pub fn start(&mut self, wiring: &Wiring, options: &EpisodeOptions) {
        self.lane.reset(EpisodeKey {
            seed: options.seed,
            iteration: options.iteration,
            lane: self.index,
            batch: options.batch as u32,
            part: options.part,
        });
        let kept = self.outputs.iter_mut().chain(&mut self.targets);
        for values in kept.chain(&mut self.weights) {
            values.clear();
        }
        self.actions.clear();
        self.rewards.clear();
        self.marks.clear();
        self.over.clear();
        self.inputs.iter_mut().for_each(Vec::clear);
        let streams = self.lane.streams();
        if !(streams && self.streams) {
            self.present = (0.0, 0);
        }
        self.streams = streams;
        let first = options.first();
        self.first.clear();
        if first == 0 {
            for (slot, path, size) in &wiring.given {
                let mut values = vec![0.0; *size];
                if self.lane.first_state(path, &mut values) {
                    let values = values.into_iter().map(f64::from).collect();
                    self.first.push((*slot, values));
                }
            }
        }
        if first > 0 && !self.lane.seek(first) {
            // What a task with targets shows does not depend on outputs.
            for _ in 0..first {
                self.lane.observe(&mut self.observation);
                self.lane.signals(&mut self.signals);
                self.lane.target(&mut self.target, &mut self.weight);
            }
        }
    }

    /// The first values of a state, where the task has some and the episode begins.
    pub fn first_state(&self, slot: usize) -> Option<&[f64]> {
        let found = self.first.iter().find(|(own, _)| *own == slot);
        found.map(|(_, values)| values.as_slice())
    }

    /// The inputs of the current step: calls `give(slot, values)` for each input slot.
    pub fn observe(&mut self, wiring: &Wiring, mut give: impl FnMut(usize, &[f32])) {
        let (keeps, kept) = (self.keeps, &mut self.inputs);
        let mut put = |slot: usize, values: &[f32]| {
            if keeps {
                kept[slot].extend_from_slice(values);
            }
            give(slot, values);
        };
        self.lane.observe(&mut self.observation);
        self.lane.signals(&mut self.signals);
        let reads = |source: &InputSource| matches!(source, InputSource::Target(..));
        if wiring.sources.iter().any(reads) {
            self.lane.show_targets(&mut self.target);
        }
        for (slot, source) in wiring.sources.iter().enumerate() {
            match source {
                InputSource::Port(offset, size) => {
                    put(slot, &self.observation[*offset..offset + size]);
                }
                InputSource::Signal(k) => put(slot, &self.signals[*k..=*k]),
                InputSource::TrialStart => {
                    put(slot, &[f32::from(u8::from(self.lane.trial_starts()))]);
                }
                InputSource::Target(offset, size) => {
                    put(slot, &self.target[*offset..offset + size]);
                }
                InputSource::Given => {}
            }
        }
    }

    /// Noise of one step and slot: a function of (seed, stream, iteration, step, lane, index).
    pub fn noise(
        &self,
        graph: &Graph,
        slot: usize,
        step: usize,
        options: &EpisodeOptions,
        out: &mut [f64],
    ) {
        let at = [options.iteration, step as u32, self.index];
        let how = (options.seed, options.learn);
        noise(&graph.noises[slot], slot, how, at, out);
    }

    /// Takes the outputs of step `step`, in the order of [`Wiring::read`], and ends the step, but for what lanes do together
    /// there.
    pub fn take<'a>(
        &mut self,
        wiring: &Wiring,
        step: usize,
        options: &EpisodeOptions,
        outputs: impl Iterator<Item = &'a [f64]>,
    ) {
        for (all, values) in self.outputs.iter_mut().zip(outputs) {
            all.extend_from_slice(values);
        }
        match &wiring.objective {
            Objective::A2c(_) | Objective::Ppo(_) => {
                let key = Key::new(options.seed, Stream::Action);
                let place = key.at(options.iteration, step as u32, self.index);
                let place = (!options.greedy).then_some(place);
                wiring
                    .policy
                    .choose(&self.outputs, step, place, &mut self.action);
                self.actions.extend_from_slice(&self.action);
                self.sent.clear();
                // The loss tells of a number that is not finite; the task need not.
                let sent = self.action.iter().map(|x| *x as f32);
                self.sent
                    .extend(sent.map(|x| if x.is_finite() { x } else { 0.0 }));
                self.rewards.push(f64::from(self.lane.act_with(&self.sent)));
                self.marks.push(match step + 1 == wiring.steps {
                    true => Mark::Terminated,
                    false => Mark::On,
                });
            }
            Objective::Supervised(_) => {
                self.lane.target(&mut self.target, &mut self.weight);
                for (all, weight) in self.weights.iter_mut().zip(&self.weight) {
                    all.push(f64::from(*weight));
                }
                let mut rest = self.target.as_slice();
                for (targets, (_, size)) in self.targets.iter_mut().zip(&wiring.read) {
                    let (mine, others) = rest.split_at(*size);
                    targets.extend(mine.iter().map(|x| f64::from(*x)));
                    rest = others;
                }
            }
        }
    }

    /// Takes what the step came to, after what lanes do together.
    pub fn settle(&mut self) {
        let last = self.rewards.last_mut().zip(self.marks.last_mut());
        let Some((reward, mark)) = last else { return };
        if self.lane.is_between() {
            *mark = Mark::Between;
            return;
        }
        let Some(outcome) = self.lane.outcome() else {
            return;
        };
        *reward = f64::from(outcome.reward);
        *mark = match outcome.ended {
            _ if outcome.idle => Mark::Idle,
            Ended::No => Mark::On,
            Ended::Terminated => Mark::Terminated,
            Ended::Truncated => Mark::Truncated,
        };
        match *mark {
            Mark::Idle | Mark::Between => return,
            Mark::On | Mark::Terminated | Mark::Truncated => {
                self.present.0 += *reward;
                self.present.1 += 1;
            }
        }
        if *mark != Mark::On {
            self.over.push(std::mem::take(&mut self.present));
        }
    }

    /// Returns true if all later steps of this run of the lane are idle.
    pub fn is_over(&self) -> bool {
        self.lane.is_over()
    }

    /// Returns true if the current step is the first of a trial.
    pub fn trial_starts(&self) -> bool {
        self.lane.trial_starts()
    }

    /// The observation of the current step, after [`LaneEpisode::observe`].
    pub fn observation(&self) -> &[f32] {
        &self.observation
    }

    /// Steps so far until the lane waits.
    fn length(&self) -> usize {
        let waits = |mark: &&Mark| !self.streams && **mark == Mark::Idle;
        self.marks.len() - self.marks.iter().rev().take_while(waits).count()
    }

    /// The action of a step; empty for supervised tasks.
    pub fn action(&self, step: usize) -> &[f64] {
        let width = self.actions.len() / self.marks.len().max(1);
        &self.actions[step * width..(step + 1) * width]
    }

    /// Rewards of the steps so far, to the end of the episode; empty for supervised tasks.
    pub fn rewards(&self) -> &[f64] {
        &self.rewards[..self.length()]
    }

    /// The episode of a reward task so far.
    pub fn episode<'a>(&'a self, wiring: &'a Wiring) -> Episode<'a> {
        Episode {
            policy: &wiring.policy,
            outputs: &self.outputs,
            actions: &self.actions,
            rewards: &self.rewards,
            marks: &self.marks,
        }
    }

    /// The inputs that were shown at a step, where they are kept: calls `put(slot, values)` for each input slot. After the
    /// last step they are those of the last.
    pub fn shown(&self, step: usize, mut put: impl FnMut(usize, &[f32])) {
        let step = step.min(self.marks.len().saturating_sub(1));
        for (slot, all) in self.inputs.iter().enumerate() {
            let width = all.len() / self.marks.len().max(1);
            put(slot, &all[step * width..(step + 1) * width]);
        }
    }

    /// The loss of a finished episode, with seeds.
    pub fn loss(&self, wiring: &Wiring, options: &EpisodeOptions) -> LaneLoss {
        let mut out = LaneLoss {
            seeds: self.outputs.iter().map(|o| vec![0.0; o.len()]).collect(),
            fault: self.lane.fault().map(str::to_owned),
            ..LaneLoss::default()
        };
        match &wiring.objective {
            Objective::A2c(a2c) | Objective::Ppo(Ppo { a2c, .. }) => {
                let steps = wiring.steps / wiring.substeps;
                let scale = 1.0 / (options.batch * steps.max(1)) as f64;
                out.parts = a2c.lane(self.episode(wiring), scale, &mut out.seeds);
                out.loss = out.parts.total();
                if self.lane.outcome().is_none() {
                    out.rewards = vec![self.rewards.iter().sum()];
                } else {
                    // Without a next run the present episode is cut off here.
                    let cut = Some(self.present).filter(|(_, steps)| !self.streams && *steps > 0);
                    let all = self.over.iter().copied().chain(cut);
                    (out.rewards, out.lengths) = all.unzip();
                    let mut tally = Tally::new(Kind::Own("length"), None);
                    for length in &out.lengths {
                        tally.add(&Tally::own("length", Some(*length as f64)));
                    }
                    out.scores.push(tally);
                }
            }
            Objective::Supervised(_) => {
                out.scores.clone_from(&wiring.scores);
                out.weighted = self.weights.iter().flatten().any(|weight| *weight != 0.0);
                for (k, adjoints) in out.seeds.iter_mut().enumerate() {
                    let errors = Errors {
                        outputs: &self.outputs[k],
                        targets: &self.targets[k],
                        weights: &self.weights[k],
                    };
                    let (loss, factor) = wiring.losses[k];
                    out.loss += factor * loss.lane(errors, options.batch, adjoints);
                    adjoints.iter_mut().for_each(|adjoint| *adjoint *= factor);
                    out.scores[k].count(errors);
                }
                let last: Vec<f32> = self
                    .outputs
                    .iter()
                    .zip(&wiring.read)
                    .flat_map(|(all, (_, size))| {
                        all[all.len().saturating_sub(*size)..]
                            .iter()
                            .map(|x| *x as f32)
                    })
                    .collect();
                if let Some(Score { name, value }) = self.lane.score(&last) {
                    // It is of the last step of an episode.
                    let ends = options.ends(wiring.steps);
                    out.scores = vec![Tally::own(name, ends.then_some(value))];
                }
            }
        }
        out
    }
}
