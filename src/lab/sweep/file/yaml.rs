//! A YAML tree whose nodes know their places. Size, depth and number of nodes are limited while reading, so
//! that no text, not even nested aliases, takes long.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use std::cell::{Cell, RefCell};
use std::fmt;

/// The longest text in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 16;
/// The largest number of values; a value behind an alias counts each time it is used.
const MAX_NODES: usize = 100_000;

/// A value and its place, which [`locate`] turns into line and column.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The number of the node in the order of the text.
    pub at: usize,
    /// The value.
    pub kind: Kind,
}

/// The kind of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Nothing, or `~`.
    Null,
    /// A plain scalar (`true`, `false` or a number) in the form the compiler reads, with its value if it is a
    /// number.
    Plain(String, Option<f64>),
    /// Any other word or text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in order; keys may repeat.
    Map(Vec<(Node, Node)>),
}

impl Kind {
    /// The name of the kind in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Plain(_, Some(_)) => "a number",
            Kind::Plain(_, None) => "true or false",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

/// A line and column, counted from 1.
pub type LineColumn = (usize, usize);

/// Reads a text.
///
/// # Errors
/// The error in words, and its place.
pub fn read(text: &str) -> Result<Node, (String, Option<LineColumn>)> {
    if text.len() > MAX_BYTES {
        return Err((
            format!("the file is larger than {} KiB", MAX_BYTES >> 10),
            None,
        ));
    }
    if let Some(line) = too_many_brackets(text) {
        return Err((TOO_DEEP.to_owned(), Some((line, 1))));
    }
    let context = Context::default();
    parse(text, &context)
}

/// The place of node number `at`.
pub fn locate(text: &str, at: usize) -> Option<LineColumn> {
    let context = Context {
        stop_at: Some(at),
        ..Context::default()
    };
    parse(text, &context).err()?.1
}

const TOO_DEEP: &str = "the file is nested too deeply";

/// The line at which more brackets are open than any sweep needs. The time of the YAML library grows with the
/// square of their number.
fn too_many_brackets(text: &str) -> Option<usize> {
    const MOST: i64 = 1000;
    let mut open = 0i64;
    for (line, words) in text.lines().enumerate() {
        for byte in words.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open -= 1,
                _ => {}
            }
            if open > MOST {
                return Some(line + 1);
            }
        }
    }
    None
}

#[derive(Default)]
struct Context {
    nodes: Cell<usize>,
    depth: Cell<usize>,
    /// The node at which to fail, so that the error gets its place.
    stop_at: Option<usize>,
    fault: RefCell<Option<String>>,
}

impl Context {
    fn fail<E: serde::de::Error>(&self, message: impl Into<String>) -> E {
        *self.fault.borrow_mut() = Some(message.into());
        E::custom("")
    }

    /// Counts a node.
    fn enter<E: serde::de::Error>(&self) -> Result<usize, E> {
        let at = self.nodes.get();
        if self.stop_at == Some(at) {
            return Err(self.fail(""));
        }
        if at >= MAX_NODES {
            return Err(self.fail(format!(
                "the file has more than {MAX_NODES} values, aliases counted each time they are used"
            )));
        }
        self.nodes.set(at + 1);
        Ok(at)
    }

    /// Enters a deeper level.
    fn descend<E: serde::de::Error>(&self) -> Result<(), E> {
        let depth = self.depth.get() + 1;
        if depth > MAX_DEPTH {
            return Err(self.fail(TOO_DEEP));
        }
        self.depth.set(depth);
        Ok(())
    }

    fn ascend(&self) {
        self.depth.set(self.depth.get() - 1);
    }
}

fn parse(text: &str, context: &Context) -> Result<Node, (String, Option<LineColumn>)> {
    let deserializer = serde_yaml::Deserializer::from_str(text);
    Reader(context).deserialize(deserializer).map_err(|error| {
        let place = error.location().map(|at| (at.line(), at.column()));
        let own = context.fault.borrow_mut().take();
        (own.unwrap_or_else(|| in_own_words(&error)), place)
    })
}

/// Rewords a syntax error; the library has no error codes, only words.
fn in_own_words(error: &serde_yaml::Error) -> String {
    let said = error.to_string();
    let known = [
        ("tab character", "indent with spaces, not tabs"),
        ("more than one document", "the file holds more than one document (`---`)"),
        ("unknown anchor", "the alias (`*name`) has no anchor (`&name`) before it"),
        ("repetition limit", "the aliases of the file repeat too much"),
        ("recursion limit", TOO_DEEP),
        ("cannot start any token", "no value begins like this here; indent with spaces, not tabs, and put text with special characters into quotes"),
        ("mapping values are not allowed", "there is a `:` too many, or the indentation is wrong"),
        ("unexpected end of stream", "a quote is opened and never closed"),
        ("',' or ']'", "a `[` before this place is never closed"),
        ("',' or '}'", "a `{` before this place is never closed"),
        ("expected ':'", "a `:` is missing after this word"),
        ("expected key", "the indentation is wrong here"),
        ("'-' indicator", "the indentation of this list is wrong"),
        ("control characters", "the file holds a character that is not text"),
    ];
    known
        .iter()
        .find(|(part, _)| said.contains(part))
        .map_or("this is not valid YAML", |(_, words)| words)
        .to_owned()
}

struct Reader<'c>(&'c Context);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Reader<'_> {
    fn leaf<E: serde::de::Error>(&self, kind: Kind) -> Result<Node, E> {
        Ok(Node {
            at: self.0.enter()?,
            kind,
        })
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.leaf(Kind::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
        self.leaf(Kind::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Node, E> {
        self.leaf(Kind::Plain(value.to_string(), None))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Node, E> {
        self.leaf(Kind::Plain(value.to_string(), Some(value as f64)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        self.leaf(Kind::Plain(value.to_string(), Some(value as f64)))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Node, E> {
        self.leaf(Kind::Plain(value.to_string(), Some(value as f64)))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Node, E> {
        self.leaf(Kind::Plain(value.to_string(), Some(value as f64)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        self.leaf(Kind::Plain(format!("{value:?}"), Some(value)))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        self.leaf(Kind::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let at = self.0.enter()?;
        self.0.descend()?;
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(Reader(self.0))? {
            nodes.push(node);
        }
        self.0.ascend();
        Ok(Node {
            at,
            kind: Kind::List(nodes),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let at = self.0.enter()?;
        self.0.descend()?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Reader(self.0))? {
            entries.push((key, map.next_value_seed(Reader(self.0))?));
        }
        self.0.ascend();
        Ok(Node {
            at,
            kind: Kind::Map(entries),
        })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self
            .0
            .fail("a tag, such as `!name`, means nothing here; leave it out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_places() {
        let text = "name: x\nset:\n  a.b: 1e-4\n  c: [1, ~,  'two', true]\n";
        let root = read(text).unwrap();
        let Kind::Map(entries) = &root.kind else {
            panic!("{root:?}")
        };
        assert_eq!(locate(text, entries[1].0.at), Some((2, 1)));
        let Kind::Map(set) = &entries[1].1.kind else {
            panic!("{root:?}")
        };
        assert_eq!(set[0].1.kind, Kind::Plain("0.0001".to_owned(), Some(1e-4)));
        let Kind::List(list) = &set[1].1.kind else {
            panic!("{root:?}")
        };
        let kinds: Vec<&str> = list.iter().map(|node| node.kind.name()).collect();
        assert_eq!(kinds, ["a number", "nothing", "text", "true or false"]);
        assert_eq!(locate(text, list[2].at), Some((4, 14)));
        assert_eq!(locate(text, 1000), None);
        assert_eq!(read("# nothing\n").unwrap().kind, Kind::Null);
    }

    #[test]
    fn what_is_no_yaml_is_told_in_own_words() {
        for (text, message, line) in [
            ("a: [1, 2\n", "a `[` before this", Some(2)),
            ("a: {b: 2\n", "a `{` before this", Some(2)),
            ("a: 'b\n", "a quote is opened", Some(2)),
            ("a: b: c\n", "a `:` too many", Some(1)),
            ("a: 1\n\tb: 2\n", "not tabs", Some(2)),
            (
                "a: 1\n  b: 2\n",
                "a `:` too many, or the indentation",
                Some(2),
            ),
            ("a: *b\n", "no anchor", Some(1)),
            ("a: !tag b\n", "a tag, such as", Some(1)),
            ("a: 1\n---\nb: 1\n", "more than one document", None),
        ] {
            let (said, place) = read(text).unwrap_err();
            assert!(said.contains(message), "{text:?}: {said}");
            if let Some(line) = line {
                assert_eq!(place.map(|(line, _)| line), Some(line), "{text:?}");
            }
        }
    }

    #[test]
    fn bombs_are_refused_at_once() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for k in 1..30 {
            let names = format!("*a{0}, ", k - 1).repeat(10);
            laughs.push_str(&format!("a{k}: &a{k} [{names}]\n"));
        }
        let started = std::time::Instant::now();
        for (text, message) in [
            (laughs, "more than"),
            ("[".repeat(MAX_BYTES), "nested too deeply"),
            ("- ".repeat(MAX_BYTES / 2), "nested too deeply"),
            ("a: &a [*a]".to_owned(), "nested too deeply"),
            (" ".repeat(MAX_BYTES + 1), "larger than 1024 KiB"),
            ("- 1\n".repeat(MAX_NODES + 1), "more than"),
        ] {
            let (said, _) = read(&text).unwrap_err();
            assert!(said.contains(message), "{said}");
        }
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
}
