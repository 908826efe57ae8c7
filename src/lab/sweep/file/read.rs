//! A reader of YAML values that collects problems.

use super::yaml::{self, Kind, LineColumn, Node};
use crate::lab::sweep::Problem;
use crate::lang::diag::Diagnostics;
use std::io::Read;
use std::path::Path;

/// The largest number of reported problems.
const MAX_PROBLEMS: usize = 20;
/// The longest name of a sweep or a label.
const MAX_NAME: usize = 60;

/// The text of a file, if it is not too large.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn text(path: &Path) -> Result<String, Problem> {
    let problem = |message: String| Problem {
        path: path.to_owned(),
        place: None,
        message,
        help: None,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| {
            file.take(yaml::MAX_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(|error| problem(format!("cannot read the sweep: {error}")))?;
    // The cut may fall within a character.
    if bytes.len() > yaml::MAX_BYTES {
        let limit = yaml::MAX_BYTES >> 10;
        return Err(problem(format!("the file is larger than {limit} KiB")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        problem(format!("it is not UTF-8 text (byte {at})"))
    })
}

/// The fields of a mapping: known names, each at most once.
pub struct Fields<'a>(Vec<(&'a str, &'a Node)>);

impl<'a> Fields<'a> {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&'a Node> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// All fields, in order.
    pub fn all(&self) -> &[(&'a str, &'a Node)] {
        &self.0
    }
}

/// The problems of a text so far.
pub struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<(usize, Problem)>,
}

impl<'a> Reading<'a> {
    /// A reader without problems.
    pub fn new(path: &'a Path, text: &'a str) -> Reading<'a> {
        Reading {
            path,
            text,
            problems: Vec::new(),
        }
    }

    /// All problems, in the order of the text.
    pub fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(at, _)| *at);
        self.problems.into_iter().map(|(_, p)| p).collect()
    }

    /// Reports an error of the YAML parser.
    pub fn syntax(&mut self, message: String, place: Option<LineColumn>) {
        self.problems.push((
            0,
            Problem {
                path: self.path.to_owned(),
                place,
                message,
                help: None,
            },
        ));
    }

    /// Reports a problem at a node.
    pub fn report(&mut self, at: usize, message: String, help: Option<&str>) {
        if self.problems.len() < MAX_PROBLEMS {
            let problem = Problem {
                path: self.path.to_owned(),
                place: yaml::locate(self.text, at),
                message,
                help: help.map(str::to_owned),
            };
            self.problems.push((at, problem));
        }
    }

    /// Reports a missing value.
    pub fn missing<T>(&mut self, node: &Node, message: &str, help: &str) -> Option<T> {
        self.report(node.at, message.to_owned(), Some(help));
        None
    }

    fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) {
        let found = node.kind.name();
        self.report(
            node.at,
            format!("{what} must be {wanted}, and this is {found}"),
            None,
        );
    }

    /// Returns true if a node is a mapping.
    pub fn is_map(&self, node: &Node) -> bool {
        matches!(node.kind, Kind::Map(_))
    }

    /// Returns true if a node is a list.
    pub fn is_list(&self, node: &Node) -> bool {
        matches!(node.kind, Kind::List(_))
    }

    /// The fields of a mapping with known names.
    pub fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&'static str],
    ) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            let wanted = format!("a mapping with {}", listed(known));
            self.wrong_kind(node, what, &wanted);
            return None;
        };
        let mut fields = Fields(Vec::new());
        for (key, value) in entries {
            let Some(name) = self.key(key) else { continue };
            if !known.contains(&name) {
                let help = match Diagnostics::nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it may have {}", listed(known)),
                };
                self.report(key.at, format!("{what} has no `{name}`"), Some(&help));
            } else if fields.get(name).is_some() {
                self.report(key.at, format!("`{name}` is there twice"), Some("keep one"));
            } else {
                fields.0.push((name, value));
            }
        }
        Some(fields)
    }

    /// Reads a key that is a word.
    fn key<'n>(&mut self, key: &'n Node) -> Option<&'n str> {
        match &key.kind {
            Kind::Text(text) | Kind::Plain(text, _) => Some(text),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                self.wrong_kind(key, "a key", "a word");
                None
            }
        }
    }

    /// The entries of a mapping with free names; `None` if the node is not a mapping.
    pub fn entries_or_none<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
    ) -> Option<Vec<(String, usize, &'n Node)>> {
        self.is_map(node).then(|| self.entries(node, what))
    }

    /// The entries of a mapping with free names, which must not be empty: name, place and value.
    pub fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(String, usize, &'n Node)> {
        let Kind::Map(entries) = &node.kind else {
            self.wrong_kind(node, what, "a mapping from names to values");
            return Vec::new();
        };
        if entries.is_empty() {
            let help = "leave it out, or add something";
            self.report(node.at, format!("{what} is empty"), Some(help));
        }
        let mut found: Vec<(String, usize, &Node)> = Vec::new();
        for (key, value) in entries {
            let Some(name) = self.key(key) else { continue };
            if found.iter().any(|(other, ..)| other == name) {
                self.report(key.at, format!("`{name}` is there twice"), Some("keep one"));
            } else {
                found.push((name.to_owned(), key.at, value));
            }
        }
        found
    }

    /// The items of a list, which must not be empty.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str, of: &str) -> Option<&'n [Node]> {
        let Kind::List(items) = &node.kind else {
            self.wrong_kind(node, what, &format!("a list of {of}"));
            return None;
        };
        if items.is_empty() {
            let help = format!("it needs {of}");
            self.report(node.at, format!("{what} is empty"), Some(&help));
            return None;
        }
        Some(items)
    }

    /// Reads the value of a setting: a number, a word or another scalar.
    pub fn value(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.kind {
            Kind::Plain(_, Some(number)) if !number.is_finite() => {
                self.report(
                    node.at,
                    format!("the value of `{path}` is not finite"),
                    None,
                );
                None
            }
            Kind::Text(text) if text.trim().trim_start_matches('~').is_empty() => {
                self.report(node.at, format!("the value of `{path}` is empty"), None);
                None
            }
            Kind::Plain(text, _) => Some(text.clone()),
            Kind::Text(text) => Some(text.trim().to_owned()),
            Kind::Null => {
                self.report(node.at, format!("`{path}` has no value"), None);
                None
            }
            Kind::List(_) | Kind::Map(_) => {
                let found = node.kind.name();
                self.report(
                    node.at,
                    format!("the value of `{path}` must be a number or text, and this is {found}"),
                    Some("values to try one after another go into `vary: { grid: ... }`"),
                );
                None
            }
        }
    }

    /// Reads the different values of one setting.
    pub fn values(&mut self, node: &Node, path: &str) -> Vec<String> {
        let mut values = Vec::new();
        let what = format!("what `{path}` is varied over");
        for item in self.list(node, &what, "values").unwrap_or_default() {
            let Some(value) = self.value(item, path) else {
                continue;
            };
            if values.contains(&value) {
                let message = format!("`{path}` has the value {value} twice");
                self.report(item.at, message, Some("keep one"));
            } else {
                values.push(value);
            }
        }
        values
    }

    /// Returns true if a name can be that of a setting that sweeps may change.
    pub fn is_setting(&mut self, path: &str, at: usize) -> bool {
        let (message, help) = if path == "train.seed" {
            ("a sweep sets `train.seed` itself", "use `seeds`")
        } else if path.is_empty() || path.contains(|c: char| "=~,".contains(c) || c.is_whitespace())
        {
            (
                "this is not the name of a setting",
                "names look like `train.batch`, `train.optimizer.lr`, `rec.eta` or `N`",
            )
        } else {
            return true;
        };
        self.report(at, message.to_owned(), Some(help));
        false
    }

    /// Reads a text.
    pub fn text_of(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Kind::Text(_) => {
                self.report(node.at, format!("{what} is empty"), None);
                None
            }
            Kind::Plain(text, _) => Some(text.clone()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                self.wrong_kind(node, what, "text");
                None
            }
        }
    }

    /// Returns true if a text has no line breaks or other control characters.
    pub fn is_one_line(&mut self, text: &str, at: usize) -> bool {
        let fine = !text.contains(char::is_control);
        if !fine {
            self.report(at, "this text must be one line".to_owned(), None);
        }
        fine
    }

    /// Reads a finite number.
    pub fn number(&mut self, node: &Node, what: &str) -> Option<f64> {
        match &node.kind {
            Kind::Plain(_, Some(number)) if number.is_finite() => Some(*number),
            _ => {
                self.wrong_kind(node, what, "a finite number");
                None
            }
        }
    }

    /// Reads a whole number within bounds.
    pub fn integer(&mut self, node: &Node, what: &str, least: u64, most: u64) -> Option<u64> {
        let found = match &node.kind {
            Kind::Plain(text, Some(_)) | Kind::Text(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        if let Some(number) = found.filter(|number| (least..=most).contains(number)) {
            return Some(number);
        }
        let wanted = if most == u64::MAX {
            format!("a whole number, {least} or more")
        } else {
            format!("a whole number from {least} to {most}")
        };
        let found = match &node.kind {
            Kind::Plain(text, _) => text.clone(),
            other => other.name().to_owned(),
        };
        self.report(
            node.at,
            format!("{what} must be {wanted}, and this is {found}"),
            None,
        );
        None
    }

    /// Reads a name that can be part of a file name.
    pub fn name(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text_of(node, what)?;
        self.label(&text, node.at)
    }

    /// Checks a name that can be part of a file name.
    pub fn label(&mut self, text: &str, at: usize) -> Option<String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let fine = text.chars().all(allowed)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text.len() <= MAX_NAME;
        if !fine {
            let help = format!(
                "letters, digits, `_`, `-` and `.`, a letter or digit first, {MAX_NAME} at most; a label can be given as `label: path`"
            );
            let message = format!("`{text}` cannot be used in names of directories");
            self.report(at, message, Some(&help));
        }
        fine.then(|| text.to_owned())
    }
}

/// The names as a list in words: "`a`, `b` and `c`".
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
