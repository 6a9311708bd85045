//! Memory that the machine has at hand.

/// A hugepage, in bytes.
const HUGEPAGE: usize = 2 << 20;

/// Has the kernel touch so many bytes in hugepages, and gives them back to it, so that the next process that asks
/// finds them there. On a virtual machine the host takes back what lies free for some seconds, and the first touch
/// of a hugepage then takes two to four milliseconds instead of a tenth of one: whoever comes first would pay for
/// all that come after.
///
/// Does what it can: where the kernel refuses the memory nothing is warm.
pub fn warm_up(bytes: usize) {
    let bytes = bytes.next_multiple_of(HUGEPAGE);
    let (length, protection) = (bytes + HUGEPAGE, libc::PROT_READ | libc::PROT_WRITE);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: it maps fresh memory at an address of the kernel's choice.
    let mapping = unsafe { libc::mmap(core::ptr::null_mut(), length, protection, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        return;
    }
    let first = mapping.wrapping_byte_add(mapping.addr().wrapping_neg() % HUGEPAGE);
    // SAFETY: the hugepages from `first` on lie inside of the mapping, which is a hugepage longer than they are.
    unsafe { libc::madvise(first, bytes, libc::MADV_HUGEPAGE) };
    for offset in (0..bytes).step_by(HUGEPAGE) {
        // SAFETY: the byte lies in the mapping, which may be written and belongs to this function alone.
        unsafe { first.cast::<u8>().wrapping_add(offset).write_volatile(1) };
    }
    // SAFETY: the mapping is this function's, and nothing refers into it any more.
    unsafe { libc::munmap(mapping, length) };
}
