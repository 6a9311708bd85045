//! Caches that are emptied while their CPU works.

use crate::model::{Model, WITH_THREAD, explore, large, small, spawn};
use strata_cpu_cache::StopRefusal;

#[test]
fn drain_while_owner_pops() {
    explore(3, || {
        let model = Model::new(1 << 20);
        model.cache_two();
        let before = model.cache.pops(0, small());
        let owner = spawn(&model, |model| {
            let popped = [model.pop(small()), model.pop(small())].into_iter().flatten().count();
            // What was popped is counted, however much was drained.
            assert_eq!(model.source.count(small(), WITH_THREAD), popped);
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        let popped = model.source.count(small(), WITH_THREAD);
        assert_eq!((model.cache.pops(0, small()) - before) as usize, popped);
        model.assert_whole();
    });
}

#[test]
fn drain_while_owner_pushes() {
    explore(3, || {
        let model = Model::new(1 << 20);
        let first = model.take(small()).addr();
        let second = model.take(small()).addr();
        let owner = spawn(&model, move |model| {
            for object in [first, second] {
                model.push(small(), core::ptr::without_provenance_mut(object));
            }
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn drain_while_owner_moves_batches() {
    explore(3, || {
        let model = Model::new(1 << 20);
        let first = model.take(small());
        let owner = spawn(&model, Model::move_a_batch);
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.give(small(), first);
        model.assert_whole();
    });
}

#[test]
fn drain_while_a_slow_path_grows() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let first = model.take(small()).addr();
        let owner = spawn(&model, move |model| {
            let second = model.refill(small()).expect("the source has enough");
            model.overflow(small(), core::ptr::without_provenance_mut(first));
            model.give(small(), second);
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn drain_while_a_class_takes_anothers_capacity() {
    explore(2, || {
        // Room for two small objects or one large one.
        let model = Model::new(4096);
        let first = model.take(small());
        model.give(small(), first);
        let owner = spawn(&model, |model| {
            let object = model.refill(large()).expect("the source has enough");
            model.give(large(), object);
        });
        assert!(model.drain(0).is_ok());
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn two_drains_meet_while_a_slow_path_grows() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let (first, second) = (model.take(small()), model.take(small()).addr());
        model.give(small(), first);
        let drain = |model: &Model| {
            let drained = model.drain(0);
            assert!(drained.is_ok() || drained == Err(StopRefusal::Busy));
        };
        let other = spawn(&model, drain);
        let owner = spawn(&model, move |model| {
            model.overflow(small(), core::ptr::without_provenance_mut(second));
        });
        drain(&model);
        other.join().expect("no panic");
        owner.join().expect("no panic");
        model.assert_nothing_is_out();
    });
}
