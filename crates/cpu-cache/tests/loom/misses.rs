//! Threads of one CPU that miss, and one that is moved.

use crate::model::{Model, explore, small, spawn};
use strata_cpu_cache::Seat;

#[test]
fn two_threads_of_one_cpu_underflow_at_once() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let other = spawn(&model, |model| {
            let object = model.take(small());
            model.give(small(), object);
        });
        let object = model.take(small());
        model.give(small(), object);
        other.join().expect("no panic");
        model.assert_nothing_is_out();
    });
}

#[test]
fn two_threads_of_one_cpu_overflow_at_once() {
    explore(2, || {
        // Room for two.
        let model = Model::new(4096);
        let objects: [_; 3] = core::array::from_fn(|_| model.take(small()).addr());
        let [first, second, third] = objects;
        let other = spawn(&model, move |model| {
            model.give(small(), core::ptr::without_provenance_mut(first));
        });
        model.give(small(), core::ptr::without_provenance_mut(second));
        model.give(small(), core::ptr::without_provenance_mut(third));
        other.join().expect("no panic");
        model.assert_nothing_is_out();
    });
}

#[test]
fn a_thread_is_moved_while_it_refills() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let seat = Seat::new(0);
        let owner = spawn(&model, {
            let seat = seat.clone();
            move |model: &Model| {
                seat.take();
                let object = model.take(small());
                model.give(small(), object);
            }
        });
        seat.move_to(&model.cache, 1);
        // Where it was, another takes its place.
        let object = model.take(small());
        model.give(small(), object);
        owner.join().expect("no panic");
        model.assert_nothing_is_out();
    });
}
