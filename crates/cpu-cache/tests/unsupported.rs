//! Where there are no restartable sequences: nothing is set up, and nothing is found.
//!
//! On a machine that has them: `RUSTFLAGS="--cfg strata_no_rseq" cargo test -p strata-cpu-cache`.

#![cfg(all(
    not(strata_loom),
    any(strata_no_rseq, not(all(target_arch = "x86_64", target_os = "linux")))
))]

use strata_cpu_cache::{CpuCache, CpuStats, CpuWords, IdKind, Setup, StopRefusal};
use strata_os::{MapError, SimulatedPages};
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};

/// A source that is never asked.
struct Untouched;

// SAFETY: 1. to 3. nothing is ever taken or given.
unsafe impl ObjectSource for Untouched {
    fn take(&self, _: SizeClass, _: &mut [*mut u8]) -> usize {
        unreachable!("there is no cache to refill")
    }

    unsafe fn give(&self, _: SizeClass, _: &mut [*mut u8]) {
        unreachable!("there is no cache to flush")
    }
}

#[test]
fn a_cache_cannot_be_set_up_and_reserves_nothing() {
    const { assert!(!CpuCache::IS_SUPPORTED) };
    let (cache, pages) = (CpuCache::new(), SimulatedPages::new());
    let setup = Setup {
        table: Pages8K::TABLE,
        ids: 4,
        id_kind: IdKind::Cpu,
        area: 0,
        limit_bytes: CpuCache::DEFAULT_LIMIT_BYTES,
    };
    // SAFETY: it does nothing.
    let refused = unsafe { cache.set_up(&pages, setup) };
    assert!(matches!(refused, Err(MapError { errno: 38, .. })), "ENOSYS: {refused:?}");
    assert_eq!(pages.figures().reserved_bytes, 0);
    assert!(!cache.is_set_up());
    assert_eq!((cache.ids(), cache.id_kind()), (0, None));
    assert!(cache.slab_range().is_empty());
}

#[test]
fn what_is_not_set_up_is_empty_and_full() {
    let (cache, words) = (CpuCache::new(), CpuWords::new());
    words.copy_from(&cache);
    let class = Pages8K::TABLE.entry(48).expect("a class").class();
    // SAFETY: without sequences nothing is read.
    assert!(unsafe { words.pop(class) }.is_null());
    // SAFETY: without sequences nothing is read.
    assert!(!unsafe { words.push(class, core::ptr::null_mut()) });
    assert_eq!(cache.cpu_stats(0), CpuStats::default());
    assert_eq!(cache.drain(&Untouched, 0), Err(StopRefusal::NoSuchId));
}
