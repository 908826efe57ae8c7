//! The guide as a book: chapters in the order of `docs/SUMMARY.md`, pages and pictures by their paths.

use super::{cookbook, render, Pages};
use crate::lang::diag::Diagnostics;
use std::collections::BTreeMap;

/// A page in its place in the book.
pub(super) struct Chapter {
    /// The depth below the parts of the book.
    pub(super) level: usize,
    pub(super) title: String,
    /// The path of its Markdown within `docs`.
    pub(super) path: String,
}

impl Chapter {
    /// The path without its ending.
    pub(super) fn name(&self) -> &str {
        self.path.trim_end_matches(".md")
    }
}

/// An entry of the table of contents.
pub(super) enum Entry {
    /// The heading of a part.
    Part(String),
    /// The index of a chapter.
    Chapter(usize),
}

pub(super) struct Book {
    pub(super) chapters: Vec<Chapter>,
    pub(super) contents: Vec<Entry>,
    /// Texts of pages and pictures by path within `docs`.
    texts: BTreeMap<String, String>,
}

impl Book {
    pub(super) fn new(pages: Pages) -> Book {
        let own = pages
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let texts: BTreeMap<String, String> = own.chain(cookbook::pages()).collect();
        let (mut chapters, mut contents) = (Vec::new(), Vec::new());
        let summary = texts.get("SUMMARY.md").map_or("", String::as_str);
        for line in summary.lines().skip(1) {
            let listed = line.trim_start();
            let link = listed.strip_prefix("- ").unwrap_or(listed);
            let link = link
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(')'));
            if let Some((title, path)) = link.and_then(|link| link.split_once("](")) {
                contents.push(Entry::Chapter(chapters.len()));
                chapters.push(Chapter {
                    level: (line.len() - listed.len()) / 2,
                    title: title.to_owned(),
                    path: path.to_owned(),
                });
            } else if let Some(title) = line.strip_prefix("# ") {
                contents.push(Entry::Part(title.to_owned()));
            }
        }
        Book {
            chapters,
            contents,
            texts,
        }
    }

    /// The file of the page with a name, or what to say where there is none.
    pub(super) fn named(&self, name: &str) -> Result<String, String> {
        let wanted = name.trim_end_matches(".md").trim_end_matches(".html");
        if self.chapters.iter().any(|chapter| chapter.name() == wanted) {
            return Ok(format!("{wanted}.html"));
        }
        let near = Diagnostics::nearest(wanted, self.chapters.iter().map(Chapter::name));
        let more = near.map_or_else(
            || "`bpmc docs --list` names them all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Err(format!("the guide has no page `{name}`; {more}"))
    }

    /// Tells if a page or picture is part of the book.
    pub(super) fn has(&self, path: &str) -> bool {
        let page = self.chapters.iter().any(|chapter| chapter.path == path);
        page || path.ends_with(".svg") && self.texts.contains_key(path)
    }

    /// Kind and text of a file for a browser.
    pub(super) fn file(&self, path: &str) -> Option<(&'static str, String)> {
        if let Some(name) = path.strip_suffix(".html") {
            let at = self
                .chapters
                .iter()
                .position(|chapter| chapter.name() == name)?;
            let text = self.texts.get(&self.chapters[at].path)?;
            return Some(("text/html", render::page(self, at, text)));
        }
        let text = self.texts.get(path).filter(|_| path.ends_with(".svg"))?;
        Some(("image/svg+xml", text.clone()))
    }

    /// All files for browsers: path, kind and text.
    pub(super) fn files(&self) -> Vec<(String, &'static str, String)> {
        let pages = self
            .chapters
            .iter()
            .map(|chapter| format!("{}.html", chapter.name()));
        let pictures = self.texts.keys().filter(|path| path.ends_with(".svg"));
        let files = pages.chain(pictures.cloned()).filter_map(|path| {
            let (kind, text) = self.file(&path)?;
            Some((path, kind, text))
        });
        files.collect()
    }
}
