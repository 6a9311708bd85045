use super::RegionSet;
use crate::{handle::Handle, region::Region, test_ground::ground};
use std::vec::Vec;
use strata_os::Seed;
use strata_size_classes::Pages8K;
use strata_span::{Hugepage, HugepageCount, PageCount, PageId, Platform, Pool};

/// A set of `count` regions, in a row.
fn set(count: usize) -> (RegionSet, Vec<Handle<Region>>) {
    let ground = ground::<Pages8K>();
    let pool = Pool::<Region>::new();
    let mut set = RegionSet::EMPTY;
    let regions = (0..count).map(|index| {
        let place = pool.allocate(ground.arena(), ground.metadata()).unwrap();
        // SAFETY: the arena's memory is never unmapped, and the test has the region alone.
        let region = unsafe { Handle::new(place) };
        region.start::<Pages8K>(Hugepage::new(512 * (1 + index)), true, 0);
        set.insert(region);
        region
    });
    let regions = regions.collect();
    (set, regions)
}

fn of_page(regions: &[Handle<Region>], page: PageId<Pages8K>) -> Handle<Region> {
    let index = page.hugepage().number() / 512 - 1;
    regions[index]
}

#[test]
fn a_wish_goes_to_the_region_with_the_smallest_sufficient_run() {
    let (mut set, regions) = set(3);
    let whole = PageCount::<Pages8K>::new(Region::pages::<Pages8K>());
    let pages: Vec<_> = [1000, 3000, 2000].map(|left| whole - PageCount::new(left)).into();
    for pages in pages {
        set.allocate::<Pages8K>(pages, 1).unwrap();
    }
    let mut wish = |pages| {
        let found = set.allocate::<Pages8K>(PageCount::new(pages), 2).unwrap();
        of_page(&regions, found.first).longest_free()
    };
    assert_eq!(wish(1500), 500, "of runs of 1000, 2000 and 3000 that of 2000");
    assert_eq!(wish(600), 400);
    assert_eq!(wish(3000), 0);
    assert_eq!(set.totals().used_pages, 3 * Region::pages::<Pages8K>() - 900);
}

#[test]
fn a_random_program_leaves_the_totals_of_all_regions() {
    let (mut set, regions) = set(4);
    let mut random = Seed::from_environment_or(9);
    let mut live: Vec<(PageId<Pages8K>, usize)> = Vec::new();
    let mut released = 0;
    for _ in 0..4000 {
        match random.below(8) {
            0..4 => {
                let pages = 130 + random.below(5000);
                match set.allocate::<Pages8K>(PageCount::new(pages), 1) {
                    Some(found) => live.push((found.first, pages)),
                    None => {
                        // Lists are by powers of two, and of the wish's own all are looked at here.
                        assert!(regions.iter().all(|region| region.longest_free() < pages));
                    }
                }
            }
            4..7 if !live.is_empty() => {
                let (first, pages) = live.swap_remove(random.below(live.len()));
                let region = of_page(&regions, first);
                set.deallocate(region, first, PageCount::<Pages8K>::new(pages), 2);
            }
            _ => {
                let most = HugepageCount::new(1 + random.below(50));
                if let Some((region, first, count)) = set.begin_release::<Pages8K>(most, u64::MAX) {
                    set.end_release::<Pages8K>(region, first, count, true, 3);
                    released += count.get();
                }
            }
        }
        let used: usize = live.iter().map(|span| span.1).sum();
        assert_eq!(set.totals().used_pages, used);
        let sum = |what: fn(&Region) -> usize| regions.iter().map(|region| what(region)).sum();
        assert_eq!(set.totals().backed_hugepages, sum(Region::backed_hugepages));
        assert_eq!(set.totals().releasable, sum(Region::releasable));
        assert_eq!(set.iter().count(), 4);
    }
    assert!(released > 0);
}
