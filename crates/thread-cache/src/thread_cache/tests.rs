use super::*;
use std::vec::Vec;

/// How long a list of `length` may be after each of `times` changes, where a batch is 4 objects.
fn lengths(length: u32, times: usize, change: fn(&FreeList, u32)) -> Vec<u32> {
    let list = FreeList::new();
    list.set_max_length(length);
    let after = |_| {
        change(&list, 4);
        list.max_length()
    };
    (0..times).map(after).collect()
}

#[test]
fn a_list_that_is_refilled_grows_by_one_up_to_a_batch_and_then_by_batches() {
    assert_eq!(lengths(1, 6, grow_after_refill), [2, 3, 4, 8, 12, 16]);
    assert_eq!(lengths(6, 2, grow_after_refill), [8, 12], "in whole batches");
    assert_eq!(lengths(MAX_LIST_LENGTH - 4, 2, grow_after_refill), [MAX_LIST_LENGTH; 2]);
}

#[test]
fn a_list_that_is_too_long_nears_a_batch() {
    assert_eq!(lengths(2, 4, adapt_after_overrun), [3, 4, 4, 4], "from below by one");
    let shrinking = [9, 9, 9, 5, 5, 5, 5, 4, 4, 4, 4, 4];
    assert_eq!(lengths(9, 12, adapt_after_overrun), shrinking, "from above each fourth time");
}
