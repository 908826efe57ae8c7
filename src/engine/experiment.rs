//! A compiled spec: stages with their step and adjoint, and the programs that run them.
//!
//! Everybody who runs, prints, plans, measures or verifies a spec gets it from here, so that all of them mean the same step.
//! A spec of episodes is one stage. A text is cut into stages where kernels run it, and then every pass runs on each stage,
//! never on the step before it is cut; an executor runs a text as one stage.

use super::bptt::least_memory_interval;
use super::fused::{Fused, ProgramError, Unsupported};
use super::plan::{groups, Limits, Plan, Together};
use crate::ir::Graph;
use crate::step::autodiff::Options;
use crate::step::passes::{Applied, Form, Pass, Selection};
use crate::step::split::{split, Source, Split, Stage as Cut};
use crate::step::{prepare_through, Compiled, Horizon, InternalFault, Prepared, StageTime};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// The reason why a checked spec has no programs.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler failed.
    #[error(transparent)]
    Internal(#[from] InternalFault),
    /// The kernels do not know the network.
    #[error("{0}; `--backend candle` runs it without kernels")]
    Unsupported(#[from] Unsupported),
}

impl From<ProgramError> for CompileError {
    fn from(error: ProgramError) -> CompileError {
        match error {
            ProgramError::Unsupported(error) => CompileError::Unsupported(error),
            ProgramError::Internal(fault) => CompileError::Internal(fault),
        }
    }
}

/// The engine of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An executor, which evaluates step and adjoint as they are.
    Graphs,
    /// Kernels: of each lane, or of all rows where a stage of a text has no states.
    Kernels,
}

/// A spec as it is run.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The lifetime of its states.
    pub horizon: Horizon,
    /// The step of the spec before any pass: its slots are those of the stages together.
    pub step: Graph,
    /// The stages in the order in which they run.
    pub stages: Vec<Stage>,
    /// Values given from stage to stage and outputs of the network: elements of each, per lane and step.
    pub sizes: Vec<usize>,
    /// By output of the network: its number in `sizes`.
    pub outputs: Vec<usize>,
    /// The time of each part of the compilation.
    times: Vec<StageTime>,
}

/// A stage of an experiment.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The part of the step, before any pass, and what its slots are in the whole.
    pub cut: Cut,
    /// Step and adjoint after all passes.
    pub graphs: Prepared,
    /// The program that runs it.
    pub program: Program,
}

/// The program of a stage.
#[derive(Clone, Debug)]
pub enum Program {
    /// An executor.
    Graphs,
    /// All steps of all lanes at once: the stage has no states.
    Rows,
    /// Kernels, each lane from its first step to its last.
    Lanes(Arc<Fused>),
}

impl Experiment {
    /// A spec as it is trained.
    ///
    /// # Errors
    /// Faults of the compiler, and networks that the kernels do not know.
    pub fn trained(
        program: &Compiled,
        target: Target,
        passes: &Selection,
    ) -> Result<Experiment, CompileError> {
        let horizon = Horizon::of(&program.model);
        Experiment::new(&program.step, horizon, target, passes)
    }

    /// A step whose states are asked for by their names, episode by episode: those of the spec.
    ///
    /// # Errors
    /// The same as those of [`Experiment::trained`].
    pub fn observed(
        step: &Graph,
        target: Target,
        passes: &Selection,
    ) -> Result<Experiment, CompileError> {
        Experiment::new(step, Horizon::Observed, target, passes)
    }

    /// A step whose states are asked for by their names, with kernels that also compute the adjoints of the inputs.
    ///
    /// # Errors
    /// The same as those of [`Experiment::trained`].
    pub fn differentiable(step: &Graph, passes: &Selection) -> Result<Experiment, CompileError> {
        let parts = (Horizon::Observed, Target::Kernels);
        Experiment::prepared(step, parts, passes, None, true)?.with_programs(Target::Kernels)
    }

    /// A step whose states live as long as `horizon` says.
    ///
    /// # Errors
    /// The same as those of [`Experiment::trained`].
    pub fn new(
        step: &Graph,
        horizon: Horizon,
        target: Target,
        passes: &Selection,
    ) -> Result<Experiment, CompileError> {
        Experiment::of_graphs(step, horizon, target, passes, None)?.with_programs(target)
    }

    /// The experiment with the kernels of its stages, if kernels are its target.
    fn with_programs(mut self, target: Target) -> Result<Experiment, CompileError> {
        if target == Target::Kernels {
            let started = Instant::now();
            for stage in &mut self.stages {
                stage.compile()?;
            }
            self.took("kernels", started.elapsed().as_secs_f64());
        }
        Ok(self)
    }

    /// The same without programs, up to and with the pass `last` where one is given: its graphs are what is printed.
    ///
    /// # Errors
    /// Faults of the compiler.
    pub fn of_graphs(
        step: &Graph,
        horizon: Horizon,
        target: Target,
        passes: &Selection,
        last: Option<&Pass>,
    ) -> Result<Experiment, InternalFault> {
        Experiment::prepared(step, (horizon, target), passes, last, false)
    }

    /// The stages and plans of [`Experiment::of_graphs`]; `inputs` asks for the adjoints of the network's inputs.
    fn prepared(
        step: &Graph,
        (horizon, target): (Horizon, Target),
        passes: &Selection,
        last: Option<&Pass>,
        inputs: bool,
    ) -> Result<Experiment, InternalFault> {
        let started = Instant::now();
        let cut = match (horizon, target) {
            (Horizon::Chunks, Target::Kernels) => split(step).map_err(|error| InternalFault {
                stage: "splitting",
                faults: vec![error.to_string()],
            })?,
            _ => Split::whole(step),
        };
        let mut experiment = Experiment {
            horizon,
            step: step.clone(),
            stages: Vec::with_capacity(cut.stages.len()),
            sizes: cut.sizes,
            outputs: cut.outputs,
            times: Vec::new(),
        };
        if experiment.stages.capacity() > 1 {
            experiment.took("split", started.elapsed().as_secs_f64());
        }
        let mut passes = *passes;
        for cut in cut.stages {
            // The adjoint of what earlier stages give is always wanted.
            let earlier = |source: &Source| matches!(source, Source::Earlier(_));
            let inputs = inputs || cut.inputs.iter().any(earlier);
            let graphs = prepare_through(&cut.graph, Options { inputs }, &passes, horizon, last)?;
            if let Some(left) = passes.stop_after() {
                let spent: usize = graphs.passes.iter().map(|pass| pass.rewrites).sum();
                passes = passes.stopping_after(left.saturating_sub(spent));
            }
            for StageTime { stage, seconds } in &graphs.stages {
                experiment.took(stage, *seconds);
            }
            experiment.stages.push(Stage {
                cut,
                graphs,
                program: Program::Graphs,
            });
        }
        Ok(experiment)
    }

    /// The only stage of an experiment that is not cut; the first one of another.
    pub fn whole(&self) -> &Stage {
        self.stages
            .first()
            .expect("a step is cut into one stage at least")
    }

    /// Counts the time of a part of making it.
    pub fn took(&mut self, stage: &'static str, seconds: f64) {
        match self.times.iter_mut().find(|time| time.stage == stage) {
            Some(time) => time.seconds += seconds,
            None => self.times.push(StageTime { stage, seconds }),
        }
    }

    /// The time of each part of the compilation, all stages together.
    pub fn times(&self) -> &[StageTime] {
        &self.times
    }

    /// The work of each pass, all stages together.
    pub fn applied(&self) -> Vec<Applied> {
        let mut all: Vec<Applied> = Vec::new();
        for applied in self.stages.iter().flat_map(|stage| &stage.graphs.passes) {
            match all.iter_mut().find(|known| known.pass == applied.pass) {
                Some(known) => known.absorb(applied),
                None => all.push(*applied),
            }
        }
        all
    }

    /// The form of each trace with the reason; empty where no pass chose one.
    pub fn forms(&self) -> impl Iterator<Item = &Form> {
        self.stages.iter().flat_map(|stage| &stage.graphs.forms)
    }

    /// The plan for some lanes of some steps on some threads.
    pub fn plan(&self, [lanes, steps]: [usize; 2], threads: usize, limits: Limits) -> Plan {
        let Stage {
            graphs, program, ..
        } = self.whole();
        match (self.horizon, program) {
            (Horizon::Chunks, Program::Graphs) => {
                let mut plan = Plan::batched(&graphs.step, &graphs.adjoint, lanes, steps);
                // All lanes of a text go in step.
                plan.together = Together::Blocks(vec![plan.lanes]);
                plan
            }
            (_, Program::Graphs) => Plan::batched(&graphs.step, &graphs.adjoint, lanes, steps),
            (Horizon::Chunks, _) | (_, Program::Rows) => {
                Plan::staged(&self.step, lanes, steps, self.chunk_bytes(lanes, steps))
            }
            (_, Program::Lanes(fused)) => {
                Plan::lane_major(&graphs.step, fused, lanes, steps, threads, limits)
            }
        }
    }

    /// Bytes of a chunk in stages: what is kept of every lane, and of all rows.
    fn chunk_bytes(&self, lanes: usize, steps: usize) -> u64 {
        let interval = least_memory_interval(steps);
        let rows = (lanes * steps) as u64;
        let tables: u64 = self.sizes.iter().map(|size| *size as u64).sum();
        let of_lanes = self.stages.iter().map(|stage| match &stage.program {
            Program::Graphs | Program::Rows => 0,
            Program::Lanes(fused) => {
                let bytes = fused.bytes(steps, fused.interval(interval));
                let lane = bytes.records + bytes.traces + bytes.working;
                let sums = bytes.sums * groups(lanes) as u64;
                bytes.shared + sums + lane * lanes as u64
            }
        });
        // Each value and its adjoint.
        of_lanes.sum::<u64>() + 2 * 4 * rows * tables
    }

    /// The programs as text.
    pub fn listing(&self) -> String {
        let mut out = String::new();
        let several = self.stages.len() > 1 || matches!(self.whole().program, Program::Rows);
        for (k, stage) in self.stages.iter().enumerate() {
            let text = stage.listing();
            match several {
                true => writeln!(out, "stage {k}: {}\n\n{text}", stage.program.title())
                    .expect("writing to a string"),
                false => out.push_str(&text),
            }
        }
        out
    }

    /// The instructions of each sweep for 8 connections in 256-bit code for x86-64, as text.
    #[cfg(all(target_arch = "x86_64", unix))]
    pub fn instructions(&self) -> String {
        let stages = self.stages.iter();
        let texts = stages.filter_map(|stage| match &stage.program {
            Program::Lanes(fused) => Some(fused.instructions()),
            Program::Graphs | Program::Rows => None,
        });
        texts.collect()
    }

    /// Step and adjoint of each stage as text, after the forms of traces.
    pub fn graphs(&self) -> String {
        let mut out = String::new();
        for form in self.forms() {
            writeln!(out, "// {form}").expect("writing to a string");
        }
        if !out.is_empty() {
            out.push('\n');
        }
        for (k, stage) in self.stages.iter().enumerate() {
            let Prepared { step, adjoint, .. } = &stage.graphs;
            if self.stages.len() > 1 {
                writeln!(out, "// stage {k}\n").expect("writing to a string");
            }
            write!(out, "// step\n\n{step}\n// adjoint\n\n{adjoint}").expect("writing to a string");
            if k + 1 < self.stages.len() {
                out.push('\n');
            }
        }
        out
    }
}

impl Stage {
    fn compile(&mut self) -> Result<(), CompileError> {
        let Prepared {
            step,
            adjoint,
            choices,
            ..
        } = &self.graphs;
        self.program = match self.cut.recurrent {
            true => Program::Lanes(Arc::new(Fused::with(step, adjoint, *choices)?)),
            false => Program::Rows,
        };
        Ok(())
    }

    /// The kernels of a stage whose lanes run one by one.
    pub fn fused(&self) -> Option<&Arc<Fused>> {
        match &self.program {
            Program::Lanes(fused) => Some(fused),
            Program::Graphs | Program::Rows => None,
        }
    }

    fn listing(&self) -> String {
        match &self.program {
            Program::Lanes(fused) => fused.listing(),
            Program::Graphs | Program::Rows => {
                let Prepared { step, adjoint, .. } = &self.graphs;
                format!("{step}\n// adjoint\n\n{adjoint}")
            }
        }
    }
}

impl Program {
    fn title(&self) -> &'static str {
        match self {
            Program::Graphs => "operation by operation",
            Program::Rows => "all steps of all lanes at once",
            Program::Lanes(_) => "step by step, some lanes at a time",
        }
    }
}
