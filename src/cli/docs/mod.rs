//! The command `bpmc docs`: the guide, out of the program itself.
//!
//! | module | does |
//! |---|---|
//! | `book` | chapters and pages, as `docs/SUMMARY.md` lists them |
//! | `cookbook` | the pages of the cookbook, made from the specs of the gallery |
//! | `render` | a page of Markdown as HTML |

mod book;
pub mod cookbook;
mod render;

use super::http::{Answer, Request, Server};
use super::screen::Screen;
use super::{Failure, Outcome};
use anyhow::Context;
use book::Book;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Path within `docs` and text of each page and picture of the guide.
pub type Pages = &'static [(&'static str, &'static str)];

const AFTER_HELP: &str = "\
Examples:
  bpmc docs                       prints an address for a browser on this machine
  bpmc docs tutorial              the address of one page
  bpmc docs --out guide           writes the pages as HTML into the folder guide
  bpmc docs --list                the names of all pages

The pages come out of the program, so no network is needed. They are served on 127.0.0.1 alone, under an address with a random \
token; Ctrl-C ends it.";

/// Read the guide in a browser, without a network.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The page to begin with, such as `tutorial` or `cookbook/oja`
    #[arg(value_name = "PAGE", conflicts_with = "out")]
    pub page: Option<String>,

    /// Write the pages as HTML into this folder, and serve nothing
    #[arg(short, long, alias = "output", value_name = "FOLDER")]
    pub out: Option<PathBuf>,

    /// Print the names of all pages, and serve nothing
    #[arg(long, conflicts_with_all = ["out", "page"])]
    pub list: bool,

    /// Port on 127.0.0.1 [default: any free one]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub port: u16,
}

/// Serves, writes or lists the pages.
///
/// # Errors
/// Pages that do not exist, folders that cannot be written, and ports that are taken.
pub fn run(arguments: &Arguments, pages: Pages, screen: &Screen) -> Outcome {
    let book = Book::new(pages);
    if arguments.list {
        for chapter in &book.chapters {
            screen.print(&format!("{:<32}{}\n", chapter.name(), chapter.title))?;
        }
        return Ok(());
    }
    if let Some(folder) = &arguments.out {
        return write(&book, folder, screen);
    }
    let first = match arguments.page.as_deref() {
        Some(name) => book.named(name).map_err(Failure::Usage)?,
        None => String::new(),
    };
    serve(&book, &first, arguments.port, screen)
}

fn write(book: &Book, folder: &Path, screen: &Screen) -> Outcome {
    let first = folder.join("index.html");
    if folder.exists() && !folder.is_dir() {
        let text = format!("{} is no folder; name another one", folder.display());
        return Err(Failure::Usage(text));
    }
    let ours = |text: &str| text.contains("- bpmc</title>");
    if std::fs::read_to_string(&first).is_ok_and(|text| !ours(&text)) {
        let text = format!(
            "{} is no page of this guide; name another folder",
            first.display()
        );
        return Err(Failure::Usage(text));
    }
    for (path, _, text) in book.files() {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    screen.print(&format!("wrote {}\n", folder.join("index.html").display()))
}

fn serve(book: &Book, first: &str, port: u16, screen: &Screen) -> Outcome {
    let server =
        Server::new(port).with_context(|| format!("cannot listen on port {port} of 127.0.0.1"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    ctrlc::set_handler(move || told.store(true, Ordering::Relaxed))
        .context("cannot be told of Ctrl-C")?;
    screen.print(&format!("{}{first}\n", server.address()))?;
    let answer = |request: &Request| {
        let path = match request.path.as_str() {
            "" => "index.html",
            path => path,
        };
        let (kind, text) = book.file(path)?;
        // The pages never change while they are served.
        let mark = "\"guide\"".to_owned();
        Some(Answer { kind, mark, text })
    };
    server
        .serve(|| stop.load(Ordering::Relaxed), answer)
        .context("cannot serve the pages")?;
    Ok(())
}
