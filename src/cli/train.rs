//! The command `bpmc train`.

use super::options::{Backend, Devices, Overrides, Passes, Threads};
use super::progress::{Display, Progress};
use super::screen::{emergency, Screen};
use super::{device, spec, timing, Failure, Outcome};
use anyhow::Context;
use bpmc::lab::run::{
    find_checkpoint, Ending, OnNan, Run, RunError, RunLocation, RunOptions, Which, METRICS,
};
use bpmc::lab::shell::quoted;
use bpmc::learn::trainer::TrainerOptions;
use bpmc::machine::device::DeviceChoice;
use bpmc::step::passes::Selection;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// The default parent directory of runs.
const RUNS: &str = "runs";

const AFTER_HELP: &str = "\
Examples:
  bpmc train specs/quickstart.bpm
  bpmc train agent.bpm --out runs/agent --seed 3 --threads 2
  bpmc train agent.bpm --out runs/agent --seed 3 --resume
  bpmc train agent.bpm --set train.iterations=1000 --set train.optimizer.lr=3e-4
  bpmc train agent.bpm --on-nan rollback --tensorboard

The same spec and seed give bit-identical results with any number of threads. Ctrl-C or SIGTERM
ends the run after the current iteration, saves it and exits with status 130; a second one exits
at once, and the last checkpoint remains.";

/// Train the network of a spec.
///
/// Shows a progress bar, or plain lines if the output is not a terminal, and writes metrics and checkpoints
/// into the run directory.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The spec
    pub spec: PathBuf,

    /// Run directory [default: runs/ with name and seed of the spec, as in runs/agent-0]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Continue the run in the directory
    #[arg(long)]
    pub resume: bool,

    #[command(flatten)]
    pub threads: Threads,

    #[command(flatten)]
    pub devices: Devices,

    /// Seed of the run: initial weights, episodes, actions and noise [default: train.seed of the spec]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    #[command(flatten)]
    pub overrides: Overrides,

    /// Backend that runs the compiled program [default: fused; candle for `--opt 0`]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,

    #[command(flatten)]
    pub passes: Passes,

    /// Reaction to a loss, gradient or parameter that is not finite
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = NotFinite::Stop)]
    pub on_nan: NotFinite,

    /// Also write metrics for TensorBoard, events.out.tfevents.* in the run directory
    #[arg(long)]
    pub tensorboard: bool,

    /// Directory of the text for `train language_model`: train.txt, valid.txt and test.txt, or ptb.train.txt
    /// and so on [default: generated text]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,

    /// Stop as for Ctrl-C when standard input ends, as it does when the parent process ends
    #[arg(long, hide = true)]
    pub stop_on_end_of_input: bool,
}

/// The reaction to non-finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NotFinite {
    /// Stop, and name the equation in which it began
    Stop,
    /// Skip the iteration
    Skip,
    /// Return to the last checkpoint and continue with other episodes
    Rollback,
}

impl NotFinite {
    fn kind(self) -> OnNan {
        match self {
            NotFinite::Stop => OnNan::Stop,
            NotFinite::Skip => OnNan::Skip,
            NotFinite::Rollback => OnNan::Rollback,
        }
    }
}

/// Trains and shows the progress.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let mut set = arguments.overrides.set.clone();
    set.extend(arguments.seed.map(|seed| format!("train.seed={seed}")));
    let selection = arguments.passes.selection(Selection::default())?;
    let backend = arguments.backend.unwrap_or(Backend::usual(&selection));
    let compilation = spec::compile(&arguments.spec, &set)?;
    let program = spec::program(&compilation, screen)?;
    let threads = arguments.threads.count();
    let trainer = TrainerOptions {
        threads,
        backend: backend.kind(),
        device: DeviceChoice::CPU,
        passes: selection,
        memory: bpmc::machine::memory::free(),
    };
    let device = device::choose(&arguments.devices, program, trainer, screen)?;
    let options = RunOptions {
        spec: arguments.spec.display().to_string(),
        overrides: set,
        location: location(arguments),
        resume: arguments.resume,
        threads,
        backend: backend.kind(),
        device,
        passes: selection,
        memory: bpmc::machine::memory::free(),
        on_nan: arguments.on_nan.kind(),
        tensorboard: arguments.tensorboard,
        data: arguments.data.clone(),
    };
    let mut run = Run::prepare(&compilation, &options).map_err(anyhow::Error::new)?;
    if arguments.passes.time_passes {
        let trainer = run.trainer();
        screen.say(&timing::table(
            &compilation,
            trainer.experiment(),
            trainer.times(),
        ));
    }
    let directory = run.directory().to_owned();
    let (done, total) = (run.trainer().iteration(), run.manifest().iterations_planned);
    if !arguments.quiet {
        screen.say(&start(&run, arguments.resume));
    }
    let stop = stop_on_interrupt()?;
    if arguments.stop_on_end_of_input {
        stop_on_end_of_input(&stop);
    }
    let mut display = Display::new(screen, done, total, arguments.quiet);
    let ending = run.train(&stop, &mut |report, elapsed| {
        display.update(&Progress {
            iteration: report.iteration,
            total,
            reward: report.reward,
            score: report.score,
            loss: report.loss,
            gradient_norm: report.gradient_norm,
            elapsed,
        });
    });
    let mean = display.mean();
    drop(display);
    let ending = ending.map_err(|error| {
        if let RunError::NotFinite(located) = &error {
            screen.show(&located.findings, &located.sources);
        }
        anyhow::Error::new(error).context(format!("the run in {} stopped", directory.display()))
    })?;
    let mean = mean.map_or(String::new(), |mean| format!(", {mean}"));
    let incidents = &run.manifest().not_finite;
    if let Some(last) = incidents.last() {
        screen.say(&format!(
            "warning: a number was not finite {} time(s), the last in {}; run.yaml has them all",
            incidents.len(),
            last.found
        ));
    }
    let test = run.manifest().test.as_ref().map_or(String::new(), |test| {
        format!(
            "test        perplexity {:.2}, {:.3} bits per word, {} words; parameters of iteration {}\n",
            test.perplexity, test.bits_per_word, test.words, test.iteration
        )
    });
    match ending {
        Ending::Finished => screen.print(&format!(
            "{total} iterations done{mean}\n{test}metrics     {}\ncheckpoint  {}\n",
            directory.join(METRICS).display(),
            find_checkpoint(&directory, Which::Last)
                .map_err(anyhow::Error::new)?
                .display()
        )),
        Ending::Interrupted => {
            let done = run.trainer().iteration();
            screen.say(&format!(
                "interrupted after {done} of {total} iterations{mean}; go on with\n  {}",
                resume_line(arguments, selection, device, &directory)
            ));
            Err(Failure::Interrupted)
        }
    }
}

fn location(arguments: &Arguments) -> RunLocation {
    match &arguments.out {
        Some(path) => RunLocation::At(path.clone()),
        None => RunLocation::Under {
            parent: PathBuf::from(RUNS),
            stem: arguments
                .spec
                .file_stem()
                .map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into()),
        },
    }
}

fn start(run: &Run, resumed: bool) -> String {
    let manifest = run.manifest();
    let trainer = run.trainer();
    let doing = if resumed {
        format!("resuming after iteration {}", trainer.iteration())
    } else {
        "training".to_owned()
    };
    let threads = match manifest.threads {
        _ if manifest.device != "cpu" => manifest.device.clone(),
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    format!(
        "{doing}: {}, {} parameters, batch {}, {} on {threads}, seed {}\nin {}",
        manifest.name,
        trainer.parameters().numel(),
        trainer.batch(),
        manifest.backend,
        manifest.seed,
        run.directory().display()
    )
}

/// A flag that the first Ctrl-C (or SIGTERM) sets; the second one ends the process at once.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            #[expect(clippy::exit, reason = "the user asked twice, the checkpoint is whole")]
            std::process::exit(130);
        }
        emergency("\nstopping after this iteration; again to stop at once\n");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

fn stop_on_end_of_input(stop: &Arc<AtomicBool>) {
    let flag = Arc::clone(stop);
    std::thread::spawn(move || {
        // The input does not matter; an error counts as its end.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        flag.store(true, Ordering::Relaxed);
    });
}

/// The command that resumes a run.
fn resume_line(
    arguments: &Arguments,
    passes: Selection,
    run_device: DeviceChoice,
    directory: &Path,
) -> String {
    let mut words = vec![
        "bpmc train".to_owned(),
        quoted(&arguments.spec.display().to_string()),
        "--resume --out".to_owned(),
        quoted(&directory.display().to_string()),
    ];
    for set in &arguments.overrides.set {
        words.push(format!("--set {}", quoted(set)));
    }
    words.extend(arguments.seed.map(|seed| format!("--seed {seed}")));
    if let Some(data) = &arguments.data {
        words.push(format!("--data {}", quoted(&data.display().to_string())));
    }
    if let Some(backend) = arguments.backend {
        words.push(format!("--backend {}", backend.kind().name()));
    }
    words.extend(device::words(run_device));
    if passes != Selection::default() {
        words.push(passes.to_string());
    }
    if let Some(value) = arguments
        .on_nan
        .to_possible_value()
        .filter(|_| arguments.on_nan != NotFinite::Stop)
    {
        words.push(format!("--on-nan {}", value.get_name()));
    }
    if arguments.tensorboard {
        words.push("--tensorboard".to_owned());
    }
    words.join(" ")
}
