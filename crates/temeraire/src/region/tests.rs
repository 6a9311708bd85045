use super::Region;
use crate::{handle::Handle, test_ground::ground};
use std::{vec, vec::Vec};
use strata_os::Seed;
use strata_size_classes::{PageSize, Pages4K, Pages8K};
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, Platform, Pool};

const FIRST: Hugepage = Hugepage::new(3 * 512);

fn region<P: PageSize>(zeroed: bool) -> Handle<Region> {
    let ground = ground::<P>();
    let pool = Pool::<Region>::new();
    let place = pool.allocate(ground.arena(), ground.metadata()).unwrap();
    // SAFETY: the arena's memory is never unmapped, and the test has the region alone.
    let region = unsafe { Handle::new(place) };
    region.start::<P>(FIRST, zeroed, 0);
    region
}

fn allocate<P: PageSize>(region: &Region, pages: usize) -> Option<PageId<P>> {
    Some(region.allocate::<P>(PageCount::new(pages), 1)?.first)
}

#[test]
fn only_hugepages_that_spans_lie_in_are_backed() {
    let region = region::<Pages8K>(true);
    let first = region.allocate::<Pages8K>(PageCount::new(300), 1).unwrap();
    assert!(first.zeroed && first.fresh);
    assert_eq!(region.backed_hugepages(), 2);
    let second = region.allocate::<Pages8K>(PageCount::new(212), 1).unwrap();
    assert!(!second.zeroed && !second.fresh, "it lies where something may have been");
    assert_eq!((region.backed_hugepages(), region.used_pages()), (2, 512));
    region.deallocate(first.first, PageCount::new(300), 2);
    assert_eq!(region.releasable(), 1, "the second hugepage is still used in part");
    let figures = region.figures::<Pages8K>();
    assert_eq!((figures.used_bytes, figures.free_bytes), (212 << 13, 300 << 13));
    assert_eq!(figures.unbacked_bytes, 510 << 21);
    assert_eq!(figures.longest_free_bytes, 510 << 21);
}

#[test]
fn what_is_on_its_way_to_the_kernel_is_not_handed_out() {
    let region = region::<Pages8K>(true);
    let whole = Region::pages::<Pages8K>();
    let all = allocate::<Pages8K>(&region, whole).unwrap();
    region.deallocate::<Pages8K>(all, PageCount::new(whole), 2);
    assert_eq!(region.releasable(), 512);
    let (first, count) =
        region.begin_release::<Pages8K>(HugepageCount::new(100), u64::MAX).unwrap();
    assert_eq!((first, count.get(), region.releasable()), (FIRST, 100, 412));
    assert_eq!(region.longest_free(), 412 * 256);
    let place = allocate::<Pages8K>(&region, 256).unwrap();
    assert_eq!(place.hugepage(), FIRST + HugepageCount::new(100));
    let mut gaps = Vec::new();
    region.for_each_gap::<Pages8K>(|pages, backed, _| gaps.push((pages, backed)));
    assert_eq!(gaps.iter().map(|gap| gap.0).sum::<usize>(), 511 * 256);
    assert!(gaps.iter().all(|gap| gap.1), "it is backed until the kernel has it");
    region.end_release::<Pages8K>(first, count, true, 3);
    assert_eq!((region.backed_hugepages(), region.longest_free()), (412, 411 * 256));
    assert_eq!(region.figures::<Pages8K>().unbacked_bytes_since_start, 100 << 21);
    assert!(region.allocate::<Pages8K>(PageCount::new(99 * 256), 4).unwrap().zeroed);
}

#[test]
fn a_release_that_failed_leaves_all_as_it_was() {
    let region = region::<Pages8K>(true);
    let span = allocate::<Pages8K>(&region, 1000).unwrap();
    region.deallocate::<Pages8K>(span, PageCount::new(1000), 2);
    let before = region.figures::<Pages8K>();
    let (first, count) = region.begin_release::<Pages8K>(HugepageCount::new(9), u64::MAX).unwrap();
    region.end_release::<Pages8K>(first, count, false, 3);
    assert_eq!(region.figures::<Pages8K>(), before);
    assert_eq!(region.releasable(), 4);
}

#[test]
fn a_random_program_leaves_the_counts_of_a_plain_array() {
    let mut random = Seed::from_environment_or(8);
    let region = region::<Pages4K>(false);
    let whole = Region::pages::<Pages4K>();
    let mut used = vec![false; whole];
    let mut backed = vec![false; 512];
    let mut live: Vec<(usize, usize)> = Vec::new();
    let start = FIRST.first_page::<Pages4K>();
    for _ in 0..600 {
        match random.below(5) {
            0 | 1 => {
                let count = 257 + random.below(4000);
                if let Some(found) = region.allocate::<Pages4K>(PageCount::new(count), 1) {
                    let at = (found.first - start).get();
                    assert!(!found.zeroed || used[at..at + count].iter().all(|used| !*used));
                    assert!(used[at..at + count].iter().all(|used| !*used));
                    let hugepages = at / 512..(at + count).div_ceil(512);
                    let fresh = backed[hugepages.clone()].iter().any(|backed| !*backed);
                    assert_eq!(found.fresh, fresh);
                    backed[hugepages].fill(true);
                    used[at..at + count].fill(true);
                    live.push((at, count));
                }
            }
            2 | 3 if !live.is_empty() => {
                let (at, count) = live.swap_remove(random.below(live.len()));
                region.deallocate(start + PageCount::new(at), PageCount::<Pages4K>::new(count), 2);
                used[at..at + count].fill(false);
            }
            _ => {
                let most = HugepageCount::new(1 + random.below(20));
                if let Some((first, count)) = region.begin_release::<Pages4K>(most, u64::MAX) {
                    let at = (first - FIRST).get();
                    let taken = random.below(3) > 0;
                    region.end_release::<Pages4K>(first, count, taken, 3);
                    assert!(backed[at..at + count.get()].iter().all(|backed| *backed));
                    backed[at..at + count.get()].fill(!taken);
                    assert!(used[at * 512..(at + count.get()) * 512].iter().all(|used| !*used));
                }
            }
        }
        assert_eq!(region.used_pages(), used.iter().filter(|used| **used).count());
        assert_eq!(region.backed_hugepages(), backed.iter().filter(|backed| **backed).count());
        let free = |hugepage: usize| used[hugepage * 512..][..512].iter().all(|used| !*used);
        let releasable = (0..512).filter(|hugepage| backed[*hugepage] && free(*hugepage)).count();
        assert_eq!(region.releasable(), releasable);
        let longest = used.split(|used| *used).map(<[bool]>::len).max();
        assert_eq!(Some(region.longest_free()), longest);
    }
}

#[test]
fn the_hugepages_that_have_been_free_for_the_longest_go_first() {
    let region = region::<Pages8K>(true);
    let spans: Vec<_> = (0..6).map(|_| allocate::<Pages8K>(&region, 256).unwrap()).collect();
    for (span, freed_ns) in [(5, 10), (1, 20), (3, 30)] {
        region.deallocate::<Pages8K>(spans[span], PageCount::new(256), freed_ns);
    }
    let most = HugepageCount::new(9);
    assert!(region.begin_release::<Pages8K>(most, 9).is_none(), "none has been free for so long");
    assert!(!region.has_free_since(9) && region.has_free_since(10));
    for span in [5, 1, 3] {
        let (first, count) = region.begin_release::<Pages8K>(most, u64::MAX).unwrap();
        assert_eq!((first, count), (spans[span].hugepage(), HugepageCount::ONE));
        region.end_release::<Pages8K>(first, count, true, 40);
    }
}
