use super::{Backing, HugepageAdvice, PageState, Segments};
use crate::{AddressRange, Purpose};
use std::collections::BTreeMap;
use std::vec::Vec;

const fn state(backing: Backing) -> PageState {
    PageState {
        purpose: Purpose::Heap,
        backing,
        advice: HugepageAdvice::None,
        split: false,
        collapsed: false,
    }
}

const fn range(start: usize, end: usize) -> AddressRange {
    AddressRange::new(start, end - start)
}

#[test]
fn a_change_in_the_middle_makes_three_and_undone_one() {
    let mut segments = Segments::new();
    segments.insert(range(0, 100), state(Backing::Reserved));
    segments.update(range(40, 60), |_, _| state(Backing::Resident));
    assert_eq!(segments.len(), 3);
    let parts: Vec<_> = segments.parts(range(50, 70)).map(|(part, _)| part).collect();
    assert_eq!(parts, [range(50, 60), range(60, 70)]);
    segments.update(range(40, 60), |_, _| state(Backing::Reserved));
    assert_eq!(segments.len(), 1);
}

#[test]
fn a_gap_is_found_between_and_behind() {
    let mut segments = Segments::new();
    segments.insert(range(10, 20), state(Backing::Reserved));
    segments.insert(range(40, 50), state(Backing::Reserved));
    let within = range(0, 100);
    assert_eq!(segments.find_gap(within, 10, 1), Some(0));
    assert_eq!(segments.find_gap(within, 15, 1), Some(20));
    assert_eq!(segments.find_gap(within, 16, 16), Some(64));
    assert_eq!(segments.find_gap(within, 51, 1), None);
}

#[test]
#[should_panic(expected = "overlaps what is reserved")]
fn what_overlaps_is_not_inserted() {
    let mut segments = Segments::new();
    segments.insert(range(10, 20), state(Backing::Reserved));
    segments.insert(range(19, 21), state(Backing::Reserved));
}

#[test]
fn segments_agree_with_a_table_of_pages_and_are_never_more_than_needed() {
    const BACKINGS: [Backing; 4] =
        [Backing::Reserved, Backing::Resident, Backing::Lazy, Backing::Released];
    let mut seed = 0x5EED_u64;
    std::eprintln!("seed {seed:#x}");
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    let mut segments = Segments::new();
    let mut model = BTreeMap::new();
    for _ in 0..20_000 {
        let start = random(200);
        let at = range(start, start + 1 + random(30));
        let backing = BACKINGS[random(4)];
        match random(4) {
            0 if segments.parts(at).next().is_none() => {
                segments.insert(at, state(backing));
                model.extend((at.start..at.end()).map(|page| (page, backing)));
            }
            1 => {
                segments.remove(at);
                model.retain(|page, _| !at.contains(*page));
            }
            _ => {
                segments.update(at, |_, _| state(backing));
                model.range_mut(at.start..at.end()).for_each(|(_, had)| *had = backing);
            }
        }
        let all = range(0, 300);
        let pages = segments.parts(all).flat_map(|(part, state)| {
            (part.start..part.end()).map(move |page| (page, state.backing))
        });
        assert!(pages.eq(model.iter().map(|(&page, &backing)| (page, backing))));
        let pairs: Vec<_> = segments.parts(all).collect();
        assert!(
            pairs.windows(2).all(|two| two[0].0.end() != two[1].0.start || two[0].1 != two[1].1)
        );
    }
}
