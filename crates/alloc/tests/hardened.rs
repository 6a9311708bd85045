//! Hardened heaps serve programs as others do: content stays, figures add up, threads and forks live.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

use std::{
    env,
    sync::{
        Mutex, MutexGuard,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};
use strata_alloc::{Config, FrontEnd, Heap, HeapConfig, Observer, Standard};
use strata_os::{PageSource, Purpose, ReserveRequest, Seed, SystemPages};
use strata_size_classes::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};

/// Two heaps may have threads' words at a time, and tests run at once.
static ONE_HEAP: Mutex<()> = Mutex::new(());

fn one() -> MutexGuard<'static, ()> {
    ONE_HEAP.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn config(more: &str) -> Config {
    Config::parse(format!("hardened:true,{more}").as_bytes(), |complaint| panic!("{complaint}"))
}

/// Mostly small, sometimes large.
fn random_size(random: &mut Seed) -> usize {
    let bits = [4, 6, 8, 10, 12, 14, 18, 20][random.below(8)];
    random.below(1 << bits)
}

/// A block that knows what it must hold.
struct Block {
    start: usize,
    size: usize,
    align: usize,
    byte: u8,
}

impl Block {
    fn new<C: HeapConfig>(heap: &Heap<C>, random: &mut Seed) -> Self {
        let (size, align) = (random_size(random), 1 << random.below(14));
        let zeroed = random.below(3) == 0;
        let start = match zeroed {
            true => heap.allocate_zeroed(size, align),
            false => heap.allocate_aligned(size, align),
        };
        assert!(!start.is_null() && start.addr().is_multiple_of(align.min(8)), "{size}, {align}");
        assert!(start.addr().is_multiple_of(align), "{size}, {align}");
        if zeroed {
            // SAFETY: the block is ours, and this long.
            let content = unsafe { core::slice::from_raw_parts(start, size) };
            assert!(content.iter().all(|&byte| byte == 0), "{size} bytes are zero");
        }
        // SAFETY: the block is ours.
        assert_eq!(unsafe { heap.usable_size(start) }, size, "usable is what was asked for");
        let byte = random.next() as u8;
        // SAFETY: the block is ours.
        unsafe { start.write_bytes(byte, size) };
        Self { start: start.expose_provenance(), size, align, byte }
    }

    fn pointer(&self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.start)
    }

    fn check(&self, bytes: usize) {
        // SAFETY: the block is ours, and this long.
        let content = unsafe { core::slice::from_raw_parts(self.pointer(), bytes) };
        assert!(
            content.iter().all(|&byte| byte == self.byte),
            "{} bytes keep their content",
            self.size
        );
    }

    fn resize<C: HeapConfig>(&mut self, heap: &Heap<C>, size: usize) {
        // SAFETY: the block is ours.
        let start = unsafe { heap.reallocate(self.pointer(), self.align, size) };
        assert!(!start.is_null());
        let kept = self.size.min(size);
        (self.start, self.size) = (start.expose_provenance(), size);
        self.check(kept);
        // SAFETY: the block is ours.
        unsafe { start.write_bytes(self.byte, size) };
    }

    fn free<C: HeapConfig>(self, heap: &Heap<C>, sized: bool) {
        self.check(self.size);
        if sized {
            // SAFETY: the block is ours, asked for with this size and alignment.
            unsafe { heap.deallocate_sized(self.pointer(), self.size, self.align) };
        } else {
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(self.pointer()) };
        }
    }
}

fn check_figures<C: HeapConfig>(heap: &Heap<C>) {
    let core = heap.core().unwrap();
    let figures = core.figures();
    assert_eq!(figures.in_use_bytes(), figures.in_use_bytes_by_threads(), "{figures:#?}");
    let pages = figures.page_heap;
    assert_eq!(pages.system_bytes, pages.in_use_bytes + pages.free_bytes + pages.unmapped_bytes);
    for class in C::Pages::TABLE.classes() {
        let stats = core.middle().class_stats(class);
        assert!(core.cached_objects(class) + stats.transfer.used <= stats.central.objects_out);
    }
}

fn random_program<P: PageSize>(more: &str, steps: usize) {
    let _one = one();
    let heap: Heap<Standard<P>> = Heap::with(config(more));
    println!("pages {}, {more}", P::NAME);
    let mut random = Seed::from_environment_or(0x5eed);
    let mut blocks: Vec<Block> = Vec::new();
    for step in 0..steps {
        match random.below(9) {
            0..=3 => blocks.push(Block::new(&heap, &mut random)),
            4 if !blocks.is_empty() => {
                let index = random.below(blocks.len());
                let size = random_size(&mut random);
                blocks[index].resize(&heap, size);
            }
            _ if !blocks.is_empty() => {
                let index = random.below(blocks.len());
                blocks.swap_remove(index).free(&heap, random.below(2) == 0);
            }
            _ => {}
        }
        if step % 500 == 0 && heap.core().is_some() {
            check_figures(&heap);
            heap.core().unwrap().sweep();
        }
        if step % 1000 == 999 {
            heap.release(usize::MAX);
        }
    }
    assert_eq!(heap.core().unwrap().front_end(), FrontEnd::Observed(Observer::Hardened));
    for block in blocks {
        block.free(&heap, true);
    }
    check_figures(&heap);
    heap.release(usize::MAX);
    let figures = heap.core().unwrap().figures();
    assert_eq!((figures.in_use_bytes(), figures.hardened_bytes), (0, 0));
    assert_eq!(figures.page_heap.in_use_bytes, 0, "every span came home");
}

#[test]
fn random_programs_keep_their_content_and_the_figures_add_up() {
    for page_heap in ["page_heap:temeraire", "page_heap:legacy"] {
        random_program::<Pages4K>(page_heap, 800);
        random_program::<Pages8K>(page_heap, 3_000);
        random_program::<Pages32K>(page_heap, 800);
        random_program::<Pages256K>(page_heap, 800);
    }
}

#[test]
fn threads_hand_blocks_over_and_end() {
    let _one = one();
    let heap: Heap = Heap::with(config(""));
    for _ in 0..3 {
        let (senders, receivers): (Vec<Sender<Block>>, Vec<Receiver<Block>>) =
            (0..4).map(|_| channel()).unzip();
        thread::scope(|scope| {
            let begin = |(number, receiver): (usize, Receiver<Block>)| {
                let next = senders[(number + 1) % 4].clone();
                let heap = &heap;
                scope.spawn(move || {
                    let mut random = Seed::new(number as u64);
                    for _ in 0..1_000 {
                        next.send(Block::new(heap, &mut random)).unwrap();
                        if let Ok(block) = receiver.try_recv() {
                            block.free(heap, random.below(2) == 0);
                        }
                    }
                    drop(next);
                    for block in receiver {
                        block.free(heap, false);
                    }
                })
            };
            let threads: Vec<_> = receivers.into_iter().enumerate().map(begin).collect();
            drop(senders);
            // Joined, since a scope ends before its threads' destructors have run.
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        check_figures(&heap);
    }
    heap.release(usize::MAX);
    assert_eq!(heap.core().unwrap().figures().page_heap.in_use_bytes, 0);
}

/// A program that asks for large blocks of one length again and again has the same few, zeroed, each after others
/// were freed.
#[test]
fn a_large_block_is_had_again_once_enough_others_were_freed_and_is_zero_then() {
    let _one = one();
    let heap: Heap = Heap::with(config(""));
    let mut freed: Vec<usize> = Vec::new();
    for round in 0..300 {
        // Of three lengths, aligned in turn to more than a page.
        let (size, align) = (300_000 + round % 3 * 100_000, 1 << (round % 2 * 15));
        let block = heap.allocate_aligned(size, align);
        assert!(!block.is_null() && block.addr().is_multiple_of(align));
        // SAFETY: the block is ours, and this long.
        let content = unsafe { core::slice::from_raw_parts(block, size) };
        assert!(content.iter().all(|&byte| byte == 0), "{round}: what was there is gone");
        let last = &freed[freed.len().saturating_sub(24)..];
        assert!(!last.contains(&block.addr()), "{round}: nobody has it so soon");
        // SAFETY: the block is ours, and this long.
        unsafe { block.write_bytes(0xaa, size) };
        freed.push(block.addr());
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    freed.sort_unstable();
    freed.dedup();
    assert!(freed.len() < 150, "{} addresses", freed.len());
    check_figures(&heap);
    heap.release(usize::MAX);
    assert_eq!(heap.core().unwrap().figures().page_heap.in_use_bytes, 0);
}

#[test]
fn what_threads_freed_that_ended_goes_back_when_it_was_looked_through() {
    let _one = one();
    let heap: Heap = Heap::with(config(""));
    let block = heap.allocate(100);
    let held = || heap.core().unwrap().figures().hardened_bytes;
    let before = held();
    thread::scope(|scope| {
        // Joined, since a scope ends before its threads' destructors have run.
        let ended = scope.spawn(|| {
            let blocks: Vec<usize> =
                (0..500).map(|_| heap.allocate(100).expose_provenance()).collect();
            for block in blocks {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(core::ptr::with_exposed_provenance_mut(block)) };
            }
        });
        ended.join().unwrap();
    });
    heap.core().unwrap().sweep();
    // Where threads share what they freed, this one has it still.
    if strata_os::possible_cpus() > 1 {
        assert_eq!(held(), before);
    }
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(block) };
    assert!(heap.core().unwrap().sweep() > 0, "this thread goes on");
    check_figures(&heap);
}

#[test]
fn a_large_block_stays_where_it_is_as_long_as_it_takes_the_same_pages() {
    let _one = one();
    let heap: Heap = Heap::with(config(""));
    let page = strata_os::kernel_page_bytes();
    let least = 600_000_usize.next_multiple_of(page) + 1;
    let block = heap.allocate(least);
    for size in (least..least + page).chain((least..least + page).rev().step_by(7)) {
        // SAFETY: the block is ours, and `least` bytes long at least.
        unsafe { block.write(size as u8) };
        // SAFETY: the block is ours, and `least` bytes long at least.
        assert_eq!(unsafe { heap.reallocate(block, 1, size) }, block, "{size}");
        // SAFETY: the block is ours, and `least` bytes long at least.
        assert_eq!(unsafe { heap.usable_size(block) }, size);
        // SAFETY: the block is ours, and `least` bytes long at least, and of `size` bytes.
        unsafe { block.wrapping_add(size - 1).write(1) };
        // SAFETY: the block is ours, and `least` bytes long at least.
        assert_eq!(unsafe { block.read() }, size as u8);
    }
    // SAFETY: the block is ours.
    let longer = unsafe { heap.reallocate(block, 1, least + page) };
    assert_ne!(longer, block, "it takes a page that was guard");
    let align = 1 << (longer.addr().trailing_zeros() + 1);
    // SAFETY: the block is ours.
    let aligned = unsafe { heap.reallocate(longer, align, least + page) };
    assert!(aligned.addr().is_multiple_of(align));
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(aligned) };
    check_figures(&heap);
}

/// Whether the kernel lets this process read at an address.
fn is_readable(address: usize) -> bool {
    strata_os::read_own_memory(address & !7, &mut [0]).is_ok()
}

fn guards_are_close<P: PageSize>() {
    let heap: Heap<Standard<P>> = Heap::with(config(""));
    let page = strata_os::kernel_page_bytes();
    // Enough of them that blocks are had again with their guards.
    for round in 0..120 {
        let size = 600_000 + round % 4 * page + round % 3;
        let block = heap.allocate_zeroed(size, 1);
        // SAFETY: the block is ours, and this long.
        let content = unsafe { core::slice::from_raw_parts(block, size) };
        assert!(content.iter().all(|&byte| byte == 0), "{}: {size} bytes are zero", P::NAME);
        // SAFETY: the block is ours, and this long.
        unsafe { block.write_bytes(0xaa, size) };
        if round % 10 == 9 {
            let end = (block.addr() + size).next_multiple_of(page);
            for (address, expected) in
                [(block.addr() - 1, false), (block.addr(), true), (end - 1, true), (end, false)]
            {
                assert_eq!(is_readable(address), expected, "{}: {size} bytes", P::NAME);
            }
        }
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
}

#[test]
fn whoever_writes_a_page_beyond_a_large_block_meets_its_guard_whatever_pages_the_heap_has() {
    let _one = one();
    guards_are_close::<Pages4K>();
    guards_are_close::<Pages8K>();
    guards_are_close::<Pages32K>();
    guards_are_close::<Pages256K>();
}

/// Whether the kernel marks pages as guards.
fn kernel_marks_guards() -> bool {
    let pages = SystemPages::new();
    let wish = ReserveRequest { bytes: 1 << 16, align: 1 << 16, purpose: Purpose::Heap };
    let range = pages.reserve(wish).unwrap().range;
    pages.commit(range).unwrap();
    // SAFETY: nobody else knows the range.
    let is_marked = unsafe { pages.mark_guard(range) }.is_ok();
    // SAFETY: nobody else knows the range.
    unsafe { pages.unreserve(range) }.unwrap();
    is_marked
}

#[test]
fn guards_that_the_kernel_marks_take_no_mappings() {
    let _one = one();
    if !kernel_marks_guards() {
        return;
    }
    let heap: Heap = Heap::with(config(""));
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let before = mappings();
    let blocks: Vec<*mut u8> = (0..2000).map(|_| heap.allocate(300_000)).collect();
    // Of guards that are mappings there would be 4000.
    assert!(mappings() < before + 500, "{before} mappings, {} with blocks", mappings());
    assert!(blocks.iter().all(|block| !is_readable(block.addr() - 1)));
    for block in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    heap.release(usize::MAX);
    assert_eq!(heap.core().unwrap().figures().page_heap.in_use_bytes, 0);
}

/// What a program frees that is told of, and goes on, is never handed out again.
#[test]
fn where_misuse_is_reported_only_the_program_goes_on() {
    const CHILD: &str = "STRATA_HARDENED_REPORTS";
    if env::var_os(CHILD).is_some() {
        let heap: Heap = Heap::with(config("misuse:report"));
        let mut blocks: Vec<*mut u8> = (0..100).map(|_| heap.allocate(100)).collect();
        let wrong = blocks.pop().unwrap();
        // SAFETY: none: these are misuses. Behind a block stands any byte but zero.
        unsafe { wrong.wrapping_add(100).write(0) };
        // SAFETY: none: these are misuses. Behind a block stands any byte but zero.
        unsafe { heap.deallocate(wrong) };
        // SAFETY: none: these are misuses. Behind a block stands any byte but zero.
        unsafe { heap.deallocate(wrong.wrapping_add(8)) };
        let mut local = 0_u64;
        // SAFETY: none: these are misuses. Behind a block stands any byte but zero.
        unsafe { heap.deallocate((&raw mut local).cast()) };
        // SAFETY: none: these are misuses. Behind a block stands any byte but zero.
        assert!(unsafe { heap.reallocate((&raw mut local).cast(), 1, 100) }.is_null());
        let large = heap.allocate(600_000);
        // SAFETY: the block is ours.
        assert_eq!(unsafe { heap.reallocate(large, 1, 600_001) }, large, "it has the room");
        // SAFETY: none: these are misuses.
        unsafe { large.wrapping_add(600_001).write(0) };
        // SAFETY: none: these are misuses.
        assert!(unsafe { heap.reallocate(large, 1, 600_002) }.is_null());
        // SAFETY: none: these are misuses.
        unsafe { heap.deallocate(large) };
        for _ in 0..10_000 {
            let block = heap.allocate(100);
            assert_ne!(block, wrong, "what was written beyond is not handed out");
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
        }
        assert_eq!(strata_os::misuses_reported(), 6);
        return;
    }
    let _one = one();
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args(["where_misuse_is_reported_only_the_program_goes_on", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{said}");
    let kinds: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("strata: ")?.split(':').next()).collect();
    let expected = [
        "write beyond the end of a block",
        "pointer into a block",
        "pointer that was never handed out",
        "pointer that was never handed out",
        "write beyond the end of a block",
        "write beyond the end of a block",
    ];
    assert_eq!(kinds, expected, "{said}");
}

/// Of a write beyond a block's end, or into it after it was freed, one line is told, and none for the block behind.
#[test]
fn a_block_behind_one_that_was_told_of_is_none_that_was_written_to() {
    const CHILD: &str = "STRATA_HARDENED_NEIGHBOURS";
    /// Blocks of which eight bytes are left in their slots of 112.
    const SIZE: usize = 104;
    if env::var_os(CHILD).is_some() {
        let heap: Heap = Heap::with(config("misuse:report,background_thread:false"));
        let mut blocks: Vec<*mut u8> = (0..200).map(|_| heap.allocate(SIZE)).collect();
        blocks.sort_unstable();
        let pairs = blocks.windows(2).filter(|two| two[1].addr() - two[0].addr() == 112);
        let pairs: Vec<_> = pairs.step_by(2).map(|two| (two[0], two[1])).collect();
        let [overflown, written, swept, ..] = pairs[..] else { panic!("{} pairs", pairs.len()) };
        let free = |block| {
            // SAFETY: the block is ours, and nobody else knows it.
            unsafe { heap.deallocate(block) }
        };
        // SAFETY: none: this is a misuse.
        unsafe { overflown.0.wrapping_add(SIZE).write(0) };
        free(overflown.0);
        assert_eq!(strata_os::misuses_reported(), 1);
        // SAFETY: the block is ours, and has the room.
        let same = unsafe { heap.reallocate(overflown.1, 1, SIZE - 1) };
        assert_eq!(same, overflown.1, "nothing is wrong with it");
        free(overflown.1);
        assert_eq!(strata_os::misuses_reported(), 1);

        free(written.0);
        // SAFETY: none: this is a misuse.
        unsafe { written.0.wrapping_add(SIZE).write(0) };
        for _ in 0..2_000 {
            free(heap.allocate(SIZE));
        }
        assert_eq!(strata_os::misuses_reported(), 2, "it was to be used again");
        free(written.1);
        assert_eq!(strata_os::misuses_reported(), 2);

        free(swept.0);
        // SAFETY: none: this is a misuse.
        unsafe { swept.0.wrapping_add(SIZE).write(0) };
        heap.core().unwrap().sweep();
        assert_eq!(strata_os::misuses_reported(), 3);
        free(swept.1);
        heap.core().unwrap().sweep();
        assert_eq!(strata_os::misuses_reported(), 3);
        return;
    }
    let _one = one();
    let name = "a_block_behind_one_that_was_told_of_is_none_that_was_written_to";
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("strata: ")).count(), 3, "{said}");
}

/// How many are told of where one byte is written beyond blocks of every class, and how many blocks that were.
fn overflows_of_each_class<P: PageSize>() -> (u64, u64) {
    const CANARY: usize = 8;
    let heap: Heap<Standard<P>> = Heap::with(config("misuse:report,background_thread:false"));
    let (before, mut blocks) = (strata_os::misuses_reported(), 0);
    let mut overflow = |block: *mut u8, size: usize| {
        // SAFETY: none: this is a misuse. The byte is of the block's slot.
        unsafe { *block.wrapping_add(size) ^= 1 };
        // SAFETY: the block is ours, and nobody else knows it.
        unsafe { heap.deallocate(block) };
        blocks += 1;
    };
    let mut least = 0;
    for class in P::TABLE.classes() {
        let slot = P::TABLE.size(class);
        let Some(most) = slot.checked_sub(CANARY) else { continue };
        for size in [most, most.saturating_sub(1), usize::midpoint(least, most), least] {
            overflow(heap.allocate(size), size);
            let block = heap.allocate(most);
            // SAFETY: the block is ours.
            let shorter = unsafe { heap.reallocate(block, 1, size) };
            assert_eq!(shorter, block, "{}: {size} bytes have the class of {most}", P::NAME);
            overflow(block, size);
        }
        least = slot - CANARY + 1;
    }
    (strata_os::misuses_reported() - before, blocks)
}

#[test]
fn a_byte_beyond_a_block_is_told_of_in_every_class_and_after_the_block_became_shorter() {
    const CHILD: &str = "STRATA_HARDENED_OVERFLOWS";
    if env::var_os(CHILD).is_some() {
        let of_all = [
            overflows_of_each_class::<Pages4K>(),
            overflows_of_each_class::<Pages8K>(),
            overflows_of_each_class::<Pages32K>(),
            overflows_of_each_class::<Pages256K>(),
        ];
        for (told, blocks) in of_all {
            assert!(told == blocks && blocks > 8 * 30, "{told} of {blocks}");
        }
        return;
    }
    let _one = one();
    let name = "a_byte_beyond_a_block_is_told_of_in_every_class_and_after_the_block_became_shorter";
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{}", said.lines().last().unwrap_or_default());
    let beyond = "strata: write beyond the end of a block: ";
    let told = said.lines().filter(|line| line.starts_with("strata: "));
    assert!(told.clone().count() > 4 * 8 * 30 && told.clone().all(|line| line.starts_with(beyond)));
}

/// Two neighbours in slots of 112 bytes, of which their blocks leave eight.
struct Neighbours(Vec<(*mut u8, *mut u8)>);

impl Neighbours {
    const SIZE: usize = 104;

    /// As many as there are among so many blocks of a heap, no two with a block of another two between.
    fn among(heap: &Heap, blocks: usize) -> Self {
        let mut blocks: Vec<*mut u8> = (0..blocks).map(|_| heap.allocate(Self::SIZE)).collect();
        blocks.sort_unstable();
        let mut pairs = Vec::new();
        let mut rest = &blocks[..];
        while let [first, second, ..] = *rest {
            let are_neighbours = second.addr() - first.addr() == 112;
            if are_neighbours {
                pairs.push((first, second));
            }
            rest = &rest[1 + usize::from(are_neighbours)..];
        }
        Self(pairs)
    }

    fn next(&mut self) -> (*mut u8, *mut u8) {
        self.0.pop().unwrap()
    }
}

/// What was written between two blocks is told of once, and of the block that was left, if that can be seen.
#[test]
fn a_write_between_two_blocks_is_told_of_once() {
    const CHILD: &str = "STRATA_HARDENED_BETWEEN";
    const SIZE: usize = Neighbours::SIZE;
    if env::var_os(CHILD).is_some() {
        let heap: Heap = Heap::with(config("misuse:report,background_thread:false"));
        let mut neighbours = Neighbours::among(&heap, 400);
        let free = |block| {
            // SAFETY: the block is ours, and nobody else knows it.
            unsafe { heap.deallocate(block) }
        };
        let write = |place: *mut u8| {
            // SAFETY: none: this is a misuse. No byte of a canary has this bit alone changed by chance.
            unsafe { *place ^= 2 }
        };
        let expect = |line: &str, block: *mut u8| eprintln!("expected: {line}({block:p})");

        // A byte beyond a block: the one behind it is freed first.
        let (first, second) = neighbours.next();
        write(first.wrapping_add(SIZE));
        expect("write beyond the end of a block: free", first);
        free(second);
        free(first);

        // Bytes before a block: the one before it is freed later.
        let (first, second) = neighbours.next();
        (1..=8).for_each(|back| write(second.wrapping_sub(back)));
        expect("write before the beginning of a block: free", second);
        free(second);
        free(first);

        // The same, and the one before is a shorter one.
        let (first, second) = neighbours.next();
        // SAFETY: the block is ours, and has the room.
        assert_eq!(unsafe { heap.reallocate(first, 1, SIZE - 1) }, first);
        write(second.wrapping_sub(1));
        expect("write before the beginning of a block: realloc", second);
        // SAFETY: the block is ours.
        assert!(unsafe { heap.reallocate(second, 1, SIZE - 1) }.is_null());
        free(first);
        free(second);

        // A byte beyond a block that is to become so long that it has to move.
        let (first, _) = neighbours.next();
        write(first.wrapping_add(SIZE));
        expect("write beyond the end of a block: realloc", first);
        // SAFETY: the block is ours.
        assert!(unsafe { heap.reallocate(first, 1, 10 * SIZE) }.is_null());
        let large = heap.allocate(600_000);
        write(large.wrapping_add(600_000));
        expect("write beyond the end of a block: realloc", large);
        // SAFETY: the block is ours.
        assert!(unsafe { heap.reallocate(large, 1, 10_000_000) }.is_null());

        // A byte beyond a block, and the one behind it waits.
        let (first, second) = neighbours.next();
        free(second);
        write(first.wrapping_add(SIZE));
        expect("write beyond the end of a block: sweep", first);
        heap.core().unwrap().sweep();
        heap.core().unwrap().sweep();
        free(first);
        return;
    }
    let _one = one();
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args(["a_write_between_two_blocks_is_told_of_once", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{said}");
    let lines = |prefix| -> Vec<&str> {
        let lines = said.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| line.split(',').next().unwrap()).collect()
    };
    assert_eq!(lines("strata: "), lines("expected: "), "{said}");
}

/// However many slots a sweep finds that somebody wrote into, it tells of eight, and blocks behind them are none that
/// somebody wrote before.
#[test]
fn blocks_behind_many_that_a_sweep_finds_are_none_that_were_written_to() {
    const CHILD: &str = "STRATA_HARDENED_MANY_SWEPT";
    const SIZE: usize = Neighbours::SIZE;
    if env::var_os(CHILD).is_some() {
        let heap: Heap = Heap::with(config("misuse:report,background_thread:false"));
        let mut neighbours = Neighbours::among(&heap, 400);
        let free = |block| {
            // SAFETY: the block is ours, and nobody else knows it.
            unsafe { heap.deallocate(block) }
        };
        let written: Vec<_> = (0..20).map(|_| neighbours.next()).collect();
        written.iter().for_each(|&(first, _)| free(first));
        for &(first, _) in &written {
            // SAFETY: none: this is a misuse.
            unsafe { *first.wrapping_add(SIZE) ^= 2 };
        }
        heap.core().unwrap().sweep();
        assert_eq!(strata_os::misuses_reported(), 8);
        written.iter().for_each(|&(_, second)| free(second));
        heap.core().unwrap().sweep();
        assert_eq!(strata_os::misuses_reported(), 8);
        return;
    }
    let _one = one();
    let name = "blocks_behind_many_that_a_sweep_finds_are_none_that_were_written_to";
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

#[test]
fn what_a_block_gains_where_it_is_reads_as_zero() {
    let _one = one();
    let heap: Heap = Heap::with(config(""));
    for (least, most) in [(97, 104), (1017, 1100), (9000, 9336), (300_001, 303_000)] {
        let block = heap.allocate(least);
        let mut size = least;
        for wanted in [most, least, most - 1, least + 3, most] {
            // SAFETY: the block is ours, and this long.
            unsafe { block.write_bytes(0xaa, size) };
            // SAFETY: the block is ours.
            assert_eq!(unsafe { heap.reallocate(block, 1, wanted) }, block, "{size}, {wanted}");
            let gained = size..wanted;
            for place in gained {
                // SAFETY: the block is ours, and this long.
                assert_eq!(unsafe { *block.wrapping_add(place) }, 0, "{size}, {wanted}: {place}");
            }
            size = wanted;
        }
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
}

/// Who writes before a block is told of, also where nobody ever had the slot before it.
#[test]
fn a_byte_before_a_block_is_told_of_whoever_had_the_slot_before() {
    const CHILD: &str = "STRATA_HARDENED_UNDERFLOWS";
    if env::var_os(CHILD).is_some() {
        let heap: Heap = Heap::with(config("misuse:report,background_thread:false"));
        let (mut written, mut pages) = (0, std::collections::BTreeSet::new());
        // Of classes whose spans have one page, so that what lies before a block on its page is another slot.
        for size in [1, 20, 40, 100, 200, 400] {
            // Few of the slots that there are, some of which are freed already.
            for _ in 0..12 {
                let block = heap.allocate(size);
                if !block.addr().is_multiple_of(Pages8K::BYTES) {
                    // SAFETY: none: this is a misuse. The byte is the slot's before.
                    unsafe { *block.wrapping_sub(1) ^= 2 };
                    written += 1;
                    pages.insert(block.addr() / Pages8K::BYTES);
                }
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
        // What lies before the first slot of a span is no slot's.
        let told = strata_os::misuses_reported();
        assert!(told <= written && told + pages.len() as u64 >= written, "{told} of {written}");
        return;
    }
    let _one = one();
    let name = "a_byte_before_a_block_is_told_of_whoever_had_the_slot_before";
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{said}");
    let before = "strata: write before the beginning of a block: free(";
    assert!(said.lines().all(|line| line.starts_with(before)), "{said}");
}
