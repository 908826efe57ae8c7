//! Places as the protocol counts them, in lines and UTF-16 units from 0, and addresses of files.

use crate::lang::diag::LineIndex;
use serde_json::{json, Value};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The byte at a line and a column; the end of the line or of the text where these are shorter.
pub fn offset(text: &str, line: usize, units: usize) -> usize {
    let start = match line.checked_sub(1) {
        None => 0,
        Some(ends) => match text.match_indices('\n').nth(ends) {
            Some((at, _)) => at + 1,
            None => return text.len(),
        },
    };
    let rest = &text[start..];
    let rest = &rest[..rest.find('\n').unwrap_or(rest.len())];
    let rest = rest.strip_suffix('\r').unwrap_or(rest);
    let mut passed = 0;
    for (at, c) in rest.char_indices() {
        if passed >= units {
            return start + at;
        }
        passed += c.len_utf16();
    }
    start + rest.len()
}

/// The byte of a position of the protocol.
pub fn offset_of(text: &str, position: &Value) -> Option<usize> {
    let number = |name: &str| Some(position[name].as_u64()? as usize);
    Some(offset(text, number("line")?, number("character")?))
}

/// The bytes of a range of the protocol.
pub fn bytes_of(text: &str, range: &Value) -> Option<Range<usize>> {
    let start = offset_of(text, &range["start"])?;
    let end = offset_of(text, &range["end"])?;
    (start <= end).then_some(start..end)
}

/// A byte as a position of the protocol.
pub fn position(index: &LineIndex<'_>, byte: usize) -> Value {
    let at = index.position(byte);
    json!({ "line": at.line - 1, "character": at.utf16 - 1 })
}

/// Bytes as a range of the protocol.
pub fn range(index: &LineIndex<'_>, bytes: Range<usize>) -> Value {
    json!({ "start": position(index, bytes.start), "end": position(index, bytes.end) })
}

/// The path of a file's address. A text that is in no file has its address as its name.
pub fn path_of(uri: &str) -> PathBuf {
    let Some(rest) = uri.strip_prefix("file://") else {
        return PathBuf::from(uri);
    };
    let mut bytes = Vec::new();
    let mut left = rest.as_bytes();
    while let Some((first, after)) = left.split_first() {
        let code = after.get(..2).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match code {
            Some(code) if *first == b'%' => {
                bytes.push(code);
                left = &after[2..];
            }
            _ => {
                bytes.push(*first);
                left = after;
            }
        }
    }
    let path = String::from_utf8_lossy(&bytes).into_owned();
    // `file:///C:/a.bpm` on Windows.
    let drive = path.as_bytes().get(2) == Some(&b':') && cfg!(windows);
    PathBuf::from(if drive { path[1..].to_owned() } else { path })
}

/// The address of a file.
pub fn uri_of(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.contains(':') && !cfg!(windows) && !text.starts_with('/') {
        return text.into_owned();
    }
    let mut uri = "file://".to_owned();
    if !text.starts_with('/') {
        uri.push('/');
    }
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                uri.push(char::from(byte));
            }
            b'\\' if cfg!(windows) => uri.push('/'),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_there_and_back() {
        let text = "a\u{1D6FC}b\r\n\u{00E9}x\n";
        let index = LineIndex::new(text);
        for (byte, c) in text.char_indices().chain([(text.len(), ' ')]) {
            // Nothing stands between the two characters of a line end.
            if c != '\n' {
                let place = position(&index, byte);
                assert_eq!(offset_of(text, &place), Some(byte), "{byte}");
            }
        }
        assert_eq!(offset(text, 0, 99), 6);
        assert_eq!(offset(text, 99, 0), text.len());
    }

    #[test]
    fn addresses_go_there_and_back() {
        let path = Path::new("/a b/\u{00E9}%/x.bpm");
        let uri = uri_of(path);
        assert_eq!(uri, "file:///a%20b/%C3%A9%25/x.bpm");
        assert_eq!(path_of(&uri), path);
        assert_eq!(
            path_of("untitled:Untitled-1"),
            Path::new("untitled:Untitled-1")
        );
        assert_eq!(
            uri_of(Path::new("untitled:Untitled-1")),
            "untitled:Untitled-1"
        );
        assert_eq!(path_of("file:///a%2"), Path::new("/a%2"));
    }
}
