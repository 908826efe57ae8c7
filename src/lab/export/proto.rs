//! Protocol buffers, as far as ONNX needs them: fields of whole numbers, texts and messages. (The wire format has two
//! kinds of field here, varints and lengths, so no crate is worth its build.)

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new() -> Message {
        Message::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Adds a whole number; a negative one takes ten bytes.
    pub(super) fn int(mut self, field: u64, value: i64) -> Message {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    /// Adds bytes.
    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Message {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    /// Adds a text.
    pub(super) fn text(self, field: u64, value: &str) -> Message {
        self.bytes(field, value.as_bytes())
    }

    /// Adds a message.
    pub(super) fn message(self, field: u64, value: &Message) -> Message {
        self.bytes(field, &value.0)
    }

    /// The bytes of the message.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn fields_are_as_the_format_says() {
        let inner = Message::new().int(1, 300);
        let bytes = Message::new()
            .int(1, -1)
            .text(2, "ab")
            .message(3, &inner)
            .finish();
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let mut wanted = vec![8];
        wanted.extend(minus_one);
        wanted.extend([0x12, 2, b'a', b'b', 0x1a, 3, 8, 0xac, 2]);
        assert_eq!(bytes, wanted);
    }
}
