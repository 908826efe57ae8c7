//! The guide: its book, its cookbook, its listings and pictures, and the pages that `bpmc docs` shows.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::scratch::scratch;
use bpmc::cli::docs::cookbook;
use bpmc::driver::{compile, from_disk};
use bpmc::engine::experiment::{Experiment, Target};
use bpmc::ir::svg;
use bpmc::step::adjoint;
use bpmc::step::autodiff::Options;
use bpmc::step::passes::Selection;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const UPDATE: &str = "INSTA_UPDATE=always cargo test --release --test all guide::";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Compares a made file with the one in the tree, or writes it.
fn is_current(path: &Path, text: &str) {
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == text,
        "{} is not what it is made from: {UPDATE}",
        path.display()
    );
}

/// Paths within `docs` of all files with an ending.
fn files(ending: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![docs()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == ending) {
                found.insert(path.strip_prefix(docs()).unwrap().display().to_string());
            }
        }
    }
    found
}

#[test]
fn the_cookbook_is_made_from_the_gallery() {
    let pages = cookbook::pages();
    assert!(pages.len() > 25);
    for (path, text) in &pages {
        is_current(&docs().join(path), text);
    }
    let made: BTreeSet<&str> = pages.iter().map(|(path, _)| path.as_str()).collect();
    for path in files("md")
        .iter()
        .filter(|path| path.starts_with("cookbook"))
    {
        assert!(
            made.contains(path.as_str()),
            "{path} is no system of the gallery"
        );
    }
    for (path, text) in pages.iter().filter(|(path, _)| path.contains('/')) {
        let spec = text
            .split("```bpm\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let compilation = compile(path, spec, &[], &from_disk).unwrap();
        assert!(
            compilation.program.is_some() && compilation.diagnostics.is_empty(),
            "{path}"
        );
        // Each system has a name of its own and a source with a year.
        let about = text.lines().nth(2).unwrap();
        assert!(
            about.contains(" (") && (about.contains("19") || about.contains("20")),
            "{path}"
        );
    }
}

#[test]
fn the_book_lists_every_page_once() {
    let summary = std::fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    let listed: Vec<&str> = summary
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .collect();
    let once: BTreeSet<String> = listed.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(once.len(), listed.len());
    let mut there = files("md");
    there.remove("SUMMARY.md");
    assert_eq!(once, there);
}

fn tiny() -> String {
    let page = std::fs::read_to_string(docs().join("how_it_works.md")).unwrap();
    let spec = page.split("```bpm\n").nth(1).unwrap();
    spec.split("```").next().unwrap().to_owned()
}

#[test]
fn the_pictures_of_how_it_works_are_those_of_its_spec() {
    let compilation = compile("tiny.bpm", &tiny(), &[], &from_disk).unwrap();
    let program = compilation.program.as_ref().unwrap();
    let passed = Experiment::trained(program, Target::Graphs, &Selection::default()).unwrap();
    let pictures = [
        ("step", svg(&program.step)),
        (
            "adjoint",
            svg(&adjoint(&program.step, Options::default()).unwrap()),
        ),
        ("adjoint_optimized", svg(&passed.whole().graphs.adjoint)),
    ];
    for (name, picture) in pictures {
        is_current(&docs().join(format!("how_it_works/{name}.svg")), &picture);
    }
}

#[test]
fn the_listings_of_how_it_works_are_those_of_its_commands() {
    let folder = scratch("how_it_works");
    std::fs::write(folder.join("tiny.bpm"), tiny()).unwrap();
    let page = std::fs::read_to_string(docs().join("how_it_works.md")).unwrap();
    let mut shown = 0;
    for part in page.split("```sh\n").skip(1) {
        let (command, rest) = part.split_once("\n```").unwrap();
        let listing = rest
            .split("```text\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_bpmc"))
            .args(command.split(' ').skip(1))
            .current_dir(&folder)
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let mut lines = output.lines();
        for line in listing.lines().filter(|line| *line != "...") {
            assert!(
                lines.any(|there| there == line),
                "{command}: `{line}` in\n{output}"
            );
        }
        shown += 1;
    }
    assert_eq!(shown, 5);
}

/// The addresses in a page: those of links, and those of pictures.
fn addresses(page: &str) -> impl Iterator<Item = &str> {
    let of = |word: &'static str| {
        page.split(word)
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
    };
    of(" href=\"").chain(of("<img src=\""))
}

#[test]
fn the_written_pages_have_no_dead_link_and_reach_each_other() {
    let folder = scratch("docs_out");
    let status = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .args(["docs", "--out", "guide"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    let guide = folder.join("guide").canonicalize().unwrap();
    let mut pages: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut next = vec![guide.join("index.html")];
    while let Some(path) = next.pop() {
        if pages.contains_key(&path) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
        for address in addresses(&text).filter(|address| !address.contains("://")) {
            let file = address.split('#').next().unwrap();
            if !file.is_empty() {
                let target = path.parent().unwrap().join(file);
                let target = target
                    .canonicalize()
                    .unwrap_or_else(|_| panic!("{address} in {}", path.display()));
                next.push(target);
            }
        }
        pages.insert(path, text);
    }
    for (path, text) in &pages {
        for address in addresses(text).filter(|address| !address.contains("://")) {
            let (file, part) = address.split_once('#').unwrap_or((address, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file).canonicalize().unwrap(),
            };
            let there = part.is_empty() || pages[&target].contains(&format!("id=\"{part}\""));
            assert!(there, "{}: {address}", path.display());
        }
    }
    // Each page of the book is there, and nothing beside what pages show.
    let written = pages
        .keys()
        .filter(|path| path.extension().is_some_and(|end| end == "html"));
    assert_eq!(written.count() + 1, files("md").len());
    let tutorial = &pages[&guide.join("tutorial.html")];
    for wanted in [
        "<title>Tutorial - bpmc</title>",
        "aria-current=\"page\"",
        "<span class=\"word\">network</span>",
        "<h2 id=\"",
    ] {
        assert!(tutorial.contains(wanted), "{wanted}");
    }
    assert!(
        !tutorial.contains("README.md\""),
        "a link to a file that is no page"
    );
    assert!(pages[&guide.join("language.html")].contains("<div class=\"wide\"><table>"));
}

#[test]
fn pages_are_served_on_this_machine_alone() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .args(["docs", "cookbook/oja"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let rest = line.trim().strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    assert!(
        host.starts_with("127.0.0.1:") && path.ends_with("/cookbook/oja.html"),
        "{line}"
    );
    let token = path.split('/').next().unwrap();
    let ask = |path: &str, named: &str| {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {named}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answers = [
        (ask(path, host), "200 OK", "<h1 id=\"ojas-rule\">"),
        (
            ask(&format!("{token}/"), host),
            "200 OK",
            "<title>bpmc - bpmc</title>",
        ),
        (
            ask(&format!("{token}/pipeline.svg"), host),
            "image/svg+xml",
            "<svg",
        ),
        (ask(&format!("{token}/SUMMARY.md"), host), "404", "Not here"),
        (
            ask(&format!("{token}/../index.html"), host),
            "404",
            "Not here",
        ),
        (ask("index.html", host), "404", "Not here"),
        (
            ask(&format!("{}/index.html", "0".repeat(32)), host),
            "403",
            "Not here",
        ),
        (ask(path, "elsewhere.example"), "403", "Not here"),
    ];
    child.kill().unwrap();
    child.wait().unwrap();
    for (answer, status, part) in answers {
        assert!(
            answer.contains(status) && answer.contains(part),
            "{status} {part}: {answer}"
        );
    }
}

#[test]
fn a_page_that_is_not_there_is_told_with_the_nearest() {
    let output = Command::new(env!("CARGO_BIN_EXE_bpmc"))
        .args(["docs", "tutorail"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("no page `tutorail`; did you mean `tutorial`?"),
        "{told}"
    );
}

#[test]
fn pages_of_others_are_not_written_over() {
    let root = scratch("docs_others");
    let foreign = root.join("site/index.html");
    std::fs::create_dir_all(root.join("site")).unwrap();
    std::fs::write(&foreign, "<title>My page</title>").unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let out = |folder: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_bpmc"))
            .args(["docs", "--out", folder])
            .current_dir(&root)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = out("site");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("is no page of this guide"), "{told}");
    assert_eq!(
        std::fs::read_to_string(&foreign).unwrap(),
        "<title>My page</title>"
    );
    let (code, told) = out("file");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("file is no folder"), "{told}");
    assert_eq!(out("new").0, Some(0));
    assert_eq!(out("new").0, Some(0));
}
