//! Kernel pages inside of spans that are out: for who has a span, and knows that nothing on some of its kernel pages is
//! needed.

use strata_os::{AddressRange, Advice, PageSource, Release};
use strata_span::{Address, Platform};

/// Bytes of a kernel page of the platform's source: what can go back at the least.
pub fn kernel_page_bytes<E: Platform>(platform: &E) -> usize {
    platform.source().page_bytes()
}

/// Gives `bytes` bytes from `start` back to the kernel, whole kernel pages, which read as zero when they are
/// touched next; says whether it took them. One system call.
///
/// # Safety
///
/// The range lies in spans that the caller has, and nobody needs what stands in it or writes there meanwhile.
pub unsafe fn release_inside<E: Platform>(platform: &E, start: Address, bytes: usize) -> bool {
    let range = AddressRange::new(start.value(), bytes);
    // SAFETY: the range lies in spans that are out, and nobody needs what stands there.
    unsafe { platform.source().release(range, Release::Forced) }.is_ok()
}

/// Has the kernel split the hugepage around the kernel page at `page`, which is in use, so that others get what
/// went back of it. Where there is none, nothing happens but that the page counts as not used of late. One system
/// call.
///
/// `MADV_COLD` splits a large folio that it is given a part of (Linux, `mm/madvise.c`); `MADV_DONTNEED` of a part leaves
/// the folio whole until memory is short.
pub fn split_hugepage_around<E: Platform>(platform: &E, page: Address) {
    let range = AddressRange::new(page.value(), platform.source().page_bytes());
    // The memory stays where it is if the kernel refuses.
    let _ = platform.source().advise(range, Advice::Cold);
}
