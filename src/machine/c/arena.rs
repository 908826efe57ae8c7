//! Which arrays of a kernel are in shared memory.

/// Arrays of a kernel that are in shared memory where there is room, in order of preference.
pub(super) struct Arena {
    pub items: Vec<(&'static str, usize)>,
}

impl Arena {
    /// What all of them take.
    pub(super) fn bytes(&self) -> usize {
        let sizes = self.items.iter().map(|(_, size)| size.next_multiple_of(32));
        4 * sizes.sum::<usize>()
    }

    /// Where each item is, floats of shared memory and of other memory.
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
