//! The command `bpmc watch`.

use super::http::{Answer, Request, Server};
use super::screen::Screen;
use super::{sentence, Failure, Outcome};
use crate::lab::report::{self, Options};
use crate::lab::run::Which;
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

const AFTER_HELP: &str = "\
Examples:
  bpmc watch runs/agent-0                       in another terminal than the one that trains
  bpmc watch runs/agent-0 runs/agent-1          several runs, curves over each other
  bpmc watch runs/cue_reward --port 8800        a sweep

The page is the report of `bpmc report` without ablations, and it follows the training. The address works on this machine \
only. For a remote machine, `ssh -L 8800:127.0.0.1:8800 HOST` makes port 8800 there one of this machine. Ctrl-C ends it; the \
training is not touched.";

/// Look at runs or a sweep in a browser while they train.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The directories of runs, or of one sweep
    #[arg(required = true, value_name = "RUN|SWEEP")]
    pub directories: Vec<PathBuf>,

    /// Port on 127.0.0.1 [default: any free one]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub port: u16,

    /// Fresh episodes that a network is run on, whenever the run has a new checkpoint
    #[arg(long, value_name = "N", default_value = "20", value_parser = super::options::from_one)]
    pub episodes: std::num::NonZeroUsize,
}

/// The script of the page: it asks for what changed, and shows it in the place of what was there.
const SCRIPT: &str = r#"<script>
let mark = "";
async function look() {
  try {
    const answer = await fetch("update", { headers: { "If-None-Match": mark }, cache: "no-store" });
    if (answer.status === 200) {
      mark = answer.headers.get("ETag");
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = parsed.querySelector("main");
      if (main) { document.querySelector("main").replaceWith(main); }
    }
    document.title = document.title.replace(/^\(stopped\) /, "");
  } catch (error) {
    if (!document.title.startsWith("(stopped) ")) { document.title = "(stopped) " + document.title; }
  }
  setTimeout(look, 2000);
}
look();
</script>
"#;

/// Serves the page until it is interrupted.
///
/// # Errors
/// Directories that hold no run, and ports that are taken.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let mut page = Page::new(arguments);
    // What cannot be shown at all is an error of the command, not of the browser.
    page.make().map_err(Failure::Run)?;
    let server = Server::new(arguments.port)
        .with_context(|| format!("cannot listen on port {} of 127.0.0.1", arguments.port))?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    ctrlc::set_handler(move || told.store(true, Ordering::Relaxed))
        .context("cannot be told of Ctrl-C")?;
    screen.print(&format!("{}\n", server.address()))?;
    server
        .serve(
            || stop.load(Ordering::Relaxed),
            |request| page.answer(request),
        )
        .context("cannot serve the page")?;
    Ok(())
}

/// The page as it was made last.
struct Page {
    directories: Vec<PathBuf>,
    options: Options,
    /// The state of the files that it shows.
    seen: String,
    text: String,
}

impl Page {
    fn new(arguments: &Arguments) -> Page {
        Page {
            directories: arguments.directories.clone(),
            options: Options {
                episodes: arguments.episodes.get(),
                ablations: false,
                checkpoint: Which::Last,
                baseline: None,
                partial: true,
                threads: 1,
            },
            seen: String::new(),
            text: String::new(),
        }
    }

    /// The page, or under `update` the same without its script.
    fn answer(&mut self, request: &Request) -> Option<Answer> {
        if !matches!(request.path.as_str(), "" | "update") {
            return None;
        }
        let now = self.state();
        if now != self.seen || self.text.is_empty() {
            // A file may be half written: the page before stays until it can be read.
            if let (Err(error), true) = (self.make(), self.text.is_empty()) {
                let told = report::page::escaped(&sentence(&error));
                self.text =
                    format!("<!DOCTYPE html><html><body><main><p>{told}</p></main></body></html>");
            }
        }
        let text = if request.path.is_empty() {
            let script = format!("{SCRIPT}</body>");
            self.text.replacen("</body>", &script, 1)
        } else {
            self.text.clone()
        };
        Some(Answer {
            kind: "text/html",
            mark: mark(&self.seen),
            text,
        })
    }

    fn make(&mut self) -> anyhow::Result<()> {
        let seen = self.state();
        let text = match self.directories.as_slice() {
            [one] => report::make(one, &self.options, &mut |_| {})?.page,
            several => {
                let compared = report::gather::compare::compare(several, None, 0.1)?;
                report::comparison(&compared)?
            }
        };
        (self.seen, self.text) = (seen, text);
        Ok(())
    }

    /// Sizes and times of the files that a page is made from.
    fn state(&self) -> String {
        let mut files = String::new();
        for directory in &self.directories {
            add(directory, &mut files);
            // The cells of a sweep are runs.
            let cells = std::fs::read_dir(directory.join("cells"));
            let mut cells: Vec<PathBuf> = cells
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            cells.sort();
            for cell in &cells {
                add(cell, &mut files);
            }
        }
        files
    }
}

fn add(directory: &Path, files: &mut String) {
    for name in ["run.yaml", "plan.json", "metrics.jsonl", "checkpoints"] {
        if let Ok(about) = std::fs::metadata(directory.join(name)) {
            let changed = about
                .modified()
                .ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let changed = changed.map_or(0, |time| time.as_nanos());
            files.push_str(&format!("{name} {} {changed};", about.len()));
        }
    }
}

/// A mark of a state that a browser can send back.
fn mark(state: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
