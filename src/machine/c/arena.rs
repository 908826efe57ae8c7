//! The arrays of a kernel that lie in shared memory.

/// The arrays of a kernel that go to shared memory as far as they fit, in order of preference.
pub(super) struct Arena {
    pub items: Vec<(&'static str, usize)>,
}

impl Arena {
    /// The size of all arrays in bytes.
    pub(super) fn bytes(&self) -> usize {
        let sizes = self.items.iter().map(|(_, size)| size.next_multiple_of(32));
        4 * sizes.sum::<usize>()
    }

    /// The place of each array, and the sizes of shared and of other memory in floats.
    pub(super) fn place(&self, shared_bytes: usize) -> (Vec<(&'static str, String)>, usize, usize) {
        let (mut shared, mut other) = (0usize, 0usize);
        let mut places = Vec::new();
        for (name, size) in &self.items {
            let size = size.next_multiple_of(32);
            if (shared + size) * 4 <= shared_bytes {
                places.push((*name, format!("shared_memory + {shared}")));
                shared += size;
            } else {
                places.push((*name, format!("a->arena + (u64)lane * ARENA + {other}")));
                other += size;
            }
        }
        (places, shared, other)
    }
}
