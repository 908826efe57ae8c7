//! The time of an answer of the language server on a text of 2,000 lines: `cargo bench --bench editor`.
//!
//! Each row types a key and asks right after it, so that the server reads the whole text again before it answers. The
//! last row is the full check that follows a pause in typing.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::print_stdout, reason = "a benchmark reports to people")]

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/language_server/editor.rs"]
mod editor;

use editor::{long, Editor, QUESTIONS};
use serde_json::json;
use std::time::{Duration, Instant};

const ROUNDS: usize = 21;

fn main() {
    let text = long();
    let folder = std::env::temp_dir().join(format!("bpmc-editor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("long.bpm");
    let mut editor = Editor::start(&folder);
    editor.open(&path, &text);
    editor.findings(&path);
    println!(
        "{} lines, {ROUNDS} rounds, milliseconds",
        text.lines().count()
    );
    println!("{:<22}{:>8}{:>8}", "question", "median", "most");
    let row = |name: &str, mut times: Vec<Duration>| {
        times.sort();
        let shown = |time: Duration| time.as_secs_f64() * 1e3;
        let (median, most) = (shown(times[ROUNDS / 2]), shown(times[ROUNDS - 1]));
        println!("{name:<22}{median:>8.1}{most:>8.1}");
    };
    for method in QUESTIONS {
        let times = (0..ROUNDS).map(|_| {
            editor.replace(&path, &text);
            editor.findings(&path);
            let watch = Instant::now();
            editor.after_a_key(method, &path, &text, " ");
            watch.elapsed()
        });
        row(method, times.collect());
    }
    let times = (0..ROUNDS).map(|_| {
        let watch = Instant::now();
        editor.change(&path, json!({ "text": text }));
        editor.findings(&path);
        watch.elapsed()
    });
    row("findings", times.collect());
    drop(editor);
    std::fs::remove_dir_all(&folder).unwrap();
}
