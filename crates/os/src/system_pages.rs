//! The kernel's address space.

use crate::system_call::system_call;
use crate::{
    AddressRange, Advice, KeepErrno, KernelPages, MapError, PageScan, PageSource, Purpose, Release,
    Reservation, ReserveRequest, Residency, errno, keeps_to_memory_calls, kernel_page_bytes,
    makes_no_calls, relocation, residency,
};
use core::ffi::{CStr, c_int, c_long, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Address space from the kernel: mmap, mprotect, madvise, munmap.
///
/// - `reserve` maps without access and without a charge: neither overcommit nor `RLIMIT_DATA`
///   counts it, `RLIMIT_AS` does. Mappings carry a name in `/proc/PID/maps` where the kernel has
///   names ("strata heap", "strata metadata", "strata slabs").
/// - `commit` allows access: this is what is charged. It answers that the range reads as zero,
///   which is true of what was reserved, decommitted or released by force before, and of nothing
///   else: it knows no history, so do not commit what is committed. Where mprotect itself is refused
///   (a filter of system calls), the range is mapped anew in its place, which [`mapped_anew`] counts.
/// - `release` by force drops the pages at once, those that mlock holds too (from Linux 5.18 on;
///   before, that is an error). Lazily is `MADV_FREE`, which locked pages refuse.
/// - `mark_guard` is `MADV_GUARD_INSTALL` (Linux 6.13), which locked memory refuses.
/// - `decommit` forbids access and drops the pages. The charge against strict overcommit stays
///   until the range is unreserved.
///
/// - `relocate` is mremap (Linux 6.11 and later; some ten thousand times in a process): the page tables move, the pages
///   stay.
///
/// Every call is a system call or a few, under the kernel's lock of this address space; none
/// changes `errno`, allocates, or may be cancelled. Any thread, any time, on disjoint ranges. A
/// call that would have to split a mapping fails with `ENOMEM` where the process has
/// `vm.max_map_count` mappings already.
///
/// ```
/// use strata_os::{PageSource, Purpose, Release, ReserveRequest, SystemPages};
/// let pages = SystemPages::new();
/// let wish = ReserveRequest { bytes: 4 << 20, align: 2 << 20, purpose: Purpose::Heap };
/// let had = pages.reserve(wish)?;
/// assert_eq!(had.range.start % (2 << 20), 0);
/// assert!(pages.commit(had.range)?);
/// // SAFETY: nobody else knows the range.
/// unsafe { pages.unreserve(had.range)? };
/// # Ok::<(), strata_os::MapError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemPages;

impl SystemPages {
    /// The kernel's address space.
    pub const fn new() -> Self {
        Self
    }
}

// SAFETY:
// 1. mmap without MAP_FIXED gives only what nobody has.
// 2. mprotect made a committed range readable and writable, or mmap in its place did, and only `decommit`
//    and `unreserve` of this range change that.
// 3. Fresh anonymous memory reads as zero, and so does what MADV_DONTNEED dropped.
// 4. Each operation is one call that changes something, which the kernel does wholly or not at
//    all, or is undone: see `reserve` and `decommit`. (mprotect and madvise over several mappings
//    may stop in the middle: then a part is accessible or released, which the caller who asked
//    for it must bear either way, and does not rely on after an error. And `relocate` may lose what was
//    at its target, as it says.)
unsafe impl PageSource for SystemPages {
    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        let _keep = KeepErrno::new();
        let bytes = request.bytes;
        let align = request.align.max(kernel_page_bytes());
        if bytes == 0 || !bytes.is_multiple_of(kernel_page_bytes()) || !align.is_power_of_two() {
            return Err(MapError::new(bytes, libc::EINVAL));
        }
        if makes_no_calls() {
            return Err(MapError::new(bytes, libc::ENOMEM));
        }
        let range = map_aligned(bytes, align)?;
        if range.end() > 1 << crate::address_bits() {
            unmap(range)?;
            return Err(MapError::new(bytes, libc::ENOMEM));
        }
        set_name(range, request.purpose);
        Ok(Reservation { range, zeroed: true, committed: false })
    }

    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        unmap(range)
    }

    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        match protect(range, libc::PROT_READ | libc::PROT_WRITE) {
            // No memory, or no mapping, is left: mmap would find none either.
            Err(error) if error.errno == libc::ENOMEM => Err(error),
            Err(_) => map_anew(range).map(|()| true),
            Ok(()) => Ok(true),
        }
    }

    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        protect(range, libc::PROT_NONE)?;
        drop_pages(range).inspect_err(|_| {
            // Undo the first half. It splits no mapping that the first half did not split.
            let _ = protect(range, libc::PROT_READ | libc::PROT_WRITE);
        })
    }

    #[unsafe(link_section = ".text_rarely")]
    unsafe fn mark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        /// Set when the kernel does not know such marks, or the memory is locked; says only "do not ask again".
        static REFUSED: AtomicBool = AtomicBool::new(false);
        let _keep = KeepErrno::new();
        check(range)?;
        if REFUSED.load(Ordering::Relaxed) {
            return Err(MapError::unsupported(range.bytes));
        }
        advise_again(range, MADV_GUARD_INSTALL).inspect_err(|error| {
            // Of several mappings the first may be marked by now.
            let _ = advise_again(range, MADV_GUARD_REMOVE);
            if error.errno == libc::EINVAL {
                REFUSED.store(true, Ordering::Relaxed);
            }
        })
    }

    fn unmark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        advise_again(range, MADV_GUARD_REMOVE)
    }

    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        match how {
            Release::Forced => drop_pages(range),
            Release::Lazy => advise(range, libc::MADV_FREE),
        }
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        match advice {
            Advice::Hugepage => self::advise(range, libc::MADV_HUGEPAGE),
            Advice::NoHugepage => self::advise(range, libc::MADV_NOHUGEPAGE),
            Advice::Cold => self::advise(range, libc::MADV_COLD),
            Advice::Collapse => advise_again(range, MADV_COLLAPSE),
            Advice::PopulateWrite => advise_again(range, libc::MADV_POPULATE_WRITE),
        }
    }

    #[unsafe(link_section = ".text_rarely")]
    fn residency(&self, range: AddressRange) -> Result<Residency, MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        residency::of_range(range).map_err(|errno| MapError::new(range.bytes, errno))
    }

    fn residency_by(&self, scan: &PageScan, range: AddressRange) -> Result<Residency, MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        residency::of_range_by(scan, range).map_err(|errno| MapError::new(range.bytes, errno))
    }

    fn kernel_pages(&self, scan: &PageScan, range: AddressRange) -> Result<KernelPages, MapError> {
        let _keep = KeepErrno::new();
        check(range)?;
        residency::of_pages(scan, range).map_err(|errno| MapError::new(range.bytes, errno))
    }

    unsafe fn relocate(&self, from: AddressRange, to: usize) -> Result<usize, MapError> {
        let _keep = KeepErrno::new();
        check(from)?;
        check(AddressRange::new(to, from.bytes))?;
        relocation::move_pages(from, to)
    }

    fn page_bytes(&self) -> usize {
        kernel_page_bytes()
    }

    fn address_bits(&self) -> u32 {
        crate::address_bits()
    }

    fn touchable(&self) -> bool {
        true
    }
}

/// `MADV_COLLAPSE` (Linux 6.1), which not every C library's header has.
const MADV_COLLAPSE: c_int = 25;

/// `MADV_GUARD_INSTALL` and `MADV_GUARD_REMOVE` (Linux 6.13): marks in page tables, at which an access ends as it
/// does where nothing is mapped, while the mapping stays one. Locked memory refuses them.
const MADV_GUARD_INSTALL: c_int = 102;
const MADV_GUARD_REMOVE: c_int = 103;

/// How often to ask for what the kernel may interrupt or be too busy for. TCMalloc's figure for
/// collapse; each try may copy 2 MiB.
const TRIES: u32 = 3;

/// A pointer to `address`, for the kernel to take: nothing is read or written through it here.
pub(crate) fn pointer(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}

/// Whole kernel pages below the top, or `EINVAL`; `EPERM` where the kernel must not be asked at all.
fn check(range: AddressRange) -> Result<(), MapError> {
    if makes_no_calls() {
        return Err(MapError::new(range.bytes, libc::EPERM));
    }
    let mask = kernel_page_bytes() - 1;
    let whole = (range.start | range.bytes) & mask == 0;
    if whole && range.start.checked_add(range.bytes).is_some() {
        Ok(())
    } else {
        Err(MapError::new(range.bytes, libc::EINVAL))
    }
}

/// Maps `bytes` bytes without access, aligned to `align`: exactly as many as wished if the kernel
/// happens to choose well (from Linux 6.7 on it does for 2 MiB), else with room to trim.
fn map_aligned(bytes: usize, align: usize) -> Result<AddressRange, MapError> {
    let exact = map(bytes)?;
    if exact.start & (align - 1) == 0 {
        return Ok(exact);
    }
    // First back, then more: where address space is short, both at once may not fit.
    unmap(exact)?;
    let roomy = bytes.checked_add(align - kernel_page_bytes());
    let roomy = map(roomy.ok_or(MapError::new(bytes, libc::ENOMEM))?)?;
    let padding = roomy.start.wrapping_neg() & (align - 1);
    let head = AddressRange::new(roomy.start, padding);
    let wished = AddressRange::new(head.end(), bytes);
    let tail = AddressRange::new(wished.end(), roomy.end() - wished.end());
    if let Err(error) = unmap(head) {
        let _ = unmap(roomy);
        return Err(error);
    }
    // A tail that cannot be cut off (too many mappings) is handed out with the rest.
    match unmap(tail) {
        Ok(()) => Ok(wished),
        Err(_) => Ok(AddressRange::new(wished.start, wished.bytes + tail.bytes)),
    }
}

fn map(bytes: usize) -> Result<AddressRange, MapError> {
    // Not `MAP_NORESERVE`: inaccessible memory is not charged in any case, and what is committed later is to meet the
    // kernel's own judgement of what is too much, so that absurd sizes are refused.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: without a fixed address the kernel chooses one that nobody uses.
    let start = unsafe { map_memory(ptr::null_mut(), bytes, libc::PROT_NONE, flags) };
    if start == libc::MAP_FAILED {
        return Err(MapError::new(bytes, errno()));
    }
    Ok(AddressRange::new(start.expose_provenance(), bytes))
}

/// mmap(2) of memory without a file: where it is, or `MAP_FAILED` with `errno`.
///
/// # Safety
///
/// As mmap(2) has it: a fixed address replaces what is there.
pub(crate) unsafe fn map_memory(
    at: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
) -> *mut c_void {
    // SAFETY: mapping memory is sound but where a fixed address replaces something, of which the caller knows.
    let start = unsafe { system_call!(libc::SYS_mmap, at, bytes, protection, flags, -1, 0) };
    usize::try_from(start).map_or(libc::MAP_FAILED, ptr::with_exposed_provenance_mut)
}

fn unmap(range: AddressRange) -> Result<(), MapError> {
    if range.is_empty() {
        return Ok(());
    }
    // SAFETY: the range is a part of what `map` gave, and its user promised `unreserve` that
    // nobody needs it any more, or never heard of it.
    let result = unsafe { system_call!(libc::SYS_munmap, pointer(range.start), range.bytes) };
    answer(range, result)
}

fn protect(range: AddressRange, protection: c_int) -> Result<(), MapError> {
    if range.is_empty() {
        return Ok(());
    }
    // SAFETY: the range is reserved memory of ours; who takes access away promised that nobody
    // uses it.
    let result =
        unsafe { system_call!(libc::SYS_mprotect, pointer(range.start), range.bytes, protection) };
    answer(range, result)
}

/// Times that memory was mapped anew.
static MAPPED_ANEW: AtomicU64 = AtomicU64::new(0);

/// How often in this process memory was made accessible by a mapping in its place, because the kernel would not
/// change the access of the one that it had: where a filter of system calls (seccomp) refuses mprotect.
///
/// ```
/// assert_eq!(strata_os::mapped_anew(), 0, "nothing refuses it here");
/// ```
pub fn mapped_anew() -> u64 {
    MAPPED_ANEW.load(Ordering::Relaxed)
}

/// Makes a range accessible that nobody has access to, by a mapping in its place. Its name is not set anew.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
fn map_anew(range: AddressRange) -> Result<(), MapError> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: what is replaced is reserved memory of ours that is not accessible, so that nothing is in it.
    let start = unsafe { map_memory(pointer(range.start), range.bytes, access, flags) };
    if start == libc::MAP_FAILED {
        let error = MapError::new(range.bytes, errno());
        close_hole(range, libc::PROT_NONE);
        return Err(error);
    }
    MAPPED_ANEW.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Behind a call that was to put another mapping in place of one of ours, and failed: maps the range again, should
/// the kernel have unmapped it already, as kernels before 6.12 do first.
pub(crate) fn close_hole(range: AddressRange, protection: c_int) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: nothing that is mapped is replaced.
    let mapped = unsafe { map_memory(pointer(range.start), range.bytes, protection, flags) };
    if mapped == libc::MAP_FAILED && errno() != libc::EEXIST {
        // Whoever maps something there next would share it with a block.
        crate::crash!(
            "the kernel unmapped {:p} and cannot map it again",
            ptr::without_provenance::<u8>(range.start)
        );
    }
}

/// Drops the pages of `range`, locked ones too.
fn drop_pages(range: AddressRange) -> Result<(), MapError> {
    match advise(range, libc::MADV_DONTNEED) {
        // A part of the range is locked (mlock, mlockall).
        Err(error) if error.errno == libc::EINVAL => advise(range, libc::MADV_DONTNEED_LOCKED),
        other => other,
    }
}

/// Advice that the kernel may leave undone for now: when a signal comes or it is short of memory.
#[unsafe(link_section = ".text_rarely")]
fn advise_again(range: AddressRange, advice: c_int) -> Result<(), MapError> {
    let mut last = advise(range, advice);
    for _ in 1..TRIES {
        match last {
            Err(error) if matches!(error.errno, libc::EINTR | libc::EAGAIN) => {
                last = advise(range, advice);
            }
            _ => break,
        }
    }
    last
}

fn advise(range: AddressRange, advice: c_int) -> Result<(), MapError> {
    if range.is_empty() {
        return Ok(());
    }
    // SAFETY: the range is reserved memory of ours; who asks for its pages to be dropped promised
    // that nothing in them is needed. No other advice changes contents.
    let result =
        unsafe { system_call!(libc::SYS_madvise, pointer(range.start), range.bytes, advice) };
    answer(range, result)
}

fn answer(range: AddressRange, result: c_long) -> Result<(), MapError> {
    if result == 0 { Ok(()) } else { Err(MapError::new(range.bytes, errno())) }
}

/// Names the mapping, where the kernel has names for anonymous memory (Linux 5.17, if built so).
fn set_name(range: AddressRange, purpose: Purpose) {
    /// Set when the kernel refused; says only "do not ask again".
    static REFUSED: AtomicBool = AtomicBool::new(false);
    const PR_SET_VMA_ANON_NAME: libc::c_ulong = 0;
    if REFUSED.load(Ordering::Relaxed) || keeps_to_memory_calls() {
        return;
    }
    // SAFETY: names a mapping of ours; the kernel copies the name, which ends in a zero byte.
    let result = unsafe {
        system_call!(
            libc::SYS_prctl,
            libc::PR_SET_VMA,
            PR_SET_VMA_ANON_NAME,
            range.start,
            range.bytes,
            name_of(purpose).as_ptr(),
        )
    };
    if result != 0 {
        REFUSED.store(true, Ordering::Relaxed);
    }
}

const fn name_of(purpose: Purpose) -> &'static CStr {
    match purpose {
        Purpose::Heap => c"strata heap",
        Purpose::Metadata => c"strata metadata",
        Purpose::Slabs => c"strata slabs",
    }
}

#[cfg(test)]
mod tests;
