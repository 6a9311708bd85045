use super::*;

#[test]
fn pages_are_where_it_was_noted_that_they_are() {
    let mut pages = KernelPages::new(100);
    assert!(!pages.is_hugepage());
    pages.set_present(60, 10, true);
    pages.set_swapped(98, 10);
    let present: std::vec::Vec<_> = (0..200).filter(|&page| pages.is_present(page)).collect();
    let swapped: std::vec::Vec<_> = (0..200).filter(|&page| pages.is_swapped(page)).collect();
    assert_eq!(present, (60..70).collect::<std::vec::Vec<_>>());
    assert_eq!(swapped, [98, 99]);
    assert!(!pages.is_hugepage());
}

#[test]
fn a_hugepage_is_one_if_all_its_pages_are_parts_of_one() {
    let mut pages = KernelPages::new(512);
    pages.set_present(0, 511, true);
    assert!(!pages.is_hugepage());
    pages.set_present(511, 1, false);
    assert!(!pages.is_hugepage());
    let mut pages = KernelPages::new(1000);
    pages.set_present(0, 1000, true);
    assert!(pages.is_hugepage() && pages.count() == 512);
    assert!(!KernelPages::new(0).is_hugepage());
}
