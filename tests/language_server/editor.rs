//! An editor, as far as the language server sees one.

use lsp_server::{Connection, Message, Notification, Request, RequestId};
use serde_json::{json, Value};
use std::path::Path;
use std::thread::JoinHandle;

/// The questions of an editor whose answers a person waits for.
pub const QUESTIONS: [&str; 8] = [
    "hover",
    "completion",
    "definition",
    "documentHighlight",
    "formatting",
    "documentSymbol",
    "inlayHint",
    "semanticTokens/full",
];

pub struct Editor {
    connection: Connection,
    server: Option<JoinHandle<()>>,
    asked: i32,
}

impl Editor {
    /// An editor with a folder, and its own server.
    pub fn start(folder: &Path) -> Editor {
        let (server, connection) = Connection::memory();
        let server = std::thread::spawn(move || bpmc::cli::lsp::serve(&server).unwrap());
        let mut editor = Editor {
            connection,
            server: Some(server),
            asked: 0,
        };
        let started = editor.ask(
            "initialize",
            json!({ "rootUri": uri(folder), "capabilities": {} }),
        );
        assert_eq!(started.unwrap()["serverInfo"]["name"], "bpmc");
        editor.tell("initialized", json!({}));
        editor
    }

    pub fn tell(&self, method: &str, parameters: Value) {
        let note = Notification::new(method.to_owned(), parameters);
        self.connection
            .sender
            .send(Message::Notification(note))
            .unwrap();
    }

    /// The answer to a question.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.asked += 1;
        let id = RequestId::from(self.asked);
        let request = Request::new(id.clone(), method.to_owned(), parameters);
        self.connection
            .sender
            .send(Message::Request(request))
            .unwrap();
        loop {
            if let Message::Response(answer) = self.connection.receiver.recv().unwrap() {
                assert_eq!(answer.id, id);
                return match answer.error {
                    // -32603 is a panic.
                    Some(error) if error.code == -32603 => panic!("{method}: {}", error.message),
                    Some(error) => Err(error.message),
                    None => Ok(answer.result.unwrap_or(Value::Null)),
                };
            }
        }
    }

    pub fn open(&self, path: &Path, text: &str) {
        let document = json!({ "uri": uri(path), "languageId": "bpm", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Replaces the whole text.
    pub fn replace(&self, path: &Path, text: &str) {
        self.change(path, json!({ "text": text }));
    }

    pub fn change(&self, path: &Path, change: Value) {
        let document = json!({ "uri": uri(path), "version": 2 });
        let parameters = json!({ "textDocument": document, "contentChanges": [change] });
        self.tell("textDocument/didChange", parameters);
    }

    /// The findings in a file after a change.
    pub fn findings(&self, path: &Path) -> Vec<Value> {
        loop {
            if let Message::Notification(note) = self.connection.receiver.recv().unwrap() {
                if note.params["uri"] == uri(path) {
                    return note.params["diagnostics"].as_array().unwrap().clone();
                }
            }
        }
    }

    /// The answer about a file, at a mark in its text if one is given.
    pub fn at(
        &mut self,
        method: &str,
        path: &Path,
        place: Value,
        more: Value,
    ) -> Result<Value, String> {
        let mut parameters = json!({ "textDocument": { "uri": uri(path) }, "position": place });
        for (name, value) in more.as_object().unwrap() {
            parameters[name] = value.clone();
        }
        self.ask(&format!("textDocument/{method}"), parameters)
    }

    /// Types a key at the end of a long text, and asks right away about a name in its middle.
    pub fn after_a_key(&mut self, method: &str, path: &Path, text: &str, key: &str) -> Value {
        let (end, name) = (
            position(text, text.len()),
            position(text, text.find("z20 ").unwrap() + 1),
        );
        let range = json!({ "start": end, "end": end });
        self.change(path, json!({ "range": range, "text": key }));
        if method == "inlayHint" {
            // An editor asks for these once it has the findings.
            self.findings(path);
        }
        let whole = json!({ "start": { "line": 0, "character": 0 }, "end": end });
        let range = match method {
            "inlayHint" => whole,
            _ => json!({ "start": name, "end": name }),
        };
        let more = json!({ "range": range, "options": {} });
        self.at(method, path, name, more).unwrap()
    }
}

/// A spec of about 2,000 lines.
pub fn long() -> String {
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

impl Drop for Editor {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.ask("shutdown", Value::Null).unwrap();
            self.tell("exit", Value::Null);
            self.server.take().unwrap().join().unwrap();
        }
    }
}

pub fn uri(path: &Path) -> String {
    let path = path.display().to_string();
    if path.starts_with('/') {
        format!("file://{path}")
    } else {
        path
    }
}

/// A place of the protocol: the `nth` occurrence of a word, and so many characters into it.
pub fn place(text: &str, word: &str, nth: usize, into: usize) -> Value {
    let (byte, _) = text.match_indices(word).nth(nth).unwrap();
    position(text, byte + into)
}

/// A byte of a text as a place of the protocol.
pub fn position(text: &str, byte: usize) -> Value {
    let line = text[..byte].matches('\n').count();
    let start = text[..byte].rfind('\n').map_or(0, |at| at + 1);
    let units: usize = text[start..byte].chars().map(char::len_utf16).sum();
    json!({ "line": line, "character": units })
}

/// The byte of a place of the protocol.
pub fn byte(text: &str, place: &Value) -> usize {
    let (line, units) = (
        place["line"].as_u64().unwrap(),
        place["character"].as_u64().unwrap(),
    );
    let start = match line {
        0 => 0,
        line => text.match_indices('\n').nth(line as usize - 1).unwrap().0 + 1,
    };
    let mut left = units as usize;
    for (at, c) in text[start..].char_indices() {
        if left == 0 {
            return start + at;
        }
        left -= c.len_utf16();
    }
    text.len()
}

/// A text after edits of the protocol.
pub fn edited(text: &str, edits: &Value) -> String {
    let mut edits: Vec<(usize, usize, &str)> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| {
            let range = &edit["range"];
            let new = edit["newText"].as_str().unwrap();
            (byte(text, &range["start"]), byte(text, &range["end"]), new)
        })
        .collect();
    edits.sort();
    let mut text = text.to_owned();
    for (start, end, new) in edits.into_iter().rev() {
        text.replace_range(start..end, new);
    }
    text
}
