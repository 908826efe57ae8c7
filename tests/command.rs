//! The command as a user meets it: what it prints where, and its exit status.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpmc"));
    command.args(arguments).env_remove("NO_COLOR");
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).unwrap();
    }
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn help_and_version_are_fine() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Exit status:") && err.is_empty());
    let (code, out, _) = run(&["--version"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), concat!("bpmc ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
fn wrong_usage_is_told_on_standard_error() {
    for arguments in [
        &["nosuch"][..],
        &["new"],
        &["doctor", "--nosuch"],
        &["explain", "E9999"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(
            out.is_empty() && err.starts_with("error: "),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn explain_prints_a_page_in_plain_text() {
    let (code, out, err) = run(&["explain", "e0205"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("# error E0205: a setting that does not exist\n"));
    let (_, list, _) = run(&["explain"]);
    assert!(list.contains("W0104  a trace that can grow without bound\n"));
}

#[test]
fn new_writes_once() {
    let name = scratch("new").join("agent");
    let name = name.to_str().unwrap();
    let (code, out, _) = run(&["new", name]);
    assert_eq!((code, out), (Some(0), format!("wrote {name}.bpm\n")));
    let (code, out, err) = run(&["new", name]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("already there"), "{err}");
}

#[test]
fn doctor_speaks_json() {
    let (code, out, _) = run(&["doctor", "--json"]);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["candle"]["works"], true);
    assert!(report["threads"].as_u64().unwrap() >= 1);
}

#[test]
fn colour_is_a_matter_of_the_flag_where_there_is_no_terminal() {
    let (_, plain, _) = run(&["doctor"]);
    assert!(!plain.contains('\u{1b}'));
    let (_, color, _) = run(&["--color", "always", "doctor"]);
    assert!(color.contains("\u{1b}[1m"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command(&["explain"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
}
