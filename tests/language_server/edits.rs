//! Random edits, and the time of an answer.

use super::editor::{self, Editor};
use crate::scratch::scratch;
use crate::syntax_support::{GOOD, TOKENS};
use bpmc::driver;
use serde_json::{json, Value};
use std::path::Path;
use std::time::{Duration, Instant};

/// A generator of numbers below a limit.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }

    fn place(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// What a full check finds in a text: code, first line, message.
fn checked(path: &Path, text: &str) -> Vec<(String, u64, String)> {
    let name = path.display().to_string();
    let found = driver::compile(&name, text, &[], &driver::from_disk).unwrap();
    let list = found
        .diagnostics
        .iter()
        .filter(|one| one.primary.span.source.0 == 0);
    let list = list.map(|one| {
        let line = text[..one.primary.span.start as usize]
            .matches('\n')
            .count() as u64;
        (one.code.text().to_owned(), line, one.message.clone())
    });
    list.collect()
}

#[test]
fn random_edits_give_what_a_full_check_gives() {
    // The hundred thousand edits are `BPMC_EDITS=100000`.
    let edits = std::env::var("BPMC_EDITS")
        .ok()
        .and_then(|number| number.parse().ok());
    let edits: usize = edits.unwrap_or(400);
    let folder = scratch("server_edits");
    let path = folder.join("edited.bpm");
    let texts = [
        super::AGENT.replace("import \"common.bpm\"", "dim N = 8"),
        GOOD.to_owned(),
    ];
    let mut editor = Editor::start(&folder);
    editor.open(&path, "");
    editor.findings(&path);
    let mut dice = Dice(7);
    let mut text = String::new();
    for k in 0..edits {
        if k % 60 == 0 {
            text.clone_from(&texts[k / 60 % texts.len()]);
            editor.replace(&path, &text);
            editor.findings(&path);
        }
        let start = dice.place(&text);
        let mut end = start;
        let mut new = String::new();
        match dice.below(4) {
            0 => {
                end = (start + dice.below(12)).min(text.len());
                while !text.is_char_boundary(end) {
                    end += 1;
                }
            }
            1 => {
                new = "\u{1D6FC}\u{00E9}\"\n{}("
                    .chars()
                    .nth(dice.below(7))
                    .unwrap()
                    .to_string()
            }
            _ => new = format!(" {} ", TOKENS[dice.below(TOKENS.len())]),
        }
        let range =
            json!({ "start": editor::position(&text, start), "end": editor::position(&text, end) });
        editor.change(&path, json!({ "range": range, "text": new }));
        text.replace_range(start..end, &new);
        let found: Vec<(String, u64, String)> = editor
            .findings(&path)
            .iter()
            .map(|one| {
                let code = one["code"].as_str().unwrap().to_owned();
                let message = one["message"].as_str().unwrap().to_owned();
                (
                    code,
                    one["range"]["start"]["line"].as_u64().unwrap(),
                    message,
                )
            })
            .collect();
        let wanted = checked(&path, &text);
        assert_eq!(found.len(), wanted.len(), "{text}\n{found:?}\n{wanted:?}");
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!((&found.0, found.1), (&wanted.0, wanted.1), "{text}");
            assert!(found.2.starts_with(&wanted.2), "{found:?} {wanted:?}");
        }
        let place = editor::position(&text, dice.place(&text));
        let whole = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 9999, "character": 0 } });
        let methods = [
            "hover",
            "completion",
            "definition",
            "references",
            "documentHighlight",
            "prepareRename",
            "rename",
            "formatting",
            "documentSymbol",
            "inlayHint",
            "semanticTokens/full",
            "codeAction",
        ];
        let method = methods[k % methods.len()];
        let more = match method {
            // Each fix is a check of its own.
            "codeAction" if k % 5 > 0 => json!({ "range": { "start": place, "end": place } }),
            _ => json!({ "range": whole, "newName": "other", "context": {} }),
        };
        if method != "codeAction" || k % 36 == 11 {
            let answer = editor.at(method, &path, place, more);
            assert!(
                answer.is_ok() || method.ends_with("ename"),
                "{method}: {answer:?}"
            );
        }
    }
}

/// A spec of about 2,000 lines.
fn long() -> String {
    let mut text = "network long {\n  input x: [8]\n  state h: [8] = 0\n".to_owned();
    let mut sum = String::new();
    let mut bundles = 0;
    while text.lines().count() < 1980 {
        text.push_str(&format!(
            "\n  // Bundle {bundles}.\n  plastic r{bundles}: h -> y {{\n    weight w ~ uniform(0, 0.01)\n    \
             coeff alpha ~ uniform(0, 0.01)\n    trained eta = 0.1\n    trace hebb = 0\n    \
             transmit w + alpha * hebb\n    hebb <- clip(hebb + eta * pre * post, -1, 1)\n  }}\n  \
             z{bundles} = tanh(r{bundles} + linear(x, 8))\n"
        ));
        sum.push_str(&format!(" + z{bundles}"));
        bundles += 1;
    }
    text.push_str(&format!(
        "  y = tanh(linear(x){sum})\n  h <- y\n  output out = linear(y, 2)\n}}\n"
    ));
    text + "\ntrain supervised { loss = half_sum_squares, batch = 2, steps = 3 }\n"
}

#[test]
fn two_thousand_lines_are_answered_in_50_milliseconds() {
    let text = long();
    let lines = text.lines().count();
    assert!((1950..2050).contains(&lines), "{lines}");
    let folder = scratch("server_long");
    let path = folder.join("long.bpm");
    let mut editor = Editor::start(&folder);
    editor.open(&path, &text);
    let found = editor.findings(&path);
    assert!(found.iter().all(|one| one["severity"] == 2), "{found:?}");
    let mut fastest: Vec<(String, Duration)> = Vec::new();
    for method in [
        "hover",
        "completion",
        "definition",
        "documentHighlight",
        "formatting",
        "documentSymbol",
        "inlayHint",
        "semanticTokens/full",
    ] {
        let mut best = Duration::MAX;
        for k in 0..5 {
            let at = text.find("z20 ").unwrap();
            let place = editor::position(&text, at + 1);
            let letter = if k % 2 == 0 { " " } else { "" };
            let start = json!({ "start": place, "end": place });
            let watch = Instant::now();
            // A key, and the answer to the question right after it.
            let comment = editor::position(&text, text.len());
            editor.change(
                &path,
                json!({ "range": { "start": comment, "end": comment }, "text": letter }),
            );
            let more = json!({ "range": start, "options": {} });
            if method == "inlayHint" {
                // An editor asks for these once it has the findings.
                editor.findings(&path);
            }
            let answer = editor.at(method, &path, place, more).unwrap();
            best = best.min(watch.elapsed());
            assert_ne!(answer, Value::Null, "{method}");
        }
        fastest.push((method.to_owned(), best));
    }
    #[expect(
        clippy::print_stdout,
        reason = "a report for people, shown by --nocapture"
    )]
    {
        println!("{lines} lines: {fastest:?}");
    }
    // A library that is built without optimization, for tests in a hurry, is ten times as slow.
    let mut parsing = Duration::MAX;
    for _ in 0..5 {
        let watch = Instant::now();
        driver::parse("long.bpm", &text, &driver::from_disk);
        parsing = parsing.min(watch.elapsed());
    }
    let slow = parsing > Duration::from_millis(40);
    let most = if slow {
        10 * parsing
    } else {
        Duration::from_millis(50)
    };
    for (method, time) in fastest {
        assert!(time < most, "{method}: {time:?}, and parsing {parsing:?}");
    }
}
