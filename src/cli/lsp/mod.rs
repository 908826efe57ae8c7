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
mod words;

use super::{Failure, Outcome};
use anyhow::Context;
use clap::Args;
use lsp_server::{Connection, Message};
use serde_json::json;
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
/// Input that is not the protocol.
pub fn run(_: &Arguments) -> Outcome {
    let (connection, transport) = Transport::start();
    let served = serve(&connection);
    drop(connection);
    // A fault in reading or writing ends the connection: it is the reason, and the end is not.
    transport.finish().map_err(Failure::Run)?;
    served
        .context("the editor's messages cannot be understood")
        .map_err(Failure::Run)
}

/// Answers all messages of a connection.
///
/// # Errors
/// Messages that are not the protocol.
pub fn serve(connection: &Connection) -> anyhow::Result<()> {
    let (id, parameters) = connection.initialize_start()?;
    let about = json!({
        "capabilities": answers::abilities(),
        "serverInfo": { "name": "bpmc", "version": env!("CARGO_PKG_VERSION") },
    });
    connection.initialize_finish(id, about)?;
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
            Message::Request(request) => {
                if connection.handle_shutdown(&request)? {
                    return Ok(());
                }
                let answer = server.answer(request);
                connection.sender.send(Message::Response(answer))?;
            }
            Message::Notification(note) if note.method == "exit" => return Ok(()),
            Message::Notification(note) => server.hear(&note.method, &note.params),
            Message::Response(_) => {}
        }
    }
}
