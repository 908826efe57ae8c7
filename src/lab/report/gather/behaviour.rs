//! The behaviour of a trained network in fresh episodes: its rewards, modulators and traces, and the effect
//! of ablations.

use super::alignment::{around, perceived, Average, Course};
use super::traces::{bounds, distribution, Distribution};
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

/// The number of episodes whose modulators are shown over time.
const SHOWN: usize = 3;
/// The number of episodes whose traces are analysed.
const TRACED: usize = 8;

/// The behaviour of one network.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The iteration of the checkpoint.
    pub iteration: u64,
    /// The number of episodes.
    pub episodes: usize,
    /// The loss of a batch.
    pub loss: f64,
    /// The name of the measure that the statistics describe.
    pub measure: Option<String>,
    /// The statistics of the measure over all episodes.
    pub statistics: Option<Statistics>,
    /// The rewards over steps and trials.
    pub curves: Curves,
    /// The modulators, in the order of the spec.
    pub modulators: Vec<Modulator>,
    /// The first episodes.
    pub timeline: Vec<Episode>,
    /// True if the task gives rewards.
    pub rewarded: bool,
    /// The traces, in the order of the spec.
    pub traces: Vec<Trace>,
    /// The ablations; `None` if they were not asked for.
    pub ablations: Option<Vec<Ablated>>,
}

/// One modulator around rewards.
#[derive(Clone, Debug)]
pub struct Modulator {
    /// The name.
    pub name: String,
    /// The number of elements, whose mean is analysed.
    pub elements: usize,
    /// The average around rewards above 0.
    pub positive: Average,
    /// The average around rewards below 0.
    pub negative: Average,
}

/// One trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The path.
    pub path: String,
    /// The numbers of presynaptic and postsynaptic neurons.
    pub shape: (usize, usize),
    /// The values at the end of the first episode, `[pre, post]`.
    pub end: Vec<f64>,
    /// The mean absolute value over the connections and some episodes, by step.
    pub sizes: Vec<f64>,
    /// The distribution of the values at the end of these episodes.
    pub distribution: Distribution,
    /// The number of these episodes.
    pub episodes: usize,
}

/// The network with one part taken away.
#[derive(Clone, Debug)]
pub struct Ablated {
    /// The ablation.
    pub ablation: Ablation,
    /// The loss of a batch.
    pub loss: f64,
    /// The statistics of the measure over all episodes.
    pub statistics: Option<Statistics>,
    /// The effect on the measure.
    pub effect: Effect,
}

/// Returns true if a network runs in episodes.
pub fn has_episodes(program: &Compiled) -> bool {
    let train = program.model.train.as_ref();
    train.is_some_and(|train| train.trainer.kind != TrainerKind::Language)
}

/// The ablations that the report shows: each modulator frozen and shuffled, the traces reset in the middle of
/// an episode, each `alpha` set to 0.
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

/// Runs the network of a run; `tell` is told the next stage.
///
/// # Errors
/// Fails if the checkpoint cannot be read or run.
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
    let (intact, observers) =
        evaluator.watched(wanted, |number, first, count| BehaviourObserver {
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
        measure: intact.measure.clone(),
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

/// An observer of one block of lanes.
struct BehaviourObserver<'a> {
    recorder: Option<Recorder<'a>>,
    traces: Option<Traced>,
}

/// The stored traces of some lanes.
struct Traced {
    slots: Vec<usize>,
    steps: usize,
    lanes: usize,
    /// The mean absolute value over the connections, summed over lanes, by trace and step.
    sizes: Vec<Vec<f64>>,
    /// The values after the last step, by trace, lanes in sequence.
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

impl Observer for BehaviourObserver<'_> {
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
        // Traces are large, and a few lanes are enough.
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

/// Analyses trace `k` of the stored ones.
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
        distribution: distribution(&ends, bounds(&program.model, slot)),
        episodes: noted,
    }
}
