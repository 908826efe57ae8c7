//! Reports as a user meets them: of a run, of a sweep, of what is not finished, and of what is damaged.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::run;
use crate::scratch::scratch;
use serde_json::Value;
use std::path::{Path, PathBuf};

const QUICKSTART: &str = include_str!("../specs/quickstart.bpm");

/// A run of a small quickstart in `directory`/runs/quickstart-0.
fn trained(directory: &Path) {
    std::fs::write(directory.join("quickstart.bpm"), QUICKSTART).unwrap();
    let settings = [
        "train",
        "quickstart.bpm",
        "--quiet",
        "--threads",
        "2",
        "--set",
        "train.iterations=12",
        "--set",
        "train.metrics_every=2",
        "--set",
        "train.batch=6",
        "--set",
        "N=8",
    ];
    let (code, _, err) = run(directory, &settings);
    assert_eq!(code, Some(0), "{err}");
}

/// Every file below a directory with its bytes, and when it was written.
fn everything(directory: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let written = std::fs::metadata(&path).unwrap().modified().unwrap();
                all.push((path.clone(), std::fs::read(&path).unwrap(), written));
            }
        }
    }
    all.sort();
    all
}

/// The page, which must be whole: well-formed, with all that it needs in it.
fn page(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let tree = roxmltree::Document::parse_with_options(&text, options).unwrap();
    let mut ids = Vec::new();
    let mut wanted = Vec::new();
    for node in tree.descendants().filter(roxmltree::Node::is_element) {
        assert!(!["script", "link", "iframe"].contains(&node.tag_name().name()));
        ids.extend(node.attribute("id").map(str::to_owned));
        for attribute in node.attributes() {
            let value = attribute.value();
            match attribute.name() {
                "href" | "src" => match value.strip_prefix('#') {
                    Some(id) => wanted.push(id.to_owned()),
                    None => assert!(value.starts_with("data:image/png;base64,"), "{value}"),
                },
                "aria-labelledby" => wanted.push(value.to_owned()),
                name => assert!(!name.starts_with("on"), "{name}"),
            }
        }
        if node.tag_name().name() == "svg" {
            assert!(node.attribute("viewBox").is_some() && node.attribute("role") == Some("img"));
        }
    }
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "ids are there once");
    for id in wanted {
        assert!(ids.contains(&id), "{id}");
    }
    for outside in ["http:", "https:", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
    text
}

/// What a reader sees of a page: its text, every run of blanks a single one.
fn seen(page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in page.chars() {
        match c {
            '<' => {
                inside = true;
                text.push(' ');
            }
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As the page writes numbers.
fn written(number: &Value, places: usize) -> String {
    match number.as_f64() {
        None => "–".to_owned(),
        Some(x) => format!("{x:.places$}").replace('-', "−"),
    }
}

#[test]
fn the_report_of_a_run_says_it_all_and_changes_nothing() {
    let directory = scratch("report-run");
    trained(&directory);
    let before = everything(&directory.join("runs"));
    let report = [
        "report",
        "runs/quickstart-0",
        "-o",
        "report.html",
        "--episodes",
        "18",
        "--figures",
        "figures",
    ];
    let (code, out, err) = run(&directory, &report);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.ends_with("wrote report.html\n"), "{out}");
    assert!(
        err.starts_with("1/5 episodes of the whole network\n"),
        "{err}"
    );
    assert_eq!(err.lines().count(), 5, "{err}");
    assert_eq!(everything(&directory.join("runs")), before);

    let first = page(&directory.join("report.html"));
    let text = seen(&first);
    for part in [
        "rec.hebb ij ← clip(rec.hebb ij + dopamine · rec.e ij , −1, 1)",
        "rec j = Σ i (rec.w ij + rec.alpha ij · rec.hebb ij ) · h i",
        "rec.alpha [8, 8] 64 uniform(0, 0.1) trained",
        "finished after 12 of 12 iterations",
        "lines differ from specs/paper/cue_reward/retroactive.bpm",
        "+ --set N=8",
        "− dim N = 200",
        "Reward over the training",
        "Gradient norm over the training",
        "dopamine around rewards",
        "Modulator and perceived reward over time",
        "rec.e at the end of an episode",
        "Distribution of rec.hebb",
        "bpmc train runs/quickstart-0/spec.bpm --out AGAIN --set train.iterations=12",
        "--episodes 18 --ablate freeze:dopamine --ablate shuffle:dopamine --ablate reset:20 --ablate rec.alpha=0",
        "bpmc replay runs/quickstart-0 --iteration 12 --probe dopamine,rec.hebb,rec.e -o episode.npz",
        "bpmc report runs/quickstart-0 -o report.html --episodes 18",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let opened = bpmc::lab::run::open(&directory.join("runs/quickstart-0")).unwrap();
    let slots = &opened.program().unwrap().step.params;
    let total: usize = slots
        .iter()
        .map(|slot| slot.dims.iter().product::<usize>())
        .sum();
    assert!(text.contains(&format!("all trained {total} ")), "{total}");

    check_ablations(&directory, &text);

    // The same again, byte for byte, also where a page is there and with other threads.
    let (code, _, err) = run(&directory, &[&report[..], &["--threads", "1"]].concat());
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(page(&directory.join("report.html")), first);

    let names: Vec<String> = everything(&directory.join("figures"))
        .iter()
        .map(|(path, _, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    for name in [
        "curve-reward",
        "aligned-dopamine",
        "trace-rec-hebb",
        "ablations",
    ] {
        assert!(names.contains(&format!("{name}.svg")), "{names:?}");
        assert!(names.contains(&format!("{name}.png")), "{names:?}");
        let svg = std::fs::read_to_string(directory.join(format!("figures/{name}.svg"))).unwrap();
        roxmltree::Document::parse(&svg).unwrap();
        let png = std::fs::read(directory.join(format!("figures/{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    }
}

/// The table of ablations has the numbers of `bpmc eval`.
fn check_ablations(directory: &Path, text: &str) {
    let parts = [
        "freeze:dopamine",
        "shuffle:dopamine",
        "reset:20",
        "rec.alpha=0",
    ];
    let mut arguments = vec!["eval", "runs/quickstart-0", "--episodes", "18", "--json"];
    for part in parts {
        arguments.extend(["--ablate", part]);
    }
    let (code, out, err) = run(directory, &arguments);
    assert_eq!(code, Some(0), "{err}");
    let eval: Value = serde_json::from_str(&out).unwrap();
    let whole = format!(
        "whole network {} {}",
        written(&eval["mean"], 4),
        written(&eval["median"], 4)
    );
    assert!(text.contains(&whole), "{whole}\n{text}");
    for (k, part) in parts.iter().enumerate() {
        let one = &eval["ablations"][k];
        assert_eq!(one["ablation"], *part);
        let row = format!(
            "{part} {} {} {} {} {}",
            written(&one["mean"], 4),
            written(&one["median"], 4),
            written(&one["effect"]["mean_difference"], 4),
            written(&one["effect"]["cohens_d"], 3),
            written(&one["effect"]["rank_biserial"], 3),
        );
        assert!(text.contains(&row), "{row}\n{text}");
    }
}

const SWEEP: &str = "\
name: small
specs: { retroactive: quickstart.bpm, nonplastic: nonplastic.bpm }
set: { train.iterations: 6, train.metrics_every: 1, train.batch: 4, N: 6 }
seeds: 2
";

#[test]
fn the_report_of_a_sweep_compares_and_says_what_is_missing() {
    let directory = scratch("report-sweep");
    std::fs::write(directory.join("quickstart.bpm"), QUICKSTART).unwrap();
    let nonplastic = include_str!("../specs/gallery/quickstart_nonplastic.bpm");
    std::fs::write(directory.join("nonplastic.bpm"), nonplastic).unwrap();
    std::fs::write(directory.join("sweep.yaml"), SWEEP).unwrap();
    let go = [
        "sweep",
        "run",
        "sweep.yaml",
        "--quiet",
        "--set",
        "task.steps=16",
    ];
    let (code, _, err) = run(&directory, &go);
    assert_eq!(code, Some(0), "{err}");
    let report = [
        "report",
        "runs/small",
        "-o",
        "out.html",
        "--episodes",
        "8",
        "--baseline",
        "nonplastic",
    ];
    let before = everything(&directory.join("runs"));
    let (code, _, err) = run(&directory, &report);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(everything(&directory.join("runs")), before);
    let first = page(&directory.join("out.html"));
    let text = seen(&first);
    let (code, _, err) = run(&directory, &["sweep", "collect", "runs/small", "-o", "out"]);
    assert_eq!(code, Some(0), "{err}");
    let summary = std::fs::read_to_string(directory.join("out/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let test = &summary["tests"][0];
    let p = written(&test["p"], 4);
    assert!(
        text.contains(&format!(" {p} exact nonplastic 2/2 ")),
        "{p}\n{text}"
    );
    for part in [
        "4 cells in 2 conditions: 4 done",
        "retroactive 2/2 ",
        "Median (line) and inter-quartile range (band) over seeds.",
        "the Wilcoxon rank-sum test against nonplastic",
        "Condition retroactive",
        "Condition nonplastic",
        "seed 0, after 6 iterations",
        "The network has no modulator.",
        "The network has no traces.",
        "rec.hebb ij ← clip(rec.hebb ij + dopamine · rec.e ij , −1, 1)",
        "bpmc sweep run sweep.yaml --set task.steps=16 --out runs/small",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("not done"), "{text}");
    let (code, _, err) = run(&directory, &report);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(page(&directory.join("out.html")), first);

    let (code, _, err) = run(
        &directory,
        &[
            "report",
            "runs/small",
            "-o",
            "x.html",
            "--baseline",
            "plain",
        ],
    );
    let message =
        "error: --baseline: the sweep has no group `plain`; there are retroactive, nonplastic\n";
    assert_eq!((code, err.as_str()), (Some(2), message));
    assert!(!directory.join("x.html").exists());

    // Without one cell of one group and all of the other.
    let cells = directory.join("runs/small/cells");
    for entry in std::fs::read_dir(&cells).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("nonplastic") || name.ends_with("-0") {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    let (code, _, err) = run(&directory, &report);
    assert_eq!(code, Some(0), "{err}");
    let text = seen(&page(&directory.join("out.html")));
    for part in [
        "4 cells in 2 conditions: 3 waiting, 1 done",
        "3 cells not done, and not in the curves",
        "nonplastic 0/2 – – –",
        "No cell of this condition is finished yet",
        "seed 1, after 6 iterations",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_language_model_has_perplexities_and_no_episodes() {
    let directory = scratch("report-language");
    let spec = include_str!("../specs/gallery/associative_text.bpm");
    std::fs::write(directory.join("text.bpm"), spec).unwrap();
    let settings = [
        "train",
        "text.bpm",
        "--quiet",
        "--set",
        "train.epochs=2",
        "--set",
        "task.steps=48",
        "--set",
        "train.batch=60",
    ];
    let (code, _, err) = run(&directory, &settings);
    assert_eq!(code, Some(0), "{err}");
    let (code, _, err) = run(&directory, &["report", "runs/text-0", "-o", "report.html"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let text = seen(&page(&directory.join("report.html")));
    let manifest = bpmc::lab::run::open(&directory.join("runs/text-0"))
        .unwrap()
        .manifest;
    let test = manifest.test.unwrap();
    for part in [
        &format!("test perplexity {}", trimmed(test.perplexity)),
        "A language model reads one text and has no episodes",
        "Validation perplexity over the training",
        "loss, nats per word",
        "embedding",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for absent in ["Ablations", "around rewards"] {
        assert!(!text.contains(absent), "{absent}");
    }
}

/// As the page writes a perplexity: two to three decimals, without zeros at the end.
fn trimmed(number: f64) -> String {
    let places = if number >= 100.0 { 2 } else { 3 };
    let text = format!("{number:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[test]
fn what_is_not_there_or_damaged_is_told() {
    let directory = scratch("report-faults");
    let failed = |arguments: &[&str], message: &str| {
        let (code, _, err) = run(&directory, arguments);
        let told = err.lines().last().unwrap_or_default().to_owned();
        assert_eq!(code, Some(1), "{arguments:?}: {err}");
        assert!(told.contains(message), "{arguments:?}: {err}");
    };
    failed(
        &["report", "nowhere", "-o", "a.html"],
        "error: nowhere is neither a run nor a sweep: it has no `run.yaml` and no `plan.json`",
    );
    trained(&directory);
    let place = directory.join("runs/quickstart-0");

    // An output that cannot be written leaves nothing behind.
    let quick = ["--episodes", "6", "--no-ablations"];
    let to = |output: &'static str| {
        let mut words = vec!["report", "runs/quickstart-0", "-o", output];
        words.extend(quick);
        words
    };
    failed(
        &to("no/such/folder.html"),
        "cannot write no/such/folder.html",
    );
    std::fs::create_dir(directory.join("folder.html")).unwrap();
    failed(&to("folder.html"), "cannot write folder.html");
    assert_eq!(
        std::fs::read_dir(directory.join("folder.html"))
            .unwrap()
            .count(),
        0
    );

    // A damaged line of the metrics is named, and the page that is there stays.
    std::fs::write(directory.join("a.html"), "old").unwrap();
    let metrics = place.join("metrics.jsonl");
    let text = std::fs::read_to_string(&metrics).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{\"iteration\": 6, \"lo";
    std::fs::write(&metrics, lines.join("\n") + "\n").unwrap();
    failed(
        &to("a.html"),
        "error: the metrics runs/quickstart-0/metrics.jsonl are damaged, line 3: it is not a record",
    );
    assert_eq!(
        std::fs::read_to_string(directory.join("a.html")).unwrap(),
        "old"
    );
    // A last line without its end is one that is being written.
    std::fs::write(&metrics, &text[..text.len() - 7]).unwrap();
    let (code, _, err) = run(&directory, &to("a.html"));
    assert_eq!(code, Some(0), "{err}");
    assert!(
        seen(&page(&directory.join("a.html"))).contains("They were omitted (`--no-ablations`).")
    );
    std::fs::write(&metrics, &text).unwrap();

    // A damaged checkpoint is refused, and no checkpoint is told.
    let last = place.join("checkpoints/0000000012.safetensors");
    let whole = std::fs::read(&last).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() - 40;
    bytes[middle] ^= 1;
    std::fs::write(&last, bytes).unwrap();
    failed(&to("a.html"), "0000000012.safetensors");
    std::fs::remove_dir_all(place.join("checkpoints")).unwrap();
    let (code, _, err) = run(&directory, &to("a.html"));
    assert_eq!(code, Some(0), "{err}");
    let text = seen(&page(&directory.join("a.html")));
    assert!(text.contains("The run has no checkpoint yet"), "{text}");
    assert!(text.contains("Reward over the training"), "{text}");

    std::fs::write(place.join("run.yaml"), "spec: 3\nspeck: 4\n").unwrap();
    failed(&to("a.html"), "run.yaml");
}
