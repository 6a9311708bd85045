//! The functions of `rseq.rs` as loom can explore them, under `--cfg strata_loom`.
//!
//! A section holds its region's lock: threads of one CPU exclude each other, since one that interrupts another sends
//! it back to its start. Who is sent back has done nothing that shows but store to slots above the top; so a section
//! stores to slots, then asks whether it was interrupted, and then commits or lets the lock go and begins
//! anew. A fence interrupts every region and takes its lock once.
//!
//! Who changes a header from outside takes no lock. What a section commits after that, having read the header
//! before, is the late commit that a drain must expect.

#![expect(clippy::disallowed_types, reason = "what loom shall not explore is std's")]

use crate::{
    Fences, Header, Pushed,
    cpu_state::{CpuState, RegionWord},
    cpu_words::NOTHING,
    layout::{CLASSES, FIRST_SLOT},
};
use core::cell::RefCell;
use loom::sync::{Mutex, MutexGuard};
use std::{
    sync::{Arc, OnceLock},
    vec::Vec,
};
use strata_size_classes::SizeClass;
use strata_sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// A model has what it models.
pub(crate) const IS_SUPPORTED: bool = true;

/// Slots of a region behind its headers: a marker and four objects for each class.
const SLOTS: usize = (CLASSES - 1) * 5;

loom::thread_local! {
    static SEAT: RefCell<Seat> = RefCell::new(Seat::new(0));
}

/// Where a thread of a model runs.
///
/// Threads run on id 0 until they take a seat, and may be moved then by whoever shares it.
#[derive(Clone, Debug)]
pub struct Seat(Arc<AtomicU32>);

impl Seat {
    /// A seat on the CPU with this id.
    pub fn new(id: u32) -> Self {
        Self(Arc::new(AtomicU32::new(id)))
    }

    /// Makes this the calling thread's seat.
    pub fn take(&self) {
        SEAT.with(|seat| *seat.borrow_mut() = self.clone());
    }

    /// Moves who sits here to the CPU with this id: the section that runs there has ended or begins anew.
    pub fn move_to(&self, cache: &crate::CpuCache, id: u32) {
        if let Some(region) = cache.slabs().regions().get(self.id() as usize) {
            let _preempted = region.preempt();
            self.0.store(id, Ordering::Relaxed);
        }
    }

    fn id(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The regions of a model.
#[derive(Debug)]
pub(crate) struct Slabs {
    regions: OnceLock<Arc<[Region]>>,
    base: AtomicPtr<u8>,
}

#[derive(Debug)]
struct Region {
    /// Held by the section that runs here.
    running: Mutex<()>,
    /// How often a section that ran here was to begin anew. Written by who interrupts, read by sections.
    interrupts: AtomicU32,
    headers: Vec<AtomicU64>,
    slots: Vec<AtomicPtr<u8>>,
    state: CpuState,
}

impl Region {
    fn new() -> Self {
        Self {
            running: Mutex::new(()),
            interrupts: AtomicU32::new(0),
            headers: (0..CLASSES).map(|_| AtomicU64::new(0)).collect(),
            slots: (0..SLOTS).map(|_| AtomicPtr::new(core::ptr::null_mut())).collect(),
            state: CpuState::new(),
        }
    }

    /// The slot with this index; none among the headers and beyond the end.
    fn slot(&self, index: usize) -> Option<&AtomicPtr<u8>> {
        self.slots.get(index.checked_sub(FIRST_SLOT)?)
    }

    /// Ends the section that runs here; none runs while the answer is held.
    fn preempt(&self) -> MutexGuard<'_, ()> {
        self.interrupts.fetch_add(1, Ordering::Relaxed);
        self.running.lock().expect("no section panics")
    }
}

impl Slabs {
    pub(crate) fn new() -> Self {
        Self { regions: OnceLock::new(), base: AtomicPtr::new(core::ptr::null_mut()) }
    }

    pub(crate) fn set_up(&self, base: *mut u8, ids: u32, _area: isize, _id_offset: usize) {
        let regions = (0..ids).map(|_| Region::new()).collect();
        self.regions.set(regions).expect("set up once");
        self.base.store(base, Ordering::Relaxed);
    }

    pub(crate) fn copy_from(&self, other: &Self) {
        if let Some(regions) = other.regions.get() {
            self.regions.set(Arc::clone(regions)).expect("copied once");
        }
        self.base.store(other.base(), Ordering::Relaxed);
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base.load(Ordering::Relaxed)
    }

    /// # Safety
    ///
    /// None is asked for: who does not exist has no state.
    pub(crate) unsafe fn state(&self, id: u32) -> Option<&CpuState> {
        Some(&self.regions().get(id as usize)?.state)
    }

    /// # Safety
    ///
    /// As for [`Self::state`].
    pub(crate) unsafe fn header_word(&self, id: u32, class: SizeClass) -> Option<&AtomicU64> {
        self.regions().get(id as usize)?.headers.get(class.index())
    }

    /// # Safety
    ///
    /// As for [`Self::state`].
    pub(crate) unsafe fn slot(&self, id: u32, index: usize) -> Option<&AtomicPtr<u8>> {
        self.regions().get(id as usize)?.slot(index)
    }

    /// No kernel has to be told.
    pub(crate) fn announce_fences(&self) -> Fences {
        Fences::Membarrier
    }

    pub(crate) fn fence(&self, cpu: Option<u32>) -> Fences {
        let fenced = |&(id, _): &(usize, &Region)| cpu.is_none_or(|cpu| id == cpu as usize);
        let regions = self.regions().iter().enumerate().filter(fenced);
        regions.for_each(|(_, region)| drop(region.preempt()));
        Fences::Membarrier
    }

    fn regions(&self) -> &[Region] {
        self.regions.get().map_or(&[], |regions| regions)
    }

    /// Begins a section on this thread's CPU.
    fn enter(&self) -> Section<'_> {
        let seat = SEAT.with(|seat| seat.borrow().clone());
        loop {
            let id = seat.id();
            let region =
                self.regions().get(id as usize).expect("an id below the number of regions");
            let lock = region.running.lock().expect("no section panics");
            if seat.id() == id {
                let began = region.interrupts.load(Ordering::Relaxed);
                return Section { id, region, began, _lock: lock };
            }
        }
    }
}

/// A section that is underway.
struct Section<'a> {
    id: u32,
    region: &'a Region,
    /// The count of interrupts when it began.
    began: u32,
    _lock: MutexGuard<'a, ()>,
}

impl Section<'_> {
    fn header(&self, class: usize) -> Header {
        let word = self.region.headers.get(class).expect("a class");
        // Acquire, as every load of the machine that is modelled: pairs with the release that puts headers back.
        Header::from_bits(word.load(Ordering::Acquire))
    }

    /// The object in a slot; null in the slot that a class without slots has for its top.
    fn object(&self, index: usize) -> *mut u8 {
        self.region.slot(index).map_or(core::ptr::null_mut(), |slot| slot.load(Ordering::Relaxed))
    }

    fn store(&self, index: usize, object: *mut u8) {
        self.region.slot(index).expect("a slot").store(object, Ordering::Relaxed);
    }

    /// The committing store; false if the section has to begin anew.
    fn commit(self, class: usize, header: Header) -> bool {
        let goes = self.region.interrupts.load(Ordering::Relaxed) == self.began;
        if goes {
            let word = self.region.headers.get(class).expect("a class");
            // What stood there is lost, as by a store. loom takes a store for one that may have come before an exchange
            // by another thread that ended already, which no machine does.
            word.swap(header.bits(), Ordering::Relaxed);
        }
        goes
    }
}

/// # Safety
///
/// None is asked for.
pub(crate) unsafe fn pop(slabs: &Slabs, class: usize) -> *mut u8 {
    loop {
        let section = slabs.enter();
        let header = section.header(class);
        let object = section.object(header.current().into());
        if object.is_null() || section.commit(class, header.popped(1)) {
            return object;
        }
    }
}

/// # Safety
///
/// None is asked for.
pub(crate) unsafe fn pop_or_nothing(slabs: &Slabs, class: usize) -> *mut u8 {
    // SAFETY: nothing is asked for.
    let object = unsafe { pop(slabs, class) };
    if object.is_null() { core::ptr::from_ref(&NOTHING).cast_mut().cast() } else { object }
}

/// # Safety
///
/// None is asked for.
pub(crate) unsafe fn push_unless_top(slabs: &Slabs, class: usize, object: *mut u8) -> Pushed {
    loop {
        let section = slabs.enter();
        let header = section.header(class);
        if section.object(header.current().into()) == object {
            return Pushed::Again;
        }
        if header.room() == 0 {
            return Pushed::Full;
        }
        section.store(usize::from(header.current()) + 1, object);
        if section.commit(class, header.pushed(1)) {
            return Pushed::Done;
        }
    }
}

/// # Safety
///
/// None is asked for.
pub(crate) unsafe fn push(slabs: &Slabs, class: usize, object: *mut u8) -> bool {
    loop {
        let section = slabs.enter();
        let header = section.header(class);
        if header.room() == 0 {
            return false;
        }
        section.store(usize::from(header.current()) + 1, object);
        if section.commit(class, header.pushed(1)) {
            return true;
        }
    }
}

/// # Safety
///
/// `out` has room for `count` pointers.
pub(crate) unsafe fn pop_batch(
    slabs: &Slabs,
    class: usize,
    out: *mut *mut u8,
    count: usize,
) -> usize {
    // SAFETY: the caller's array has so many places, and is borrowed by nobody else.
    let out = unsafe { core::slice::from_raw_parts_mut(out, count) };
    loop {
        let section = slabs.enter();
        let header = section.header(class);
        let mut taken = 0;
        for place in out.iter_mut() {
            let object = section.object(usize::from(header.current()) - taken);
            if object.is_null() {
                break;
            }
            *place = object;
            taken += 1;
        }
        let popped = header.popped(taken as u16);
        if taken == 0 || section.commit(class, popped) {
            return taken;
        }
    }
}

/// # Safety
///
/// `objects` points to `count` pointers.
pub(crate) unsafe fn push_batch(
    slabs: &Slabs,
    class: usize,
    objects: *const *mut u8,
    count: usize,
) -> usize {
    // SAFETY: the caller's array has so many pointers, and nobody writes to it meanwhile.
    let objects = unsafe { core::slice::from_raw_parts(objects, count) };
    loop {
        let section = slabs.enter();
        let header = section.header(class);
        let given = objects.len().min(header.room().into());
        for (above, &object) in objects.iter().take(given).rev().enumerate() {
            section.store(usize::from(header.current()) + 1 + above, object);
        }
        if given == 0 || section.commit(class, header.pushed(given as u16)) {
            return given;
        }
    }
}

/// # Safety
///
/// None is asked for.
pub(crate) unsafe fn exchange(
    slabs: &Slabs,
    id: u32,
    class: usize,
    word: RegionWord,
    begin: u16,
    expected: Header,
    new: Header,
) -> bool {
    loop {
        let section = slabs.enter();
        let other = section.id != id || section.region.state.region() != word;
        if other || section.header(class) != expected {
            return false;
        }
        section.store(begin.into(), core::ptr::null_mut());
        if section.commit(class, new) {
            return true;
        }
    }
}

/// # Safety
///
/// None is asked for.
pub(crate) unsafe fn current_id(_: &Slabs) -> u32 {
    SEAT.with(|seat| seat.borrow().id())
}
