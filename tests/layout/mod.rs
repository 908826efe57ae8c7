//! How the top-level modules of `src/` depend on each other: without a cycle, and on few others each.
//!
//! `cargo test --release --test all layout:: -- --nocapture` prints the table. An edge goes from the module with a path into another
//! module to that other one; comments, unit tests, `lib.rs` and `main.rs` do not count. The command, `cli`, counts as a
//! module.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod paths;

use paths::paths;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most edges there may be. It only ever gets smaller.
const MOST: usize = 40;

/// By edge, where it comes from: the file and the path it names.
type Edges = BTreeMap<(String, String), BTreeSet<String>>;

fn edges() -> Edges {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut edges = Edges::new();
    for file in sources(&root) {
        let place = file.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Vec<String> = place
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        module.pop_if(|last| last == "mod");
        let text = std::fs::read_to_string(&file).unwrap();
        for path in paths(&text, &module) {
            if path[0] != module[0] {
                let from = format!("{}: {}", place.display(), path.join("::"));
                let edge = (module[0].clone(), path[0].clone());
                edges.entry(edge).or_default().insert(from);
            }
        }
    }
    edges
}

/// All source files but tests, `lib.rs` and `main.rs`.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let crate_root = folder == root && matches!(stem, "lib" | "main");
            if stem == "tests" || crate_root {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Modules that reach themselves, with those they reach on the way back.
fn cycles<'a>(edges: impl Iterator<Item = &'a (String, String)> + Clone) -> BTreeSet<&'a str> {
    let mut left: BTreeSet<&str> = edges
        .clone()
        .flat_map(|(from, to)| [from.as_str(), to.as_str()])
        .collect();
    // A module that nobody left needs, or that needs nobody left, is on no cycle.
    loop {
        let inside: Vec<&(String, String)> = edges
            .clone()
            .filter(|(from, to)| left.contains(from.as_str()) && left.contains(to.as_str()))
            .collect();
        let before = left.len();
        left.retain(|name| {
            inside.iter().any(|(from, _)| from == name) && inside.iter().any(|(_, to)| to == name)
        });
        if left.len() == before {
            return left;
        }
    }
}

/// Edges with the number of paths behind each, and some of the paths.
fn table(edges: &Edges, with_paths: bool) -> String {
    let mut text = String::new();
    for ((from, to), places) in edges {
        text += &format!("{from} -> {to}: {}\n", places.len());
        for place in places.iter().take(if with_paths { 8 } else { 0 }) {
            text += &format!("    {place}\n");
        }
    }
    text
}

#[test]
fn modules_depend_on_each_other_one_way() {
    let edges = edges();
    #[expect(
        clippy::print_stdout,
        reason = "a report for people, shown by --nocapture"
    )]
    {
        println!("{}{} edges", table(&edges, false), edges.len());
    }
    let around = cycles(edges.keys());
    let mut inside = edges.clone();
    inside.retain(|(from, to), _| around.contains(from.as_str()) && around.contains(to.as_str()));
    assert!(
        around.is_empty(),
        "these modules need each other in a circle: {around:?}\n{}",
        table(&inside, true)
    );
}

#[test]
fn modules_need_few_others() {
    let edges = edges();
    assert!(
        edges.len() <= MOST,
        "{} edges between modules, where {MOST} is the most:\n{}",
        edges.len(),
        table(&edges, false)
    );
}

#[test]
fn cycles_are_found() {
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let chain = [edge("a", "b"), edge("b", "c"), edge("a", "c")];
    assert!(cycles(chain.iter()).is_empty());
    let circle = [
        edge("a", "b"),
        edge("b", "c"),
        edge("c", "b"),
        edge("c", "d"),
    ];
    assert_eq!(Vec::from_iter(cycles(circle.iter())), ["b", "c"]);
}
