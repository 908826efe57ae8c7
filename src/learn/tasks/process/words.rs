//! The words of a command.

/// Splits a command at blanks. Quotes, single or double, keep blanks within a word.
///
/// # Errors
/// Fails if a quote is not closed or there is no word.
pub(super) fn words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("the command has a {quote} that is not closed"));
    }
    words.extend(word);
    if words.is_empty() {
        return Err("the command has no words".to_owned());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_keep_blanks() {
        let split = |text| words(text).unwrap();
        assert_eq!(split(" python3  env.py "), ["python3", "env.py"]);
        assert_eq!(
            split("sh -c 'a \"b\" c'd ''"),
            ["sh", "-c", "a \"b\" cd", ""]
        );
        assert!(words("a 'b").unwrap_err().contains("not closed"));
        assert!(words("  ").unwrap_err().contains("no words"));
    }
}
