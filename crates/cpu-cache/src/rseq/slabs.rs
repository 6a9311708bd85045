//! The regions of all CPUs, and what of them lies where.

use crate::{
    Fences,
    cpu_state::CpuState,
    layout::{FIRST_SLOT, REGION_BYTES, REGION_SLOTS},
};
use core::{mem::offset_of, ptr::NonNull};
use strata_os::{keeps_to_memory_calls, membarrier, rseq};
use strata_size_classes::{CLASS_SLOTS, SizeClass};
use strata_sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Where the slabs are and where a thread finds its id: words that a section reads from memory, so
/// that it needs one register for them.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Slabs {
    /// The first region.
    base: AtomicPtr<u8>,
    /// Offset of the area's `rseq_cs` word from the thread pointer.
    descriptor_word: AtomicUsize,
    /// Offset of the id (`cpu_id` or `mm_cid`) from the thread pointer.
    pub(super) id_word: AtomicUsize,
}

static_assertions::const_assert_eq!(offset_of!(Slabs, base), 0);
static_assertions::const_assert_eq!(offset_of!(Slabs, descriptor_word), 8);
static_assertions::const_assert_eq!(offset_of!(Slabs, id_word), 16);

const _: () = assert!(
    CLASS_SLOTS * size_of::<u64>() + size_of::<CpuState>() <= FIRST_SLOT * size_of::<u64>(),
    "a CPU's state lies between the headers and the first slot"
);

impl Slabs {
    /// No regions.
    pub(crate) const fn new() -> Self {
        Self {
            base: AtomicPtr::new(core::ptr::null_mut()),
            descriptor_word: AtomicUsize::new(0),
            id_word: AtomicUsize::new(0),
        }
    }

    /// The regions begin at `base`, one for each of `_ids` ids; threads have their areas at `area` from the
    /// thread pointer, and the id is the area's word at `id_offset`.
    pub(crate) fn set_up(&self, base: *mut u8, _ids: u32, area: isize, id_offset: usize) {
        let word = |offset: usize| (area as usize).wrapping_add(offset);
        self.descriptor_word.store(word(rseq::RSEQ_CS), Ordering::Relaxed);
        self.id_word.store(word(id_offset), Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
    }

    /// Makes these the regions of `other`.
    pub(crate) fn copy_from(&self, other: &Self) {
        let copy = |to: &AtomicUsize, from: &AtomicUsize| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed)
        };
        copy(&self.descriptor_word, &other.descriptor_word);
        copy(&self.id_word, &other.id_word);
        self.base.store(other.base(), Ordering::Relaxed);
    }

    /// Where the regions begin; null before the set-up.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.load(Ordering::Relaxed)
    }

    /// The state of `id`'s cache; none before the set-up.
    ///
    /// # Safety
    ///
    /// `id` is below the number of regions.
    pub(crate) unsafe fn state(&self, id: u32) -> Option<&CpuState> {
        // SAFETY: there are more regions than `id`.
        let region = unsafe { self.region(id) }?;
        // SAFETY: a region is longer than the headers.
        let state = unsafe { region.add(CLASS_SLOTS * size_of::<u64>()) }.cast::<CpuState>();
        // SAFETY: the region is zeroed memory that stays, its state consists of atomics, and lies between the
        // headers and the first slot (asserted above), so no section writes there.
        Some(unsafe { state.as_ref() })
    }

    /// The header of `class` on `id`; none before the set-up.
    ///
    /// # Safety
    ///
    /// `id` is below the number of regions.
    pub(crate) unsafe fn header_word(&self, id: u32, class: SizeClass) -> Option<&AtomicU64> {
        // SAFETY: there are more regions than `id`.
        let region = unsafe { self.region(id) }?.cast::<AtomicU64>();
        // SAFETY: the first 128 words of a region are headers.
        let word = unsafe { region.add(class.index()) };
        // SAFETY: headers are aligned words that stay; sections change them by single stores.
        Some(unsafe { word.as_ref() })
    }

    /// The slot `index` of `id`'s region; none beyond its end, and before the set-up.
    ///
    /// # Safety
    ///
    /// `id` is below the number of regions.
    pub(crate) unsafe fn slot(&self, id: u32, index: usize) -> Option<&AtomicPtr<u8>> {
        if index >= REGION_SLOTS {
            return None;
        }
        // SAFETY: there are more regions than `id`.
        let region = unsafe { self.region(id) }?.cast::<AtomicPtr<u8>>();
        // SAFETY: the index is below the region's number of slots.
        let slot = unsafe { region.add(index) };
        // SAFETY: slots are aligned words of the region, which stays.
        Some(unsafe { slot.as_ref() })
    }

    /// Tells the kernel that fences will come. Microseconds while the process has one thread, as it mostly has when
    /// a heap is set up; later it is the wait for all CPUs (12 to 23 ms, seen on 4 CPUs of Linux 6.18).
    pub(crate) fn announce_fences(&self) -> Fences {
        if keeps_to_memory_calls() {
            return Fences::Unknown;
        }
        if membarrier::register_rseq() { Fences::Membarrier } else { Fences::Pinning }
    }

    /// Lets every section of this process that is underway end, by commit or abort: those on `cpu`, or on any. Says by what
    /// means; refused if the kernel gives no way.
    pub(crate) fn fence(&self, cpu: Option<u32>) -> Fences {
        if membarrier::fence_rseq(cpu).is_ok()
            || membarrier::register_rseq() && membarrier::fence_rseq(cpu).is_ok()
        {
            return Fences::Membarrier;
        }
        let visited = match cpu {
            // Where the process may not run, none of its sections does.
            Some(cpu) => membarrier::visit_cpu(cpu, || ()).is_ok(),
            None => membarrier::visit_every_cpu(|_| ()).is_ok(),
        };
        if visited { Fences::Pinning } else { Fences::Refused }
    }

    /// # Safety
    ///
    /// `id` is below the number of regions.
    unsafe fn region(&self, id: u32) -> Option<NonNull<u8>> {
        let base = NonNull::new(self.base())?;
        // SAFETY: by the caller's promise the region was reserved.
        Some(unsafe { base.add(id as usize * REGION_BYTES) })
    }
}
