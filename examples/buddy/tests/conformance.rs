//! The suite that every page heap runs, over every page size.

use strata_example_buddy::BuddyPageHeap;
use strata_page_heap::suite;
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};

#[test]
fn the_buddy_system_keeps_what_the_trait_promises_with_pages_of_4_kib() {
    suite::run::<Pages4K, BuddyPageHeap<Pages4K>>();
}

#[test]
fn the_buddy_system_keeps_what_the_trait_promises_with_pages_of_8_kib() {
    suite::run::<Pages8K, BuddyPageHeap<Pages8K>>();
}

#[test]
fn the_buddy_system_keeps_what_the_trait_promises_with_pages_of_32_kib() {
    suite::run::<Pages32K, BuddyPageHeap<Pages32K>>();
}

#[test]
fn the_buddy_system_keeps_what_the_trait_promises_with_pages_of_256_kib() {
    suite::run::<Pages256K, BuddyPageHeap<Pages256K>>();
}
