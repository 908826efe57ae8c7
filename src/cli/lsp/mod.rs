//! The command `bpmc lsp`: a language server on standard input and output.
//!
//! | module | does |
//! |---|---|
//! | `transport` | reads and writes messages |
//! | `server`, `answers` | keeps the open texts and answers |
//! | `analysis` | what is known of one text with its imports |
//! | `symbols`, `resolve` | declarations and uses of names, from the syntax alone |
//! | `words` | what stands around the cursor in a text that may be half typed |
//! | `meaning`, `hover`, `complete`, `fixes`, `colours`, `outline`, `places` | one kind of answer each |
//! | `text` | lines, columns and addresses of the protocol |

mod analysis;
mod answers;
mod colours;
mod complete;
mod fixes;
mod hover;
mod meaning;
mod outline;
mod places;
mod resolve;
mod server;
mod symbols;
mod text;
mod transport;
pub(in crate::cli) mod words;

use super::{Failure, Outcome};
use anyhow::Context;
use clap::Args;
use lsp_server::{Connection, ErrorCode, Message, Request, Response};
use serde_json::{json, Value};
use server::Server;
use std::time::Duration;
use transport::Transport;

const AFTER_HELP: &str = "\
Examples:
  bpmc lsp                        an editor starts this; editors/ has what an editor needs

The server never starts the program of `task process`: a spec with one is checked as far as its grammar and names go.";

/// The time without a message after which a changed text is checked: questions about it come first, and fast typing
/// costs one check.
const PAUSE: Duration = Duration::from_millis(30);
/// The time between looks at a connection on which nothing happens.
const FOREVER: Duration = Duration::from_secs(3600);

/// Serve an editor: errors as you type, quick fixes, completion, definitions, renaming, formatting.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Ignored: standard input and output are always used
    #[arg(long, hide = true)]
    pub stdio: bool,
}

/// Serves until the editor says goodbye.
///
/// # Errors
/// A stream on which no next message can be found, or on which nothing can be written.
pub fn run(_: &Arguments) -> Outcome {
    let (connection, transport) = Transport::start();
    let served = serve(&connection);
    drop(connection);
    // A fault in reading or writing ends the connection: it is the reason, and the end is not.
    transport.finish().map_err(Failure::Run)?;
    served
        .context("the editor cannot be answered")
        .map_err(Failure::Run)
}

/// Answers all messages of a connection until the editor says goodbye or hangs up.
///
/// # Errors
/// An answer that could not be sent.
pub fn serve(connection: &Connection) -> anyhow::Result<()> {
    let Some(parameters) = greeted(connection)? else {
        return Ok(());
    };
    let mut server = Server::new(&parameters);
    loop {
        let pause = if server.is_changed() { PAUSE } else { FOREVER };
        let message = match connection.receiver.recv_timeout(pause) {
            Ok(message) => message,
            Err(reason) => {
                for finding in server.findings() {
                    connection.sender.send(Message::Notification(finding))?;
                }
                if reason.is_disconnected() {
                    return Ok(());
                }
                continue;
            }
        };
        match message {
            Message::Request(request) if request.method == "shutdown" => {
                let answer = Response::new_ok(request.id, ());
                connection.sender.send(Message::Response(answer))?;
                return ended(connection);
            }
            Message::Request(request) => {
                let answer = server.answer(request);
                connection.sender.send(Message::Response(answer))?;
            }
            Message::Notification(note) if note.method == "exit" => return Ok(()),
            Message::Notification(note) => server.hear(&note.method, &note.params),
            Message::Response(_) => {}
        }
    }
}

/// Answers the greeting, and gives its parameters. Other questions before it are refused, and what asks nothing is
/// ignored. `None` where the editor leaves without a greeting.
fn greeted(connection: &Connection) -> anyhow::Result<Option<Value>> {
    for message in &connection.receiver {
        match message {
            Message::Request(request) if request.method == "initialize" => {
                let about = json!({
                    "capabilities": answers::abilities(),
                    "serverInfo": { "name": "bpmc", "version": env!("CARGO_PKG_VERSION") },
                });
                let answer = Response::new_ok(request.id, about);
                connection.sender.send(Message::Response(answer))?;
                return Ok(Some(request.params));
            }
            Message::Request(request) => {
                let code = ErrorCode::ServerNotInitialized;
                let message = format!("`{}` came before `initialize`", request.method);
                refuse(connection, request, code, message)?;
            }
            Message::Notification(note) if note.method == "exit" => return Ok(None),
            Message::Notification(_) | Message::Response(_) => {}
        }
    }
    Ok(None)
}

/// Waits for `exit` after `shutdown`, and refuses questions.
fn ended(connection: &Connection) -> anyhow::Result<()> {
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                let message = format!("`{}` came after `shutdown`", request.method);
                refuse(connection, request, ErrorCode::InvalidRequest, message)?;
            }
            Message::Notification(note) if note.method == "exit" => break,
            Message::Notification(_) | Message::Response(_) => {}
        }
    }
    Ok(())
}

fn refuse(
    connection: &Connection,
    request: Request,
    code: ErrorCode,
    message: String,
) -> anyhow::Result<()> {
    let answer = Response::new_err(request.id, code as i32, message);
    connection.sender.send(Message::Response(answer))?;
    Ok(())
}
