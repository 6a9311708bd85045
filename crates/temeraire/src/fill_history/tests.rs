use super::FillHistory;
use std::vec::Vec;
use strata_os::AddressRange;
use strata_span::HUGEPAGE_BYTES;

fn hugepage(number: usize) -> AddressRange {
    AddressRange::new(number * HUGEPAGE_BYTES, HUGEPAGE_BYTES)
}

/// Takes `count` fresh hugepages, of which so many bytes come to be touched; says which were left on small pages.
fn take(history: &FillHistory, from: usize, count: usize, touched_bytes: usize) -> Vec<usize> {
    let fresh = from..from + count;
    let small = fresh.filter(|number| {
        if history.due().is_some() {
            history.note(touched_bytes);
        }
        history.stays_small(hugepage(*number))
    });
    small.collect()
}

#[test]
fn where_nothing_is_known_hugepages_are_taken_to_be_touched() {
    let history = FillHistory::new();
    assert_eq!(take(&history, 1, 7, HUGEPAGE_BYTES), [0; 0]);
}

#[test]
fn of_hugepages_that_are_touched_one_in_ever_more_is_looked_at() {
    let history = FillHistory::new();
    assert_eq!(take(&history, 1, 600, HUGEPAGE_BYTES), [16, 64, 256]);
}

#[test]
fn what_a_small_heap_left_decides_about_the_first_one() {
    let (dense, sparse) = (FillHistory::new(), FillHistory::new());
    for history in [&dense, &sparse] {
        (1..=6).for_each(|number| history.leave(hugepage(number)));
    }
    assert_eq!(sparse.due(), Some(hugepage(3)), "four of six are known");
    assert_eq!(dense.due(), Some(hugepage(3)));
    sparse.note(HUGEPAGE_BYTES / 2);
    dense.note(HUGEPAGE_BYTES / 8 * 7);
    assert!(sparse.stays_small(hugepage(7)));
    assert!(!dense.stays_small(hugepage(7)));
}

#[test]
fn a_program_that_stops_touching_is_found_out_and_so_is_one_that_begins_again() {
    let history = FillHistory::new();
    take(&history, 1, 63, HUGEPAGE_BYTES);
    let small = take(&history, 64, 40, HUGEPAGE_BYTES / 4);
    assert_eq!(small.first(), Some(&64), "the trial");
    let later: Vec<usize> = (68..104).collect();
    assert_eq!(small.get(1..), Some(later.as_slice()), "and all once it was looked at");
    let small = take(&history, 104, 40, HUGEPAGE_BYTES);
    assert_eq!(small, [0; 0], "what came before is looked at, and was touched");
}

#[test]
fn each_hugepage_is_looked_at_once_when_four_more_came() {
    let history = FillHistory::new();
    history.note(0);
    let mut seen = Vec::new();
    for number in 1..=10 {
        seen.extend(history.due().map(|due| due.start / HUGEPAGE_BYTES));
        assert!(history.stays_small(hugepage(number)));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    let left: Vec<_> = (0..6).filter_map(|_| history.due()).collect();
    assert_eq!(left, [7, 8, 9, 10].map(hugepage));
    assert_eq!(history.due(), None);
}
