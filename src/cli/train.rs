//! The command `bpmc train`.

use super::options::{Backend, Devices, Overrides, Passes, Threads};
use super::progress::{Display, Progress};
use super::screen::{emergency, Screen};
use super::{device, spec, timing, Failure, Outcome};
use crate::lab::run::{
    find_checkpoint, open, Ending, Init, OnNan, Run, RunError, RunLocation, RunOptions, Which,
    METRICS, SPEC,
};
use crate::lab::shell::quoted;
use crate::learn::trainer::{BackendKind, TrainerOptions};
use crate::machine::device::DeviceChoice;
use crate::step::passes::Selection;
use anyhow::Context;
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
  bpmc train --resume runs/agent --iterations 20000
  bpmc train --resume runs/agent --change --set train.optimizer.lr=1e-4
  bpmc train agent.bpm --init runs/other --init-partial
  bpmc train agent.bpm --set train.iterations=1000 --set train.optimizer.lr=3e-4
  bpmc train agent.bpm --on-nan rollback --tensorboard

The same spec and seed give bit-identical results with any number of threads. Ctrl-C or SIGTERM \
ends the run after the current iteration, saves it and exits with status 130; a second one exits \
at once, and the last checkpoint remains.";

/// Train the network of a spec.
///
/// Shows a progress bar, or plain lines if the output is not a terminal, and writes metrics and checkpoints
/// into the run directory.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The spec, or with `--resume` the directory of a run: its own spec and settings then apply
    pub spec: PathBuf,

    /// Run directory [default: runs/ with name and seed of the spec, as in runs/agent-0]
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Continue the run in the directory, also after its end if it has more iterations now
    #[arg(long)]
    pub resume: bool,

    /// Continue although other settings of `train` have changed; run.yaml keeps the history
    #[arg(long, requires = "resume")]
    pub change: bool,

    /// Iterations of the whole run, as `--set train.iterations=N`
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    pub iterations: Option<u64>,

    /// Epochs of the whole run, as `--set train.epochs=N`
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,

    /// Start from the parameters in a file, arrays with their paths (.safetensors, .npz), or of another run
    #[arg(long, value_name = "FILE|RUN", conflicts_with = "resume")]
    pub init: Option<PathBuf>,

    /// Take from --init the parameters that it has, and start the others as the spec says
    #[arg(long, requires = "init")]
    pub init_partial: bool,

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
    let start = Start::of(arguments)?;
    let selection = arguments.passes.selection(start.passes)?;
    let backend = match (arguments.backend, start.backend) {
        (Some(backend), _) => backend.kind(),
        (None, Some(kind)) => kind,
        (None, None) => Backend::usual(&selection).kind(),
    };
    let compilation = spec::compile(&start.file, &start.set)?;
    let program = spec::program(&compilation, screen)?;
    let threads = arguments.threads.count();
    let trainer = TrainerOptions {
        threads,
        backend,
        device: DeviceChoice::CPU,
        passes: selection,
        memory: crate::machine::memory::free(),
    };
    let device = match start.device {
        Some(device) if arguments.devices.is_default() => device,
        _ => device::choose(&arguments.devices, program, trainer, screen)?,
    };
    let options = RunOptions {
        spec: arguments.spec.display().to_string(),
        overrides: start.set,
        location: start.location,
        resume: arguments.resume,
        change: arguments.change,
        threads,
        backend,
        device,
        passes: selection,
        memory: crate::machine::memory::free(),
        on_nan: arguments.on_nan.kind(),
        tensorboard: arguments.tensorboard,
        init: arguments.init.clone().map(|path| Init {
            path,
            partial: arguments.init_partial,
        }),
        data: start.data,
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
        screen.say(&beginning(&run, arguments.resume));
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
            score: report
                .scores
                .first()
                .map(|(name, value)| (name.as_str(), *value)),
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
    let settled = match ending {
        Ending::Settled => {
            format!("; the validation loss did not fall any more, of {total} planned")
        }
        Ending::Finished | Ending::Interrupted => String::new(),
    };
    match ending {
        Ending::Finished | Ending::Settled => screen.print(&format!(
            "{} iterations done{mean}{settled}\n{test}metrics     {}\ncheckpoint  {}\n",
            run.trainer().iteration(),
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

/// The sources of the settings of a run: a spec, or the directory of an earlier session.
struct Start {
    file: PathBuf,
    set: Vec<String>,
    location: RunLocation,
    passes: Selection,
    backend: Option<BackendKind>,
    device: Option<DeviceChoice>,
    data: Option<PathBuf>,
}

impl Start {
    fn of(arguments: &Arguments) -> Result<Start, Failure> {
        let mut start = Start {
            file: arguments.spec.clone(),
            set: Vec::new(),
            location: location(arguments),
            passes: Selection::default(),
            backend: None,
            device: None,
            data: arguments.data.clone(),
        };
        if arguments.spec.is_dir() {
            start.read(arguments)?;
        }
        start.set.extend(arguments.overrides.set.iter().cloned());
        let own = [
            ("iterations", arguments.iterations),
            ("epochs", arguments.epochs),
            ("seed", arguments.seed),
        ];
        for (name, value) in own {
            start
                .set
                .extend(value.map(|value| format!("train.{name}={value}")));
        }
        Ok(start)
    }

    /// Takes spec and settings from the directory of a run.
    fn read(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        let directory = &arguments.spec;
        let shown = directory.display();
        if !arguments.resume {
            return Err(Failure::Usage(format!(
                "{shown} is a directory; `--resume` goes on with the run in it, and a new run needs a spec"
            )));
        }
        if arguments.out.as_ref().is_some_and(|out| out != directory) {
            return Err(Failure::Usage(format!(
                "`--out` is another directory than {shown}, and a run goes on where it is"
            )));
        }
        let opened = open(directory).map_err(anyhow::Error::new)?;
        let manifest = opened.manifest;
        self.file = directory.join(SPEC);
        self.set = manifest.all_overrides(directory);
        self.location = RunLocation::At(directory.clone());
        self.passes = manifest.passes.parse().unwrap_or_default();
        self.backend = BackendKind::parse(&manifest.backend);
        self.device = manifest.device.parse().ok();
        if self.data.is_none() {
            self.data = manifest.data.map(PathBuf::from);
        }
        Ok(())
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

fn beginning(run: &Run, resumed: bool) -> String {
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
    if arguments.spec.is_dir() {
        // The directory has all settings, the new ones too.
        let mut words = vec![format!(
            "bpmc train --resume {}",
            quoted(&directory.display().to_string())
        )];
        words.extend(on_nan(arguments));
        words.extend(arguments.tensorboard.then(|| "--tensorboard".to_owned()));
        return words.join(" ");
    }
    let mut words = vec![
        "bpmc train".to_owned(),
        quoted(&arguments.spec.display().to_string()),
        "--resume --out".to_owned(),
        quoted(&directory.display().to_string()),
    ];
    for set in &arguments.overrides.set {
        words.push(format!("--set {}", quoted(set)));
    }
    words.extend(arguments.iterations.map(|n| format!("--iterations {n}")));
    words.extend(arguments.epochs.map(|n| format!("--epochs {n}")));
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
    words.extend(on_nan(arguments));
    if arguments.tensorboard {
        words.push("--tensorboard".to_owned());
    }
    words.join(" ")
}

/// The arguments for the reaction to non-finite numbers, unless it is the default.
fn on_nan(arguments: &Arguments) -> Option<String> {
    let value = arguments.on_nan.to_possible_value()?;
    let usual = arguments.on_nan == NotFinite::Stop;
    (!usual).then(|| format!("--on-nan {}", value.get_name()))
}
