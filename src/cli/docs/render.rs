//! A page of Markdown as HTML with the contents of the book beside it.

use super::book::{Book, Entry};
use crate::cli::lsp::words::{self, Kind};
use crate::lab::report::page::escaped;
use pulldown_cmark::{html, CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd};
use std::collections::BTreeMap;

const STYLE: &str = include_str!("style.css");

/// The chapter at `at`, whose Markdown is `text`.
pub(super) fn page(book: &Book, at: usize, text: &str) -> String {
    let chapter = &book.chapters[at];
    let up = "../".repeat(chapter.path.matches('/').count());
    let link = |to: usize, class: &str, title: &str| {
        let name = book.chapters[to].name();
        format!("<a{class} href=\"{up}{name}.html\">{}</a>", escaped(title))
    };
    let mut contents = String::new();
    for entry in &book.contents {
        match entry {
            Entry::Part(title) => contents.push_str(&format!("<p>{}</p>\n", escaped(title))),
            Entry::Chapter(to) => {
                let (level, title) = (book.chapters[*to].level, &book.chapters[*to].title);
                let here = if *to == at {
                    " aria-current=\"page\""
                } else {
                    ""
                };
                contents.push_str(&link(*to, &format!(" class=\"level{level}\"{here}"), title));
                contents.push('\n');
            }
        }
    }
    let beside = |to: Option<usize>, word: &str| {
        let to = to.filter(|to| *to < book.chapters.len());
        to.map_or_else(String::new, |to| {
            link(to, "", &format!("{word}: {}", book.chapters[to].title))
        })
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} - bpmc</title>\n<style>\n{STYLE}</style></head>\n<body>\n\
         <details class=\"contents\" open><summary>bpmc {version}</summary><nav>\n{contents}</nav></details>\n\
         <main>\n{body}\n<footer>{before} {after}</footer>\n</main>\n</body></html>\n",
        title = escaped(&chapter.title),
        version = env!("CARGO_PKG_VERSION"),
        body = body(book, &chapter.path, text),
        before = beside(at.checked_sub(1), "Before"),
        after = beside(Some(at + 1), "Next"),
    )
}

fn body(book: &Book, path: &str, text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut events: Vec<Event<'_>> = Vec::new();
    // The start of the heading or block of code that is being read, and whether the link is one of the book.
    let (mut opened, mut linked) = (None, true);
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }) => {
                let target = target(book, path, &dest_url);
                linked = target.is_some();
                if let Some(target) = target {
                    let dest_url = CowStr::from(target);
                    events.push(Event::Start(Tag::Link {
                        link_type,
                        dest_url,
                        title,
                        id,
                    }));
                }
            }
            Event::End(TagEnd::Link) if !std::mem::replace(&mut linked, true) => {}
            Event::Start(Tag::Heading { .. } | Tag::CodeBlock(_)) => {
                opened = Some(events.len());
                events.push(event);
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some(start) = opened.take() {
                    let id = anchor(&plain(&events[start..]));
                    let seen = ids.entry(id.clone()).or_insert(0);
                    *seen += 1;
                    let own = if *seen > 1 {
                        format!("{id}-{}", *seen - 1)
                    } else {
                        id
                    };
                    if let Event::Start(Tag::Heading { id, .. }) = &mut events[start] {
                        *id = Some(CowStr::from(own));
                    }
                }
                events.push(event);
            }
            Event::End(TagEnd::CodeBlock) => {
                let start = opened.take().unwrap_or(events.len());
                let code = plain(events.get(start..).unwrap_or_default());
                let bpm = matches!(
                    events.get(start),
                    Some(Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(word)))) if &**word == "bpm"
                );
                events.truncate(start);
                let code = if bpm { coloured(&code) } else { escaped(&code) };
                events.push(Event::Html(
                    format!("<pre><code>{code}</code></pre>\n").into(),
                ));
            }
            event => events.push(event),
        }
    }
    let mut out = String::new();
    html::push_html(&mut out, events.into_iter());
    // Wide tables scroll in a box of their own.
    out.replace("<table>", "<div class=\"wide\"><table>")
        .replace("</table>", "</table></div>")
}

/// The text of some events.
fn plain(events: &[Event<'_>]) -> String {
    let mut text = String::new();
    for event in events {
        if let Event::Text(part) | Event::Code(part) = event {
            text.push_str(part);
        }
    }
    text
}

/// The address of a link for a browser; `None` for a file that is no part of the book.
fn target(book: &Book, from: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with('#') || link.starts_with("mailto:") {
        return Some(link.to_owned());
    }
    let (file, part) = link.split_once('#').unwrap_or((link, ""));
    let mut folders: Vec<&str> = from.split('/').collect();
    folders.pop();
    for step in file.split('/') {
        match step {
            ".." => {
                folders.pop()?;
            }
            "." | "" => {}
            step => folders.push(step),
        }
    }
    if !book.has(&folders.join("/")) {
        return None;
    }
    let file = file
        .strip_suffix(".md")
        .map_or(file.to_owned(), |name| format!("{name}.html"));
    let part = if part.is_empty() {
        String::new()
    } else {
        format!("#{part}")
    };
    Some(file + &part)
}

/// The part of an address that leads to a heading.
fn anchor(heading: &str) -> String {
    let lower = heading.trim().to_lowercase();
    let kept = lower
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A spec with its words in colours.
fn coloured(text: &str) -> String {
    let mut out = String::new();
    let mut end = 0;
    for (kind, range) in words::words(text) {
        let class = match kind {
            Kind::Comment => "comment",
            Kind::Reserved => "word",
            Kind::Number | Kind::Text => "number",
            Kind::Name | Kind::Sign => continue,
        };
        out.push_str(&escaped(&text[end..range.start]));
        out.push_str(&format!(
            "<span class=\"{class}\">{}</span>",
            escaped(&text[range.clone()])
        ));
        end = range.end;
    }
    out + &escaped(&text[end..])
}
