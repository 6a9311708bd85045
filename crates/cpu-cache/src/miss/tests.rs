use super::STEAL_ATTEMPTS;
use crate::{CpuCache, Header, IdKind, Setup, cpu_state::CpuState};
use core::{cell::RefCell, mem::zeroed};
use std::vec::Vec;
use strata_os::{SystemPages, possible_cpus, rseq};
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass, SizeClassTable};
use strata_sync::atomic::Ordering;

static TABLE: &SizeClassTable = Pages8K::TABLE;

/// Counts what comes back; its objects are numbers.
#[derive(Default)]
struct Counting {
    given: RefCell<Vec<SizeClass>>,
}

// SAFETY: nobody looks behind the addresses, and each is handed out to one test that has no other.
unsafe impl ObjectSource for Counting {
    fn take(&self, _: SizeClass, out: &mut [*mut u8]) -> usize {
        for (number, slot) in out.iter_mut().enumerate() {
            *slot = core::ptr::without_provenance_mut((number + 1) * 16);
        }
        out.len()
    }
    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
        self.given.borrow_mut().extend(objects.iter().map(|_| class));
    }
}

/// A cache, and the CPU to which this thread is bound.
struct Stage {
    cache: CpuCache,
    source: Counting,
    id: u32,
}

impl Stage {
    fn new() -> Option<Self> {
        let area = rseq::glibc_area().filter(|_| CpuCache::IS_SUPPORTED);
        let Some(area) = area else {
            std::println!("left out: no restartable sequences here");
            return None;
        };
        // SAFETY: asks a number.
        let cpu = unsafe { libc::sched_getcpu() };
        let cpu = usize::try_from(cpu).expect("a CPU");
        // SAFETY: a set of CPUs is an array of integers.
        let mut set: libc::cpu_set_t = unsafe { zeroed() };
        // SAFETY: the number is a CPU's, and checked against the set's size there.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        // SAFETY: the set is as long as said.
        assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }, 0);
        let cache = CpuCache::new();
        let setup = Setup {
            table: TABLE,
            ids: possible_cpus(),
            id_kind: IdKind::Cpu,
            area: area.offset,
            limit_bytes: 1 << 20,
        };
        // SAFETY: glibc registered an area for every thread; CPU numbers are below the possible ones.
        unsafe { cache.set_up(&SystemPages::new(), setup) }.expect("address space");
        let id = u32::try_from(cpu).expect("a CPU");
        cache.populate(cache.state(id).expect("one of the cache's"), id);
        Some(Self { cache, source: Counting::default(), id })
    }

    fn state(&self) -> &CpuState {
        self.cache.state(self.id).expect("one of the cache's")
    }

    fn header(&self, class: SizeClass) -> Header {
        self.cache.header(self.id, class)
    }

    fn available(&self) -> i64 {
        self.state().available_bytes.load(Ordering::Relaxed)
    }

    /// Gives a class so much more capacity, empty.
    fn grow(&self, class: SizeClass, wanted: u16) {
        let before = self.header(class).room();
        // SAFETY: the cache is set up, and glibc registered this thread, which stays on its CPU.
        unsafe { self.cache.grow(self.state(), TABLE, &self.source, self.id, class, wanted) };
        assert_eq!(self.header(class).room(), before + wanted);
    }

    /// Has `class` steal, such that `victim` is looked at after so many others.
    fn steal(&self, class: SizeClass, bytes: usize, victim: SizeClass, after: usize) {
        let others = TABLE.count() - 1;
        let hand = (victim.index() - 1 + others - after) % others;
        self.state().hand.store(u32::try_from(hand).expect("a class"), Ordering::Relaxed);
        // SAFETY: the cache is set up, and glibc registered this thread, which stays on its CPU.
        let stolen =
            unsafe { self.cache.steal(self.state(), TABLE, &self.source, self.id, class, bytes) };
        assert_eq!(self.state().claim_stolen(stolen, 0, 8), 0);
    }
}

fn class(size: usize) -> SizeClass {
    TABLE.entry(size).expect("a class").class()
}

#[test]
fn a_class_gives_half_of_what_stands_empty_while_others_may_have_more_and_then_all() {
    let Some(stage) = Stage::new() else { return };
    let (victim, thief) = (class(64), class(4096));
    for after in 0..2 * STEAL_ATTEMPTS {
        let missing = 41 - stage.header(victim).room();
        stage.grow(victim, missing);
        let before = stage.available();
        stage.steal(thief, 1 << 20, victim, after);
        let taken = if after < STEAL_ATTEMPTS { 21 } else { 41 };
        assert_eq!(stage.header(victim).room(), 41 - taken, "looked at after {after} others");
        assert_eq!(stage.available(), before + 64 * i64::from(taken), "and no more is available");
    }
    assert!(stage.source.given.borrow().is_empty(), "no object had to go for it");
}

#[test]
fn no_more_is_stolen_than_is_missing_and_a_class_does_not_steal_from_itself() {
    let Some(stage) = Stage::new() else { return };
    let (victim, thief) = (class(64), class(4096));
    stage.grow(victim, 40);
    stage.steal(thief, 5 * 64 - 1, victim, 0);
    assert_eq!(stage.header(victim).room(), 35, "as many objects as it takes");
    let before = (stage.available(), stage.state().hand.load(Ordering::Relaxed));
    stage.steal(thief, 0, victim, 0);
    stage.steal(victim, 1 << 20, victim, 0);
    assert_eq!(stage.header(victim).room(), 35);
    assert_eq!(stage.available(), before.0);
}

#[test]
fn a_class_without_empty_room_gives_objects_only_where_many_others_had_none() {
    let Some(stage) = Stage::new() else { return };
    let (victim, thief) = (class(64), class(4096));
    stage.grow(victim, 40);
    let objects: Vec<*mut u8> =
        (1..=40).map(|number| core::ptr::without_provenance_mut(number * 16)).collect();
    // SAFETY: the cache is set up, glibc registered this thread; nobody looks behind the addresses.
    assert_eq!(unsafe { stage.cache.push_batch(victim, &objects) }, 40);
    let before = stage.available();
    let resizes = || stage.state().resizes.load(Ordering::Relaxed);
    let resizes_before = resizes();
    stage.steal(thief, 10 * 64, victim, 0);
    assert_eq!((stage.available(), stage.source.given.borrow().len()), (before, 0));
    assert_eq!(resizes(), resizes_before, "nobody gave anything");
    stage.steal(thief, 10 * 64, victim, STEAL_ATTEMPTS);
    assert_eq!(resizes(), resizes_before + 1, "one class gave");
    assert_eq!(stage.available(), before + 10 * 64);
    assert_eq!(*stage.source.given.borrow(), [victim; 10]);
    assert_eq!((stage.header(victim).room(), stage.cache.objects(stage.id, victim)), (0, 30));
}
