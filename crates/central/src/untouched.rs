//! Whether anybody ever wrote into an object that begins with zeroes.

/// A line of the processor's caches, and of any kernel page one part.
pub(crate) const LINE_BYTES: usize = 64;

/// Whether an object of `bytes` begins with nothing but zeroes, as far as the line of the processor's caches goes
/// that it begins in. So does one that nobody had since its page came from the kernel; of those whose first word is
/// 0, most that somebody has do not. Reads a line that whoever asked for the first word has at hand.
///
/// # Safety
///
/// `object` is an object of that size, a multiple of 8, that begins at such, in memory that can be read.
pub unsafe fn is_untouched(object: *mut u8, bytes: usize) -> bool {
    let in_line = LINE_BYTES - object.addr() % LINE_BYTES;
    let words = in_line.min(bytes) / size_of::<u64>();
    (0..words).all(|index| {
        // SAFETY: the word lies in the object.
        let word = unsafe { object.cast::<u64>().add(index) };
        // SAFETY: the caller's word; whose object it is may be in doubt, so that the word may be of any content.
        unsafe { word.read() == 0 }
    })
}
