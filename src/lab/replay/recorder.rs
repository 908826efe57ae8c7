//! Notes the values of probes while episodes run.

use super::probes::{Kind, Probe};
use super::{Series, Source};
use crate::engine::reference::{evaluate, Leaves};
use crate::engine::BackendError;
use crate::ir::{Graph, OutputId, ResultKind};
use crate::lang::sema::model::DefId;
use crate::learn::episodes::{Moment, Observer};
use crate::step::lower::{lower_with, Changes};
use crate::step::Compiled;

/// What is to be recorded, and how.
pub struct RecordPlan {
    probes: Vec<Probe>,
    lanes: Vec<usize>,
    parameters: Vec<Vec<f64>>,
    /// Computes values that are neither states nor outputs.
    values: Graph,
    /// By probe: its output in `values`.
    places: Vec<Option<usize>>,
    wide: bool,
}

/// One who notes values of some lanes.
pub struct Recorder<'a> {
    plan: &'a RecordPlan,
    /// Positions, among the lanes it sees, of those to record.
    mine: Vec<usize>,
    /// Positions of these among all lanes to record.
    rows: Vec<usize>,
    count: usize,
    /// States that entered the step, where the reference needs them.
    entering: Vec<Vec<f64>>,
    /// By probe: `[steps, lanes, dims...]` of the lanes to record.
    notes: Vec<Vec<f64>>,
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
        let wanted: Vec<DefId> = probes
            .iter()
            .filter_map(|probe| match probe.kind {
                Kind::Value(id) => Some(id),
                _ => None,
            })
            .collect();
        let changes = Changes {
            shown: wanted,
            given: Vec::new(),
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
                let values = probes.iter().filter(|p| matches!(p.kind, Kind::Value(_)));
                values.clone().any(|probe| probe.name == *path)
            })
            .filter_map(|(id, path)| Some((*id, path, values.result(ResultKind::Output(*id))?)))
            .collect();
        let places = probes
            .iter()
            .map(|probe| found.iter().position(|(_, path, _)| **path == probe.name))
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
            wide,
        }
    }

    /// Bytes that a recording of so many steps takes.
    pub fn bytes(&self, steps: usize) -> u64 {
        let elements = self.probes.iter().map(|probe| {
            let dims = probe.dims.iter();
            dims.fold(8u64, |n, dim| n.saturating_mul(*dim as u64))
        });
        let step: u64 = elements.fold(0, u64::saturating_add);
        step.saturating_mul(self.lanes.len() as u64)
            .saturating_mul(steps as u64)
    }

    /// One who looks at `count` lanes from `first`.
    pub fn recorder(&self, first: usize, count: usize) -> Recorder<'_> {
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
            notes: vec![Vec::new(); self.probes.len()],
            sources: vec![Source::Run; self.probes.len()],
        }
    }

    /// What was noted in one batch of episodes of so many steps.
    pub fn series(&self, recorders: Vec<Recorder<'_>>, steps: usize) -> Vec<Series> {
        self.probes
            .iter()
            .enumerate()
            .map(|(k, probe)| {
                let width: usize = probe.dims.iter().product();
                let mut values = vec![0.0; steps * self.lanes.len() * width];
                let mut source = Source::Run;
                for recorder in &recorders {
                    if recorder.sources[k] == Source::Reference {
                        source = Source::Reference;
                    }
                    let seen = recorder.mine.len();
                    for (here, there) in recorder.rows.iter().enumerate() {
                        for step in 0..steps {
                            let from = (step * seen + here) * width;
                            let to = (step * self.lanes.len() + there) * width;
                            values[to..to + width]
                                .copy_from_slice(&recorder.notes[k][from..from + width]);
                        }
                    }
                }
                Series {
                    name: probe.name.clone(),
                    dims: probe.dims.clone(),
                    values,
                    source,
                }
            })
            .collect()
    }
}

impl Recorder<'_> {
    fn note(&mut self, probe: usize, values: &[f64]) {
        let width = values.len() / self.count.max(1);
        for lane in &self.mine {
            self.notes[probe].extend(&values[lane * width..(lane + 1) * width]);
        }
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

impl Observer for Recorder<'_> {
    fn before(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        if self.mine.is_empty() {
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
                Kind::State(slot) => {
                    let values = moment.state(slot)?;
                    self.note(k, &values);
                }
                Kind::Trial => {
                    let lanes = moment.lanes().iter();
                    let values: Vec<f64> = lanes
                        .map(|lane| f64::from(u8::from(lane.trial_starts())))
                        .collect();
                    self.note(k, &values);
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
        if self.mine.is_empty() {
            return Ok(());
        }
        let plan = self.plan;
        let step = moment.step();
        let mut computed: Option<Vec<Vec<f64>>> = None;
        for (k, probe) in plan.probes.iter().enumerate() {
            match probe.kind {
                Kind::State(_) | Kind::Trial => {}
                Kind::Input(slot) => {
                    let values = moment.given().inputs[slot].clone();
                    self.note(k, &values);
                }
                Kind::Noise(slot) => {
                    let values = moment.given().noises[slot].clone();
                    self.note(k, &values);
                }
                Kind::Next(slot) => {
                    let values = moment.state(slot)?;
                    self.note(k, &values);
                }
                Kind::Output(slot) => {
                    let values = moment.output(slot)?;
                    self.note(k, &values);
                }
                Kind::Value(_) => match (moment.named(&probe.name), plan.places[k]) {
                    (Some(values), _) => self.note(k, &values),
                    (None, Some(place)) => {
                        self.sources[k] = Source::Reference;
                        let all = match computed.take() {
                            Some(all) => all,
                            None => self.computed(moment)?,
                        };
                        self.note(k, &all[place]);
                        computed = Some(all);
                    }
                    (None, None) => {}
                },
                Kind::Action => {
                    let lanes = moment.lanes().iter();
                    let values: Vec<f64> = lanes.map(|l| l.actions()[step] as f64).collect();
                    self.note(k, &values);
                }
                Kind::Reward => {
                    let values: Vec<f64> =
                        moment.lanes().iter().map(|l| l.rewards()[step]).collect();
                    self.note(k, &values);
                }
            }
        }
        Ok(())
    }
}
