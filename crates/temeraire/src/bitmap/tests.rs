use super::{Bitmap, Fit};
use std::{vec, vec::Vec};
use strata_os::Seed;

const LENGTH: usize = 200;

/// The gaps of a plain array.
fn gaps_of(model: &[bool]) -> Vec<(usize, usize)> {
    let mut gaps: Vec<(usize, usize)> = Vec::new();
    for (index, used) in model.iter().enumerate() {
        match gaps.last_mut() {
            _ if *used => {}
            Some((start, length)) if *start + *length == index => *length += 1,
            _ => gaps.push((index, 1)),
        }
    }
    gaps
}

fn longest_of(model: &[bool]) -> usize {
    gaps_of(model).iter().map(|gap| gap.1).max().unwrap_or(0)
}

#[test]
fn gaps_and_counts_are_those_of_a_plain_array() {
    let mut random = Seed::from_environment_or(1);
    let (bitmap, mut model) = (Bitmap::<4>::empty(), vec![false; LENGTH]);
    for _ in 0..3000 {
        let start = random.below(LENGTH);
        let count = 1 + random.below((LENGTH - start).min(90));
        let insert = random.below(2) == 0;
        if insert {
            bitmap.insert(start, count);
        } else {
            bitmap.remove(start, count);
        }
        model[start..start + count].fill(insert);
        assert_eq!(bitmap.gaps(LENGTH).collect::<Vec<_>>(), gaps_of(&model));
        let inverse: Vec<bool> = model.iter().map(|used| !used).collect();
        assert_eq!(bitmap.runs(LENGTH).collect::<Vec<_>>(), gaps_of(&inverse));
        let (from, many) = (random.below(LENGTH), random.below(64));
        let end = (from + many).min(LENGTH);
        let expected = model[from..end].iter().filter(|used| **used).count();
        assert_eq!(bitmap.count(from, end - from), expected);
        assert_eq!(bitmap.contains(from), model[from]);
        if !model[from] {
            let gap = gaps_of(&model).into_iter().find(|gap| from < gap.0 + gap.1).unwrap();
            assert_eq!(bitmap.gap_around(from, LENGTH), gap.1);
        }
    }
}

#[test]
fn the_best_fit_is_the_shortest_gap_with_room_and_the_longest_left_is_right() {
    let mut random = Seed::from_environment_or(2);
    for _ in 0..3000 {
        let (bitmap, mut model) = (Bitmap::<4>::empty(), vec![false; LENGTH]);
        for _ in 0..random.below(20) {
            let start = random.below(LENGTH);
            let count = 1 + random.below((LENGTH - start).min(30));
            bitmap.insert(start, count);
            model[start..start + count].fill(true);
        }
        let (count, align) = (1 + random.below(40), 1 << random.below(5));
        let place = |gap: &(usize, usize)| gap.0.next_multiple_of(align);
        let expected = gaps_of(&model)
            .into_iter()
            .filter(|gap| place(gap) + count <= gap.0 + gap.1)
            .min_by_key(|gap| gap.1)
            .map(|gap| place(&gap));
        let found = bitmap.best_fit(count, align, longest_of(&model), LENGTH);
        assert_eq!(found.map(|fit| fit.start), expected);
        if let Some(Fit { start, longest_left }) = found {
            model[start..start + count].fill(true);
            assert_eq!(longest_left, longest_of(&model));
        }
    }
}
