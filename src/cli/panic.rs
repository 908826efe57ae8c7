//! The message for users if bpmc itself fails.

use super::screen;

/// Replaces the message of a panic by one for users. The exit status is still 101; with `RUST_BACKTRACE=1` a
/// backtrace follows.
pub fn install() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" ({place})"));
        screen::emergency(&message(&what, &place));
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            screen::emergency(&format!("{backtrace}\n"));
        }
    }));
}

fn message(what: &str, place: &str) -> String {
    format!(
        "bpmc: this is a bug in bpmc, not in your spec: {what}{place}\n\
         Please report it with the spec, the command and the output of `bpmc doctor`.\n"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_message_is_short_and_says_what_to_do() {
        let text = super::message("index out of range", " (src/a.rs:1:2)");
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("index out of range (src/a.rs:1:2)") && text.contains("report"));
    }
}
