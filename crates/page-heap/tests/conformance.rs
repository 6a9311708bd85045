//! The legacy page heap keeps the promises of the trait.

use strata_page_heap::{LegacyPageHeap, suite};
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};

#[test]
fn the_legacy_heap_conforms_with_pages_of_4_kib() {
    suite::run::<Pages4K, LegacyPageHeap<Pages4K>>();
}

#[test]
fn the_legacy_heap_conforms_with_pages_of_8_kib() {
    suite::run::<Pages8K, LegacyPageHeap<Pages8K>>();
}

#[test]
fn the_legacy_heap_conforms_with_pages_of_32_kib() {
    suite::run::<Pages32K, LegacyPageHeap<Pages32K>>();
}

#[test]
fn the_legacy_heap_conforms_with_pages_of_256_kib() {
    suite::run::<Pages256K, LegacyPageHeap<Pages256K>>();
}
