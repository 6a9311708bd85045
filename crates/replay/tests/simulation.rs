//! The short forms of what `cargo xtask simulate` does.

use strata_replay::PageHeapKind::{Legacy, Temeraire};
use strata_replay::ReleasePolicy;
use strata_replay::simulation::{Demand, Steady, days, growth, steady};

#[test]
fn page_heaps_grow_to_eight_gibibytes_and_give_everything_back() {
    for page_heap in [Temeraire, Legacy] {
        let levels = [1 << 30, 8 << 30];
        let found = growth(page_heap, &levels);
        for (level, wanted) in found.iter().zip(levels) {
            // Taking the costs replaces spans by others at random.
            assert!(level.in_use_bytes > wanted / 5 * 4, "{page_heap:?}: {level:?}");
            assert!(level.spans > 0 && level.metadata_bytes > 0);
        }
        // The root of the page map is there from the beginning, whatever the heap has.
        let books = (found[1].metadata_bytes - found[0].metadata_bytes) as f64;
        let grown = (found[1].in_use_bytes - found[0].in_use_bytes) as f64;
        assert!(books < 0.01 * grown, "{page_heap:?}: books of {found:?}");
        assert_eq!(found.len(), levels.len());
    }
}

#[test]
fn memory_goes_back_at_night_and_comes_again_by_day_on_256_cpus() {
    for page_heap in [Temeraire, Legacy] {
        let demand = Demand {
            hours: 36,
            cpus: 256,
            peak_bytes: 64 << 20,
            replaced: 60,
            policy: ReleasePolicy::DEFAULT,
        };
        let hours = days(page_heap, demand).expect("x86-64");
        let at = |hour: usize| hours[hour - 1].moment;
        let (noon, night, next) = (at(12), at(24), at(36));
        assert!(noon.live_bytes > 62 << 20 && night.live_bytes < 18 << 20, "{noon:?} {night:?}");
        assert!(night.backed_bytes < noon.backed_bytes / 2, "{page_heap:?}: {noon:?} {night:?}");
        assert!(next.backed_bytes > night.backed_bytes * 2, "{page_heap:?}: {night:?} {next:?}");
        assert!(night.released_bytes > 32 << 20, "{page_heap:?}: {night:?}");
        for hour in &hours {
            let layers: u64 = hour.moment.fragmentation.iter().sum();
            assert_eq!(hour.moment.backed_bytes, hour.moment.live_bytes + layers);
        }
    }
}

#[test]
fn a_heap_of_small_objects_keeps_the_hugepages_that_it_fills_however_slowly_it_grows() {
    for grows_s in [1, 4, 16, 64] {
        let demand = Steady { blocks: 100_000, grows_s, replaces_s: 15, replaced: 20_000, cpus: 4 };
        let ends = steady(Temeraire, demand).expect("x86-64");
        // Of 195 MiB. A hugepage that goes while it is being filled is faulted in again; some that were filled
        // below 16 MiB go.
        let again = ends.grown.refaulted_bytes;
        assert!(again < 8 << 20, "grown in {grows_s} s: {again} bytes went and came");
        for moment in [ends.grown, ends.replaced] {
            let covered = moment.hugepage_coverage();
            assert!(covered >= 0.97, "grown in {grows_s} s: {covered} on hugepages");
        }
    }
}
