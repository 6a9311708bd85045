//! Regions that get longer and shorter while their CPU works.

use crate::model::{Model, WITH_THREAD, explore, large, small, spawn};
use strata_cpu_cache::{REGION_BYTES, StopRefusal};
use strata_os::SimulatedPages;

#[test]
fn region_gets_longer_while_owner_pops_and_pushes() {
    explore(3, || {
        let model = Model::new(1 << 20);
        model.cache_two();
        let held = model.cache.objects(0, small());
        let owner = spawn(&model, |model| {
            if let Some(object) = model.pop(small()) {
                model.give(small(), object);
            }
        });
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        owner.join().expect("no panic");
        assert_eq!(model.source.count(small(), WITH_THREAD), 0);
        assert!(model.cache.objects(0, small()) <= held, "nothing appears");
        assert_eq!(model.cache.cpu_stats(0).region_bytes, REGION_BYTES as u64);
        model.assert_whole();
    });
}

#[test]
fn what_was_popped_is_never_found_while_the_region_gets_longer_and_shorter() {
    explore(3, || {
        let model = Model::new(1 << 20);
        // Its slot still has it.
        let object = model.take(large());
        model.give(large(), object);
        assert!(model.cache.holds(large(), object));
        let object = model.pop(large()).expect("it was given just now");
        let other = spawn(&model, |model| {
            assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
            let pages = SimulatedPages::new();
            assert_eq!(model.cache.shorten(&model.source, &pages, 0), Ok(true));
        });
        for _ in 0..2 {
            assert!(!model.cache.holds(large(), object), "the thread has it");
        }
        other.join().expect("no panic");
        model.give(large(), object);
        assert!(model.cache.holds(large(), object));
        model.assert_whole();
    });
}

#[test]
fn region_gets_longer_while_a_slow_path_gives_classes_slots() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let first = model.take(large());
        model.give(large(), first);
        let owner = spawn(&model, |model| {
            let object = model.refill(small()).expect("the source has enough");
            model.give(small(), object);
        });
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn region_gets_shorter_while_owner_moves_batches() {
    explore(3, || {
        let model = Model::new(1 << 20);
        assert_eq!(model.cache.lengthen(&SimulatedPages::new(), 0), Ok(true));
        model.cache_two();
        let owner = spawn(&model, Model::move_a_batch);
        let pages = SimulatedPages::new();
        assert_eq!(model.cache.shorten(&model.source, &pages, 0), Ok(true));
        owner.join().expect("no panic");
        model.assert_whole();
    });
}

#[test]
fn region_gets_longer_while_it_is_drained() {
    explore(2, || {
        let model = Model::new(1 << 20);
        let first = model.take(small());
        let other = spawn(&model, |model| {
            let drained = model.drain(0);
            assert!(drained.is_ok() || drained == Err(StopRefusal::Busy));
        });
        let longer = model.cache.lengthen(&SimulatedPages::new(), 0);
        assert!(matches!(longer, Ok(true) | Err(StopRefusal::Busy)), "{longer:?}");
        other.join().expect("no panic");
        model.give(small(), first);
        model.assert_whole();
    });
}
