//! Shell quoting for commands that are shown to be copied.

/// Quotes a word so that a shell reads it back unchanged.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./=+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("train.optimizer.lr=1e-4"), "train.optimizer.lr=1e-4");
        assert_eq!(quoted("rec.w~uniform(0, 1)"), "'rec.w~uniform(0, 1)'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
