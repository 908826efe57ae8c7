//! Executable memory.

use memmap2::{Mmap, MmapMut};

/// Pages of machine code, never written again.
#[derive(Debug)]
pub struct Pages(Mmap);

impl Pages {
    /// Copies code into new pages; `None` if the system does not allow it.
    pub fn new(code: &[u8]) -> Option<Pages> {
        let mut pages = MmapMut::map_anon(code.len().max(1)).ok()?;
        pages[..code.len()].copy_from_slice(code);
        pages.make_exec().ok().map(Pages)
    }

    /// The address of an offset.
    pub fn address(&self, offset: usize) -> *const u8 {
        self.0[offset..].as_ptr()
    }
}
