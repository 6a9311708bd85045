//! Rules of `generator.rs`: whatever the bounds, the table keeps to them or there is none.

use std::string::ToString;
use std::vec::Vec;
use std::{println, vec};

use super::*;
use crate::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K, Violation};
use strata_os::Seed;

/// A number from `low` to `high`, both included.
fn between(random: &mut Seed, low: u32, high: u32) -> u32 {
    low + u32::try_from(random.next() % u64::from(high - low + 1)).unwrap()
}

fn random_bounds(random: &mut Seed) -> Bounds {
    let min_batch = u16::try_from(between(random, 1, 16)).unwrap();
    Bounds {
        alignment: 8 << between(random, 0, 4),
        object_waste_per_mille: between(random, 20, 600),
        span_waste_per_mille: between(random, 0, 300),
        max_span_pages: u16::try_from(between(random, 1, 128)).unwrap(),
        preferred_objects: between(random, 0, 64),
        cheap_span_bytes: between(random, 0, 1 << 20),
        batch_bytes: between(random, 0, 1 << 20),
        min_batch,
        max_batch: min_batch + u16::try_from(between(random, 0, 128)).unwrap(),
        staggered_from: 1 << between(random, 10, 19),
        least_stagger_bytes: 64 << between(random, 0, 5),
    }
}

#[test]
fn random_bounds_yield_a_table_that_keeps_to_them_or_none() {
    let mut random = Seed::from_environment_or(0x5eed_0001);
    let mut made = 0;
    for _ in 0..2000 {
        let bounds = random_bounds(&mut random);
        let page_shift = between(&mut random, 12, 18);
        match SizeClassTable::generate(page_shift, &bounds) {
            Ok(table) => {
                assert_eq!(table.validate(&bounds), Ok(()), "2^{page_shift}, {bounds:?}");
                made += 1;
            }
            Err(
                Infeasible::NoClass { .. }
                | Infeasible::NoSpan { .. }
                | Infeasible::TooManyClasses { .. },
            ) => {}
            Err(error) => panic!("{error} for 2^{page_shift}, {bounds:?}"),
        }
    }
    println!("{made} of 2000 bounds were feasible");
    assert!(made >= 500, "only {made} of 2000 bounds were feasible");
}

#[test]
fn random_sizes_yield_a_table_whose_lookup_is_right_or_a_named_violation() {
    let mut random = Seed::from_environment_or(0x5eed_0001);
    for _ in 0..500 {
        let mut sizes: Vec<u32> = (0..between(&mut random, 1, 140))
            .map(|_| match between(&mut random, 0, 2) {
                0 => between(&mut random, 1, 128) * 8,
                1 => between(&mut random, 9, 2048) * 128,
                _ => 8 << between(&mut random, 0, 15),
            })
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        let generous = Bounds {
            alignment: 8,
            object_waste_per_mille: 1000,
            span_waste_per_mille: 500,
            ..Bounds::STANDARD
        };
        match SizeClassTable::from_sizes(13, &generous, &sizes) {
            Ok(table) => check_lookup(&table, &sizes, &generous),
            Err(Infeasible::TooManyClasses { count }) => assert_eq!(count, sizes.len() + 1),
            Err(error) => panic!("{error} for {sizes:?}"),
        }
    }
}

/// Compares the lookup with a search among the sizes.
fn check_lookup(table: &SizeClassTable, sizes: &[u32], bounds: &Bounds) {
    for size in (0..=MAX_SIZE).step_by(61) {
        let expected = sizes.iter().map(|&size| size as usize).find(|&class| class >= size);
        assert_eq!(table.entry(size).map(|entry| entry.size()), expected, "{sizes:?}");
    }
    match table.validate(bounds) {
        Ok(()) => assert!((3..18).all(|shift| sizes.contains(&(1 << shift)))),
        Err(Violation::PowerOfTwo { .. }) => {
            assert!(!(3..19).all(|shift| sizes.contains(&(1 << shift))));
        }
        Err(Violation::Last { .. }) => assert!(!sizes.contains(&(256 << 10))),
        Err(violation) => panic!("{violation} in {sizes:?}"),
    }
}

/// The fewest classes that any choice of sizes has, the sizes between 8 KiB and the largest not
/// thinned out.
fn fewest_classes(page_shift: u32, bounds: &Bounds) -> usize {
    let mut sizes = vec![8];
    sizes.extend((16..1024).step_by(16));
    sizes.extend((1024..=256 << 10).step_by(128));
    let mut fewest = vec![1; sizes.len()];
    for at in 1..sizes.len() {
        let from = sizes[..at].iter().rposition(|size: &u32| size.is_power_of_two()).unwrap();
        let reachable = (from..at).filter(|&before| {
            bounds.allow_step(sizes[before], sizes[at]) || before == at - 1 && sizes[at] <= 128
        });
        fewest[at] = match span_shape(page_shift, sizes[at], bounds) {
            Some(_) => reachable.map(|before| fewest[before]).min().unwrap_or(9999) + 1,
            None => 9999,
        };
    }
    fewest[sizes.len() - 1] + 1
}

#[test]
fn no_choice_of_sizes_within_the_standard_bounds_has_fewer_classes() {
    for table in [Pages4K::TABLE, Pages8K::TABLE, Pages32K::TABLE, Pages256K::TABLE] {
        assert_eq!(table.count(), fewest_classes(table.page_shift(), &Bounds::STANDARD));
    }
}

/// What a class wastes, as the description of [`cost`] says it, in real numbers.
fn waste(below: u32, size: u32, page_shift: u32, bounds: &Bounds) -> f64 {
    let span = span_shape(page_shift, size, bounds).unwrap();
    let size = f64::from(size);
    let width = size - f64::from(below);
    let page_bytes = f64::from(1 << page_shift);
    let span_bytes = f64::from(span.pages) * page_bytes;
    let tail = span_bytes - f64::from(span.objects) * size;
    let short = f64::from(bounds.cheap_span_bytes).max((size / page_bytes).ceil() * page_bytes);
    let excess = (span_bytes - short).max(0.0) / short;
    width / size * (width / 2.0 / size + tail / span_bytes + excess / 32.0)
}

/// What rounding may make of the sum of two classes' waste.
const ROUNDING: f64 = 8.0 / (1 << 20) as f64;

#[test]
fn the_cost_of_a_class_is_what_it_wastes() {
    let mut random = Seed::from_environment_or(0x5eed_0001);
    for _ in 0..2000 {
        let page_shift = between(&mut random, 12, 18);
        let size = between(&mut random, 1, 2048) * 128;
        let below = size - size.min(between(&mut random, 1, 1 << 10) * 8);
        let bounds =
            Bounds { cheap_span_bytes: between(&mut random, 0, 1 << 16), ..Bounds::STANDARD };
        let Some(span) = span_shape(page_shift, size, &bounds) else { continue };
        let cost = cost(below, size, span, page_shift, &bounds);
        let waste = waste(below, size, page_shift, &bounds);
        let error = f64::from(u32::try_from(cost).unwrap()) / f64::from(1 << 20) - waste;
        assert!(error.abs() <= ROUNDING, "{below} to {size}, 2^{page_shift}: {cost}, {waste}");
    }
}

#[test]
fn no_class_could_have_another_size_and_less_be_wasted() {
    let bounds = &Bounds::STANDARD;
    for table in [Pages4K::TABLE, Pages8K::TABLE, Pages32K::TABLE, Pages256K::TABLE] {
        let shift = table.page_shift();
        let sizes: Vec<u32> = table.classes().map(|class| table.info(class).size).collect();
        let (candidates, count) = candidates(shift, bounds);
        for neighbours in sizes.windows(3).filter(|three| !three[1].is_power_of_two()) {
            let &[below, chosen, above] = neighbours else { unreachable!("three of them") };
            let through =
                |size| waste(below, size, shift, bounds) + waste(size, above, shift, bounds);
            let others = candidates[1..count].iter().filter(|other| {
                let between = below < other.size && other.size < above;
                between
                    && other.span.is_some()
                    && bounds.allow_step(below, other.size)
                    && bounds.allow_step(other.size, above)
            });
            for other in others {
                let (here, there) = (through(chosen), through(other.size));
                assert!(here <= there + ROUNDING, "2^{shift}: {} for {chosen}", other.size);
            }
        }
    }
}

#[test]
fn half_and_twice_of_the_standard_bounds_do_what_their_description_says() {
    let standard = Bounds::STANDARD;
    let classes = |bounds| SizeClassTable::generate(13, &bounds).map(|table| table.count() - 1);
    assert_eq!(classes(standard), Ok(77));
    assert_eq!(classes(Bounds { alignment: 8, ..standard }), Ok(82));
    let halved = classes(Bounds { object_waste_per_mille: 62, ..standard });
    assert_eq!(halved, Err(Infeasible::TooManyClasses { count: 143 }));
    assert_eq!(classes(Bounds { object_waste_per_mille: 250, ..standard }), Ok(41));
    let halved = classes(Bounds { span_waste_per_mille: 62, ..standard });
    assert_eq!(halved, Err(Infeasible::NoClass { size: 2048 }));
    assert_eq!(classes(Bounds { span_waste_per_mille: 250, ..standard }), Ok(77));
    for table in [Pages4K::TABLE, Pages8K::TABLE, Pages32K::TABLE, Pages256K::TABLE] {
        let longer = Bounds { max_span_pages: 128, ..standard };
        assert_eq!(SizeClassTable::generate(table.page_shift(), &longer).as_ref(), Ok(table));
    }
}

#[test]
fn spans_have_the_preferred_objects_where_that_is_cheap() {
    let unstaggered = Bounds { staggered_from: u32::MAX, ..Bounds::STANDARD };
    let shape = |size| span_shape(13, size, &unstaggered).unwrap();
    assert_eq!((shape(1024).pages, shape(1024).objects), (1, 8));
    assert_eq!((shape(2048).pages, shape(2048).objects), (2, 8));
    assert_eq!((shape(4096).pages, shape(4096).objects), (4, 8));
    assert_eq!((shape(8192).pages, shape(8192).objects), (4, 4));
    assert_eq!((shape(32768).pages, shape(32768).objects), (4, 1));
    assert_eq!((shape(40960).pages, shape(40960).objects), (5, 1));
}

#[test]
fn spans_of_staggered_objects_have_a_tail_where_the_bounds_allow() {
    let shape = |size| span_shape(13, size, &Bounds::STANDARD).unwrap();
    assert_eq!((shape(8192).pages, shape(8192).objects), (4, 4));
    assert_eq!((shape(16384).pages, shape(16384).objects), (9, 4));
    assert_eq!((shape(32768).pages, shape(32768).objects), (9, 2));
    assert_eq!((shape(65536).pages, shape(65536).objects), (9, 1));
    assert_eq!((shape(262_144).pages, shape(262_144).objects), (33, 1));
    // Pages of 256 KiB have no span of these without a tail of another object.
    let shape = |size| span_shape(18, size, &Bounds::STANDARD).unwrap();
    assert_eq!((shape(16384).pages, shape(16384).objects), (1, 16));
}

#[test]
fn batches_are_the_objects_of_64_kib_from_2_to_32() {
    let batch = |size| Bounds::STANDARD.batch(size);
    assert_eq!([8, 2048, 4096, 5248, 32768, 262_144].map(batch), [32, 32, 16, 12, 2, 2]);
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    let standard = Bounds::STANDARD;
    let refused = |page_shift, bounds| SizeClassTable::generate(page_shift, &bounds).unwrap_err();
    for shift in [0, 11, 19, u32::MAX] {
        assert_eq!(refused(shift, standard), Infeasible::PageShift { shift });
    }
    for alignment in [0, 4, 24, 256] {
        let error = refused(13, Bounds { alignment, ..standard });
        assert_eq!(error, Infeasible::Alignment { bytes: alignment });
    }
    let error = refused(13, Bounds { min_batch: 0, ..standard });
    assert_eq!(error, Infeasible::Batch { min: 0, max: 32 });
    let error = refused(13, Bounds { min_batch: 33, ..standard });
    assert_eq!(error, Infeasible::Batch { min: 33, max: 32 });
    let error = refused(12, Bounds { max_span_pages: 63, ..standard });
    assert_eq!(error, Infeasible::NoClass { size: 256 << 10 });
    let error = refused(13, Bounds { object_waste_per_mille: 10, ..standard });
    assert!(matches!(error, Infeasible::TooManyClasses { .. }));
}

#[test]
fn sizes_that_the_lookup_cannot_tell_apart_are_refused() {
    let refused = |sizes: &[u32]| SizeClassTable::from_sizes(13, &Bounds::STANDARD, sizes);
    for (sizes, size) in [
        (&[0][..], 0),
        (&[8, 8], 8),
        (&[16, 8], 8),
        (&[8, 20], 20),
        (&[8, 1032], 1032),
        (&[8, (256 << 10) + 128], (256 << 10) + 128),
    ] {
        assert_eq!(refused(sizes), Err(Infeasible::Size { size }));
    }
    assert_eq!(refused(&[7168 + 128 * 10]).unwrap().count(), 2);
}

#[test]
fn a_size_without_a_span_is_named() {
    let bounds = Bounds { span_waste_per_mille: 0, max_span_pages: 1, ..Bounds::STANDARD };
    let error = SizeClassTable::from_sizes(13, &bounds, &[8, 48]).unwrap_err();
    assert_eq!(error, Infeasible::NoSpan { size: 48 });
    assert_eq!(error.to_string(), "no span holds objects of 48 bytes");
}
