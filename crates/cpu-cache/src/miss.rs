//! What happens when a CPU has no object, or no room for one.

use crate::{
    CpuCache,
    cpu_state::{CpuState, Stolen},
    rseq,
};
use strata_size_classes::{ClassInfo, ObjectSource, SizeClass, SizeClassTable};
use strata_sync::atomic::Ordering;

/// Most objects that one refill or flush moves: 64 pointers of stack. At half as many, batches of a thousand
/// cost twice the locks of the layer below; at twice, a refill of a class nobody needs again costs twice.
const MOST_MOVED: usize = 64;

/// How many other classes one miss looks at for capacity.
const STEAL_ATTEMPTS: usize = 8;

/// Objects from this size on cost more to touch than to fetch: a span of theirs is one object, or a few.
const LONG_FROM: usize = 8 << 10;

/// One class of long objects may take up one part in so many of what a CPU may hold. At half as many, 64 vectors
/// that grow in turn to 64 KiB (`grow-many` of the benchmarks) have 9.4 MiB at the peak instead of 8.6; without a
/// bound 10.4, at the same time.
const LONG_SHARE: usize = 16;

/// What a class of long objects may hold in any case.
const LEAST_LONG: u16 = 2;

impl CpuCache {
    /// Takes an object of `class` from `source`, and a batch for this CPU along with it. Null if the source is
    /// exhausted. Called when [`pop`](CpuCache::pop) found nothing.
    ///
    /// The thread may have moved to another CPU meanwhile, and may move at any time: objects are moved by
    /// sequences of their own, and what finds no room goes back.
    ///
    /// # Safety
    ///
    /// As for [`pop`](CpuCache::pop).
    #[cold]
    #[inline(never)]
    pub unsafe fn refill<O: ObjectSource>(&self, source: &O, class: SizeClass) -> *mut u8 {
        // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays until it
        // ends.
        let id = unsafe { self.current_id() };
        let (Some(state), Some(table)) = (self.state(id), self.table()) else {
            return take_one(source, class);
        };
        self.populate(state, id);
        let memory = state.note_underflow(class);
        let info = table.info(class);
        let capacity = self.capacity_on(state, id, class);
        let wish = wish(info, capacity, if memory.was_underflow() { memory.repeats() } else { 0 });
        // SAFETY: set up and registered, as the caller promises; `id` is one of the cache's.
        unsafe { self.grow(state, table, source, id, class, wish) };

        let mut objects = [core::ptr::null_mut(); MOST_MOVED];
        let wanted = usize::from(wish).clamp(1, MOST_MOVED);
        let Some(room) = objects.get_mut(..wanted) else { return core::ptr::null_mut() };
        let taken = source.take(class, room);
        let Some((&mut first, rest)) = room.get_mut(..taken).and_then(<[_]>::split_first_mut)
        else {
            return core::ptr::null_mut();
        };
        let size = table.size(class);
        self.note_refilled(state, taken, size);
        // SAFETY: set up and registered, as the caller promises; the objects came from the source just now.
        let kept = unsafe { self.push_batch(class, rest) };
        if let Some(rest) = rest.get_mut(kept..)
            && !rest.is_empty()
        {
            self.note_flushed(state, rest.len(), size);
            // SAFETY: these came from the source and found no room.
            unsafe { source.give(class, rest) };
        }
        first
    }

    /// Keeps `object` of `class` if room can be made, else gives it and a batch of this CPU's objects to
    /// `source`. Called when [`push`](CpuCache::push) found no room.
    ///
    /// # Safety
    ///
    /// As for [`push`](CpuCache::push).
    #[cold]
    #[inline(never)]
    pub unsafe fn overflow<O: ObjectSource>(&self, source: &O, class: SizeClass, object: *mut u8) {
        // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays until it
        // ends.
        let id = unsafe { self.current_id() };
        let (Some(state), Some(table)) = (self.state(id), self.table()) else {
            // SAFETY: the caller gave the object up.
            return unsafe { source.give(class, &mut [object]) };
        };
        self.populate(state, id);
        let memory = state.note_overflow(class);
        let info = table.info(class);
        let capacity = self.capacity_on(state, id, class);
        // A class that only ever overflows holds what somebody else allocates: it does not grow.
        if memory.was_underflow() || capacity < first_wish(info) {
            // SAFETY: set up and registered, as the caller promises; `id` is one of the cache's.
            let had_room =
                unsafe { self.grow(state, table, source, id, class, wish(info, capacity, 0)) };
            if memory.was_underflow() && !had_room {
                state.note_costly_turn(self.allowance(state));
            }
            // SAFETY: set up and registered; the object is free, of this class, and nobody else has it.
            if unsafe { self.push(class, object) } {
                return;
            }
        }
        let wanted =
            wish(info, capacity, if memory.was_underflow() { 0 } else { memory.repeats() });
        let wanted = wanted.clamp(1, MOST_MOVED as u16);
        let mut objects = [core::ptr::null_mut(); MOST_MOVED];
        let Some((first, rest)) = objects.split_first_mut() else { return };
        *first = object;
        let rest = rest.get_mut(..usize::from(wanted) - 1).unwrap_or(&mut []);
        // SAFETY: set up and registered; `rest` has room for as many as are asked for.
        let taken = unsafe { self.pop_batch(class, rest) } + 1;
        if let Some(objects) = objects.get_mut(..taken) {
            self.note_flushed(state, taken, table.size(class));
            // SAFETY: the first was the caller's, the others came out of the slots just now.
            unsafe { source.give(class, objects) };
        }
    }

    /// Gives `object` of `class` to `source`, past this CPU's slots, and one of those that stand there: for who
    /// knows that they are not going to be wanted.
    ///
    /// # Safety
    ///
    /// As for [`push`](CpuCache::push).
    #[cold]
    #[inline(never)]
    pub unsafe fn pass_on<O: ObjectSource>(&self, source: &O, class: SizeClass, object: *mut u8) {
        // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays until it
        // ends.
        let id = unsafe { self.current_id() };
        let mut objects = [object, core::ptr::null_mut()];
        let [_, other] = &mut objects;
        // SAFETY: set up and registered, as the caller promises.
        let count = 1 + unsafe { self.pop_batch(class, core::slice::from_mut(other)) };
        if let (Some(state), Some(table)) = (self.state(id), self.table()) {
            self.populate(state, id);
            self.note_flushed(state, count, table.size(class));
        }
        if let Some(objects) = objects.get_mut(..count) {
            // SAFETY: the first was the caller's, the other came out of the slots just now.
            unsafe { source.give(class, objects) };
        }
    }

    /// How many objects of `class` may stand on `id`.
    fn capacity_on(&self, state: &CpuState, id: u32, class: SizeClass) -> u16 {
        let begin = self.layouts.of(state.region().size()).begin(class);
        self.header(id, class).capacity(begin)
    }

    fn note_refilled(&self, state: &CpuState, objects: usize, size: usize) {
        state.note_refilled(objects);
        self.count_out(state, objects as i64, size);
    }

    pub(crate) fn note_flushed(&self, state: &CpuState, objects: usize, size: usize) {
        state.note_flushed(objects);
        self.count_out(state, -(objects as i64), size);
    }

    /// Adds up to `wanted` objects to the capacity of `class` on `id`, from what is available, or else from
    /// other classes of the same CPU. False if the CPU's allowance was too small for that, and other classes had to give.
    ///
    /// # Safety
    ///
    /// As for [`pop`](CpuCache::pop).
    unsafe fn grow<O: ObjectSource>(
        &self,
        state: &CpuState,
        table: &SizeClassTable,
        source: &O,
        id: u32,
        class: SizeClass,
        wanted: u16,
    ) -> bool {
        let size = table.size(class);
        let word = state.region();
        if word.is_stopped() {
            return true;
        }
        let layout = self.layouts.of(word.size());
        let (begin, greatest) = (layout.begin(class), layout.greatest(class));
        let header = self.header(id, class);
        let capacity = header.capacity(begin);
        let wanted = wanted.min(greatest.saturating_sub(capacity));
        if wanted == 0 {
            state.note_slot_miss(class);
            return true;
        }
        let wanted = wanted.min(self.most_objects(state, size).saturating_sub(capacity));
        if wanted == 0 {
            return true;
        }
        let mut got = state.claim(wanted, size);
        if got < wanted {
            self.grant(state, id, usize::from(wanted - got) * size);
            got += state.claim(wanted - got, size);
        }
        let had_room = got == wanted;
        if !had_room {
            // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays
            // until it ends.
            let stolen = unsafe {
                self.steal(state, table, source, id, class, usize::from(wanted - got) * size)
            };
            got += state.claim_stolen(stolen, wanted - got, size);
        }
        if got == 0 {
            return had_room;
        }
        let header = self.header(id, class);
        let base = if header.is_set_up() { header } else { header.begun_at(begin) };
        let end = base.end().saturating_add(got).min(begin.saturating_add(greatest));
        // A header of another layout is refused below.
        let grown = end.saturating_sub(base.end());
        // SAFETY: set up and registered, as the caller promises; the end stays within the class's slots.
        let done = unsafe {
            rseq::exchange(self.slabs(), id, class.index(), word, begin, header, base.with_end(end))
        };
        state.unclaim(if done { got - grown } else { got }, size);
        had_room
    }

    /// How many objects of `size` bytes one class may hold beside what its slots allow.
    fn most_objects(&self, state: &CpuState, size: usize) -> u16 {
        if size < LONG_FROM {
            return u16::MAX;
        }
        let bytes = usize::try_from(self.allowance(state)).unwrap_or(0) / LONG_SHARE;
        u16::try_from(bytes / size).unwrap_or(u16::MAX).max(LEAST_LONG)
    }

    /// Takes about `bytes` of capacity from other classes of `id`: first what stands empty, then by giving objects back to
    /// `source`.
    ///
    /// # Safety
    ///
    /// As for [`pop`](CpuCache::pop).
    unsafe fn steal<O: ObjectSource>(
        &self,
        state: &CpuState,
        table: &SizeClassTable,
        source: &O,
        id: u32,
        class: SizeClass,
        bytes: usize,
    ) -> Stolen {
        let word = state.region();
        let (mut missing, mut stolen) = (bytes, Stolen::default());
        if word.is_stopped() {
            return stolen;
        }
        let count = table.count().max(2);
        let mut hand = state.hand.load(Ordering::Relaxed);
        for attempt in 0..STEAL_ATTEMPTS * 2 {
            if missing == 0 {
                break;
            }
            let index = 1 + hand as usize % (count - 1);
            hand = hand.wrapping_add(1);
            let Some(victim) = SizeClass::from_index(index).filter(|&victim| victim != class)
            else {
                continue;
            };
            let size = table.size(victim);
            let mut header = self.header(id, victim);
            if header.room() == 0 && attempt >= STEAL_ATTEMPTS && header.is_set_up() {
                // Nothing stands empty in many classes: take objects out of this one.
                let mut objects = [core::ptr::null_mut(); MOST_MOVED / 2];
                let most = missing.div_ceil(size.max(1)).min(MOST_MOVED / 2);
                let room = objects.get_mut(..most).unwrap_or(&mut []);
                // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays
                // until it ends.
                let taken = unsafe { self.pop_batch(victim, room) };
                if let Some(objects) = objects.get_mut(..taken)
                    && !objects.is_empty()
                {
                    self.note_flushed(state, taken, size);
                    // SAFETY: they came out of the slots just now.
                    unsafe { source.give(victim, objects) };
                }
                header = self.header(id, victim);
            }
            if header.room() == 0 {
                continue;
            }
            // At most half of what stands empty goes at a time while others may have more.
            let spare =
                if attempt < STEAL_ATTEMPTS { header.room().div_ceil(2) } else { header.room() };
            let taken = missing.div_ceil(size.max(1)).min(usize::from(spare));
            let taken = u16::try_from(taken).unwrap_or(u16::MAX);
            let smaller = header.with_end(header.end() - taken);
            let begin = self.layouts.of(word.size()).begin(victim);
            // SAFETY: set up and registered, as the caller promises; the end shrinks and stays at or above the top.
            if unsafe {
                rseq::exchange(self.slabs(), id, victim.index(), word, begin, header, smaller)
            } {
                stolen.bytes += usize::from(taken) * size;
                stolen.victims += 1;
                missing = missing.saturating_sub(usize::from(taken) * size);
            }
        }
        state.hand.store(hand, Ordering::Relaxed);
        stolen
    }
}

/// How many objects a miss moves, and by how many the capacity grows: half of what the class may hold, at most a
/// batch, or two, four, eight batches if misses of the same kind come in a row.
fn wish(info: &ClassInfo, capacity: u16, repeats: u32) -> u16 {
    let most = info.batch.max(1) << repeats.min(3);
    (capacity / 2 + 1).min(most).max(first_wish(info))
}

/// What a class begins with on a CPU: objects for one page of the kernel's, at least one. A program that wants a
/// few blocks of many sizes on many CPUs would otherwise hold batches of each.
fn first_wish(info: &ClassInfo) -> u16 {
    let fits = 4096 / info.size.max(1);
    u16::try_from(fits).unwrap_or(u16::MAX).clamp(1, info.batch.max(1))
}

/// One object straight from the source.
fn take_one<O: ObjectSource>(source: &O, class: SizeClass) -> *mut u8 {
    let mut object = [core::ptr::null_mut()];
    let taken = source.take(class, &mut object);
    let [object] = object;
    if taken == 0 { core::ptr::null_mut() } else { object }
}

#[cfg(all(
    test,
    target_arch = "x86_64",
    target_os = "linux",
    not(any(strata_loom, strata_no_rseq))
))]
mod tests;
