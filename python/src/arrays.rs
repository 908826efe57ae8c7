//! Memory of arrays, by its address.

/// The address of an array's first element, which `bpmc._arrays` has checked; 0 where there is no array.
pub type Address = usize;

/// The numbers of an array.
///
/// # Safety
/// So many numbers of this type lie at the address, and stay there as long as the slice is used.
pub unsafe fn read<'a, T>(address: Address, count: usize) -> &'a [T] {
    // SAFETY: as the caller says; an empty slice needs an address that is not 0.
    match count {
        0 => &[],
        _ => unsafe { std::slice::from_raw_parts(address as *const T, count) },
    }
}

/// As [`read`], for an array that may be missing.
///
/// # Safety
/// As for [`read`].
pub unsafe fn read_some<'a, T>(address: Address, count: usize) -> Option<&'a [T]> {
    // SAFETY: as the caller says.
    (address != 0).then(|| unsafe { read(address, count) })
}

/// Writes numbers into an array; one that is missing is left out.
///
/// # Safety
/// There is memory for so many numbers of this type at the address, and nobody else uses it now.
pub unsafe fn write<T: Copy>(address: Address, values: &[T]) {
    if address != 0 {
        // SAFETY: as the caller says.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), address as *mut T, values.len());
        }
    }
}
