use super::*;
use std::{thread, vec::Vec};

fn of(thread: u32) -> Holder {
    Holder::of_thread(thread)
}

#[test]
fn a_record_keeps_size_and_thread() {
    for size in [0, 1, 100, strata_size_classes::MAX_SIZE] {
        let record = Record::live(size, of(u32::MAX));
        assert_eq!((record.state(), record.size(), record.thread()), (State::Live, size, u32::MAX));
    }
    assert_eq!(Record::freed(of(7)).state(), State::Freed);
    assert_eq!(Record::freed(of(7)).thread(), 7);
    assert_eq!(Record::load(&AtomicU64::new(0)).state(), State::New);
}

#[test]
fn a_block_is_given_back_once_by_its_thread_or_by_another() {
    let word = AtomicU64::new(0);
    assert_eq!(Record::give_back(&word, of(7)).state(), State::New);
    assert_eq!(Record::give_back_own(&word, of(7)), None);
    assert_eq!(Record::load(&word).state(), State::New, "what is no block stays as it is");
    for size in [0, 100, strata_size_classes::MAX_SIZE] {
        Record::live(size, of(7)).store(&word);
        assert_eq!(Record::give_back_own(&word, of(8)), None, "another's");
        assert_eq!(Record::give_back_own(&word, of(7)), Some(size));
        assert_eq!(Record::give_back_own(&word, of(7)), None, "no longer");
        assert_eq!(Record::give_back(&word, of(9)), Record::freed(of(7)));
        assert_eq!(Record::load(&word), Record::freed(of(7)), "the first stays known");
        Record::live(size, of(7)).store(&word);
        assert_eq!(Record::give_back(&word, of(9)), Record::live(size, of(7)));
        assert_eq!(Record::give_back_own(&word, of(7)), None, "no longer");
    }
}

/// Of threads that did not hand the block out, one alone gives it back, however they meet.
#[test]
fn of_two_other_threads_one_gives_a_block_back() {
    const ROUNDS: usize = 2000;
    let words: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(0)).collect();
    words.iter().for_each(|word| Record::live(1, of(1)).store(word));
    let given = |thread| {
        let is_given = |word| Record::give_back(word, of(thread)).state() == State::Live;
        words.iter().filter(|word| is_given(word)).count()
    };
    let sum = thread::scope(|scope| {
        let other = scope.spawn(|| given(2));
        given(3) + other.join().expect("it counts")
    });
    assert_eq!(sum, ROUNDS);
}

#[test]
fn a_neighbour_that_is_freed_while_it_is_looked_at_is_looked_at_again() {
    let word = AtomicU64::new(0);
    Record::live(100, of(7)).store(&word);
    let end = AtomicU64::new(0);
    let look = |state| match state {
        State::New => true,
        // The look at a live block's end comes too late: it is filled as a free one's is.
        State::Live => {
            Record::freed(of(7)).store(&word);
            end.store(1, Ordering::Relaxed);
            false
        }
        State::Freed => end.load(Ordering::Relaxed) == 1,
    };
    assert!(Record::is_borne_out(&word, look));
    end.store(2, Ordering::Relaxed);
    assert!(!Record::is_borne_out(&word, look), "nobody freed it, and it was written to");
}
