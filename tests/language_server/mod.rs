//! The language server, through its protocol.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod editor;
mod edits;

use crate::scratch::scratch;
use editor::{edited, place, uri, Editor};
use serde_json::{json, Value};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const AGENT: &str = "\
import \"common.bpm\"

network agent {
  input obs: [task.obs]
  state h: [N] = 0

  // Connections that learn.
  plastic rec: h -> y using retroactive(dopamine, bound = 2) {
    weight w ~ uniform(0, 0.01)
    coeff alpha ~ uniform(0, 0.01)
  }

  y = tanh(linear(obs) + rec)
  modulator dopamine = tanh(linear(y, 1)) * external reward * train.gamma
  h <- y

  output policy = linear(y, task.actions)
  output value = linear(y, 1)
}

task cue_reward { bits = 6, cues = 3, steps = 12 }
train a2c { gamma = 0.5, optimizer adam { lr = 1e-3 } }
";

const COMMON: &str = "dim N = 8\n";

fn agent(name: &str) -> (Editor, PathBuf, PathBuf) {
    let folder = scratch(name);
    let common = folder.join("common.bpm");
    std::fs::write(&common, COMMON).unwrap();
    let path = folder.join("agent.bpm");
    std::fs::write(&path, AGENT).unwrap();
    let editor = Editor::start(&folder);
    editor.open(&path, AGENT);
    (editor, path, common)
}

fn hover(editor: &mut Editor, path: &Path, at: Value) -> String {
    let found = editor.at("hover", path, at, json!({})).unwrap();
    found["contents"]["value"].as_str().unwrap_or("").to_owned()
}

#[test]
fn a_typo_is_told_and_mended_by_its_quick_fix() {
    let (mut editor, path, _) = agent("server_typo");
    assert_eq!(editor.findings(&path), [] as [Value; 0]);
    for (wrong, right) in [
        ("tahn(linear(obs)", "tanh(linear(obs)"),
        ("gama = 0.5", "gamma = 0.5"),
    ] {
        let text = AGENT.replace(right, wrong);
        editor.replace(&path, &text);
        let found = editor.findings(&path);
        let messages: Vec<&str> = found
            .iter()
            .map(|one| one["message"].as_str().unwrap())
            .collect();
        assert!(
            messages.iter().any(|one| one.contains("did you mean")),
            "{messages:?}"
        );
        let range = found[0]["range"].clone();
        let more = json!({ "range": range, "context": { "diagnostics": [found[0]] } });
        let actions = editor.at("codeAction", &path, json!(null), more).unwrap();
        let edits = &actions[0]["edit"]["changes"][uri(&path)];
        assert_eq!(edited(&text, edits), AGENT, "{actions}");
        editor.replace(&path, AGENT);
        assert_eq!(editor.findings(&path), [] as [Value; 0]);
    }
}

#[test]
fn findings_of_an_import_are_shown_in_it_and_go_away() {
    let (editor, path, common) = agent("server_import");
    assert!(editor.findings(&path).is_empty());
    editor.open(&common, "dim N = 0\n");
    assert_eq!(editor.findings(&common)[0]["code"], "E0403");
    editor.replace(&common, COMMON);
    assert!(editor.findings(&common).is_empty());
}

#[test]
fn pointing_at_a_word_tells_its_meaning() {
    let (mut editor, path, _) = agent("server_hover");
    let mut told = |word: &str, nth: usize| hover(&mut editor, &path, place(AGENT, word, nth, 1));
    let rec = told("rec", 0);
    assert!(rec.contains("plastic bundle, `[8, 8]`"), "{rec}");
    assert!(rec.contains("Connections that learn."), "{rec}");
    let h = told("h -> y", 0);
    assert!(told("y = tanh", 0).contains("`[8]`"));
    assert!(told("gamma = 0.5", 0).contains("Discount of the return"));
    assert!(told("gamma\n", 0).contains("Discount of the return"));
    assert!(told("lr =", 0).contains("`lr = "), "{}", told("lr =", 0));
    assert!(told("tanh", 0).contains("Hyperbolic tangent"));
    assert!(
        told("retroactive", 0).contains("rule"),
        "{}",
        told("retroactive", 0)
    );
    assert!(told("cue_reward", 0).contains("bpmc explain task cue_reward"));
    assert!(told("reward * train", 0).contains("signal of task `cue_reward`"));
    assert!(told("plastic", 0).contains("bundle"));
    assert!(told("actions", 0).contains("size 2"));
    let state = hover(&mut editor, &path, place(AGENT, "h -> y", 0, 0));
    assert!(state.contains("state, `[8]`"), "{h} {state}");
    assert!(state.contains("state h: [N] = 0\nh <- y"), "{state}");
}

#[test]
fn what_may_stand_at_the_cursor_is_offered() {
    let (mut editor, path, _) = agent("server_completion");
    assert!(editor.findings(&path).is_empty());
    for (line, into, wanted, unwanted) in [
        (
            "  z = ",
            "y = tanh",
            vec!["h", "dopamine", "tanh", "rec", "N", "external"],
            "batch",
        ),
        ("  z = ta", "y = tanh", vec!["tanh"], "batch"),
        (
            "  z = rec.",
            "y = tanh",
            vec!["w", "alpha", "hebb", "e"],
            "tanh",
        ),
        ("  z = task.", "y = tanh", vec!["obs", "actions"], "tanh"),
        ("  z = train.", "y = tanh", vec!["gamma", "batch"], "tanh"),
        (
            "  z = external ",
            "y = tanh",
            vec!["reward", "trial_start"],
            "tanh",
        ),
        (
            "  ",
            "y = tanh",
            vec!["state", "plastic", "output"],
            "batch",
        ),
        (
            "  plastic more: h -> y using ",
            "y = tanh",
            vec!["retroactive", "plain", "oja"],
            "lstm",
        ),
        ("  cell memory: ", "y = tanh", vec!["lstm", "gru"], "oja"),
        (
            "    weight v ~ ",
            "  }\n",
            vec!["uniform", "normal"],
            "tanh",
        ),
        ("task ", "task cue", vec!["cue_reward", "maze"], "a2c"),
        ("train ", "train a2c", vec!["a2c", "supervised"], "maze"),
        (
            "train a2c { ",
            "train a2c",
            vec!["gamma", "batch", "optimizer"],
            "tanh",
        ),
        (
            "train a2c { optimizer adam { ",
            "train a2c",
            vec!["lr", "eps"],
            "gamma",
        ),
        (
            "train a2c { rate = ",
            "train a2c",
            vec!["cosine", "step"],
            "gamma",
        ),
        (
            "task cue_reward { observation = ",
            "task cue",
            vec!["paper", "run"],
            "bits",
        ),
        ("", "task cue", vec!["network", "rule", "task"], "tanh"),
        ("  // ta", "y = tanh", vec![], "tanh"),
    ] {
        let start = AGENT.find(into).unwrap();
        let start = AGENT[..start].rfind('\n').unwrap() + 1;
        let text = format!("{}{line}\n{}", &AGENT[..start], &AGENT[start..]);
        editor.replace(&path, &text);
        let at = editor::position(&text, start + line.len());
        let found = editor.at("completion", &path, at, json!({})).unwrap();
        let labels: Vec<&str> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["label"].as_str().unwrap())
            .collect();
        for word in wanted {
            assert!(labels.contains(&word), "{line:?} lacks {word}: {labels:?}");
        }
        assert!(
            !labels.contains(&unwanted),
            "{line:?} has {unwanted}: {labels:?}"
        );
    }
}

#[test]
fn names_lead_to_their_declarations_also_in_imports_and_the_library() {
    let (mut editor, path, common) = agent("server_definition");
    let mut definition = |word: &str, nth: usize, into: usize| {
        let found = editor
            .at(
                "definition",
                &path,
                place(AGENT, word, nth, into),
                json!({}),
            )
            .unwrap();
        let target = found["uri"].as_str().unwrap_or("").to_owned();
        let file = target.strip_prefix("file://").unwrap_or("/nothing");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let start = byte_or_zero(&text, &found["range"]["start"]);
        let end = byte_or_zero(&text, &found["range"]["end"]);
        (target, text[start..end].to_owned(), start)
    };
    assert_eq!(definition("[N]", 0, 1), (uri(&common), "N".to_owned(), 4));
    assert_eq!(definition("common", 0, 1).0, uri(&common));
    let (file, word, _) = definition("retroactive", 0, 2);
    assert!(file.ends_with("retroactive.bpm"), "{file}");
    assert_eq!(word, "retroactive");
    let (file, word, _) = definition("bound", 0, 2);
    assert!(
        file.ends_with("retroactive.bpm") && word == "bound",
        "{file} {word}"
    );
    let (_, word, at) = definition("dopamine, bound", 0, 1);
    assert_eq!(
        (word.as_str(), at),
        ("dopamine", AGENT.find("dopamine = ").unwrap())
    );
    let (_, word, at) = definition("train.gamma", 0, 7);
    assert_eq!(
        (word.as_str(), at),
        ("gamma", AGENT.find("gamma = 0.5").unwrap())
    );
}

fn byte_or_zero(text: &str, place: &Value) -> usize {
    if place.is_null() {
        0
    } else {
        editor::byte(text, place)
    }
}

#[test]
fn a_name_is_found_and_changed_everywhere() {
    let (mut editor, path, common) = agent("server_rename");
    // Another spec that imports the same file, and is not open.
    let other = path.with_file_name("other.bpm");
    std::fs::write(&other, AGENT).unwrap();
    editor.open(&common, COMMON);
    let at = place(COMMON, "N", 0, 0);
    let found = editor
        .at(
            "references",
            &common,
            at.clone(),
            json!({ "context": { "includeDeclaration": true } }),
        )
        .unwrap();
    assert_eq!(found.as_array().unwrap().len(), 3, "{found}");
    let changes = editor
        .at(
            "rename",
            &common,
            at.clone(),
            json!({ "newName": "NEURONS" }),
        )
        .unwrap();
    let new = edited(AGENT, &changes["changes"][uri(&other)]);
    assert!(new.contains("state h: [NEURONS] = 0"), "{new}");
    assert_eq!(
        edited(COMMON, &changes["changes"][uri(&common)]),
        "dim NEURONS = 8\n"
    );
    assert_eq!(changes["changes"].as_object().unwrap().len(), 3);

    let changes = editor
        .at(
            "rename",
            &path,
            place(AGENT, "dopamine", 1, 0),
            json!({ "newName": "m" }),
        )
        .unwrap();
    let new = edited(AGENT, &changes["changes"][uri(&path)]);
    assert_eq!(new, AGENT.replace("dopamine", "m"));
    let changes = editor
        .at(
            "rename",
            &path,
            place(AGENT, "h <- y", 0, 0),
            json!({ "newName": "hidden" }),
        )
        .unwrap();
    let new = edited(AGENT, &changes["changes"][uri(&path)]);
    assert!(
        new.contains("hidden <- y") && new.contains("plastic rec: hidden -> y"),
        "{new}"
    );

    for (word, name, reason) in [
        ("h <- y", "y", "twice"),
        ("h <- y", "state", "word of the language"),
        ("h <- y", "3x", "is no name"),
        ("retroactive", "mine", "library"),
        ("gamma = ", "discount", "setting of bpmc"),
    ] {
        let refused = editor.at(
            "rename",
            &path,
            place(AGENT, word, 0, 0),
            json!({ "newName": name }),
        );
        assert!(
            refused
                .as_ref()
                .is_err_and(|message| message.contains(reason)),
            "{refused:?}"
        );
    }
}

#[test]
fn a_text_is_formatted_outlined_and_coloured() {
    let (mut editor, path, _) = agent("server_layout");
    let whole =
        json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 999, "character": 0 } });
    let hints = editor
        .at("inlayHint", &path, json!(null), json!({ "range": whole }))
        .unwrap();
    let hints: Vec<&str> = hints
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["label"].as_str().unwrap())
        .collect();
    assert_eq!(
        hints,
        ["[8, 8]", ": [8, 8]", ": [8, 8]", ": [8]", ": [2]", ": [1]"]
    );
    let outline = editor
        .at("documentSymbol", &path, json!(null), json!({}))
        .unwrap();
    let names: Vec<&str> = outline
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["agent", "task cue_reward", "train a2c"]);
    assert_eq!(outline[0]["children"][2]["name"], "rec");
    assert_eq!(outline[0]["children"][2]["children"][1]["name"], "alpha");
    // Every coloured word is a word of the text.
    let colours = editor
        .at("semanticTokens/full", &path, json!(null), json!({}))
        .unwrap();
    let (mut line, mut column) = (0, 0);
    let mut words = Vec::new();
    for five in colours["data"].as_array().unwrap().chunks(5) {
        let five: Vec<u64> = five.iter().map(|one| one.as_u64().unwrap()).collect();
        column = if five[0] == 0 {
            column + five[1]
        } else {
            five[1]
        };
        line += five[0];
        let start = editor::byte(AGENT, &json!({ "line": line, "character": column }));
        words.push((&AGENT[start..start + five[2] as usize], five[3]));
    }
    for known in [
        ("import", 0),
        ("\"common.bpm\"", 2),
        ("// Connections that learn.", 1),
        ("0.01", 3),
        ("tanh", 8),
        ("gamma", 7),
        ("h", 5),
    ] {
        assert!(words.contains(&known), "{known:?} in {words:?}");
    }
    editor.replace(&path, &AGENT.replace("  h <- y", "h<-y"));
    let edits = editor
        .at("formatting", &path, json!(null), json!({ "options": {} }))
        .unwrap();
    assert_eq!(edited(&AGENT.replace("  h <- y", "h<-y"), &edits), AGENT);
    editor.replace(&path, &AGENT.replace("h <- y", "h <-"));
    assert_eq!(
        editor
            .at("formatting", &path, json!(null), json!({ "options": {} }))
            .unwrap(),
        json!([])
    );
}

#[test]
fn opening_a_text_starts_no_program() {
    let folder = scratch("server_process");
    let mark = folder.join("started");
    let text = format!("task process {{ command = \"touch {}\" }}\nnetwork a {{ input x: [3] output y = lniear(x, 1) }}\n", mark.display());
    let mut editor = Editor::start(&folder);
    let path = folder.join("a.bpm");
    editor.open(&path, &text);
    assert_eq!(editor.findings(&path), [] as [Value; 0]);
    hover(&mut editor, &path, place(&text, "process", 0, 1));
    assert!(!mark.exists());
    editor.replace(&path, &format!("{text}}}"));
    assert_eq!(editor.findings(&path)[0]["code"], "E0102");
}

#[test]
fn the_command_speaks_the_protocol() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .arg("lsp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let messages = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "capabilities": {} } }),
        json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} }),
        json!({ "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": { "textDocument": { "uri": "untitled:1", "text": "dim N = 0\n" } } }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "textDocument/hover", "params": { "textDocument": { "uri": "untitled:1" }, "position": { "line": 0, "character": 4 } } }),
        json!({ "jsonrpc": "2.0", "id": 3, "method": "shutdown" }),
        json!({ "jsonrpc": "2.0", "method": "exit" }),
    ];
    for message in messages {
        let text = message.to_string();
        write!(input, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    }
    drop(input);
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(output.contains("**N**: dim"), "{output}");
}

#[test]
fn a_new_name_that_would_change_what_a_name_means_is_refused() {
    let text = "\
network n {
  input x: [3]
  state h: [3] = 0
  plastic rec: h -> y {
    weight w ~ uniform(0, 0.1)
    trace hebb = 0
    transmit w + hebb
    hebb <- hebb + q * pre * post
  }
  y = tanh(linear(x) + rec)
  modulator q = tanh(linear(y, 1))
  modulator r = tanh(linear(y, 1))
  h <- y
  output out = linear(y, 2) + r
}

task random { seed = 1 }
";
    let folder = scratch("server_capture");
    let path = folder.join("capture.bpm");
    let mut editor = Editor::start(&folder);
    editor.open(&path, text);
    let mut rename = |word: &str, name: &str| {
        let at = place(text, word, 0, 0);
        editor.at("rename", &path, at, json!({ "newName": name }))
    };
    for (word, name, reason) in [
        ("q * pre", "hebb", "line 8"),
        ("q = tanh", "w", "line 8"),
        ("hebb = 0", "q", "line 8"),
        ("w ~", "q", "line 8"),
        ("w ~", "pre", "a meaning of its own"),
        ("hebb = 0", "post", "a meaning of its own"),
        ("q = tanh", "pre", "a meaning of its own"),
        ("h <- y", "target", "a meaning of its own"),
    ] {
        let refused = rename(word, name);
        let told = refused.as_ref().is_err_and(|told| told.contains(reason));
        assert!(told, "{word} {name}: {refused:?}");
    }
    // A name of elsewhere that captures nothing.
    for (word, name) in [("hebb = 0", "out"), ("r = tanh", "hebb"), ("h <- y", "w")] {
        let renamed = rename(word, name);
        assert!(renamed.is_ok(), "{word} {name}: {renamed:?}");
    }
}

/// What the command says to bodies, and whether it ended well, with its standard error.
fn talk(bodies: &[&[u8]], end: &str) -> (String, bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .arg("lsp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for body in bodies {
        write!(input, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
        input.write_all(body).unwrap();
    }
    write!(input, "{end}").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        output.status.success(),
        text(output.stderr),
    )
}

const START: [&[u8]; 2] = [
    br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}"#,
    br#"{"jsonrpc":"2.0","method":"initialized","params":{}}"#,
];

#[test]
fn a_body_that_is_no_message_is_answered_with_an_error() {
    let deep = "[".repeat(200_000);
    let bad: [(&[u8], &str, &str); 8] = [
        (b"{bad", "-32700", "null"),
        (b"", "-32700", "null"),
        (b"\xff\xfe", "-32700", "null"),
        (deep.as_bytes(), "-32700", "null"),
        (b"[]", "-32600", "null"),
        (b"null", "-32600", "null"),
        (br#"{"jsonrpc":"2.0","id":7,"method":8}"#, "-32600", "7"),
        (
            br#"{"jsonrpc":"2.0","id":1.5,"method":"shutdown"}"#,
            "-32600",
            "1.5",
        ),
    ];
    let goodbye: [&[u8]; 2] = [
        br#"{"jsonrpc":"2.0","id":2,"method":"shutdown"}"#,
        br#"{"jsonrpc":"2.0","method":"exit"}"#,
    ];
    for (body, code, id) in bad {
        // Also before the greeting.
        for at in 0..3 {
            let mut bodies = START.to_vec();
            bodies.insert(at, body);
            bodies.extend(goodbye);
            let (output, good, told) = talk(&bodies, "");
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            assert!(good && told.is_empty(), "{shown}: {told}");
            let error = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"#);
            assert_eq!(output.matches(&error).count(), 1, "{shown}: {output}");
            assert!(
                output.contains(r#""id":2,"result":null"#),
                "{shown}: {output}"
            );
        }
    }
}

#[test]
fn a_message_that_nobody_waits_for_does_not_end_the_server() {
    let goodbye: [&[u8]; 2] = [
        br#"{"jsonrpc":"2.0","id":2,"method":"shutdown"}"#,
        br#"{"jsonrpc":"2.0","method":"exit"}"#,
    ];
    let odd: [(&[u8], Option<&str>); 5] = [
        (br#"{"jsonrpc":"2.0","id":9,"result":null}"#, None),
        (
            br#"{"jsonrpc":"2.0","id":9,"error":{"code":1,"message":"no"}}"#,
            None,
        ),
        (
            br#"{"jsonrpc":"2.0","method":"$/setTrace","params":{"value":"off"}}"#,
            None,
        ),
        (
            br#"{"jsonrpc":"2.0","id":9,"method":"textDocument/hover","params":{}}"#,
            Some("`textDocument/hover` came"),
        ),
        (
            br#"{"jsonrpc":"2.0","id":9,"method":"shutdown"}"#,
            Some("`shutdown` came"),
        ),
    ];
    for (body, refused) in odd {
        // Before the greeting, between its parts, between goodbye and the end.
        for at in [0, 1, 2, 3] {
            // A goodbye after the greeting is one.
            if (at == 1 || at == 2) && body.ends_with(br#""shutdown"}"#) {
                continue;
            }
            let mut bodies = START.to_vec();
            bodies.extend(goodbye);
            bodies.insert(at, body);
            let (output, good, told) = talk(&bodies, "");
            assert!(good && told.is_empty(), "{at}: {told}");
            let answered = output.contains(r#""id":2,"result":null"#);
            assert!(answered && output.contains("serverInfo"), "{at}: {output}");
            if let Some(refused) = refused.filter(|_| at == 0 || at == 3) {
                assert!(output.contains(refused), "{at}: {output}");
            }
        }
    }
    let (output, good, told) = talk(&[], "");
    assert!(good && output.is_empty() && told.is_empty(), "{told}");
}

#[test]
fn a_stream_that_cannot_be_read_on_ends_the_server_with_a_message() {
    for (end, reason) in [
        (
            "Content-Length: 99999999999999999\r\n\r\n",
            "up to 268435456",
        ),
        ("Content-Length: 268435457\r\n\r\n", "up to 268435456"),
        ("Content-Length: many\r\n\r\n", "`many`"),
        (
            "Content-Length: 268435456\r\n\r\n{}",
            "ended after 2 of 268435456",
        ),
        ("\r\n", "no Content-Length"),
        ("hello\r\n", "`hello`"),
    ] {
        for greeting in [&START[..], &[]] {
            let (_, good, told) = talk(greeting, end);
            assert!(!good, "{end}");
            let whole = told.contains("cannot read the editor's messages") && told.contains(reason);
            assert!(whole && !told.contains("panicked"), "{end}: {told}");
        }
    }
}
