//! A sweep under Slurm: a job array with one cell a task.
//!
//! A task runs `bpmc sweep cell`, which trains its cell as a local worker would, from its checkpoint where there
//! is one. So a task may be stopped, killed, requeued or submitted twice: the cell goes on, or is left alone where
//! it is done or another process trains it.
//!
//! | what happens to a task | what it does |
//! |---|---|
//! | the time limit is near (`USR1`) | saves, and requeues itself |
//! | `scancel`, pre-emption (`TERM`) | saves and stops; Slurm requeues what it pre-empts |
//! | the training process is killed | requeues itself, a few times at most |
//! | the node fails | Slurm requeues it (`--requeue`) |
//! | the training fails | stops; the failure is in the directory of the cell |

use super::directory::Directory;
use super::file::SlurmSettings;
use super::plan::Cell;
use super::state::{state, State};
use super::SweepError;
use crate::learn::replace::replace;
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The exit status of a task whose training process was killed, so that another try may succeed.
pub const TRY_AGAIN: u8 = 75;
/// The name of the folder of script and logs in the directory of a sweep.
pub const FOLDER: &str = "slurm";
/// The seconds before the time limit that are reserved for saving.
const GRACE: u32 = 120;
/// The number of times that a task restarts after its training process was killed.
const RETRIES: u32 = 3;

/// The cells of a job array, in order: those that are neither done nor running.
pub fn cells(directory: &Directory) -> Vec<&Cell> {
    let all = directory.plan.cells.iter();
    all.filter(|cell| !matches!(state(directory, cell).state, State::Done | State::Running))
        .collect()
}

/// The script of the job array. `root` is the directory of the sweep and `program` the command `bpmc`, both
/// as seen by the nodes.
pub fn script(
    directory: &Directory,
    cells: &[&Cell],
    settings: &SlurmSettings,
    threads: usize,
    root: &Path,
    program: &Path,
) -> String {
    let logs = root.join(FOLDER).join("%A_%a.log");
    let mut array = format!("0-{}", cells.len().saturating_sub(1));
    if let Some(at_once) = settings.at_once {
        write!(array, "%{at_once}").expect("writing to a string");
    }
    let mut options = vec![
        format!("--job-name={}", directory.plan.name),
        format!("--array={array}"),
        format!("--cpus-per-task={threads}"),
        "--ntasks=1".to_owned(),
        "--requeue".to_owned(),
        "--open-mode=append".to_owned(),
        format!("--output={}", quoted(&logs.display().to_string())),
    ];
    if settings.time.is_some() {
        options.push(format!("--signal=B:USR1@{GRACE}"));
    }
    for (name, value) in [
        ("--partition", &settings.partition),
        ("--account", &settings.account),
        ("--time", &settings.time),
        ("--mem", &settings.memory),
    ] {
        options.extend(
            value
                .iter()
                .map(|value| format!("{name}={}", quoted(value))),
        );
    }
    options.extend(settings.extra.iter().cloned());

    let mut script = "#!/bin/bash\n".to_owned();
    for option in options {
        writeln!(script, "#SBATCH {option}").expect("writing to a string");
    }
    script.push_str("\ncells=(\n");
    for cell in cells {
        writeln!(script, "  {}", cell.name).expect("writing to a string");
    }
    let (program, root) = (shell(program), shell(root));
    write!(
        script,
        r#")

# Slurm signals this script alone; the cell saves and stops on TERM.
limit=
trap 'limit=yes; kill -TERM "$child" 2>/dev/null' USR1
trap 'kill -TERM "$child" 2>/dev/null' TERM INT

{program} sweep cell {root} "${{cells[$SLURM_ARRAY_TASK_ID]}}" --threads {threads} &
child=$!
wait "$child"
status=$?
# A signal ends the waiting, not the process.
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  status=$?
done

# {TRY_AGAIN}: the training process was killed. A task of a cell that is done ends at once.
if [[ $limit && $status -ne 0 ]] ||
  [[ $status -eq {TRY_AGAIN} && ${{SLURM_RESTART_COUNT:-0}} -lt {RETRIES} ]]; then
  # The number of one task of an array can be that of the whole array, so both parts are named.
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
"#
    )
    .expect("writing to a string");
    script
}

/// Writes the script into the directory of the sweep and submits it; returns the job number.
///
/// # Errors
/// Fails if the script cannot be written, or `sbatch` is missing or refuses it.
pub fn submit(directory: &Directory, script: &str) -> Result<String, SweepError> {
    let folder = directory.path().join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|e| SweepError::file("create", &folder, e))?;
    let file: PathBuf = folder.join("array.sh");
    replace(&file, script.as_bytes()).map_err(|e| SweepError::file("write", &file, e))?;
    let output = Command::new("sbatch")
        .arg("--parsable")
        .arg(&file)
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => SweepError::Slurm(
                "cannot find `sbatch`: run this on a machine that submits to Slurm, print the script with \
                 `--dry-run`, or use `--engine local`"
                    .to_owned(),
            ),
            _ => SweepError::file("start", Path::new("sbatch"), error),
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().map(str::trim).collect();
        return Err(SweepError::Slurm(format!(
            "`sbatch` refuses {}: {}",
            file.display(),
            said.join("; ")
        )));
    }
    // The output is "NUMBER" or "NUMBER;CLUSTER".
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.trim().split(';').next().unwrap_or_default().to_owned())
}

/// A path, quoted for bash.
fn shell(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// A value, quoted for an `#SBATCH` line.
fn quoted(value: &str) -> String {
    if value.contains(|c: char| c.is_whitespace() || "\"'#".contains(c)) {
        format!("\"{}\"", value.replace('"', "\\\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_bash_and_sbatch() {
        assert_eq!(shell(Path::new("/a b/it's")), "'/a b/it'\\''s'");
        assert_eq!(quoted("4:00:00"), "4:00:00");
        assert_eq!(quoted("/a b/%A_%a.log"), "\"/a b/%A_%a.log\"");
    }
}
