//! How much of what is live stands on hugepages, as the kernel says.

use core::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;

use crate::Block;

/// What of a program's live blocks stands where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    /// Bytes of all live blocks.
    pub live_bytes: u64,
    /// Of these, bytes that hugepages map.
    pub on_hugepages_bytes: u64,
}

impl Coverage {
    /// Asks the kernel (`PAGEMAP_SCAN`, Linux 6.7) which hugepages the process has, and looks which bytes of
    /// `blocks` lie on them.
    ///
    /// # Errors
    ///
    /// The kernel's, where it does not tell.
    pub(crate) fn of(blocks: &[Block]) -> Result<Self> {
        let bounds = |block: &Block| (block.address(), block.address() + block.bytes());
        let start = blocks.iter().map(|block| bounds(block).0).min().unwrap_or(0);
        let end = blocks.iter().map(|block| bounds(block).1).max().unwrap_or(0);
        let regions = hugepages(start & !0xfff, end.next_multiple_of(0x1000))?;
        let mut coverage = Self::default();
        for (start, end) in blocks.iter().map(bounds) {
            coverage.live_bytes += (end - start) as u64;
            let first = regions.partition_point(|region| region.end <= start as u64);
            for region in regions.iter().skip(first).take_while(|region| region.start < end as u64)
            {
                let shared = region.end.min(end as u64) - region.start.max(start as u64);
                coverage.on_hugepages_bytes += shared;
            }
        }
        Ok(coverage)
    }
}

impl Display for Coverage {
    /// The inside of a JSON object.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { live_bytes, on_hugepages_bytes } = self;
        write!(f, "\"live_bytes\":{live_bytes},\"on_hugepages_bytes\":{on_hugepages_bytes}")
    }
}

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
struct ScanRequest {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ScanRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

/// `PAGE_IS_PRESENT` and `PAGE_IS_HUGE`.
const PRESENT_AND_HUGE: u64 = 1 << 3 | 1 << 6;

/// The parts of a range that hugepages map, by rising address.
fn hugepages(start: usize, end: usize) -> Result<Vec<ScanRegion>> {
    let file = File::open("/proc/self/pagemap")?;
    let mut found = Vec::new();
    let mut at = start as u64;
    while at < end as u64 {
        let mut regions = [ScanRegion::default(); 512];
        let mut request = ScanRequest {
            size: size_of::<ScanRequest>() as u64,
            flags: 0,
            start: at,
            end: end as u64,
            walk_end: 0,
            vec: regions.as_mut_ptr().addr() as u64,
            vec_len: regions.len() as u64,
            max_pages: 0,
            category_inverted: 0,
            category_mask: PRESENT_AND_HUGE,
            category_anyof_mask: 0,
            return_mask: PRESENT_AND_HUGE,
        };
        // SAFETY: the request has the kernel's layout and size, and the regions that it points to are ours to
        // write, as many as it says, for the length of the call.
        let count = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &raw mut request) };
        let count = usize::try_from(count).map_err(|_| Error::last_os_error())?;
        found.extend(regions.iter().take(count));
        if request.walk_end <= at {
            break;
        }
        at = request.walk_end;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::Coverage;
    use crate::Block;

    #[test]
    fn no_more_stands_on_hugepages_than_lives() {
        let blocks: Vec<Block> = (1..2000).map(|number| Block::new(number * 7)).collect();
        // Not every kernel tells.
        let Ok(coverage) = Coverage::of(&blocks) else { return };
        assert_eq!(coverage.live_bytes, (1..2000).map(|number| number * 7).sum::<u64>());
        assert!(coverage.on_hugepages_bytes <= coverage.live_bytes);
    }
}
