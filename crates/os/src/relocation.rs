//! Memory that moves to another address without being copied.

use crate::kernel_file::KernelFile;
use crate::system_call::system_call;
use crate::system_pages::{close_hole, pointer};
use crate::{AddressRange, MapError, errno};
use core::sync::atomic::{AtomicUsize, Ordering};
use static_assertions::const_assert_eq;

/// `struct procmap_query` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct MappingQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}
const_assert_eq!(size_of::<MappingQuery>(), 104);

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;

/// Moves that a process gets. Each leaves up to two mappings more behind, as pages remember where they were first
/// mapped and the kernel joins only neighbours; a process may have 65 530 by default.
const MOST_MOVES: usize = 16 << 10;

/// Moves the pages of as much of `from` as is one mapping to `to`; says how many bytes.
///
/// Kernels before 6.17 unmap the target before they find that the source is several mappings, and leave a hole where
/// anybody's mmap may settle. So the kernel is asked first where the mapping ends (Linux 6.11); where it cannot say,
/// nothing moves. Nobody splits the mapping in between: the range is its owner's alone.
pub(crate) fn move_pages(from: AddressRange, to: usize) -> Result<usize, MapError> {
    static MOVES: AtomicUsize = AtomicUsize::new(0);

    let error = |errno| MapError::new(from.bytes, errno);
    let bytes = end_of_mapping(from.start).map_err(error)?.min(from.end()) - from.start;
    if MOVES.load(Ordering::Relaxed) >= MOST_MOVES {
        return Err(error(libc::ENOMEM));
    }
    MOVES.fetch_add(1, Ordering::Relaxed);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
    // SAFETY: the caller owns both ranges, and needs nothing at the target; the source stays mapped.
    let moved = unsafe {
        system_call!(libc::SYS_mremap, pointer(from.start), bytes, bytes, flags, pointer(to))
    };
    if moved != -1 {
        return Ok(bytes);
    }
    let errno = errno();
    close_hole(AddressRange::new(to, bytes), libc::PROT_READ | libc::PROT_WRITE);
    Err(error(errno))
}

/// Where the mapping that `address` is in ends.
fn end_of_mapping(address: usize) -> Result<usize, i32> {
    let file = KernelFile::open_own(c"/proc/thread-self/maps", c"/proc/self/maps")?;
    let mut query = MappingQuery {
        size: size_of::<MappingQuery>() as u64,
        query_addr: address as u64,
        ..MappingQuery::default()
    };
    // SAFETY: the query has the kernel's layout and says its size; it is ours to write for the length of the call.
    let answer =
        unsafe { system_call!(libc::SYS_ioctl, file.descriptor(), PROCMAP_QUERY, &raw mut query) };
    if answer != 0 {
        return Err(errno());
    }
    usize::try_from(query.vma_end).ok().filter(|end| *end > address).ok_or(libc::EFAULT)
}

#[cfg(test)]
mod tests;
