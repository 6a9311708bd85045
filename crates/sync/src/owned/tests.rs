use super::*;
use crate::asymmetric::prepare_heavy_fence;
use core::cell::Cell;
use std::{
    println,
    sync::{Arc, mpsc},
    thread,
};
use strata_os::refuse_calls;

fn owned() -> Arc<Owned<[Cell<u64>; 2]>> {
    let mut owned = Owned::new([Cell::new(0), Cell::new(0)]);
    if !prepare_heavy_fence() {
        owned.share();
    }
    owned.into()
}

/// Two words that are equal whenever nobody is inside.
fn step(value: &[Cell<u64>; 2]) {
    assert_eq!(value[0], value[1], "somebody else is inside");
    value[0].update(|count| count + 1);
    core::hint::black_box(value);
    value[1].update(|count| count + 1);
}

/// Works with the value as the heap does: the owner's way if it is open.
fn work(owned: &Owned<[Cell<u64>; 2]>, token: Token) {
    match owned.enter(token) {
        Some(entered) => step(&entered),
        None => owned.with(token, step),
    }
}

#[test]
fn visitors_and_the_owner_are_never_inside_at_once() {
    let owned = owned();
    let owner = thread::spawn({
        let owned = owned.clone();
        move || {
            let token = Token::here();
            (0..300_000).for_each(|_| work(&owned, token));
        }
    });
    let mut visits = 0;
    while !owner.is_finished() {
        owned.visit(step);
        visits += 1;
    }
    owner.join().expect("the owner is never disturbed");
    assert_eq!(owned.visit(|value| value[0].get()), 300_000 + visits);
}

#[test]
fn threads_that_come_after_the_first_share() {
    let owned = owned();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let token = Token::here();
                (0..20_000).for_each(|_| work(&owned, token));
            });
        }
        scope.spawn(|| (0..2_000).for_each(|_| work(&owned, Token::NONE)));
    });
    assert_eq!(owned.visit(|value| [value[0].get(), value[1].get()]), [82_000, 82_000]);
}

/// A thread that owns the value, and works with it once for each word from the channel. It ends with the channel.
fn owner(owned: &Arc<Owned<[Cell<u64>; 2]>>) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (send, receive) = mpsc::channel();
    let (owned, (ready, is_ready)) = (owned.clone(), mpsc::channel());
    let owner = thread::spawn(move || {
        let token = Token::here();
        owned.with(token, step);
        ready.send(()).expect("somebody waits");
        receive.iter().for_each(|()| work(&owned, token));
    });
    is_ready.recv().expect("it owns the value");
    (send, owner)
}

#[test]
fn a_value_that_was_left_has_a_new_owner() {
    let owned = owned();
    let is_ownable = !owned.is_never_owned.load(Ordering::Relaxed);
    let owner = || owned.owner.load(Ordering::Relaxed);
    let token = Token::here();
    owned.with(token, step);
    assert_eq!(owned.enter(token).is_some(), is_ownable);
    thread::scope(|scope| {
        scope.spawn(|| {
            let token = Token::here();
            owned.with(token, step);
            assert_eq!(owner(), SHARED, "two threads");
            // SAFETY: this thread is outside, and the others that came have left.
            unsafe { owned.leave(token, || false) };
            assert_eq!(owner(), SHARED, "there may be more");
        });
    });
    assert!(owned.enter(token).is_none());
    // SAFETY: this thread is outside, and the others that came have left.
    unsafe { owned.leave(token, || true) };
    assert_eq!(owner(), if is_ownable { NOBODY } else { SHARED });
    owned.with(token, step);
    assert_eq!(owned.enter(token).is_some(), is_ownable, "the first that comes");
    // SAFETY: this thread is outside, and the others that came have left.
    unsafe { owned.leave(token, || false) };
    assert_eq!(owner(), if is_ownable { NOBODY } else { SHARED }, "it was alone");
}

#[test]
fn nobody_passes_by_the_token_of_a_thread_that_left_and_came_again() {
    let owned = owned();
    let token = Token::here();
    owned.with(token, step);
    // SAFETY: this thread is outside.
    unsafe { owned.leave(token, || false) };
    // A signal comes to a thread that ends, and its handler works with the value.
    owned.with(token, step);
    thread::scope(|scope| {
        scope.spawn(|| {
            let token = Token::here();
            owned.with(token, step);
            // SAFETY: this thread is outside, and the other one has left.
            unsafe { owned.leave(token, || true) };
        });
    });
    let nobody = if owned.is_never_owned.load(Ordering::Relaxed) { SHARED } else { NOBODY };
    assert_eq!(owned.owner.load(Ordering::Relaxed), nobody);
    assert_eq!(owned.outside.load(Ordering::Relaxed), NOBODY);
}

#[test]
fn who_lost_the_value_is_told_so_by_the_first_look() {
    let owned = owned();
    let token = Token::here();
    owned.with(token, step);
    thread::scope(|scope| _ = scope.spawn(|| owned.with(Token::here(), step)));
    owned.with(token, step);
    assert_eq!(owned.outside.load(Ordering::Relaxed), NOBODY);
}

#[test]
fn who_owned_it_before_the_fork_owns_it_in_the_child() {
    let owned = owned();
    let token = Token::here();
    owned.with(token, step);
    let was_owner = owned.enter(token).is_some();
    // SAFETY: nobody acquired it; no other thread knows of it, so that this one is alone as in a child.
    unsafe { owned.forget_vanished() };
    assert_eq!(owned.enter(token).is_some(), was_owner);
}

#[test]
fn an_owner_stays_outside_while_another_thread_forks() {
    let owned = owned();
    let (send, owner) = owner(&owned);
    owned.acquire();
    let is_shared = owned.owner.load(Ordering::Relaxed) == SHARED;
    assert!(is_shared || owned.gate.load(Ordering::Relaxed) == CLAIMED);
    send.send(()).expect("the owner lives");
    let visitor = thread::spawn({
        let owned = owned.clone();
        move || owned.visit(|value| value[0].get())
    });
    // SAFETY: taken above.
    unsafe { owned.release() };
    assert!((1..=2).contains(&visitor.join().expect("it comes in")));
    drop(send);
    owner.join().expect("it comes in, too");
    assert_eq!(owned.visit(|value| value[0].get()), 2);
}

#[test]
fn an_owner_that_forks_is_the_owner_still() {
    let owned = owned();
    let token = Token::here();
    owned.with(token, step);
    owned.acquire();
    let other = thread::spawn({
        let owned = owned.clone();
        move || owned.visit(|value| value[0].get())
    });
    // SAFETY: taken above.
    unsafe { owned.release() };
    assert_eq!(other.join().expect("it comes in"), 1);
    owned.with(token, step);
    assert_eq!(owned.visit(|value| value[0].get()), 2);
}

#[test]
fn a_fork_in_a_handler_leaves_the_claim_of_the_work_that_it_interrupted() {
    let owned = owned();
    let is_kept_outside = || {
        let is_shared = owned.owner.load(Ordering::Relaxed) == SHARED;
        is_shared || owned.gate.load(Ordering::Relaxed) == CLAIMED
    };
    let fork = || {
        owned.acquire();
        assert!(is_kept_outside());
        // SAFETY: acquired above.
        unsafe { owned.release() };
    };
    let (send, owner) = owner(&owned);
    owned.visit(|_| {
        fork();
        assert!(is_kept_outside(), "the visit goes on");
    });
    fork();
    send.send(()).expect("the owner lives");
    drop(send);
    owner.join().expect("it comes in");
    assert_eq!(owned.visit(|value| value[0].get()), 2);
}

#[test]
fn a_fork_in_a_handler_leaves_the_claim_of_the_owners_own_work() {
    let owned = owned();
    let token = Token::here();
    owned.with(token, step);
    owned.with(token, |_| {
        owned.acquire();
        // SAFETY: acquired above.
        unsafe { owned.release() };
        assert!(owned.enter(token).is_none(), "the work goes on");
    });
    let is_ownable = !owned.is_never_owned.load(Ordering::Relaxed);
    assert_eq!(owned.enter(token).is_some(), is_ownable);
}

#[test]
fn where_the_kernel_came_to_refuse_fences_nobody_owns_the_value_from_the_first_visit_on() {
    let owned = owned();
    let token = Token::here();
    owned.with(token, step);
    // A filter is the thread's that asks for it.
    let refused = thread::spawn({
        let owned = owned.clone();
        move || {
            let calls = [libc::SYS_membarrier, libc::SYS_sched_setaffinity];
            let is_refused = refuse_calls(&calls, libc::EPERM).is_ok();
            if is_refused {
                owned.visit(step);
            }
            is_refused
        }
    });
    if !refused.join().expect("it comes in") {
        println!("left out: no seccomp filters");
        return;
    }
    assert_eq!(owned.owner.load(Ordering::Relaxed), SHARED);
    assert!(owned.enter(token).is_none(), "it has the lock to take");
    owned.with(token, step);
    // SAFETY: this thread is outside, and the others that came have left.
    unsafe { owned.leave(token, || true) };
    owned.with(token, step);
    assert!(owned.enter(token).is_none(), "whoever comes later does, too");
    // SAFETY: as far as the value knows: no other thread is there, or comes.
    unsafe { owned.forget_vanished() };
    owned.with(token, step);
    assert!(owned.enter(token).is_none(), "in the child of a fork as well");
    assert_eq!(owned.visit(|value| value[0].get()), 5);
}
