//! What of a range stands in memory, as the kernel says.

use crate::kernel_file::KernelFile;
use crate::process::kibibytes;
use crate::system_call::system_call;
use crate::{AddressRange, KeepErrno, KernelPages, Residency, errno, kernel_page_bytes, restraint};
use bitflags::bitflags;
use core::sync::atomic::{AtomicBool, Ordering};
use static_assertions::const_assert_eq;

/// What of `range` stands in memory: by `PAGEMAP_SCAN` (Linux 6.7), which tells hugepages and
/// swap too, else by mincore and /proc/self/smaps, which do not tell what is swapped out.
pub(crate) fn of_range(range: AddressRange) -> Result<Residency, i32> {
    of_range_by(&PageScan::open(), range)
}

/// The same, by a file that was opened before.
pub(crate) fn of_range_by(scan: &PageScan, range: AddressRange) -> Result<Residency, i32> {
    restraint::check()?;
    by_pagemap_scan(scan, range).or_else(|_| by_mincore(range))
}

/// The kernel's file about the pages of this process, kept open: for who asks about one range after the other,
/// since opening it takes several times as long as an answer. Use it in the thread and the process that opened it.
///
/// ```
/// use strata_os::{AddressRange, PageScan, PageSource, SystemPages, kernel_page_bytes};
///
/// let place = core::ptr::from_ref(&0u8).addr();
/// let range = AddressRange::new(place & !(kernel_page_bytes() - 1), kernel_page_bytes());
/// let found = SystemPages::new().residency_by(&PageScan::open(), range)?;
/// assert_eq!(found, SystemPages::new().residency(range)?);
/// # Ok::<(), strata_os::MapError>(())
/// ```
pub struct PageScan(Result<KernelFile, i32>);

impl PageScan {
    /// Opens it; where that is refused, questions are answered as far as they are without it.
    pub fn open() -> Self {
        let _keep = KeepErrno::new();
        Self(KernelFile::open_own(c"/proc/thread-self/pagemap", c"/proc/self/pagemap"))
    }

    fn file(&self) -> Result<&KernelFile, i32> {
        self.0.as_ref().map_err(|errno| *errno)
    }
}

impl core::fmt::Debug for PageScan {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("PageScan").field(&self.0.as_ref().map(|_| ())).finish()
    }
}

bitflags! {
    /// What the kernel tells of a page (linux/fs.h, `PAGE_IS_…`).
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct PageIs: u64 {
        const PRESENT = 1 << 3;
        const SWAPPED = 1 << 4;
        /// The page of zeros that all who only read share: it costs nobody memory.
        const ZERO = 1 << 5;
        /// Mapped by a hugepage.
        const HUGE = 1 << 6;
        /// Marked as a guard, which the kernel shows as swapped, too (Linux 6.16; before, guards look as if they
        /// were in swap).
        const GUARD = 1 << 8;
    }
}

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
struct ScanRequest {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    /// Written by the kernel: how far it came.
    walk_end: u64,
    vec: *mut ScanRegion,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}
const_assert_eq!(size_of::<ScanRequest>(), 96);

/// `struct page_region` of linux/fs.h: neighbours of the same kind, in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct ScanRegion {
    start: u64,
    end: u64,
    categories: u64,
}
const_assert_eq!(size_of::<ScanRegion>(), 24);

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

/// How many regions one call may answer with: 0.75 KiB of stack. With half as many a fragmented
/// range costs twice the calls, with twice as many the stack of a small thread is felt.
const REGIONS: usize = 32;

#[unsafe(link_section = ".text_rarely")]
#[inline(never)]
fn by_pagemap_scan(scan: &PageScan, range: AddressRange) -> Result<Residency, i32> {
    let mut sum = Residency::default();
    for_each_region(scan, range, |region| add(&mut sum, region))?;
    Ok(sum)
}

/// Where each page of `range` is, by `PAGEMAP_SCAN` alone.
pub(crate) fn of_pages(scan: &PageScan, range: AddressRange) -> Result<KernelPages, i32> {
    restraint::check()?;
    let page = kernel_page_bytes();
    let mut pages = KernelPages::new(range.bytes / page);
    for_each_region(scan, range, |region| {
        let place = |address: u64| {
            usize::try_from(address).unwrap_or(usize::MAX).saturating_sub(range.start) / page
        };
        let (first, end) = (place(region.start), place(region.end));
        let is = PageIs::from_bits_truncate(region.categories);
        if is.contains(PageIs::GUARD) {
            // Nowhere.
        } else if is.contains(PageIs::SWAPPED) {
            pages.set_swapped(first, end.saturating_sub(first));
        } else if is.contains(PageIs::PRESENT) && !is.contains(PageIs::ZERO) {
            pages.set_present(first, end.saturating_sub(first), is.contains(PageIs::HUGE));
        }
    })?;
    Ok(pages)
}

/// Calls `each` with the parts of `range` that are in memory or in swap.
fn for_each_region(
    by: &PageScan,
    range: AddressRange,
    mut each: impl FnMut(&ScanRegion),
) -> Result<(), i32> {
    let file = by.file()?;
    let mut regions = [ScanRegion { start: 0, end: 0, categories: 0 }; REGIONS];
    let mut at = range.start;
    while at < range.end() {
        let (found, reached) = scan(file, AddressRange::new(at, range.end() - at), &mut regions)?;
        regions.iter().take(found).for_each(&mut each);
        if reached <= at {
            return Err(libc::EIO);
        }
        at = reached;
    }
    Ok(())
}

/// Asks once, or twice where the kernel does not know all that is asked; says how many regions there were and how
/// far the kernel came.
fn scan(
    file: &KernelFile,
    range: AddressRange,
    regions: &mut [ScanRegion; REGIONS],
) -> Result<(usize, usize), i32> {
    /// Set when the kernel does not tell of guards; says only "do not ask again".
    static KNOWS_NO_GUARDS: AtomicBool = AtomicBool::new(false);
    if !KNOWS_NO_GUARDS.load(Ordering::Relaxed) {
        match scan_for(PageIs::all(), file, range, regions) {
            Err(libc::EINVAL) => KNOWS_NO_GUARDS.store(true, Ordering::Relaxed),
            answer => return answer,
        }
    }
    scan_for(PageIs::all() - PageIs::GUARD, file, range, regions)
}

fn scan_for(
    wanted: PageIs,
    file: &KernelFile,
    range: AddressRange,
    regions: &mut [ScanRegion; REGIONS],
) -> Result<(usize, usize), i32> {
    let mut request = ScanRequest {
        size: size_of::<ScanRequest>() as u64,
        flags: 0,
        start: range.start as u64,
        end: range.end() as u64,
        walk_end: 0,
        vec: regions.as_mut_ptr(),
        vec_len: REGIONS as u64,
        max_pages: 0,
        category_inverted: 0,
        category_mask: 0,
        category_anyof_mask: (PageIs::PRESENT | PageIs::SWAPPED).bits(),
        return_mask: wanted.bits(),
    };
    // SAFETY: the request has the kernel's layout and size; the regions that it points to are
    // ours to write, as many as it says, for the length of the call.
    let found =
        unsafe { system_call!(libc::SYS_ioctl, file.descriptor(), PAGEMAP_SCAN, &raw mut request) };
    let found = usize::try_from(found).map_err(|_| errno())?;
    Ok((found, usize::try_from(request.walk_end).map_err(|_| libc::EIO)?))
}

fn add(sum: &mut Residency, region: &ScanRegion) {
    let bytes = usize::try_from(region.end.saturating_sub(region.start)).unwrap_or(0);
    let is = PageIs::from_bits_truncate(region.categories);
    if is.contains(PageIs::GUARD) {
        // Nowhere.
    } else if is.contains(PageIs::SWAPPED) {
        sum.swapped_bytes += bytes;
    } else if is.contains(PageIs::PRESENT) && !is.contains(PageIs::ZERO) {
        sum.resident_bytes += bytes;
        if is.contains(PageIs::HUGE) {
            sum.hugepage_bytes += bytes;
        }
    }
}

/// How many pages one mincore call is asked about, those of a hugepage: as many bytes of stack.
const MINCORE_PAGES: usize = 512;

fn by_mincore(range: AddressRange) -> Result<Residency, i32> {
    let resident_bytes = resident_by_mincore(range)?;
    let hugepage_bytes = hugepages_by_smaps(range).unwrap_or(0).min(resident_bytes);
    Ok(Residency { resident_bytes, hugepage_bytes, swapped_bytes: 0 })
}

#[unsafe(link_section = ".text_rarely")]
#[inline(never)]
fn resident_by_mincore(range: AddressRange) -> Result<usize, i32> {
    let page = kernel_page_bytes();
    let mut pages = [0u8; MINCORE_PAGES];
    let mut resident_bytes = 0;
    let mut at = range.start;
    while at < range.end() {
        let bytes = (range.end() - at).min(MINCORE_PAGES * page);
        // SAFETY: writes one byte a page of the part, of which the array has as many; memory
        // that is not mapped is an error.
        let result = unsafe { system_call!(libc::SYS_mincore, at, bytes, pages.as_mut_ptr()) };
        if result != 0 {
            return Err(errno());
        }
        let resident = pages.iter().take(bytes / page).filter(|&&state| state & 1 != 0).count();
        resident_bytes += resident * page;
        at += bytes;
    }
    Ok(resident_bytes)
}

/// Bytes on hugepages in the mappings that `range` touches, as /proc/self/smaps has them: of a
/// mapping that only partly lies in it, no more than that part. Reads the whole file, which takes
/// the kernel milliseconds in a large process.
#[unsafe(link_section = ".text_rarely")]
#[inline(never)]
fn hugepages_by_smaps(range: AddressRange) -> Result<usize, i32> {
    let file = KernelFile::open_own(c"/proc/thread-self/smaps", c"/proc/self/smaps")?;
    let mut sum = 0;
    let mut shared = 0;
    file.for_each_line(|line| {
        if let Some(mapping) = mapping_of_line(line) {
            let begin = mapping.start.max(range.start);
            shared = mapping.end().min(range.end()).saturating_sub(begin);
        } else if let Some(rest) = line.strip_prefix(b"AnonHugePages:") {
            sum += kibibytes(rest).unwrap_or(0).min(shared);
        }
    })?;
    Ok(sum)
}

/// What the kernel has of a mapping, in bytes: a part of /proc/self/smaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Where it is.
    pub range: AddressRange,
    /// In memory (`Rss`).
    pub resident_bytes: usize,
    /// Of these, on hugepages (`AnonHugePages`).
    pub hugepage_bytes: usize,
    /// In swap (`Swap`).
    pub swapped_bytes: usize,
}

/// Calls `each` with every mapping of this process, by rising address. Allocates nothing; the kernel takes milliseconds
/// for it in a large process.
///
/// # Errors
///
/// The system's number, where /proc is not to be had.
///
/// ```
/// let on_stack = core::ptr::from_ref(&0).addr();
/// let mut found = false;
/// strata_os::for_each_mapping(|mapping| {
///     let is_it = (mapping.range.start..mapping.range.end()).contains(&on_stack);
///     found |= is_it && mapping.resident_bytes > 0;
/// })?;
/// assert!(found);
/// # Ok::<(), i32>(())
/// ```
pub fn for_each_mapping(mut each: impl FnMut(Mapping)) -> Result<(), i32> {
    let _keep = KeepErrno::new();
    let file = KernelFile::open_own(c"/proc/thread-self/smaps", c"/proc/self/smaps")?;
    let mut mapping: Option<Mapping> = None;
    file.for_each_line(|line| {
        if let Some(range) = mapping_of_line(line) {
            let next = Mapping { range, resident_bytes: 0, hugepage_bytes: 0, swapped_bytes: 0 };
            if let Some(whole) = mapping.replace(next) {
                each(whole);
            }
        } else if let Some(mapping) = &mut mapping {
            let figure = |name: &[u8]| line.strip_prefix(name).and_then(kibibytes);
            if let Some(bytes) = figure(b"Rss:") {
                mapping.resident_bytes = bytes;
            } else if let Some(bytes) = figure(b"AnonHugePages:") {
                mapping.hugepage_bytes = bytes;
            } else if let Some(bytes) = figure(b"Swap:") {
                mapping.swapped_bytes = bytes;
            }
        }
    })?;
    mapping.into_iter().for_each(each);
    Ok(())
}

/// The range that a line such as `7f12c000-7f12e000 rw-p 00000000 00:00 0` begins with.
fn mapping_of_line(line: &[u8]) -> Option<AddressRange> {
    let mut parts = line.split(|&byte| byte == b' ').next()?.split(|&byte| byte == b'-');
    let start = hexadecimal(parts.next()?)?;
    let end = hexadecimal(parts.next()?)?;
    Some(AddressRange::new(start, end.checked_sub(start)?))
}

#[unsafe(link_section = ".text_rarely")]
fn hexadecimal(text: &[u8]) -> Option<usize> {
    usize::from_str_radix(core::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
