//! The functions of `rseq.rs` where there are no restartable sequences: other machines than x86-64 under Linux, and
//! builds with `--cfg strata_no_rseq`. No cache is ever set up, so each finds nothing.

use crate::{
    Fences, Header, Pushed,
    cpu_state::{CpuState, RegionWord},
    cpu_words::NOTHING,
};
use strata_size_classes::SizeClass;
use strata_sync::atomic::{AtomicPtr, AtomicU64};

/// Whether there are restartable sequences at all, for all that is known when compiling.
pub(crate) const IS_SUPPORTED: bool = false;

/// No regions.
#[derive(Debug)]
pub(crate) struct Slabs;

impl Slabs {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn set_up(&self, _base: *mut u8, _ids: u32, _area: isize, _id_offset: usize) {}

    pub(crate) fn copy_from(&self, _other: &Self) {}

    pub(crate) fn base(&self) -> *mut u8 {
        core::ptr::null_mut()
    }

    /// # Safety
    ///
    /// None is asked for: there is no state.
    pub(crate) unsafe fn state(&self, _id: u32) -> Option<&CpuState> {
        None
    }

    /// # Safety
    ///
    /// None is asked for: there is no header.
    pub(crate) unsafe fn header_word(&self, _id: u32, _class: SizeClass) -> Option<&AtomicU64> {
        None
    }

    /// # Safety
    ///
    /// None is asked for: there is no slot.
    pub(crate) unsafe fn slot(&self, _id: u32, _index: usize) -> Option<&AtomicPtr<u8>> {
        None
    }

    /// No kernel has to be told.
    pub(crate) fn announce_fences(&self) -> Fences {
        Fences::Unknown
    }

    /// No section can be underway.
    pub(crate) fn fence(&self, _cpu: Option<u32>) -> Fences {
        Fences::Unknown
    }
}

/// # Safety
///
/// None is asked for: nothing is there.
#[inline(always)]
pub(crate) unsafe fn pop(_: &Slabs, _class: usize) -> *mut u8 {
    core::ptr::null_mut()
}

/// # Safety
///
/// None is asked for: nothing is there.
#[inline(always)]
pub(crate) unsafe fn pop_or_nothing(_: &Slabs, _class: usize) -> *mut u8 {
    core::ptr::from_ref(&NOTHING).cast_mut().cast()
}

/// # Safety
///
/// None is asked for: nothing has room.
#[inline(always)]
pub(crate) unsafe fn push_unless_top(_: &Slabs, _class: usize, _object: *mut u8) -> Pushed {
    Pushed::Full
}

/// # Safety
///
/// None is asked for: nothing has room.
#[inline(always)]
pub(crate) unsafe fn push(_: &Slabs, _class: usize, _object: *mut u8) -> bool {
    false
}

/// # Safety
///
/// None is asked for: nothing is there.
pub(crate) unsafe fn pop_batch(_: &Slabs, _class: usize, _out: *mut *mut u8, _: usize) -> usize {
    0
}

/// # Safety
///
/// None is asked for: nothing has room.
pub(crate) unsafe fn push_batch(_: &Slabs, _: usize, _objects: *const *mut u8, _: usize) -> usize {
    0
}

/// # Safety
///
/// None is asked for: no header is there to be replaced.
pub(crate) unsafe fn exchange(
    _: &Slabs,
    _id: u32,
    _class: usize,
    _: RegionWord,
    _begin: u16,
    _expected: Header,
    _: Header,
) -> bool {
    false
}

/// # Safety
///
/// None is asked for: every thread has the same id.
pub(crate) unsafe fn current_id(_: &Slabs) -> u32 {
    0
}
