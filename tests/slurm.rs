//! A sweep on a real Slurm of one node, started by the test in a directory of its own. Where Slurm is not installed
//! (Debian: `slurm-wlm` and `munge`) or does not start, the test says so and passes, unless `BPMC_REQUIRE_SLURM=1`.
#![cfg(unix)]

use crate::scratch::scratch;
use crate::sweep_support::{bpmc, run, signal, wait_for, TINY};
use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Two cells of some seconds each.
const SWEEP: &str = "\
name: tasks
specs: [agent.bpm]
set:
  N: 32
  task.steps: 40
  train.batch: 16
  train.iterations: 12000
  train.metrics_every: 20
  train.checkpoint_every: 50
seeds: 2
";

/// Daemons that end with the test.
struct Cluster {
    directory: PathBuf,
    daemons: Vec<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The node first, so that nothing is started any more.
        for daemon in self.daemons.iter_mut().rev() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            for _ in 0..50 {
                if daemon.try_wait().is_ok_and(|status| status.is_some()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Cluster {
    /// Starts it, or says why not.
    fn start() -> Result<Cluster, String> {
        for program in ["munged", "slurmctld", "slurmd", "sbatch", "sinfo"] {
            if find(program).is_none() {
                return Err(format!("`{program}` is not installed"));
            }
        }
        // The paths of sockets are short.
        let directory = std::env::temp_dir().join(format!("bpmc-slurm-{}", std::process::id()));
        let mut cluster = Cluster {
            directory,
            daemons: Vec::new(),
        };
        cluster.configure().map_err(|error| error.to_string())?;
        let at = |name: &str| cluster.path(name).display().to_string();
        let munge = [
            "--foreground".to_owned(),
            "--force".to_owned(),
            format!("--socket={}", at("munge.socket")),
            format!("--key-file={}", at("munge/key")),
            format!("--log-file={}", at("munge/log")),
            format!("--pid-file={}", at("munge/pid")),
            format!("--seed-file={}", at("munge/seed")),
        ];
        cluster.spawn("munged", &munge)?;
        cluster.wait("munge.socket", &mut |cluster| {
            cluster.path("munge.socket").exists()
        })?;
        cluster.spawn("slurmctld", &["-D".to_owned(), "-i".to_owned()])?;
        cluster.spawn("slurmd", &["-D".to_owned()])?;
        cluster.wait("an idle node", &mut |cluster| {
            let output = cluster.command("sinfo").args(["-h", "-o", "%T"]).output();
            output.is_ok_and(|output| output.stdout.starts_with(b"idle"))
        })?;
        Ok(cluster)
    }

    fn configure(&self) -> std::io::Result<()> {
        for folder in ["", "state", "spool", "munge"] {
            std::fs::create_dir_all(self.path(folder))?;
        }
        let mode = |name: &str, mode| {
            std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode))
        };
        mode("", 0o755)?;
        mode("munge", 0o700)?;
        let mut key = vec![0; 1024];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut key)?;
        std::fs::write(self.path("munge/key"), key)?;
        mode("munge/key", 0o400)?;

        let said = |program: &str, argument: &str| {
            let output = Command::new(program).arg(argument).output()?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let (host, user) = (said("hostname", "-s")?, said("id", "-un")?);
        let port =
            || Ok::<_, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let at = |name: &str| self.path(name).display().to_string();
        // A task that is requeued waits for `cred_expire` seconds; less than 6 counts as 120.
        let text = format!(
            "ClusterName=bpmc\n\
             SlurmctldHost={host}(127.0.0.1)\n\
             SlurmctldPort={}\n\
             SlurmdPort={}\n\
             AuthType=auth/munge\n\
             AuthInfo=socket={},cred_expire=6\n\
             SlurmUser={user}\n\
             SlurmdUser={user}\n\
             StateSaveLocation={}\n\
             SlurmdSpoolDir={}\n\
             SlurmctldPidFile={}\n\
             SlurmdPidFile={}\n\
             ProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\n\
             AccountingStorageType=accounting_storage/none\n\
             SelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\n\
             MpiDefault=none\n\
             ReturnToService=2\n\
             KillWait=5\n\
             SchedulerParameters=sched_interval=2,bf_interval=2\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs={} State=UNKNOWN\n\
             PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
            port()?,
            port()?,
            at("munge.socket"),
            at("state"),
            at("spool"),
            at("slurmctld.pid"),
            at("slurmd.pid"),
            std::thread::available_parallelism()?,
        );
        std::fs::write(self.path("slurm.conf"), text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A command of Slurm that talks to this cluster.
    fn command(&self, program: &str) -> Command {
        let path = find(program).unwrap_or_else(|| PathBuf::from(program));
        let mut command = Command::new(path);
        command.env("SLURM_CONF", self.path("slurm.conf"));
        command
    }

    fn spawn(&mut self, program: &str, arguments: &[String]) -> Result<(), String> {
        let log = |name: &str| std::fs::File::create(self.path(name)).map_err(|e| e.to_string());
        let (out, err) = (
            log(&format!("{program}.out"))?,
            log(&format!("{program}.err"))?,
        );
        let child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| format!("`{program}` does not start: {error}"))?;
        self.daemons.push(child);
        Ok(())
    }

    /// Waits until it is so far, or says what the daemons said.
    fn wait(&mut self, what: &str, so_far: &mut dyn FnMut(&Cluster) -> bool) -> Result<(), String> {
        for _ in 0..150 {
            if so_far(self) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let mut message = format!("there is no {what} after 30 seconds");
        for name in ["munged.err", "slurmctld.err", "slurmd.err"] {
            let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(3).collect();
            message.push_str(&format!("; {name}: {}", lines.join(" / ")));
        }
        Err(message)
    }
}

/// A program on the path or where daemons live.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut files = path
        .split(':')
        .chain(["/usr/sbin", "/usr/local/sbin"])
        .map(|folder| Path::new(folder).join(program));
    files.find(|file| file.is_file())
}

#[test]
fn killed_tasks_are_requeued_and_end_with_the_same_bytes() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(reason) => {
            let required = std::env::var_os("BPMC_REQUIRE_SLURM").is_some_and(|value| value == "1");
            assert!(!required, "BPMC_REQUIRE_SLURM=1, and {reason}");
            // Written directly, because the test harness swallows what `eprintln!` says.
            writeln!(std::io::stderr(), "SKIPPED the test on Slurm: {reason}").unwrap();
            return;
        }
    };
    let directory = scratch("slurm");
    std::fs::write(directory.join("agent.bpm"), TINY).unwrap();
    std::fs::write(directory.join("sweep.yaml"), SWEEP).unwrap();
    let submit = ["sweep", "run", "sweep.yaml", "--engine", "slurm"];
    let output = bpmc(&directory, &submit)
        .env("SLURM_CONF", cluster.path("slurm.conf"))
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{err}");
    let job = out.strip_prefix("submitted job ").unwrap();
    let job: u64 = job.split(':').next().unwrap().parse().unwrap();

    let root = directory.join("runs/tasks");
    let cells = || -> Vec<(String, String)> {
        let (code, out, err) = run(&directory, &["sweep", "status", "runs/tasks", "--json"]);
        assert_eq!(code, Some(0), "{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let cells = report["cells"].as_array().unwrap().iter();
        cells
            .map(|cell| (text(&cell["name"]), text(&cell["state"])))
            .collect()
    };
    let midway = |cell: usize| {
        let (name, state) = cells().swap_remove(cell);
        assert_ne!(state, "done", "{name} was too fast to be stopped midway");
        let begun = root
            .join("cells")
            .join(&name)
            .join("checkpoints/manifest.yaml");
        (state == "running" && begun.exists()).then_some(name)
    };
    // One training process is killed; the task of the other cell is told that its time is over.
    let mut name = None;
    wait_for("a checkpoint of the first cell", || {
        name = midway(0);
        name.is_some()
    });
    let lock = root.join("cells").join(name.unwrap()).join(".lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    signal(lock.split(' ').nth(1).unwrap().parse().unwrap(), "-KILL");
    wait_for("a checkpoint of the second cell", || midway(1).is_some());
    let told = cluster
        .command("scancel")
        .args(["--batch", "--signal=USR1", &format!("{job}_1")])
        .status()
        .unwrap();
    assert!(told.success());

    wait_for("both cells", || {
        cells().iter().all(|(_, state)| state == "done")
    });
    for task in 0..2 {
        let log = root.join(format!("slurm/{job}_{task}.log"));
        // The cell is done a moment before its task says so.
        let read = || std::fs::read_to_string(&log).unwrap();
        wait_for("the last line", || read().trim_end().ends_with(" is done"));
        let log = read();
        let starts: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(" from iteration "))
            .collect();
        assert_eq!(starts.len(), 2, "{log}");
        assert!(starts[0].ends_with(" from iteration 0"), "{log}");
        assert!(!starts[1].ends_with(" from iteration 0"), "{log}");
        let end = ["killed (signal 9", " stopped at iteration "][task];
        assert!(log.contains(end), "{log}");
    }

    // The same cells, uninterrupted and without Slurm.
    let (code, _, err) = run(
        &directory,
        &["sweep", "run", "sweep.yaml", "--out", "plain", "--quiet"],
    );
    assert_eq!(code, Some(0), "{err}");
    for (name, _) in cells() {
        let bytes = |root: &Path| {
            let cell = root.join("cells").join(&name);
            let last = bpmc::lab::run::find_checkpoint(&cell, Default::default());
            std::fs::read(last.unwrap()).unwrap()
        };
        assert!(bytes(&root) == bytes(&directory.join("plain")), "{name}");
    }
    let (code, out, err) = run(&directory, &["sweep", "collect", "runs/tasks", "-o", "out"]);
    assert_eq!((code, err.as_str()), (Some(0), "written to out\n"));
    assert!(out.contains("2/2"), "{out}");
}
