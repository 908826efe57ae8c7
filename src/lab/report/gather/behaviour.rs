//! What a trained network does in fresh episodes: its rewards, modulators and traces, and what is left without parts
//! of it.

use super::alignment::{around, perceived, Average, Course};
use super::traces::{bounds, spread, Spread};
use crate::engine::BackendError;
use crate::lab::evaluation::{Ablation, Curves, Effect, Evaluator, Outcome, Statistics, Wanted};
use crate::lab::replay::{probes, Probe, RecordPlan, Recorder};
use crate::lab::report::figures::timeline::Episode;
use crate::lab::report::{Options, ReportError};
use crate::lab::run::OpenedRun;
use crate::lang::catalog::TrainerKind;
use crate::lang::sema::model::DefKind;
use crate::learn::episodes::{Moment, Observer};
use crate::step::Compiled;

/// Episodes whose modulators are shown over time.
const SHOWN: usize = 3;
/// Episodes whose traces are looked at.
const TRACED: usize = 8;

/// What a network does.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Iterations of the checkpoint.
    pub iteration: u64,
    /// How many episodes were run.
    pub episodes: usize,
    /// Loss of a batch.
    pub loss: f64,
    /// What the statistics are of.
    pub measure: Option<&'static str>,
    /// Of the measure of all episodes.
    pub statistics: Option<Statistics>,
    /// Rewards over steps and trials.
    pub curves: Curves,
    /// Modulators, in the order of the spec.
    pub modulators: Vec<Modulator>,
    /// The first episodes.
    pub timeline: Vec<Episode>,
    /// Whether the task gives rewards.
    pub rewarded: bool,
    /// Traces, in the order of the spec.
    pub traces: Vec<Trace>,
    /// The network with parts taken away; `None` where that was not asked for.
    pub ablations: Option<Vec<Ablated>>,
}

/// What a modulator does around rewards.
#[derive(Clone, Debug)]
pub struct Modulator {
    /// Its name.
    pub name: String,
    /// How many elements it has; their mean is looked at.
    pub elements: usize,
    /// Around rewards above 0.
    pub positive: Average,
    /// Around rewards below 0.
    pub negative: Average,
}

/// A trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its path.
    pub path: String,
    /// Presynaptic and postsynaptic neurons.
    pub shape: (usize, usize),
    /// Its values at the end of the first episode, `[pre, post]`.
    pub end: Vec<f64>,
    /// Mean size over the connections and some episodes, by step.
    pub sizes: Vec<f64>,
    /// How the values at the end of these episodes are spread.
    pub spread: Spread,
    /// How many episodes these are.
    pub episodes: usize,
}

/// The network with a part taken away.
#[derive(Clone, Debug)]
pub struct Ablated {
    /// What is taken away.
    pub ablation: Ablation,
    /// Loss of a batch.
    pub loss: f64,
    /// Of the measure of all episodes.
    pub statistics: Option<Statistics>,
    /// What it did to the measure.
    pub effect: Effect,
}

/// Whether a network can be run in episodes.
pub fn has_episodes(program: &Compiled) -> bool {
    let train = program.model.train.as_ref();
    train.is_some_and(|train| train.trainer.kind != TrainerKind::Language)
}

/// Every part of a network that is worth taking away: each modulator's changes and timing, the memory of the traces in
/// the middle of an episode, each `alpha`.
pub fn ablations(program: &Compiled) -> Vec<Ablation> {
    let model = &program.model;
    let mut all = Vec::new();
    for definition in &model.definitions {
        if definition.kind == DefKind::Modulator {
            let name = || Some(definition.path.clone());
            all.extend([Ablation::Freeze(name()), Ablation::Shuffle(name())]);
        }
    }
    let steps = model.task.as_ref().map_or(0, |task| task.ports.steps);
    if program.step.states.iter().any(|state| state.trace) && steps > 1 {
        all.push(Ablation::Reset(steps / 2));
    }
    let alphas = program.step.params.iter().filter(|slot| {
        let last = slot.path.rsplit('.').next();
        last == Some("alpha")
    });
    all.extend(alphas.map(|slot| Ablation::Parameter {
        path: slot.path.clone(),
        value: 0.0,
    }));
    all
}

/// Runs the network of a run. `tell` is told what comes next.
///
/// # Errors
/// Where its checkpoint cannot be read or run.
pub fn observe(
    opened: &OpenedRun,
    options: &Options,
    tell: &mut dyn FnMut(&str),
) -> Result<Behaviour, ReportError> {
    let program = opened.program()?;
    let checkpoint = opened.checkpoint(options.checkpoint)?;
    let parameters = opened.parameters(&checkpoint)?;
    let model = &program.model;
    let batch = model
        .train
        .as_ref()
        .map_or(1, |train| train.settings.int("batch"))
        .max(1);
    let steps = model.task.as_ref().map_or(0, |task| task.ports.steps);
    let is_modulator = |probe: &Probe| {
        let mut definitions = model.definitions.iter();
        definitions.any(|one| one.kind == DefKind::Modulator && one.path == probe.name)
    };
    let watched: Vec<Probe> = probes(program).into_iter().filter(is_modulator).collect();
    let lanes: Vec<usize> = (0..batch).collect();
    let plan = RecordPlan::new(program, &parameters, &watched, &lanes, false);
    let mut evaluator = Evaluator::new(program, opened.options(options.threads), parameters)?;
    let states = program.step.states.iter().enumerate();
    let slots: Vec<usize> = states.filter(|(_, s)| s.trace).map(|(k, _)| k).collect();
    let wanted = Wanted {
        episodes: options.episodes,
        greedy: false,
        seed: opened.manifest.seed,
    };
    tell("episodes of the whole network");
    let (intact, observers) = evaluator.watched(wanted, |number, first, count| Watch {
        recorder: (!watched.is_empty()).then(|| plan.recorder(first, count)),
        traces: (number == 0).then(|| Traced::new(&slots, steps)),
    })?;
    let mut courses: Vec<Vec<Vec<f64>>> = vec![Vec::new(); watched.len()];
    let mut traced = Vec::new();
    for watches in observers {
        let mut recorders = Vec::new();
        for watch in watches {
            recorders.extend(watch.recorder);
            traced.extend(watch.traces);
        }
        if recorders.is_empty() {
            continue;
        }
        for (series, courses) in plan.series(recorders, steps).iter().zip(&mut courses) {
            let width = series.dims.iter().product::<usize>().max(1);
            for lane in 0..batch {
                let course = (0..steps).map(|step| {
                    let from = (step * batch + lane) * width;
                    series.values[from..from + width].iter().sum::<f64>() / width as f64
                });
                courses.push(course.collect());
            }
        }
    }
    let seen: Vec<Vec<f64>> = intact
        .episodes
        .iter()
        .map(|e| perceived(&e.rewards))
        .collect();
    let rewarded = seen.iter().any(|episode| !episode.is_empty());
    let modulators = watched.iter().zip(&courses).map(|(probe, courses)| {
        let courses: Vec<Course<'_>> = courses
            .iter()
            .zip(&seen)
            .map(|(modulator, perceived)| Course {
                modulator,
                perceived,
            })
            .collect();
        Modulator {
            name: probe.name.clone(),
            elements: probe.dims.iter().product::<usize>().max(1),
            positive: around(&courses, |reward| reward > 0.0),
            negative: around(&courses, |reward| reward < 0.0),
        }
    });
    let modulators: Vec<Modulator> = modulators.collect();
    let timeline = (0..SHOWN.min(intact.episodes.len())).map(|k| Episode {
        modulators: courses
            .iter()
            .filter_map(|all| all.get(k).cloned())
            .collect(),
        perceived: match seen.get(k) {
            Some(seen) if !seen.is_empty() => seen.clone(),
            _ => vec![0.0; steps],
        },
    });
    let timeline: Vec<Episode> = timeline.collect();
    let traces = slots.iter().enumerate();
    let traces = traces
        .map(|(k, slot)| trace(program, *slot, k, &traced))
        .collect();
    let ablations = match options.ablations {
        true => Some(ablated(&mut evaluator, program, &intact, wanted, tell)?),
        false => None,
    };
    Ok(Behaviour {
        iteration: checkpoint.header.iteration,
        episodes: intact.episodes.len(),
        loss: intact.loss,
        measure: intact.measure,
        statistics: Statistics::of(&intact.values),
        curves: intact.curves(),
        modulators,
        timeline,
        rewarded,
        traces,
        ablations,
    })
}

fn ablated(
    evaluator: &mut Evaluator<'_>,
    program: &Compiled,
    intact: &Outcome,
    wanted: Wanted,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Ablated>, ReportError> {
    let mut all = Vec::new();
    for ablation in ablations(program) {
        tell(&format!("episodes with {ablation}"));
        let outcome = evaluator.ablated(&ablation, wanted)?;
        all.push(Ablated {
            loss: outcome.loss,
            statistics: Statistics::of(&outcome.values),
            effect: Effect::of(intact, &outcome),
            ablation,
        });
    }
    Ok(all)
}

/// One who looks at some lanes.
struct Watch<'a> {
    recorder: Option<Recorder<'a>>,
    traces: Option<Traced>,
}

/// Notes the traces of some lanes.
struct Traced {
    slots: Vec<usize>,
    steps: usize,
    lanes: usize,
    /// By trace and step: the sum over lanes of the mean size over the connections.
    sizes: Vec<Vec<f64>>,
    /// By trace: the values after the last step, lane by lane.
    ends: Vec<Vec<f64>>,
}

impl Traced {
    fn new(slots: &[usize], steps: usize) -> Traced {
        Traced {
            slots: slots.to_vec(),
            steps,
            lanes: 0,
            sizes: vec![Vec::new(); slots.len()],
            ends: vec![Vec::new(); slots.len()],
        }
    }
}

impl Observer for Watch<'_> {
    fn before(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        match &mut self.recorder {
            Some(recorder) => recorder.before(moment),
            None => Ok(()),
        }
    }

    fn after(&mut self, moment: &mut Moment<'_>) -> Result<(), BackendError> {
        if let Some(recorder) = &mut self.recorder {
            recorder.after(moment)?;
        }
        // Traces are large, and a few lanes show how they are.
        if let Some(traced) = self
            .traces
            .as_mut()
            .filter(|_| moment.first_lane() < TRACED)
        {
            traced.lanes = moment.lanes().len();
            for (k, slot) in traced.slots.iter().enumerate() {
                let values = moment.state(*slot)?;
                let sum: f64 = values.iter().map(|x| x.abs()).sum();
                let connections = (values.len() / traced.lanes.max(1)).max(1);
                traced.sizes[k].push(sum / connections as f64);
                if moment.step() + 1 == traced.steps {
                    traced.ends[k] = values;
                }
            }
        }
        Ok(())
    }
}

/// Trace number `k` of those that were noted.
fn trace(program: &Compiled, slot: usize, k: usize, traced: &[Traced]) -> Trace {
    let state = &program.step.states[slot];
    let connections: usize = state.dims.iter().product::<usize>().max(1);
    let post = state.dims.last().copied().unwrap_or(1);
    let noted: usize = traced.iter().map(|one| one.lanes).sum();
    let steps = traced
        .iter()
        .map(|one| one.sizes[k].len())
        .max()
        .unwrap_or(0);
    let mut sizes = vec![0.0; steps];
    for one in traced {
        for (sum, size) in sizes.iter_mut().zip(&one.sizes[k]) {
            *sum += size / noted.max(1) as f64;
        }
    }
    let ends: Vec<f64> = traced
        .iter()
        .flat_map(|one| one.ends[k].iter().copied())
        .collect();
    let end = ends.get(..connections).unwrap_or_default().to_vec();
    Trace {
        path: state.path.clone(),
        shape: (connections / post.max(1), post),
        end,
        sizes,
        spread: spread(&ends, bounds(&program.model, slot)),
        episodes: noted,
    }
}
