//! The suite that every page heap runs, over every page size.

use strata_page_heap::suite;
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};
use strata_temeraire::{HugePageAware, Temeraire};

#[test]
fn hugepage_aware_keeps_what_the_trait_promises_with_pages_of_8_kib() {
    suite::run::<Pages8K, HugePageAware<Pages8K>>();
}

#[test]
fn hugepage_aware_keeps_what_the_trait_promises_with_pages_of_256_kib() {
    suite::run::<Pages256K, HugePageAware<Pages256K>>();
}

#[test]
fn heaps_by_temperature_keep_what_the_trait_promises_with_pages_of_4_kib() {
    suite::run::<Pages4K, Temeraire<Pages4K>>();
}

#[test]
fn heaps_by_temperature_keep_what_the_trait_promises_with_pages_of_8_kib() {
    suite::run::<Pages8K, Temeraire<Pages8K>>();
}

#[test]
fn heaps_by_temperature_keep_what_the_trait_promises_with_pages_of_32_kib() {
    suite::run::<Pages32K, Temeraire<Pages32K>>();
}

#[test]
fn heaps_by_temperature_keep_what_the_trait_promises_with_pages_of_256_kib() {
    suite::run::<Pages256K, Temeraire<Pages256K>>();
}
