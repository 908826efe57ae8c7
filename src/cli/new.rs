//! The command `bpmc new`.

use super::screen::Screen;
use super::{env, Failure, Outcome};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc new agent                          writes agent.bpm, which learns in a quarter of a minute
  bpmc new experiments/maze --from maze   writes experiments/maze.bpm
  bpmc new trials --from sequences        writes trials.bpm and small files of data beside it
  bpmc new pole --env CartPole-v1         writes pole.bpm for an environment of Gymnasium";

/// Write a commented spec to start from.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The name of the spec, or its path; .bpm is added if it is missing
    pub name: PathBuf,

    /// Template of the spec
    #[arg(long, value_enum, default_value_t = Template::Quickstart)]
    pub from: Template,

    /// Environment of Gymnasium that the spec is for; `bpmc env` has more options
    #[arg(long, value_name = "ENV_ID", conflicts_with = "from")]
    pub env: Option<String>,
}

/// A template that comes with the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Template {
    /// A small agent that learns to learn, in a quarter of a minute
    Quickstart,
    /// Retroactive neuromodulation on the cue-reward task of the paper, which takes hours
    CueReward,
    /// Simple neuromodulation in the maze
    Maze,
    /// Plain plasticity that completes patterns it has just seen
    PatternCompletion,
    /// A plastic network that learns from files, with small tables to start with
    Sequences,
    /// A plastic network without a task, for `bpmc grad`
    Bare,
}

impl Template {
    fn text(self) -> &'static str {
        match self {
            Template::Quickstart => include_str!("../../specs/quickstart.bpm"),
            Template::CueReward => include_str!("templates/cue_reward.bpm"),
            Template::Maze => include_str!("templates/maze.bpm"),
            Template::PatternCompletion => include_str!("templates/pattern_completion.bpm"),
            Template::Sequences => include_str!("templates/sequences.bpm"),
            Template::Bare => include_str!("templates/bare.bpm"),
        }
    }

    /// The files of data beside the spec: what follows its name, and what is in them.
    fn data(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Template::Sequences => &[
                ("_train.csv", include_str!("templates/sequences_train.csv")),
                ("_valid.csv", include_str!("templates/sequences_valid.csv")),
            ],
            Template::Quickstart
            | Template::CueReward
            | Template::Maze
            | Template::PatternCompletion
            | Template::Bare => &[],
        }
    }
}

/// The word in a template that stands for the name of the spec.
const NAME: &str = "NAME";

/// Writes the file; never over one that is there.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let path = spec_path(&arguments.name)?;
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let text = match &arguments.env {
        Some(id) => env::spec(&env::Arguments::new(id), &stem)?,
        None => arguments.from.text().replace(NAME, &stem),
    };
    let data = match arguments.env {
        Some(_) => &[],
        None => arguments.from.data(),
    };
    let beside = data.iter();
    let beside = beside.map(|(end, text)| (path.with_file_name(format!("{stem}{end}")), *text));
    let files: Vec<(PathBuf, &str)> = std::iter::once((path.clone(), text.as_str()))
        .chain(beside)
        .collect();
    // Nothing is written where one of them cannot be.
    if let Some((there, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(taken(there));
    }
    for (path, text) in &files {
        write_new(path, text)?;
        screen.print(&format!("wrote {}\n", path.display()))?;
    }
    Ok(())
}

fn taken(path: &Path) -> Failure {
    Failure::Run(anyhow::anyhow!(
        "{} is already there and was left as it is; choose another name",
        path.display()
    ))
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Outcome {
    let shown = path.display();
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken(path)),
        Err(error) => {
            return Err(anyhow::Error::new(error)
                .context(format!("cannot write {shown}"))
                .into())
        }
    };
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {shown}"))?;
    Ok(())
}

/// The name with `.bpm` at its end.
fn spec_path(name: &Path) -> Result<PathBuf, Failure> {
    let Some(file) = name.file_name() else {
        let message = format!("`{}` is not the name of a file", name.display());
        return Err(Failure::Usage(message));
    };
    if name.extension().is_some_and(|extension| extension == "bpm") {
        return Ok(name.to_owned());
    }
    let mut file = file.to_owned();
    file.push(".bpm");
    Ok(name.with_file_name(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::ColorChoice;

    #[test]
    fn names_get_their_ending() {
        let path = |name: &str| spec_path(Path::new(name)).unwrap();
        assert_eq!(path("agent"), Path::new("agent.bpm"));
        assert_eq!(path("agent.bpm"), Path::new("agent.bpm"));
        assert_eq!(path("a.b/agent.v2"), Path::new("a.b/agent.v2.bpm"));
        assert!(matches!(
            spec_path(Path::new("a/..")),
            Err(Failure::Usage(_))
        ));
    }

    #[test]
    fn a_file_is_written_once_and_never_over_another() {
        let directory = std::env::temp_dir().join(format!("bpmc-new-{}", std::process::id()));
        let screen = Screen::new(ColorChoice::Never);
        let arguments = Arguments {
            name: directory.join("inner/agent"),
            from: Template::Maze,
            env: None,
        };
        run(&arguments, &screen).unwrap();
        let path = directory.join("inner/agent.bpm");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            Template::Maze.text()
        );
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(run(&arguments, &screen), Err(Failure::Run(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn templates_are_commented_specs() {
        for template in Template::value_variants() {
            let text = template.text();
            assert!(text.starts_with("//! "), "{template:?}");
            assert!(
                text.contains("network ") && text.contains("train "),
                "{template:?}"
            );
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{template:?}"
            );
        }
    }
}
