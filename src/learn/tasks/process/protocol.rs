//! The protocol: what is said on the first line, and the frames of a step.
//!
//! `docs/environments.md` describes it for those who write environments.

use crate::lang::catalog::{Actions, Port};
use serde_json::{json, Value};
use std::time::Duration;

/// The version of the protocol.
pub(super) const VERSION: u64 = 1;

/// The most bytes of the first line of an environment.
pub(super) const LONGEST_LINE: usize = 1 << 20;

/// The most elements of all inputs of a lane.
const MOST_ELEMENTS: usize = 1 << 24;

/// The most choices of all heads together, and the most numbers of an action.
const MOST_ACTIONS: u64 = 1 << 20;

/// The most heads.
const MOST_HEADS: usize = 1024;

/// The first answer of an environment, which describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// The inputs that it gives, in the order of the frames.
    pub inputs: Vec<Port>,
    /// The names of its signals, in the order of the frames.
    pub signals: Vec<String>,
    /// The actions.
    pub actions: Actions,
}

/// The first line for an environment, with its newline.
pub(super) fn hello(lanes: usize, watch: Duration) -> String {
    format!(
        "{}\n",
        json!({ "protocol": "bpmc", "version": VERSION, "lanes": lanes, "watch": watch.as_secs_f64() })
    )
}

/// Names that bpmc gives itself.
const TAKEN: [&str; 3] = ["actions", "steps", "trial_start"];

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads the actions: a number of choices, numbers for several heads, or a number of continuous actions.
fn actions(value: &Value) -> Option<Actions> {
    let count = |value: &Value| {
        let count = value.as_u64().filter(|n| (1..=MOST_ACTIONS).contains(n));
        count.map(|n| n as usize)
    };
    match value {
        Value::Array(heads) if (1..=MOST_HEADS).contains(&heads.len()) => {
            let heads: Option<Vec<usize>> = heads.iter().map(count).collect();
            let fits = |heads: &Vec<usize>| heads.iter().sum::<usize>() as u64 <= MOST_ACTIONS;
            heads.filter(fits).map(Actions::Choices)
        }
        Value::Object(kind) if kind.len() == 1 => {
            kind.get("continuous").and_then(count).map(Actions::Numbers)
        }
        number => count(number).map(|count| Actions::Choices(vec![count])),
    }
}

impl Description {
    /// Reads the first line of an environment.
    ///
    /// # Errors
    /// The fault, as a clause whose subject is the environment.
    pub fn read(line: &[u8]) -> Result<Description, String> {
        let shown = || shorten(&String::from_utf8_lossy(line));
        let value: Value = serde_json::from_slice(line)
            .map_err(|_| format!("did not begin with a line of JSON, but with {}", shown()))?;
        let object = value
            .as_object()
            .ok_or_else(|| format!("began with {}, which is no JSON object", shown()))?;
        match object.get("version").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(other) => {
                return Err(format!(
                    "speaks version {other} of the protocol, and this bpmc version {VERSION}"
                ))
            }
            None => return Err("did not name the `version` of the protocol".to_owned()),
        }
        let known = ["version", "inputs", "signals", "actions"];
        if let Some(other) = object.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!(
                "describes itself with `{other}`, which is none of `{}`",
                known.join("`, `")
            ));
        }
        let inputs = object.get("inputs").and_then(Value::as_object);
        let inputs = inputs.ok_or("did not describe its `inputs`, an object of sizes by name")?;
        let mut names: Vec<&str> = Vec::new();
        let name = |text: &str| -> Result<(), String> {
            if !is_name(text) {
                return Err(format!(
                    "has the name `{}`, and names are made of letters, digits and _",
                    text.escape_debug()
                ));
            }
            let is_head = text
                .strip_prefix("actions_")
                .is_some_and(|k| k.parse::<usize>().is_ok());
            if TAKEN.contains(&text) || is_head {
                return Err(format!("uses the name `{text}`, which bpmc has for itself"));
            }
            Ok(())
        };
        let mut ports = Vec::new();
        for (text, size) in inputs {
            name(text)?;
            names.push(text);
            let size = size
                .as_u64()
                .filter(|n| (1..=MOST_ELEMENTS as u64).contains(n));
            let size = size.ok_or_else(|| {
                format!("gives input `{text}` a size that is no whole number from 1")
            })?;
            ports.push(Port::new(text, size as usize));
        }
        if ports.is_empty() {
            return Err("has no inputs".to_owned());
        }
        if ports.iter().map(|port| port.size).sum::<usize>() > MOST_ELEMENTS {
            return Err(format!("has inputs of more than {MOST_ELEMENTS} elements"));
        }
        let mut signals = Vec::new();
        match object.get("signals") {
            None => {}
            Some(Value::Array(all)) => {
                for one in all {
                    let text = one.as_str().ok_or("has a signal whose name is no text")?;
                    name(text)?;
                    if signals.iter().any(|known| known == text) {
                        return Err(format!("has two signals called `{text}`"));
                    }
                    signals.push(text.to_owned());
                }
            }
            Some(_) => return Err("describes its `signals` by no array of names".to_owned()),
        }
        let actions = object.get("actions").and_then(actions);
        let actions = actions.ok_or(
            "did not say what its `actions` are: their number, a list of numbers, or {\"continuous\": their number}",
        )?;
        Ok(Description {
            inputs: ports,
            signals,
            actions,
        })
    }

    /// Elements of all inputs of a lane.
    pub fn width(&self) -> usize {
        self.inputs.iter().map(|port| port.size).sum()
    }

    /// Bytes of the answer for so many lanes, without its length.
    pub fn answer_bytes(&self, lanes: usize) -> usize {
        lanes * (4 * (self.width() + self.signals.len() + 1) + 1)
    }

    /// The input and the place in it of an element of a lane's inputs.
    fn element(&self, mut at: usize) -> String {
        for port in &self.inputs {
            if at < port.size {
                return format!("`{}[{at}]`", port.name);
            }
            at -= port.size;
        }
        format!("element {at}")
    }
}

/// The order of a lane to its environment in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing: its episode is over.
    #[default]
    Wait,
    /// The step of its action.
    Act,
    /// A new episode with this seed.
    Reset(u64),
}

/// The frame of a step with its length, for the lanes from `first` of the environment, with the kind of the actions and those of
/// all lanes, one after another; those of lanes that do not act are 0.
pub(super) fn request(
    first: usize,
    orders: &[Order],
    (kind, actions): (&Actions, &[f32]),
    out: &mut Vec<u8>,
) {
    let bytes = 8 + 9 * orders.len() + 4 * actions.len();
    out.clear();
    out.extend((bytes as u32).to_le_bytes());
    out.extend((first as u32).to_le_bytes());
    out.extend((orders.len() as u32).to_le_bytes());
    for order in orders {
        let seed = match order {
            Order::Reset(seed) => *seed,
            Order::Wait | Order::Act => 0,
        };
        out.extend(seed.to_le_bytes());
    }
    for action in actions {
        let bytes = match kind {
            Actions::Choices(_) => (*action as u32).to_le_bytes(),
            Actions::Numbers(_) => action.to_le_bytes(),
        };
        out.extend(bytes);
    }
    out.extend(orders.iter().map(|order| match order {
        Order::Wait => 0u8,
        Order::Act => 1,
        Order::Reset(_) => 2,
    }));
}

/// True if an episode goes on after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// It goes on.
    #[default]
    No,
    /// It is over: nothing could follow.
    Terminated,
    /// It is cut off: it would have gone on.
    Truncated,
}

/// The answer of an environment for one lane.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer<'a> {
    description: &'a Description,
    bytes: &'a [u8],
    lanes: usize,
    lane: usize,
}

/// The answers of a frame without its length, for so many lanes.
///
/// # Errors
/// The fault, as a clause whose subject is the environment.
pub(super) fn answers<'a>(
    description: &'a Description,
    bytes: &'a [u8],
    lanes: usize,
) -> Result<impl Iterator<Item = Answer<'a>>, String> {
    let wanted = description.answer_bytes(lanes);
    if bytes.len() != wanted {
        return Err(wrong_length(bytes.len() as u64, wanted));
    }
    Ok((0..lanes).map(move |lane| Answer {
        description,
        bytes,
        lanes,
        lane,
    }))
}

/// The clause for a frame of a wrong length.
pub(super) fn wrong_length(found: u64, wanted: usize) -> String {
    let text = (found as u32).to_le_bytes();
    let prints = text
        .iter()
        .all(|c| matches!(c, b' '..=b'~' | b'\n' | b'\t'));
    if prints {
        let text = String::from_utf8_lossy(&text);
        return format!(
            "wrote the text {:?} where a frame is due; it must print to standard error instead",
            text
        );
    }
    format!("sent a frame of {found} bytes, and {wanted} are due")
}

impl Answer<'_> {
    fn float(&self, at: usize) -> f32 {
        let bytes = &self.bytes[4 * at..4 * at + 4];
        f32::from_le_bytes(bytes.try_into().expect("four bytes"))
    }

    /// Writes the inputs and the signals; returns the reward and whether the episode is over.
    ///
    /// # Errors
    /// The fault of the numbers, as a clause whose subject is the environment.
    pub fn read(&self, inputs: &mut [f32], signals: &mut [f32]) -> Result<(f32, Ended), String> {
        let (width, count) = (self.description.width(), self.description.signals.len());
        for (k, to) in inputs.iter_mut().take(width).enumerate() {
            *to = self.float(self.lane * width + k);
            if !to.is_finite() {
                return Err(format!("sent {to} as {}", self.description.element(k)));
            }
        }
        let from = self.lanes * width;
        for (k, to) in signals.iter_mut().take(count).enumerate() {
            *to = self.float(from + self.lane * count + k);
            if !to.is_finite() {
                let name = &self.description.signals[k];
                return Err(format!("sent {to} as signal `{name}`"));
            }
        }
        let from = from + self.lanes * count;
        let reward = self.float(from + self.lane);
        if !reward.is_finite() {
            return Err(format!("sent {reward} as reward"));
        }
        let ended = self.bytes[4 * (from + self.lanes) + self.lane];
        let ended = match ended {
            0 => Ended::No,
            1 | 3 => Ended::Terminated,
            2 => Ended::Truncated,
            other => {
                return Err(format!(
                    "sent {other} for whether the episode is over, which is 0, 1, 2 or 3"
                ))
            }
        };
        Ok((reward, ended))
    }
}

/// A text on one line, not too long.
fn shorten(text: &str) -> String {
    let text = text.trim_end();
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        format!("`{short} ...`")
    } else {
        format!("`{short}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn description() -> Description {
        let line =
            br#"{"version": 1, "inputs": {"obs": 2, "other": 1}, "signals": ["s"], "actions": 3}"#;
        Description::read(line).unwrap()
    }

    #[test]
    fn an_environment_describes_itself() {
        let found = description();
        assert_eq!(found.inputs, [Port::new("obs", 2), Port::new("other", 1)]);
        assert_eq!((found.width(), found.answer_bytes(2)), (3, 42));
        for (line, wrong) in [
            ("hello", "did not begin with a line of JSON"),
            ("[1]", "no JSON object"),
            (r#"{"inputs": {"obs": 1}}"#, "`version`"),
            (
                r#"{"version": 2, "inputs": {"obs": 1}, "actions": 2}"#,
                "version 2",
            ),
            (r#"{"version": 1, "actions": 2}"#, "`inputs`"),
            (r#"{"version": 1, "inputs": {}, "actions": 2}"#, "no inputs"),
            (
                r#"{"version": 1, "inputs": {"a b": 1}, "actions": 2}"#,
                "`a b`",
            ),
            (
                r#"{"version": 1, "inputs": {"steps": 1}, "actions": 2}"#,
                "for itself",
            ),
            (
                r#"{"version": 1, "inputs": {"obs": 0}, "actions": 2}"#,
                "size",
            ),
            (
                r#"{"version": 1, "inputs": {"obs": 1e30}, "actions": 2}"#,
                "size",
            ),
            (r#"{"version": 1, "inputs": {"obs": 1}}"#, "`actions`"),
            (
                r#"{"version": 1, "inputs": {"obs": 1}, "actions": -1}"#,
                "`actions`",
            ),
            (
                r#"{"version": 1, "inputs": {"obs": 1}, "actions": 2, "signals": ["a", "a"]}"#,
                "two",
            ),
            (
                r#"{"version": 1, "inputs": {"obs": 1}, "actions": 2, "signals": 3}"#,
                "array",
            ),
            (
                r#"{"version": 1, "inputs": {"obs": 1}, "actions": 2, "reward": 3}"#,
                "`reward`",
            ),
        ] {
            let message = Description::read(line.as_bytes()).unwrap_err();
            assert!(message.contains(wrong), "{line}: {message}");
        }
        for (actions, wanted) in [
            ("2", Some(Actions::Choices(vec![2]))),
            ("[2, 3]", Some(Actions::Choices(vec![2, 3]))),
            (r#"{"continuous": 2}"#, Some(Actions::Numbers(2))),
            ("[]", None),
            ("[2, 0]", None),
            ("[1048576, 1]", None),
            ("[[2]]", None),
            (r#"{"continuous": 0}"#, None),
            (r#"{"continuous": 1.5}"#, None),
            (r#"{"numbers": 2}"#, None),
            (r#"{"continuous": 2, "low": -1}"#, None),
        ] {
            let line = format!(r#"{{"version": 1, "inputs": {{"obs": 1}}, "actions": {actions}}}"#);
            let found = Description::read(line.as_bytes()).map(|found| found.actions);
            assert_eq!(found.ok(), wanted, "{actions}");
        }
    }

    /// The bytes that an environment would send.
    fn frame(inputs: &[f32], signals: &[f32], rewards: &[f32], ended: &[u8]) -> Vec<u8> {
        let floats = inputs.iter().chain(signals).chain(rewards);
        floats
            .flat_map(|x| x.to_le_bytes())
            .chain(ended.iter().copied())
            .collect()
    }

    #[test]
    fn frames_are_arrays_one_after_another() {
        let mut out = Vec::new();
        request(
            2,
            &[Order::Act, Order::Reset(1 << 40), Order::Wait],
            (&Actions::Choices(vec![8]), &[7.0, 0.0, 0.0]),
            &mut out,
        );
        let [size, first, count] = [0, 4, 8].map(|at| out[at]);
        assert_eq!((usize::from(size) + 4, first, count), (out.len(), 2, 3));
        assert_eq!(out[12 + 8..12 + 16], (1u64 << 40).to_le_bytes());
        assert_eq!(out[12 + 24], 7);
        assert_eq!(out[out.len() - 3..], [1, 2, 0]);

        let both = [0.5f32, -2.0, 0.0, 0.0];
        let orders = [Order::Act, Order::Wait];
        for (kind, sent) in [
            (Actions::Numbers(2), both.map(f32::to_le_bytes)),
            (
                Actions::Choices(vec![3, 3]),
                [0u32, 0, 0, 0].map(u32::to_le_bytes),
            ),
        ] {
            request(0, &orders, (&kind, &both), &mut out);
            assert_eq!(out.len(), 4 + 8 + 16 + 16 + 2);
            assert_eq!(out[4 + 8 + 16..][..16], sent.concat());
        }

        let description = description();
        let bytes = frame(
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            &[7.0, 8.0],
            &[9.0, 10.0],
            &[0, 2],
        );
        let (mut inputs, mut signals) = ([0.0; 3], [0.0]);
        let all: Vec<Answer> = answers(&description, &bytes, 2).unwrap().collect();
        assert_eq!(
            all[1].read(&mut inputs, &mut signals),
            Ok((10.0, Ended::Truncated))
        );
        assert_eq!((inputs, signals), ([4.0, 5.0, 6.0], [8.0]));
        let bad = |bytes: &[u8]| {
            let all = answers(&description, bytes, 1).map(|mut all| all.next().unwrap());
            all.and_then(|one| one.read(&mut [0.0; 3], &mut [0.0]))
                .unwrap_err()
        };
        let nan = f32::NAN;
        assert!(bad(&frame(&[0.0, 0.0, nan], &[0.0], &[0.0], &[0])).contains("NaN as `other[0]`"));
        assert!(bad(&frame(&[0.0; 3], &[nan], &[0.0], &[0])).contains("signal `s`"));
        assert!(bad(&frame(&[0.0; 3], &[0.0], &[f32::INFINITY], &[0])).contains("inf as reward"));
        assert!(bad(&frame(&[0.0; 3], &[0.0], &[0.0], &[4])).contains("sent 4"));
        assert!(bad(&[0; 20]).contains("20 bytes, and 21 are due"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), lanes in 0usize..5) {
            let _ = Description::read(&bytes);
            let description = description();
            let all: Result<Vec<Answer>, String> =
                answers(&description, &bytes, lanes).map(Iterator::collect);
            if let Ok(all) = all {
                prop_assert_eq!(bytes.len(), description.answer_bytes(lanes));
                for one in all {
                    let _ = one.read(&mut [0.0; 3], &mut [0.0]);
                }
            }
        }

        #[test]
        fn what_is_sent_is_read(
            numbers in prop::collection::vec(-1e30f32..1e30, 15),
            ended in prop::collection::vec(0u8..4, 3),
        ) {
            let description = description();
            let bytes = frame(&numbers[..9], &numbers[9..12], &numbers[12..], &ended);
            let all: Vec<Answer> = answers(&description, &bytes, 3).unwrap().collect();
            for (k, one) in all.iter().enumerate() {
                let (mut inputs, mut signals) = ([0.0; 3], [0.0]);
                let (reward, over) = one.read(&mut inputs, &mut signals).unwrap();
                prop_assert_eq!(&inputs[..], &numbers[3 * k..3 * k + 3]);
                prop_assert_eq!((signals[0], reward), (numbers[9 + k], numbers[12 + k]));
                prop_assert_eq!(over == Ended::No, ended[k] == 0);
            }
        }

        #[test]
        fn descriptions_with_any_values_are_read_or_refused(
            version in 0u64..3,
            size in any::<i64>(),
            name in "[a-z ]{0,6}",
            actions in any::<i64>(),
        ) {
            let line = serde_json::json!({"version": version, "inputs": {name: size}, "actions": actions}).to_string();
            if let Ok(found) = Description::read(line.as_bytes()) {
                prop_assert!(version == 1 && actions > 0);
                prop_assert_eq!(found.width() as i64, size);
            }
        }
    }
}
