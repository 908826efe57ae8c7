//! Random edits, and a long text.

use super::editor::{self, long, Editor, QUESTIONS};
use crate::scratch::scratch;
use crate::syntax_support::{GOOD, TOKENS};
use bpmc::driver;
use serde_json::json;
use std::path::Path;

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

#[test]
fn two_thousand_lines_are_answered() {
    let text = long();
    let lines = text.lines().count();
    assert!((1950..2050).contains(&lines), "{lines}");
    let folder = scratch("server_long");
    let path = folder.join("long.bpm");
    let mut editor = Editor::start(&folder);
    editor.open(&path, &text);
    let found = editor.findings(&path);
    assert!(found.iter().all(|one| one["severity"] == 2), "{found:?}");
    for method in QUESTIONS {
        let answer = editor.after_a_key(method, &path, &text, " ");
        let parts = answer.as_array().or_else(|| answer["data"].as_array());
        match method {
            "hover" => {
                let told = answer["contents"]["value"].as_str().unwrap();
                assert!(told.contains("`[8]`"), "{told}");
            }
            "definition" => {
                let line = text[..text.find("z20 =").unwrap()].matches('\n').count();
                assert_eq!(answer["range"]["start"]["line"], line);
            }
            "documentHighlight" => assert_eq!(parts.unwrap().len(), 2),
            "formatting" => assert_eq!(parts.unwrap().len(), 1, "{answer}"),
            _ => assert!(!parts.unwrap().is_empty(), "{method}"),
        }
        editor.replace(&path, &text);
    }
}
