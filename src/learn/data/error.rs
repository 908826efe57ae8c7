//! The faults of files of arrays.

use std::path::Path;

/// The reason why arrays cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}{help}", if help.is_empty() { "" } else { "\n  help: " })]
pub struct DataError {
    /// The fault and its place: file, array, and what is there instead.
    pub message: String,
    /// The remedy; may be empty.
    pub help: String,
}

impl DataError {
    /// A fault of a whole file: `what` goes on from its name.
    pub(super) fn of(path: &Path, what: &str) -> DataError {
        DataError {
            message: format!("{} {what}", path.display()),
            help: String::new(),
        }
    }

    /// A fault of one array of a file.
    pub(super) fn of_array(path: &Path, array: &str, what: &str) -> DataError {
        DataError {
            message: format!("{}, array `{}`: {what}", path.display(), cut(array)),
            help: String::new(),
        }
    }

    /// A file that the file system does not give.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
        DataError {
            message: format!("cannot read {}: {error}", path.display()),
            help: String::new(),
        }
    }

    /// The same with a way to mend it.
    pub fn help(mut self, help: &str) -> DataError {
        help.clone_into(&mut self.help);
        self
    }
}

/// A text that is shown whole only where it is short.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// At most a dozen of some texts.
pub(super) fn shortened(rows: &[String], between: &str) -> String {
    const MOST: usize = 12;
    let shown: Vec<String> = rows.iter().take(MOST).map(|row| cut(row)).collect();
    let mut text = shown.join(between);
    if rows.len() > MOST {
        text.push_str(&format!("{between}and {} more", rows.len() - MOST));
    }
    text
}

/// Names in quotes, at most a dozen.
pub(super) fn listed(names: &[&str]) -> String {
    let rows: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", cut(name)))
        .collect();
    shortened(&rows, ", ")
}
