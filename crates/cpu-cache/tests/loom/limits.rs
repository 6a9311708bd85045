//! Limits that move to other CPUs while theirs works.

use crate::model::{IDS, Model, explore, small, spawn};
use strata_cpu_cache::Seat;
use strata_os::SimulatedPages;

#[test]
fn limit_moves_to_a_cpu_that_misses_while_the_other_pops() {
    explore(2, || {
        // Each may have two small objects, or one large one.
        let model = Model::new(4096);
        let (seat, there) = (Seat::new(0), Seat::new(1));
        there.take();
        let kept = model.take(small());
        model.give(small(), kept);
        seat.take();
        let objects: [_; 3] = core::array::from_fn(|_| model.take(small()));
        let owner = spawn(&model, {
            let there = there.clone();
            move |model: &Model| {
                there.take();
                if let Some(object) = model.pop(small()) {
                    model.give(small(), object);
                }
            }
        });
        model.cache.shuffle(&model.source);
        owner.join().expect("no panic");
        for object in objects {
            model.give(small(), object);
        }
        let limits: u64 = (0..IDS).map(|id| model.cache.cpu_stats(id).limit_bytes).sum();
        assert_eq!(limits, 2 * 4096, "limits move and stay the same");
        model.assert_nothing_is_out();
    });
}

#[test]
fn limit_is_called_back_while_its_borrower_pops() {
    explore(2, || {
        // Each may have two small objects, or one large one.
        let model = Model::new(4096);
        let (seat, there) = (Seat::new(0), Seat::new(1));
        there.take();
        let kept = model.take(small());
        model.give(small(), kept);
        seat.take();
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        // The first one's limit grows by twentieths, until it has three objects and the other one's limit is for none.
        for _ in 0..14 {
            let objects: [_; 4] = core::array::from_fn(|_| model.take(small()));
            objects.into_iter().for_each(|object| model.give(small(), object));
            model.cache.shuffle(&model.source);
        }
        assert!(model.cache.cpu_stats(1).limit_bytes < 2048);
        assert!(model.cache.cpu_stats(0).capacity_bytes >= 3 * 2048);
        let borrower = spawn(&model, {
            let seat = seat.clone();
            move |model: &Model| {
                seat.take();
                if let Some(object) = model.pop(small()) {
                    model.give(small(), object);
                }
            }
        });
        there.take();
        let called_back = model.cache.recall(&model.source, 1);
        borrower.join().expect("no panic");
        assert!(called_back > 0);
        let limits = [0, 1].map(|id| model.cache.cpu_stats(id).limit_bytes);
        assert_eq!(limits[0] + limits[1], 2 * 4096, "limits move and stay the same");
        model.assert_nothing_is_out();
    });
}

#[test]
fn two_threads_use_a_cpu_first_while_another_was_never_used() {
    const LIMIT: u64 = 4096;
    explore(1, || {
        let model = Model::new(LIMIT as usize);
        let other = spawn(&model, |model| {
            let object = model.take(small());
            model.give(small(), object);
        });
        let object = model.take(small());
        model.give(small(), object);
        other.join().expect("no panic");
        // A limit in all is the other CPU's, of which nobody borrows so little.
        let unused = model.cache.unused_limit_bytes();
        assert!(unused <= LIMIT, "{unused}");
        assert_eq!(model.cache.cpu_stats(0).limit_bytes + unused, u64::from(IDS) * LIMIT);
        model.assert_nothing_is_out();
    });
}
