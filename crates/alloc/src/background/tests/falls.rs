//! Heaps without a thread whose programs free most of what they have.

use super::*;
use strata_page_heap::PageHeapStats;

/// A heap that had its first look, which says when the next step is due and no more.
fn begun<const TEST: usize>(options: &str) -> Heap<Timed<TEST>> {
    let heap = heap::<TEST>(options);
    allocate_and_free(&heap, 200, 3000);
    heap
}

fn stats<C: HeapConfig>(heap: &Heap<C>) -> PageHeapStats {
    heap.core().unwrap().page_heap().stats()
}

#[test]
fn who_frees_most_of_what_it_had_gives_it_back_at_once_where_no_thread_will() {
    let heap = begun::<19>("");
    let blocks = allocate(&heap, 60_000, 1000);
    CLOCKS[19].advance(SECOND_NS / 5);
    free(&heap, blocks);
    let stats = stats(&heap);
    assert!(stats.backed_bytes() <= 3 * MIB as u64, "of 60 MiB: {stats:?}");
    assert!(stats.released.policy >= 40 * MIB as u64, "{stats:?}");
}

#[test]
fn so_does_a_small_heap_of_a_program_that_would_get_a_thread_if_it_grew() {
    let heap = begun::<22>("background_thread:true");
    let blocks = allocate(&heap, 8_000, 1000);
    CLOCKS[22].advance(SECOND_NS / 5);
    free(&heap, blocks);
    let core = heap.core().unwrap();
    let stats = stats(&heap);
    assert!(!core.background_figures().has_thread);
    assert!(stats.backed_bytes() <= 2 * MIB as u64, "of 8 MiB: {stats:?}");
}

#[test]
fn large_blocks_that_go_take_their_memory_along_in_a_small_heap_too() {
    large_blocks_take_their_memory_along::<23>("");
}

#[test]
fn and_where_caches_run_per_thread() {
    large_blocks_take_their_memory_along::<26>("front_end:per_thread");
}

fn large_blocks_take_their_memory_along<const TEST: usize>(options: &str) {
    let heap = begun::<TEST>(options);
    // The last but one leaves less than an eighth, whatever caches hold besides: a fall that begins with the last free
    // gives back one step.
    let blocks = allocate(&heap, 16, MIB / 2);
    CLOCKS[TEST].advance(SECOND_NS / 5);
    free(&heap, blocks);
    let stats = stats(&heap);
    assert!(stats.backed_bytes() <= 2 * MIB as u64, "of 8 MiB: {stats:?}");
}

#[test]
fn a_heap_that_fell_gives_back_what_is_free_beside_survivors_though_it_was_wanted_a_moment_before()
{
    let heap = begun::<25>("");
    let blocks = allocate(&heap, 8_000, 1000);
    CLOCKS[25].advance(SECOND_NS / 5);
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % 400 == 0);
    free(&heap, go.into_iter().map(|(_, block)| block).collect());
    let stats = stats(&heap);
    assert!(stats.backed_bytes() <= 2 * MIB as u64, "of 8 MiB: {stats:?}");
    free(&heap, stay.into_iter().map(|(_, block)| block).collect());
}

#[test]
fn what_caches_have_of_many_classes_goes_with_a_fall() {
    blocks_of_many_sizes_take_their_memory_along::<29>(MIB / 4);
}

#[test]
fn and_does_not_hold_up_the_fall_of_a_heap_that_is_hardly_larger() {
    blocks_of_many_sizes_take_their_memory_along::<30>(MIB / 12);
}

/// Takes so many bytes of blocks of each of 32 sizes, and frees them.
fn blocks_of_many_sizes_take_their_memory_along<const TEST: usize>(bytes: usize) {
    let heap = heap_with_words::<TEST>("");
    if !matches!(heap.core().unwrap().front_end(), FrontEnd::PerCpu(_)) {
        return std::println!("left out: no caches of CPUs");
    }
    allocate_and_free(&heap, 200, 3000);
    let sizes = (1..=32).map(|number| number * 128);
    let blocks: Vec<_> = sizes.flat_map(|size| allocate(&heap, bytes / size, size)).collect();
    CLOCKS[TEST].advance(SECOND_NS / 5);
    free(&heap, blocks);
    let stats = stats(&heap);
    assert!(stats.backed_bytes() <= 2 * MIB as u64, "of 32 times {bytes} bytes: {stats:?}");
}

#[test]
fn what_was_there_for_a_moment_stays_for_whoever_comes_next() {
    let heap = begun::<24>("");
    free(&heap, allocate(&heap, 8_000, 1000));
    let stats = stats(&heap);
    assert_eq!(stats.released.total(), 0, "{stats:?}");
}

#[test]
fn frees_do_not_look_for_a_heap_that_has_little_nor_for_one_that_gives_nothing_back() {
    let (small, keeps) = (heap::<27>(""), heap::<28>("release_rate:0"));
    frees_look_no_more(&small, 1_000);
    frees_look_no_more(&keeps, 8_000);
}

/// Takes and frees so many blocks, of which the last ones do not bring about a look by their number.
fn frees_look_no_more<const TEST: usize>(heap: &Heap<Timed<TEST>>, count: usize) {
    allocate_and_free(heap, 200, 3000);
    let fallen = &heap.core().unwrap().background.fallen;
    let blocks = allocate(heap, count, 1000);
    fallen.look_below_bytes.store(u64::MAX, Ordering::Relaxed);
    free(heap, blocks);
    assert_eq!(fallen.look_below_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn who_says_that_nothing_goes_at_a_rate_keeps_what_it_freed_until_it_is_idle() {
    let heap = begun::<20>("release_rate:0");
    let blocks = allocate(&heap, 60_000, 1000);
    CLOCKS[20].advance(SECOND_NS / 5);
    free(&heap, blocks);
    let stats = stats(&heap);
    // (What the cache of hugepages has no room for goes at once.)
    assert!(stats.backed_bytes() >= 30 * MIB as u64, "{stats:?}");
}

#[test]
fn what_comes_and_goes_is_given_back_once() {
    let heap = begun::<21>("");
    for _ in 0..10 {
        let blocks = allocate(&heap, 60_000, 1000);
        CLOCKS[21].advance(SECOND_NS / 10);
        free(&heap, blocks);
    }
    let stats = stats(&heap);
    assert!(stats.released.total() <= 80 * MIB as u64, "600 MiB were freed: {stats:?}");
}
