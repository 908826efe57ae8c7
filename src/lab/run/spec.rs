//! The spec of a run: one text that needs no other file, and the hash of its meaning.

use crate::driver::Compilation;
use crate::ir::Draw;
use crate::lang::diag::{Diagnostics, SourceMap};
use crate::lang::sema::{dump, Model, FIRST};
use crate::lang::settings::SettingValue;
use crate::lang::syntax::{self, ast};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The number of lines of each side that [`difference`] names.
const LINES: usize = 6;

/// The formatted spec with everything it imports in one text. Library rules are not included.
pub fn merged(compilation: &Compilation) -> String {
    let mut text = String::new();
    for (k, file) in compilation.files[..compilation.own_files]
        .iter()
        .enumerate()
    {
        let whole = &compilation.sources.file(file.source).text;
        let mut from = 0;
        for item in &file.items {
            let import = matches!(item.kind, ast::ItemKind::Import { .. });
            // The version of the language stands at the top of the whole text.
            if import || k > 0 && item.kind == ast::ItemKind::Version {
                let range = item.span.range();
                text.push_str(&whole[from..range.start]);
                from = range.end;
            }
        }
        text.push_str(&whole[from..]);
        text.push_str("\n\n");
    }
    let mut sources = SourceMap::new();
    let source = sources.add("merged", text.clone());
    let mut diagnostics = Diagnostics::new();
    let file = syntax::parse(source, &text, &mut diagnostics);
    if diagnostics.has_errors() {
        // The text may exceed a limit of the syntax, although each part is within it.
        return text;
    }
    syntax::print(&file, &text)
}

/// The SHA-256 of the meaning of a spec, in hexadecimal.
pub fn hash(model: &Model) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(dump(model).as_bytes()) {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text
}

/// The files that settings name, by the paths of these, from the root of the file system.
pub fn files(model: &Model) -> BTreeMap<String, String> {
    let settings = model.task.iter().flat_map(|task| task.settings.iter());
    let files = settings.filter_map(|(name, value)| match value {
        SettingValue::File(Some(path)) | SettingValue::Folder(Some(path)) => {
            let here = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            let whole = std::path::absolute(here).unwrap_or_else(|_| here.to_path_buf());
            Some((format!("task.{name}"), whole.display().to_string()))
        }
        _ => None,
    });
    files.collect()
}

/// The hashes of the files that first values come from, by the path of the parameter.
pub fn file_hashes(model: &Model) -> BTreeMap<String, String> {
    let given = model.params.iter().filter_map(|slot| match &slot.init {
        Draw::Given(given) => {
            let (_, sha256) = given.file.as_ref()?;
            let path = slot.path.strip_suffix(FIRST).unwrap_or(&slot.path);
            Some((path.to_owned(), sha256.clone()))
        }
        _ => None,
    });
    given.collect()
}

/// The lines in which two dumps differ, as `then` and `now`.
pub fn difference(then: &str, now: &str) -> String {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in then.lines() {
        *counts.entry(line).or_default() += 1;
    }
    for line in now.lines() {
        *counts.entry(line).or_default() -= 1;
    }
    let mut out = String::new();
    for (word, text, sign) in [("then", then, 1), ("now ", now, -1)] {
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| counts.get(line).is_some_and(|count| count * sign > 0))
            .collect();
        for line in lines.iter().take(LINES) {
            write!(out, "\n  {word}  {}", line.trim()).expect("writing to a string");
        }
        if lines.len() > LINES {
            let more = lines.len() - LINES;
            write!(out, "\n  {word}  … and {more} more lines").expect("writing to a string");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::compile;

    fn compiled(text: &str, set: &[String]) -> Compilation {
        let load = |path: &std::path::Path| {
            Ok(match path.to_str() {
                Some("dir/sizes.bpm") => "//! Sizes.\nbpm 1\ndim N = 3 // three\n".to_owned(),
                Some("dir/rules.bpm") => "import \"sizes.bpm\"\n\n// A rule.\nrule own(bound = 1) {\n  trace hebb = 0\n  transmit w + hebb\n  hebb <- clip(hebb + pre * post, -bound, bound)\n}\n".to_owned(),
                other => panic!("{other:?}"),
            })
        };
        let done = compile("dir/a.bpm", text, set, &load).unwrap();
        assert!(!done.diagnostics.has_errors(), "{:?}", done.diagnostics);
        done
    }

    const SPEC: &str = "//! A spec.\nbpm 1\nimport \"rules.bpm\" // rules\nnetwork a {\n  input x: [N]\n  state h: [N] = 0\n  plastic rec: h -> y using own(bound = 2) { weight w ~ uniform(0, 0.1) }\n  y = tanh(rec + x)\n  h <- y\n  output out = linear(y, 2)\n}\ntrain supervised { batch = 2 }\n";

    #[test]
    fn a_merged_spec_means_the_same_without_its_imports() {
        let set = ["train.batch=5".to_owned(), "N=4".to_owned()];
        let whole = compiled(SPEC, &set);
        let text = merged(&whole);
        assert!(!text.contains("import"), "{text}");
        assert_eq!(text.matches("\nbpm 1\n").count(), 1, "{text}");
        assert!(text.contains("// three") && text.contains("// A rule."));
        let again = compiled(&text, &set);
        let model = |done: Compilation| done.program.unwrap().model;
        let (whole, again) = (model(whole), model(again));
        assert_eq!(dump(&whole), dump(&again));
        assert_eq!(hash(&whole), hash(&again));
        let other = model(compiled(SPEC, &set[1..]));
        assert_ne!(hash(&whole), hash(&other));
        let lines = difference(&dump(&other), &dump(&whole));
        assert!(lines.contains("\n  then  batch = 2"), "{lines}");
        assert!(lines.contains("\n  now   batch = 5"), "{lines}");
    }

    #[test]
    fn long_differences_are_cut() {
        let then: String = (0..20).map(|k| format!("line {k}\n")).collect();
        let lines = difference(&then, "line 3\nline 30\n");
        assert_eq!(lines.lines().count(), 1 + LINES + 1 + 1);
        assert!(lines.contains("and 13 more lines") && lines.ends_with("\n  now   line 30"));
        assert_eq!(difference(&then, &then), "");
    }
}
