use super::{Histogram, coarse_bounds_of, histogram_bounds};
use strata_size_classes::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};
use strata_span::PageCount;

fn every_number_has_its_bucket<P: PageSize>() {
    let bounds = histogram_bounds::<P>();
    let pages = PageCount::<P>::PER_HUGEPAGE.get();
    assert!(bounds.is_sorted());
    assert_eq!(bounds[0], 0);
    for value in 0..pages {
        let mut histogram = Histogram::default();
        histogram.record::<P>(value);
        let bucket = histogram.counts.iter().position(|count| *count == 1).unwrap();
        assert!(usize::from(bounds[bucket]) <= value);
        assert!(bounds.get(bucket + 1).is_none_or(|bound| usize::from(*bound) > value));
    }
}

#[test]
fn every_number_of_pages_has_its_bucket() {
    every_number_has_its_bucket::<Pages4K>();
    every_number_has_its_bucket::<Pages8K>();
    every_number_has_its_bucket::<Pages32K>();
    every_number_has_its_bucket::<Pages256K>();
}

fn the_coarse_form_counts_the_same<P: PageSize>() {
    let pages = PageCount::<P>::PER_HUGEPAGE.get();
    let bounds = coarse_bounds_of(pages);
    for value in 0..pages {
        let mut histogram = Histogram::default();
        histogram.record::<P>(value);
        let bucket = histogram.coarse(pages).iter().position(|count| *count == 1).unwrap();
        assert!(usize::from(bounds[bucket]) <= value);
        assert!(bounds.get(bucket + 1).is_none_or(|bound| usize::from(*bound) > value));
    }
}

#[test]
fn the_coarse_form_of_a_histogram_has_each_number_in_its_bucket() {
    the_coarse_form_counts_the_same::<Pages4K>();
    the_coarse_form_counts_the_same::<Pages8K>();
    the_coarse_form_counts_the_same::<Pages32K>();
    the_coarse_form_counts_the_same::<Pages256K>();
}
