//! Runs side by side, and runs in a browser: `compare`, `watch` and `cite`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::scratch::scratch;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SPEC: &str = "\
network agent {
  input obs: [task.obs]
  state h: [6] = 0

  plastic rec: h -> y using retroactive(dopamine) {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1)
  }

  y = tanh(linear(obs) + rec)
  modulator dopamine = tanh(linear(y, 1))
  h <- y
  output policy = linear(y, task.actions)
  output value = linear(y, 1)
}

task cue_reward { cues = 2, shown = 1, bits = 3, steps = 8 }
train a2c { batch = 2, iterations = 20, metrics_every = 1 }
";

fn bpmc(words: &[&str], folder: &Path) -> (bool, String, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .args(words)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        command.status.success(),
        text(command.stdout),
        text(command.stderr),
    )
}

fn trained(name: &str) -> PathBuf {
    let folder = scratch(name);
    std::fs::write(folder.join("agent.bpm"), SPEC).unwrap();
    for (out, seed, lr) in [
        ("a-0", "0", "1e-3"),
        ("a-1", "1", "1e-3"),
        ("b-0", "0", "1e-2"),
        ("b-1", "1", "1e-2"),
    ] {
        let set = format!("train.optimizer.lr={lr}");
        let (ok, _, told) = bpmc(
            &[
                "train",
                "agent.bpm",
                "-q",
                "--out",
                out,
                "--seed",
                seed,
                "--set",
                &set,
            ],
            &folder,
        );
        assert!(ok, "{told}");
    }
    folder
}

#[test]
fn runs_are_compared() {
    let folder = trained("compare");
    let (ok, text, _) = bpmc(
        &["compare", "a-0", "a-1", "b-0", "b-1", "-o", "page.html"],
        &folder,
    );
    assert!(ok);
    assert!(text.contains("setting"), "{text}");
    let row = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .unwrap_or("")
            .to_owned()
    };
    let cells = |name: &str| {
        row(name)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        cells("train.optimizer.lr"),
        ["train.optimizer.lr", "0.001", "0.001", "0.01", "0.01"]
    );
    assert_eq!(cells("seed"), ["seed", "0", "1", "0", "1"]);
    assert_eq!(row("train.gamma"), "", "it is the same in all");
    assert!(
        text.contains("a-0 and 1 more against b-0 and 1 more: reward"),
        "{text}"
    );
    let page = std::fs::read_to_string(folder.join("page.html")).unwrap();
    roxmltree::Document::parse_with_options(
        &page,
        roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        },
    )
    .unwrap();
    for word in [
        "Settings that differ",
        "Reward over the training",
        "b-1",
        "train.optimizer.lr",
    ] {
        assert!(page.contains(word), "{word}");
    }

    let (ok, json, _) = bpmc(
        &[
            "compare", "a-0", "a-1", "b-0", "b-1", "--json", "--metric", "loss", "--last", "0.5",
        ],
        &folder,
    );
    assert!(ok);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["groups"], serde_json::json!([[0, 1], [2, 3]]));
    // The mean over the last half, from the metrics themselves.
    let metrics = std::fs::read_to_string(folder.join("a-0/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert_eq!(losses.len(), 20);
    let mean = losses[10..].iter().sum::<f64>() / 10.0;
    assert!((json["runs"][0]["last"]["loss"].as_f64().unwrap() - mean).abs() < 1e-12);
    // With two values in each group the smallest possible p is 1/3, so p is 1/3, 2/3 or 1.
    let p = json["tests"][0]["p"].as_f64().unwrap();
    assert!(
        [1.0 / 3.0, 2.0 / 3.0, 1.0]
            .iter()
            .any(|known| (p - known).abs() < 1e-9),
        "{p}"
    );

    let (ok, _, told) = bpmc(&["compare", "a-0", "a-1", "--metric", "lost"], &folder);
    assert!(
        !ok && told.contains("no run has the metric `lost`; there are"),
        "{told}"
    );
    let (ok, _, told) = bpmc(&["compare", "a-0", "nowhere"], &folder);
    assert!(!ok && told.contains("nowhere"), "{told}");
}

#[test]
fn a_run_is_cited() {
    let folder = trained("cite");
    let (ok, text, told) = bpmc(&["cite", "a-0"], &folder);
    assert!(ok, "{told}");
    for word in [
        "has ",
        "trained parameters",
        "with seed 0",
        "20 iterations",
        "\\begin{align}",
        "\\leftarrow",
        "miconi2019backpropamine",
        "kingma2015adam",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("hochreiter"), "{text}");
    let open = |c: char| text.matches(c).count();
    assert_eq!(open('{'), open('}'), "{text}");
}

/// The names, sizes and contents of all files in a directory.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

struct Watch {
    child: Child,
    port: String,
    path: String,
}

impl Watch {
    fn start(words: &[&str], folder: &Path) -> Watch {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bpmc"))
            .arg("watch")
            .args(words)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let rest = line
            .trim()
            .strip_prefix("http://127.0.0.1:")
            .unwrap()
            .to_owned();
        let (port, path) = rest.split_once('/').unwrap();
        Watch {
            child,
            port: port.to_owned(),
            path: format!("/{path}"),
        }
    }

    fn ask(&self, path: &str, host: &str, more: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_run_is_watched_by_nobody_else_and_left_as_it_is() {
    let folder = trained("watch");
    let before = files(&folder);
    let watch = Watch::start(&["a-0", "--episodes", "2"], &folder);
    let own = format!("127.0.0.1:{}", watch.port);
    let (status, page) = watch.ask(&watch.path, &own, "");
    assert_eq!(status, 200);
    for word in [
        "<h1>a-0</h1>",
        "Reward over the training",
        "<script>",
        "Content-Security-Policy",
        "no-store",
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert_eq!(watch.ask(&watch.path, "evil.example", "").0, 403);
    assert_eq!(watch.ask(&format!("/{}/", "0".repeat(32)), &own, "").0, 403);
    assert_eq!(watch.ask("/", &own, "").0, 404);
    assert_eq!(
        watch
            .ask(&format!("{}../../etc/passwd", watch.path), &own, "")
            .0,
        404
    );
    // No other address of this machine is listened to.
    let addresses = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port: u16 = watch.port.parse().unwrap();
    let listening: Vec<&str> = addresses
        .lines()
        .filter(|line| line.contains(&format!(":{port:04X} 00000000:0000 0A")))
        .collect();
    assert!(
        listening.iter().all(|line| line.contains("0100007F:")) && listening.len() == 1,
        "{listening:?}"
    );

    let update = format!("{}update", watch.path);
    let (status, answer) = watch.ask(&update, &own, "");
    assert_eq!(status, 200);
    let mark = answer
        .lines()
        .find_map(|line| line.strip_prefix("ETag: "))
        .unwrap()
        .to_owned();
    let again = format!("If-None-Match: {mark}\r\n");
    assert_eq!(watch.ask(&update, &own, &again).0, 304);
    assert_eq!(files(&folder), before, "the page changes nothing");
    // The training goes on, and the page with it.
    let (ok, _, told) = bpmc(
        &["train", "--resume", "a-0", "-q", "--iterations", "30"],
        &folder,
    );
    assert!(ok, "{told}");
    let (status, answer) = watch.ask(&update, &own, &again);
    assert_eq!(status, 200);
    assert!(answer.contains("30 of 30 iterations"), "{answer}");

    let several = Watch::start(&["a-0", "b-0"], &folder);
    let (status, page) = several.ask(&several.path, &format!("localhost:{}", several.port), "");
    assert!(status == 200 && page.contains("Settings that differ"));
    let (ok, _, told) = bpmc(&["watch", "nowhere"], &folder);
    assert!(!ok && told.contains("neither a run nor a sweep"), "{told}");
}
