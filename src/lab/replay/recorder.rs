//! Notes the values of probes while episodes run.

use super::keep::{Keep, Notes};
use super::probes::{Kind, Probe};
use super::{Series, Source};
use crate::engine::reference::{evaluate, Leaves};
use crate::engine::BackendError;
use crate::ir::{Graph, OutputId, ResultKind, StateId};
use crate::lang::sema::model::DefId;
use crate::learn::episodes::{Moment, Observer};
use crate::learn::lane_episode::LaneEpisode;
use crate::step::lower::{lower_with, Changes, ENTERED};
use crate::step::Compiled;

/// The values to be recorded, with their steps and lanes.
pub struct RecordPlan {
    probes: Vec<Probe>,
    lanes: Vec<usize>,
    parameters: Vec<Vec<f64>>,
    /// Computes values that are neither states nor outputs.
    values: Graph,
    /// By probe: its output in `values`.
    places: Vec<Option<usize>>,
    /// Only every so many steps are recorded.
    every: usize,
    wide: bool,
}

/// One who notes values of some lanes.
pub struct Recorder<'a, K = Notes> {
    plan: &'a RecordPlan,
    /// Positions, among the lanes it sees, of those to record.
    mine: Vec<usize>,
    /// Positions of these among all lanes to record.
    rows: Vec<usize>,
    count: usize,
    /// States that entered the step, where the reference needs them.
    entering: Vec<Vec<f64>>,
    /// Takes what is noted.
    keep: K,
    /// A part of a value, on its way there.
    part: Vec<f64>,
    /// By probe.
    sources: Vec<Source>,
}

impl RecordPlan {
    /// Records `probes` in `lanes` of episodes run with `parameters`, by slot. `wide` keeps 64 bits of values
    /// that are computed by the reference.
    pub fn new(
        program: &Compiled,
        parameters: &[Vec<f64>],
        probes: &[Probe],
        lanes: &[usize],
        wide: bool,
    ) -> RecordPlan {
        let mut wanted: Vec<DefId> = probes
            .iter()
            .filter_map(|probe| match probe.kind {
                Kind::Value(id) => Some(id),
                _ => None,
            })
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        // What a state is where it takes a computed first value, only the step knows.
        let firsts = program.model.firsts.iter().map(|first| first.state);
        let recorded = |state: &StateId| {
            let mut kinds = probes.iter().map(|probe| probe.kind);
            kinds.any(|kind| matches!(kind, Kind::State(slot) if slot == state.index()))
        };
        let changes = Changes {
            shown: wanted,
            entered: firsts.filter(recorded).collect(),
            ..Changes::default()
        };
        let named = |probe: &Probe| match probe.kind {
            Kind::Value(_) => Some(probe.path.clone()),
            Kind::State(_) => Some(format!("{ENTERED}{}", probe.path)),
            _ => None,
        };
        let mut values = lower_with(&program.model, &changes);
        let outputs: Vec<(OutputId, String)> = values
            .outputs
            .iter()
            .enumerate()
            .map(|(k, slot)| (OutputId(k as u32), slot.path.clone()))
            .collect();
        let found: Vec<_> = outputs
            .iter()
            .filter(|(_, path)| {
                let mut wanted = probes.iter().filter_map(named);
                wanted.any(|name| name == *path)
            })
            .filter_map(|(id, path)| Some((*id, path, values.result(ResultKind::Output(*id))?)))
            .collect();
        let places = probes
            .iter()
            .map(|probe| {
                let name = named(probe)?;
                found.iter().position(|(_, path, _)| **path == name)
            })
            .collect();
        let kept: Vec<_> = found.iter().map(|(id, _, value)| (*id, *value)).collect();
        values.clear_results();
        for (id, value) in kept {
            values.set_result(ResultKind::Output(id), value);
        }
        RecordPlan {
            probes: probes.to_vec(),
            lanes: lanes.to_vec(),
            parameters: parameters.to_vec(),
            values: values.compacted(),
            places,
            every: 1,
            wide,
        }
    }

    /// Records every so many steps only, from step 0 on.
    pub fn every(self, every: usize) -> RecordPlan {
        RecordPlan {
            every: every.max(1),
            ..self
        }
    }

    /// The recorded steps among the first `steps`.
    pub fn recorded(&self, steps: usize) -> Vec<usize> {
        (0..steps).step_by(self.every).collect()
    }

    /// Bytes that a recording of so many steps takes.
    pub fn bytes(&self, steps: usize) -> u64 {
        let elements = self.probes.iter().map(|probe| {
            let dims = probe.dims.iter();
            dims.fold(8u64, |n, dim| n.saturating_mul(*dim as u64))
        });
        let step: u64 = elements.fold(0, u64::saturating_add);
        step.saturating_mul(self.lanes.len() as u64)
            .saturating_mul(self.recorded(steps).len() as u64)
    }

    /// One who looks at `count` lanes from `first`.
    pub fn recorder(&self, first: usize, count: usize) -> Recorder<'_> {
        self.recorder_to(vec![Vec::new(); self.probes.len()], first, count)
    }

    /// As [`RecordPlan::recorder`], into `keep`.
    pub fn recorder_to<K: Keep>(&self, keep: K, first: usize, count: usize) -> Recorder<'_, K> {
        let lanes = self.lanes.iter().enumerate();
        let (rows, mine) = lanes
            .filter(|(_, lane)| (first..first + count).contains(*lane))
            .map(|(row, lane)| (row, lane - first))
            .unzip();
        Recorder {
            plan: self,
            mine,
            rows,
            count,
            entering: Vec::new(),
            keep,
            part: Vec::new(),
            sources: vec![Source::Run; self.probes.len()],
        }
    }

    /// The source of each probe's values.
    pub fn sources<K>(&self, recorders: &[Recorder<'_, K>]) -> Vec<Source> {
        let of = |k: usize| {
            let mut all = recorders.iter().map(|recorder| recorder.sources[k]);
            match all.any(|source| source == Source::Reference) {
                true => Source::Reference,
                false => Source::Run,
            }
        };
        (0..self.probes.len()).map(of).collect()
    }

    /// The recorded series of one batch of episodes.
    pub fn series(&self, recorders: Vec<Recorder<'_>>, steps: usize) -> Vec<Series> {
        let steps = self.recorded(steps).len();
        let sources = self.sources(&recorders);
        let probes = self.probes.iter().enumerate().zip(sources);
        let series = probes.map(|((k, probe), source)| {
            let width: usize = probe.dims.iter().product();
            let mut values = vec![0.0; steps * self.lanes.len() * width];
            for recorder in &recorders {
                let seen = recorder.mine.len();
                for (here, there) in recorder.rows.iter().enumerate() {
                    for step in 0..steps {
                        let from = (step * seen + here) * width;
                        let to = (step * self.lanes.len() + there) * width;
                        values[to..to + width]
                            .copy_from_slice(&recorder.keep[k][from..from + width]);
                    }
                }
            }
            Series {
                name: probe.name.clone(),
                dims: probe.dims.clone(),
                values,
                source,
            }
        });
        series.collect()
    }
}

impl<K: Keep> Recorder<'_, K> {
    /// Returns true if nothing of this step is recorded.
    fn skips(&self, step: usize) -> bool {
        self.mine.is_empty() || !step.is_multiple_of(self.plan.every)
    }

    fn note(&mut self, k: usize, step: usize, values: &[f64]) -> Result<(), BackendError> {
        let width = values.len() / self.count.max(1);
        let probe = &self.plan.probes[k];
        for (lane, row) in self.mine.iter().zip(&self.rows) {
            self.part.clear();
            let whole = &values[lane * width..(lane + 1) * width];
            probe.take(whole, &mut self.part);
            self.keep
                .keep(k, step / self.plan.every, *row, &self.part)?;
        }
        Ok(())
    }

    /// Values of the definitions, by output of the plan's graph.
    fn computed(&self, moment: &Moment<'_>) -> Result<Vec<Vec<f64>>, BackendError> {
        let given = moment.given();
        let leaves = Leaves {
            params: &self.plan.parameters,
            inputs: &given.inputs,
            states: &self.entering,
            noises: &given.noises,
            ..Leaves::default()
        };
        let mut values = evaluate(&self.plan.values, self.count, &leaves)?;
        if !self.plan.wide {
            for value in values.iter_mut().flatten() {
                *value = f64::from(*value as f32);
            }
        }
        Ok(values)
    }
}

impl<K: Keep> Observer for Recorder<'_, K> {
    fn before(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        let step = moment.step();
        if self.skips(step) {
            return Ok(());
        }
        let plan = self.plan;
        if plan.places.iter().any(Option::is_some) {
            self.entering = (0..moment.graph().states.len())
                .map(|slot| moment.state(slot))
                .collect::<Result<_, _>>()?;
        }
        for (k, probe) in plan.probes.iter().enumerate() {
            match probe.kind {
                Kind::State(_) if plan.places[k].is_some() => {}
                Kind::State(slot) => {
                    let values = moment.state(slot)?;
                    self.note(k, step, &values)?;
                }
                Kind::Trial => {
                    let lanes = moment.lanes().iter();
                    let values: Vec<f64> = lanes
                        .map(|lane| f64::from(u8::from(lane.trial_starts())))
                        .collect();
                    self.note(k, step, &values)?;
                }
                Kind::Input(_)
                | Kind::Noise(_)
                | Kind::Next(_)
                | Kind::Output(_)
                | Kind::Value(_)
                | Kind::Action
                | Kind::Reward => {}
            }
        }
        Ok(())
    }

    fn after(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        let step = moment.step();
        if self.skips(step) {
            return Ok(());
        }
        let plan = self.plan;
        let mut computed: Option<Vec<Vec<f64>>> = None;
        for (k, probe) in plan.probes.iter().enumerate() {
            match probe.kind {
                Kind::Trial => {}
                Kind::State(_) => {
                    if let Some(place) = plan.places[k] {
                        let all = match computed.take() {
                            Some(all) => all,
                            None => self.computed(moment)?,
                        };
                        self.sources[k] = Source::Reference;
                        self.note(k, step, &all[place])?;
                        computed = Some(all);
                    }
                }
                Kind::Input(slot) => {
                    let values = moment.given().inputs[slot].clone();
                    self.note(k, step, &values)?;
                }
                Kind::Noise(slot) => {
                    let values = moment.given().noises[slot].clone();
                    self.note(k, step, &values)?;
                }
                Kind::Next(slot) => {
                    let values = moment.state(slot)?;
                    self.note(k, step, &values)?;
                }
                Kind::Output(slot) => {
                    let values = moment.output(slot)?;
                    self.note(k, step, &values)?;
                }
                Kind::Value(_) => match (moment.named(&probe.path), plan.places[k]) {
                    (Some(values), _) => self.note(k, step, &values)?,
                    (None, Some(place)) => {
                        self.sources[k] = Source::Reference;
                        let all = match computed.take() {
                            Some(all) => all,
                            None => self.computed(moment)?,
                        };
                        self.note(k, step, &all[place])?;
                        computed = Some(all);
                    }
                    (None, None) => {}
                },
                Kind::Action => {
                    let lanes = moment.lanes().iter();
                    let values: Vec<f64> = lanes.flat_map(|l| l.action(step)).copied().collect();
                    self.note(k, step, &values)?;
                }
                Kind::Reward => {
                    // A lane whose episode is over earns nothing.
                    let reward = |l: &LaneEpisode| l.rewards().get(step).copied();
                    let lanes = moment.lanes().iter();
                    let values: Vec<f64> = lanes.map(|l| reward(l).unwrap_or(0.0)).collect();
                    self.note(k, step, &values)?;
                }
            }
        }
        Ok(())
    }
}
