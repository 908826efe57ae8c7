//! The pages behind `bpmc explain`.

use super::{Code, Severity};

/// The page of a code below a title line, in Markdown.
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

/// The list of all codes with their titles, one per line, errors first.
pub fn list_codes() -> String {
    Code::ALL
        .iter()
        .map(|code| format!("{}  {}\n", code.text(), code.title()))
        .collect()
}

/// The example specs on the page of a code: one with the mistake, if a few lines can show it, and a corrected
/// one.
///
/// A first line `// bpmc check spec.bpm OPTIONS` in a spec gives its options; a spec that imports itself
/// stands for the file `spec.bpm`.
pub fn examples(code: Code) -> (Option<&'static str>, &'static str) {
    let block = |heading: &str| {
        let (_, section) = code.page().split_once(heading)?;
        let section = section.split("\n## ").next()?;
        let (_, block) = section.split_once("```bpm\n")?;
        block.split_once("```").map(|(spec, _)| spec)
    };
    let instead = block("## Use instead\n").expect("a test reads every page");
    (block("## Example\n"), instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_its_parts_in_order() {
        for &code in Code::ALL {
            let page = code.page();
            let at: Vec<_> = ["## What it means", "## Why", "## Example", "## Use instead"]
                .iter()
                .map(|heading| {
                    assert_eq!(page.matches(heading).count(), 1, "{code:?} {heading}");
                    page.find(heading)
                })
                .collect();
            assert!(
                at.is_sorted() && at[0] == Some(0),
                "{code:?}: order of headings"
            );
            assert_eq!(page.matches("```").count(), 4, "{code:?}: two blocks");
            assert!(
                page.lines().all(|line| line.chars().count() <= 120),
                "{code:?}: long line"
            );
            let (example, instead) = examples(code);
            let none = code == Code::TooLarge || code.is_of_running();
            assert_eq!(example.is_none(), none, "{code:?}");
            assert_ne!(example, Some(instead), "{code:?}");
            assert!(instead.contains("network agent {"), "{code:?}");
        }
    }

    #[test]
    fn every_page_belongs_to_a_code() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lang/diag/codes");
        let mut pages: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        let mut codes: Vec<String> = Code::ALL
            .iter()
            .map(|c| format!("{}.md", c.text()))
            .collect();
        codes.sort();
        assert_eq!(pages, codes);
    }

    #[test]
    fn a_page_has_a_title() {
        let text = explain(Code::UnknownSetting);
        assert!(text.starts_with(
            "# error E0205: a setting that does not exist\n\n## What it means\n\nThe block"
        ));
        assert!(explain(Code::UnreadTrace).starts_with("# warning W0102: "));
        assert!(list_codes().contains("E0401  two sizes that must be equal and are not\n"));
    }
}
