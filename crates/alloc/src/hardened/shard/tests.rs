use super::*;
use std::{boxed::Box, collections::BTreeSet, vec::Vec};
use strata_size_classes::{PageSize, Pages8K};
use strata_sync::{Mutex, asymmetric::prepare_heavy_fence};

/// Counts upwards, and notes what came back.
#[derive(Default)]
struct Numbers {
    last: Mutex<usize>,
    back: Mutex<Vec<usize>>,
}

// SAFETY: 1. the count is what was written. 2. nobody follows these addresses. 3. nothing here unwinds.
unsafe impl ObjectSource for Numbers {
    fn take(&self, _: SizeClass, out: &mut [*mut u8]) -> usize {
        let mut last = self.last.lock();
        for slot in out.iter_mut() {
            *last += 16;
            *slot = core::ptr::without_provenance_mut(*last);
        }
        out.len()
    }
    unsafe fn give(&self, _: SizeClass, objects: &mut [*mut u8]) {
        self.back.lock().extend(objects.iter().map(|object| object.addr()));
    }
}

/// Whatever: nobody looks into records here.
fn no_record(_: *mut u8) -> Option<*const AtomicU64> {
    Some(core::ptr::null())
}

/// A slot, the common way or the other one.
fn allocate(shard: &Shard, token: Token, source: &Numbers, class: SizeClass) -> usize {
    let taken = shard.take(token, class, || true);
    let taken = taken.or_else(|| shard.take_filling(token, source, class, no_record).0);
    taken.expect("there are always more").start.addr()
}

/// Gives a slot back, the common way or the other one.
fn deallocate(shard: &Shard, token: Token, source: &Numbers, class: SizeClass, slot: usize) {
    let slot =
        FreeSlot { start: core::ptr::without_provenance_mut(slot), record: core::ptr::null() };
    // SAFETY: nobody follows the address.
    if !unsafe { shard.put(token, class, slot) } {
        // SAFETY: nobody follows the address.
        unsafe { shard.put_flushing(token, source, class, slot) };
    }
}

fn shard() -> Box<Shard> {
    let layout = core::alloc::Layout::new::<Shard>();
    // SAFETY: the layout is not empty.
    let place = unsafe { std::alloc::alloc_zeroed(layout) };
    // SAFETY: all zero bits are a shard, and the memory came from this allocator with its layout.
    unsafe { Box::from_raw(place.cast()) }
}

#[test]
fn a_slot_is_in_one_place_and_comes_back_after_others() {
    let table = Pages8K::TABLE;
    let class = table.entry(100).unwrap().class();
    let (shard, source) = (shard(), Numbers::default());
    // SAFETY: this thread alone knows of it.
    unsafe { shard.begin(12345, prepare_heavy_fence(), table) };
    let token = Token::here();
    let mut out = BTreeSet::new();
    let mut order = Vec::new();
    for _ in 0..200 {
        let slot = allocate(&shard, token, &source, class);
        assert!(out.insert(slot), "no slot is handed out twice");
        order.push(slot);
    }
    assert!(!order.is_sorted(), "slots come in no order");
    let (mut soonest, mut sum) = (usize::MAX, 0);
    for round in 0..1000 {
        let freed = *out.first().unwrap();
        out.remove(&freed);
        deallocate(&shard, token, &source, class, freed);
        let mut waited = 0;
        loop {
            let slot = allocate(&shard, token, &source, class);
            waited += 1;
            assert!(out.insert(slot), "round {round}: no slot is handed out twice");
            if slot == freed || waited == 20 {
                break;
            }
        }
        soonest = soonest.min(waited);
        sum += waited;
        while out.len() > 200 {
            let extra = out.pop_last().unwrap();
            deallocate(&shard, token, &source, class, extra);
        }
    }
    assert!(sum / 1000 > 15, "a freed slot seldom comes at once: {sum}, {soonest}");
    let held = shard.held_bytes(table);
    assert_eq!(shard.empty(&source, table), held);
    assert_eq!(shard.held_bytes(table), 0);
    let back: BTreeSet<usize> = source.back.lock().iter().copied().collect();
    assert!(back.is_disjoint(&out), "what is out did not go back");
    assert_eq!(back.len() + out.len(), *source.last.lock() / 16, "every slot is somewhere");
}

#[test]
fn a_shard_that_gets_a_thread_while_its_last_one_leaves_stays_shared() {
    let table = Pages8K::TABLE;
    let class = table.entry(100).unwrap().class();
    let (shard, source) = (shard(), Numbers::default());
    // SAFETY: this thread alone knows of it.
    unsafe { shard.begin(12345, prepare_heavy_fence(), table) };
    let token = Token::here();
    let use_it = |token| _ = shard.take_filling(token, &source, class, no_record);
    shard.add_user();
    std::thread::scope(|scope| {
        use_it(token);
        scope.spawn(|| use_it(Token::here())).join().unwrap();
        shard.acquire();
        // SAFETY: as far as the shard knows, the thread whose end this is was added.
        let leaves = scope.spawn(|| unsafe { shard.remove_user(Token::here()) });
        while shard.users() != 0 {
            std::thread::yield_now();
        }
        shard.add_user();
        // SAFETY: acquired above.
        unsafe { shard.release() };
        leaves.join().unwrap();
    });
    use_it(token);
    assert!(shard.take(token, class, || true).is_none(), "who came meanwhile may have owned it");
}
