//! What a cache stands on in a test: a machine with restartable sequences.

use strata_cpu_cache::{CpuCache, IdKind, Setup};
use strata_os::{SystemPages, possible_cpus, rseq};
use strata_size_classes::{PageSize, Pages8K, SizeClass};

/// The classes of every test.
pub(crate) static TABLE: &strata_size_classes::SizeClassTable = Pages8K::TABLE;

/// The class that serves `size`.
pub(crate) fn class(size: usize) -> SizeClass {
    TABLE.entry(size).expect("a class").class()
}

/// What a cache is set up with; none, with a word about it, where this machine has no such numbers.
pub(crate) fn setup(id_kind: IdKind, limit_bytes: usize) -> Option<Setup> {
    let Some(area) = rseq::glibc_area() else {
        println!("left out: the C library registers no rseq areas");
        return None;
    };
    if id_kind == IdKind::Concurrency && rseq::feature_bytes() < 28 {
        println!("left out: the kernel has no concurrency ids");
        return None;
    }
    Some(Setup { table: TABLE, ids: possible_cpus(), id_kind, area: area.offset, limit_bytes })
}

/// A cache that is ready, where this machine can have one.
pub(crate) fn cache(id_kind: IdKind, limit_bytes: usize) -> Option<CpuCache> {
    let setup = setup(id_kind, limit_bytes)?;
    let cache = CpuCache::new();
    // SAFETY: glibc registered an area for every thread; both kinds of id are below the possible CPUs.
    unsafe { cache.set_up(&SystemPages::new(), setup) }.expect("address space");
    Some(cache)
}

/// Binds this thread to the CPU that it runs on; says which.
pub(crate) fn pin() -> u32 {
    // SAFETY: asks a number.
    let cpu = unsafe { libc::sched_getcpu() };
    let cpu = usize::try_from(cpu).expect("a CPU");
    bind(0, &[cpu]);
    u32::try_from(cpu).expect("a CPU")
}

/// Binds this thread to a CPU; false if it may not run there.
pub(crate) fn pin_to(cpu: u32) -> bool {
    bind(0, &[usize::try_from(cpu).expect("a number")]);
    // SAFETY: asks a number.
    let now = unsafe { libc::sched_getcpu() };
    u32::try_from(now) == Ok(cpu)
}

/// Binds `thread`, 0 for this one, to `cpus`; leaves it where it is if the kernel forbids these.
pub(crate) fn bind(thread: libc::pid_t, cpus: &[usize]) {
    // SAFETY: a set of CPUs is an array of integers.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: the numbers are those of CPUs, and checked against the set's size there.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is as long as said.
    let _ = unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) };
}
