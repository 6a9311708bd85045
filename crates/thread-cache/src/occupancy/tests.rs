use super::Occupancy;
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::thread;
use strata_sync::asymmetric::prepare_heavy_fence;

#[test]
fn an_owner_that_is_inside_is_seen_by_who_claims() {
    let occupancy = Occupancy::new();
    let inside = occupancy.enter().unwrap();
    let claim = occupancy.claim();
    assert!(!claim.is_vacant());
    drop(inside);
    assert!(claim.is_vacant());
    assert!(occupancy.enter().is_none());
    assert!(claim.is_vacant(), "who was turned away is outside");
    drop(claim);
    assert!(occupancy.enter().is_some());
}

#[test]
fn each_use_of_the_cache_is_a_sign_of_life() {
    let occupancy = Occupancy::new();
    let before = occupancy.steps();
    assert_eq!(occupancy.steps(), before);
    drop(occupancy.enter());
    assert_ne!(occupancy.steps(), before);
}

/// loom does not know the fence that a system call puts into other threads: here it is the real one.
#[test]
fn owner_and_claimer_are_never_both_inside() {
    if !prepare_heavy_fence() {
        return;
    }
    static OCCUPANCY: Occupancy = Occupancy::new();
    // Written without any order by both: a word that nothing but the protocol guards.
    static WORD: AtomicU64 = AtomicU64::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);
    let add = || {
        let word = WORD.load(Ordering::Relaxed);
        core::hint::spin_loop();
        WORD.store(word + 1, Ordering::Relaxed);
    };
    let owner = thread::spawn(move || {
        let mut entries = 0;
        while !STOP.load(Ordering::Relaxed) {
            if let Some(_inside) = OCCUPANCY.enter() {
                add();
                entries += 1;
            }
        }
        entries
    });
    let mut taken = 0;
    let end = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < end {
        let claim = OCCUPANCY.claim();
        if Occupancy::fence() && claim.is_vacant() {
            add();
            taken += 1;
        }
        drop(claim);
    }
    STOP.store(true, Ordering::Relaxed);
    let entries: u64 = owner.join().unwrap();
    assert_eq!(WORD.load(Ordering::Relaxed), entries + taken, "{entries} entries, {taken} taken");
}
