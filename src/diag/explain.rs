//! The pages behind `bpmc explain`.

use super::{Code, Severity};

/// The page of a code under a title line, in Markdown.
pub fn explain(code: Code) -> String {
    let kind = match code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    format!(
        "# {kind} {}: {}\n\n{}",
        code.text(),
        code.title(),
        code.page()
    )
}

/// All codes with their titles, a line each, errors first.
pub fn list_codes() -> String {
    Code::ALL
        .iter()
        .map(|code| format!("{}  {}\n", code.text(), code.title()))
        .collect()
}
