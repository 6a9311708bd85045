use super::*;
use crate::SelectedPageHeap;
use core::mem::MaybeUninit;
use strata_page_heap::LegacyPageHeap;
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};
use strata_temeraire::{HugePageAware, Temeraire};

/// Whether every byte of `value` is zero, in memory that was zero before.
fn is_zero<T>(value: impl Fn() -> T) -> bool {
    let mut place = std::boxed::Box::new(MaybeUninit::<T>::zeroed());
    place.write(value());
    let bytes = place.as_ptr().cast::<u8>();
    (0..size_of::<T>()).all(|index| {
        let byte = bytes.wrapping_add(index);
        // SAFETY: the byte lies in the box.
        unsafe { byte.read_volatile() == 0 }
    })
}

fn check<P: PageSize>() {
    assert!(is_zero(|| <LegacyPageHeap<P> as PageHeap<P>>::EMPTY));
    assert!(is_zero(|| <HugePageAware<P> as PageHeap<P>>::EMPTY));
    assert!(is_zero(|| <Temeraire<P> as PageHeap<P>>::EMPTY));
    assert!(is_zero(|| <SelectedPageHeap<P> as PageHeap<P>>::EMPTY));
    const { assert!(<SelectedPageHeap<P> as PageHeap<P>>::EMPTY_IS_ZERO) };
    assert!(is_zero(|| const { MiddleTier::<P>::new() }));
    assert!(is_zero(|| const { ThreadCaches::<P>::new() }));
    assert!(is_zero(|| const { PageMap::<P>::new() }));
    assert!(is_zero(|| const { CpuCache::new() }));
    assert!(is_zero(|| const { MetadataArena::new() }));
    assert!(is_zero(|| const { SpanPool::new() }));
    assert!(is_zero(|| const { Mutex::new(()) }));
}

#[test]
fn layers_without_anything_are_all_zero_bits() {
    check::<Pages4K>();
    check::<Pages8K>();
    check::<Pages32K>();
    check::<Pages256K>();
}
