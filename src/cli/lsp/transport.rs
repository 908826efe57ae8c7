//! Messages on standard input and output. A message that cannot be understood is answered with an error, and the next
//! one is read; only a stream on which no next message can be found ends the server.

use anyhow::Context;
use lsp_server::{Connection, ErrorCode, Message};
use serde_json::{json, Value};
use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The most bytes of a message.
const LARGEST: u64 = 256 << 20;
/// The most bytes of a line before a message.
const LONGEST_LINE: u64 = 8 << 10;

/// The threads that read and write.
pub struct Transport {
    /// The reason why no more can be read.
    fault: mpsc::Receiver<io::Error>,
    writer: JoinHandle<io::Result<()>>,
}

impl Transport {
    /// Connects standard input and output.
    pub fn start() -> (Connection, Transport) {
        let (own, editor) = Connection::memory();
        let Connection { sender, receiver } = editor;
        let (tell, fault) = mpsc::channel();
        std::thread::spawn(move || {
            let heard = |message| sender.send(message).is_ok();
            let answer = |error: &Value| write(&mut io::stdout().lock(), error);
            if let Err(error) = listen(&mut io::stdin().lock(), heard, answer) {
                // The server may have ended already.
                let _ = tell.send(error);
            }
            // The server ends when this is gone, and the reason is told by then.
            drop(sender);
        });
        let writer = std::thread::spawn(move || {
            let mut messages = receiver.into_iter();
            messages.try_for_each(|message| message.write(&mut io::stdout().lock()))
        });
        (own, Transport { fault, writer })
    }

    /// Waits until all is written, after the connection is dropped.
    ///
    /// # Errors
    /// What went wrong in reading or in writing.
    pub fn finish(self) -> anyhow::Result<()> {
        if let Ok(error) = self.fault.try_recv() {
            return Err(error).context("cannot read the editor's messages");
        }
        let written = self.writer.join();
        let written = written.unwrap_or_else(|_| Err(io::Error::other("the writer failed")));
        written.context("cannot write to the editor")
    }
}

/// Hands on all messages up to `exit`; `heard` tells if somebody listens, and `answer` sends an error.
fn listen(
    input: &mut impl BufRead,
    heard: impl Fn(Message) -> bool,
    answer: impl Fn(&Value) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(body) = read(input)? {
        match understood(&body) {
            Ok(message) => {
                let last = matches!(&message, Message::Notification(note) if note.method == "exit");
                if !heard(message) || last {
                    break;
                }
            }
            Err(error) => answer(&error)?,
        }
    }
    Ok(())
}

/// The body of the next message; `None` at the end of the input.
fn read(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
    let mut size = None;
    loop {
        let mut line = Vec::new();
        input
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            let start: String = line.chars().take(40).collect();
            return Err(wrong(format!(
                "`{start}` stands where `Content-Length: N` belongs"
            )));
        };
        if name.trim().eq_ignore_ascii_case("Content-Length") {
            let known = value.trim().parse().ok();
            let known = known.filter(|size: &u64| *size <= LARGEST);
            size = Some(known.ok_or_else(|| {
                let value: String = value.trim().chars().take(40).collect();
                wrong(format!(
                    "a message has the Content-Length `{value}`, which is no number up to {LARGEST}"
                ))
            })?);
        }
    }
    let size = size.ok_or_else(|| wrong("a message has no Content-Length".to_owned()))?;
    // The memory grows with what arrives, and not with what is announced.
    let mut body = Vec::new();
    input.by_ref().take(size).read_to_end(&mut body)?;
    if (body.len() as u64) < size {
        let message = format!("the input ended after {} of {size} bytes", body.len());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    Ok(Some(body))
}

/// The message, or the answer to what is none.
fn understood(body: &[u8]) -> Result<Message, Value> {
    let refused = |id: Value, code: ErrorCode, message: String| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code as i32, "message": message } });
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the message is not JSON: {error}");
        refused(Value::Null, ErrorCode::ParseError, message)
    })?;
    let id = value.get("id").cloned().unwrap_or(Value::Null);
    let known = if id.is_string() || id.is_number() {
        id
    } else {
        Value::Null
    };
    let answers = value.get("result").is_some() || value.get("error").is_some();
    match serde_json::from_value(value) {
        // A number that is no id of the protocol leaves a question without an answer.
        Ok(Message::Notification(_)) if !known.is_null() => {
            let message = "the id of a request is a text or a whole number of 32 bits".to_owned();
            Err(refused(known, ErrorCode::InvalidRequest, message))
        }
        Ok(message) if answers || !matches!(message, Message::Response(_)) => Ok(message),
        _ => {
            let message = "the message is neither a request nor a notification nor a response";
            let code = ErrorCode::InvalidRequest;
            Err(refused(known, code, message.to_owned()))
        }
    }
}

fn write(output: &mut impl Write, message: &Value) -> io::Result<()> {
    let text = message.to_string();
    write!(output, "Content-Length: {}\r\n\r\n{text}", text.len())?;
    output.flush()
}
