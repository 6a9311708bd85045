//! The heap, and the paths of a block whose class is cached.

use crate::{
    BackgroundThread, Config, Core, FrontEnd, HeapConfig, Observer, Standard, mark,
    observer::{BlockRequest, Said},
    own_cache::OwnCache,
    set_up_lock::SetUpLock,
};
use core::{marker::PhantomData, ptr::NonNull};
use strata_cpu_cache::{CpuWords, Pushed};
use strata_size_classes::{ClassEntry, PageSize, SizeClass, SmallEntry};
use strata_span::{Address, Function, PageMapWindow, PageMapWords};
use strata_sync::{
    atomic::{AtomicPtr, Ordering},
    thread_block::{self, AtomicSlot, Slot, SlotWords},
};

/// A memory allocator, as a value.
///
/// It costs nothing until its first block; then it reserves what it needs from the source that its configuration
/// names. Any thread may use it at any time. Several heaps live side by side in one process and never mix: a
/// block goes back to the heap that it came from.
///
/// The state lies in memory of its own, so that a heap may be moved while no block is being asked for or given
/// back; when the heap is dropped, all its memory goes, blocks included.
///
/// ```
/// use strata_alloc::Heap;
///
/// #[global_allocator]
/// static HEAP: Heap = Heap::new();
///
/// fn main() {
///     let words: Vec<String> = ["every", "byte", "explained"].map(String::from).to_vec();
///     assert_eq!(words.concat().len(), 18);
/// }
/// ```
#[repr(C, align(64))]
pub struct Heap<C: HeapConfig = Standard> {
    /// What the paths below read, one cache line. Written once, when the heap is set up; `slot` last.
    slot: AtomicSlot,
    cpu: CpuWords,
    near: PageMapWindow<C::Pages>,
    core: AtomicPtr<Core<C>>,
    map: PageMapWords<C::Pages>,
    /// Guards the set-up; a set-up that found no memory is tried again by the next call.
    set_up: SetUpLock,
    options: Options,
    blocks: PhantomData<C>,
}

/// Where the configuration comes from.
#[derive(Debug)]
enum Options {
    /// From `STRATA_CONF`.
    Environment,
    /// The same, with a thread unless that says otherwise.
    EnvironmentWithThread,
    /// From the program.
    Given(Config),
}

impl<C: HeapConfig> Heap<C> {
    /// A heap that reads its options from the variable `STRATA_CONF` at its first block.
    pub const fn new() -> Self {
        Self::from_options(Options::Environment)
    }

    /// The same, with a thread of its own once it has grown past 32 MiB, unless `STRATA_CONF` says
    /// `background_thread:false`. The thread gives back to the kernel what nobody uses any more, even if no thread of the
    /// program ever calls again.
    ///
    /// It is made in an allocation, with every signal blocked, and is gone in the child of a fork. When the heap is dropped
    /// it ends first.
    pub const fn with_background_thread() -> Self {
        Self::from_options(Options::EnvironmentWithThread)
    }

    /// A heap with the given options, which does not look at the environment.
    pub const fn with(config: Config) -> Self {
        Self::from_options(Options::Given(config))
    }

    const fn from_options(options: Options) -> Self {
        Self {
            slot: AtomicSlot::new(),
            cpu: CpuWords::new(),
            near: PageMapWindow::new(),
            map: PageMapWords::new(),
            core: AtomicPtr::new(core::ptr::null_mut()),
            set_up: SetUpLock::new(),
            options,
            blocks: PhantomData,
        }
    }

    /// A block of at least `size` bytes; null when memory is exhausted or the size is impossible. Blocks of more
    /// than 8 bytes are aligned to 16, others to 8. A size of 0 is a block of its own.
    #[inline(always)]
    pub fn allocate(&self, size: usize) -> *mut u8 {
        self.allocate_or(size, |_, _| core::ptr::null_mut())
    }

    /// The same; where there is no block, the answer is what `exhausted` says of a size and an alignment
    /// that are rounded to the same as the request.
    ///
    /// It is called from the slow paths, as the last thing that they do, so that the common path of an
    /// interface with an answer of its own needs neither a test nor a frame.
    #[inline(always)]
    pub fn allocate_or(
        &self,
        size: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match C::Pages::TABLE.small_entry(size) {
            Some(entry) => self.allocate_class::<true, false>(entry, size, 1, exhausted),
            None => self.allocate_uncommon::<false>(size, 1, exhausted),
        }
    }

    /// A block of at least `size` bytes at a multiple of `align`, which is a power of two; null when memory is exhausted
    /// or the request is impossible.
    #[inline(always)]
    pub fn allocate_aligned(&self, size: usize, align: usize) -> *mut u8 {
        self.allocate_aligned_or(size, align, |_, _| core::ptr::null_mut())
    }

    /// The same, with an answer of the caller's own as in [`Self::allocate_or`].
    #[inline(always)]
    pub fn allocate_aligned_or(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match Self::small_entry(size, align) {
            Some(entry) => self.allocate_class::<true, false>(entry, size, align, exhausted),
            None => self.allocate_uncommon::<false>(size, align, exhausted),
        }
    }

    /// The same, all of `size` bytes zero. Memory fresh from the kernel is not touched.
    pub fn allocate_zeroed(&self, size: usize, align: usize) -> *mut u8 {
        match Self::entry(size, align) {
            Some(entry) => {
                let entry = SmallEntry::of_entry(entry);
                let block = self
                    .allocate_class::<true, true>(entry, size, align, |_, _| core::ptr::null_mut());
                if !block.is_null() {
                    // SAFETY: the block is ours and at least `size` bytes long.
                    unsafe { block.write_bytes(0, size) };
                }
                block
            }
            None => self.core_or_set_up().map_or(core::ptr::null_mut(), |core| {
                let slot = self.slot();
                match core.observer() {
                    Some(observer) => {
                        let request = BlockRequest { size, align, zeroed: true };
                        core.allocate_observed(slot, observer, request)
                    }
                    None => core.allocate_large_zeroed(slot, size, align),
                }
            }),
        }
    }

    /// Takes a block back. Null is no block and nothing happens. A pointer that is no block of this heap ends
    /// the program with one line, at once or when it leaves the caches.
    ///
    /// # Safety
    ///
    /// `pointer` is null or a block of this heap that nobody uses any more.
    #[inline(always)]
    pub unsafe fn deallocate(&self, pointer: *mut u8) {
        let Some(class) = self.near.class_at(Address::of(pointer).value()) else {
            // SAFETY: the block is null or its owner gave it up; which of them is looked up there.
            return unsafe { self.deallocate_uncertain(pointer, SizeClass::NONE) };
        };
        let (is_no_beginning, bytes) =
            C::Pages::TABLE.is_no_beginning_of(class, Address::of(pointer).value());
        // Of no class nothing begins anywhere.
        if if mark::LOOKS { is_no_beginning } else { class.is_none() } {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_uncertain(pointer, class) };
        }
        // SAFETY: the caller's promise; the page map knows the block's class.
        unsafe { self.deallocate_class::<true>(class, bytes, pointer, Said::NOTHING) };
    }

    /// Takes a block back whose size and alignment are known. No page map is asked; the block that was freed last ends the
    /// program.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that nobody uses any more; it was asked for with this alignment, and with a
    /// size that is rounded to the same as `size`.
    #[inline(always)]
    pub unsafe fn deallocate_sized(&self, pointer: *mut u8, size: usize, align: usize) {
        // SAFETY: the block was handed out by this heap, and its owner gave it up.
        unsafe { self.deallocate_layout::<true>(pointer, size, align) };
    }

    /// The same for those who have the time to compare: a block of another size, and what is no block, are told of before a
    /// cache has them. Null is no block. Costs what [`deallocate`](Self::deallocate) does, and the class of the size.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`], or `pointer` is null.
    #[inline(always)]
    pub unsafe fn deallocate_compared(&self, pointer: *mut u8, size: usize, align: usize) {
        let address = Address::of(pointer).value();
        if let Some(entry) = Self::small_entry(size, align)
            && let Some(class) = self.near.class_at(address)
            && class == entry.class()
            && let (false, bytes) = C::Pages::TABLE.is_no_beginning_of(class, address)
        {
            // The block is not looked at: its first word is often one that was just written in parts, for which a load waits.
            let said = Said::layout(size, align);
            // SAFETY: the block is of this class, and its owner gave it up.
            unsafe { self.deallocate_class::<true>(class, bytes, pointer, said) };
        } else {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            unsafe { self.deallocate_compared_at_leisure(pointer, size, align) };
        }
    }

    /// The same for what is large, aligned or no block as it was said.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_compared`].
    #[inline(never)]
    unsafe fn deallocate_compared_at_leisure(&self, pointer: *mut u8, size: usize, align: usize) {
        let said = Said::layout(size, align);
        let address = Address::of(pointer).value();
        // As in `deallocate`: what the page map's window shows costs a load; the radix tree knows the rest.
        let near = self.near.class_at(address).filter(|class| !class.is_none());
        let class = near.unwrap_or_else(|| self.map.class_at(address));
        if class.is_none() {
            // SAFETY: the block was handed out by this heap, and its owner gave it up.
            return unsafe { self.deallocate_unlisted(pointer, said) };
        }
        if Self::entry(size, align).map(ClassEntry::class) != Some(class) {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_mismatched(class, pointer, said) };
        }
        let (is_no_beginning, bytes) = C::Pages::TABLE.is_no_beginning_of(class, address);
        // SAFETY: the page is one of a class's, and followed by the rest of its span or another page of the source's.
        if is_no_beginning || unsafe { mark::is_set(pointer) } {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_suspect(class, pointer, said) };
        }
        // SAFETY: the caller's promise; the page map knows the block's class.
        unsafe { self.deallocate_class::<true>(class, bytes, pointer, said) };
    }

    /// The same; `LOOKS` says whether the block is compared with the one that was freed last.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(always)]
    pub(crate) unsafe fn deallocate_layout<const LOOKS: bool>(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        match Self::small_entry(size, align) {
            Some(entry) => {
                let said = Said::layout(size, align);
                // SAFETY: the caller's promise; equal requests have equal classes.
                unsafe {
                    self.deallocate_class::<LOOKS>(entry.class(), entry.size(), pointer, said)
                }
            }
            // SAFETY: the block was asked for with this layout, and its owner gave it up.
            None => unsafe { self.deallocate_uncommon::<LOOKS>(pointer, size, align) },
        }
    }

    /// How many bytes a block of such a request has; none if there can be no such block.
    pub fn rounded_size(&self, size: usize, align: usize) -> Option<usize> {
        if let Some(observer) = self.core_or_set_up().and_then(Core::observer) {
            return observer.rounded_size::<C>(size, align);
        }
        match Self::entry(size, align) {
            Some(entry) => Some(entry.size()),
            None => crate::large::rounded_size::<C::Pages>(size, align),
        }
    }

    /// The heap's state; none before its first block.
    #[inline]
    pub fn core(&self) -> Option<&Core<C>> {
        // Acquire pairs with the release in `make_core`.
        let core = NonNull::new(self.core.load(Ordering::Acquire))?;
        // SAFETY: the core was made by `make_core` and stays until the heap is dropped.
        Some(unsafe { core.as_ref() })
    }

    /// The options in force: those given, or what the environment says (read at the first block).
    pub fn config(&self) -> Config {
        match (self.core(), &self.options) {
            (Some(core), _) => core.config(),
            (None, _) => self.read_options(),
        }
    }

    /// Gives the heap a thread now, whatever its size; says whether it has one. It has none where `background_thread:false`
    /// was said, where no thread can be had, and in the child of a vfork.
    ///
    /// Not from a signal handler: making a thread allocates.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap};
    /// static HEAP: Heap = Heap::with(Config::DEFAULT);
    /// assert!(HEAP.start_background_thread());
    /// assert!(HEAP.core().is_some_and(|core| core.background_figures().has_thread));
    /// ```
    pub fn start_background_thread(&self) -> bool {
        self.core_or_set_up().is_some_and(|core| {
            core.config().background_thread != BackgroundThread::Off && core.start_thread()
        })
    }

    /// Ends the heap's own thread, and lets none be made in this process any more; says whether there was one. What it did is
    /// done by threads that miss their caches.
    ///
    /// For a program that is about to change its rights one call after the other, each in one thread alone (`PR_SET_KEEPCAPS`, and
    /// setresuid(2) behind it): a second thread could not follow, and the C library ends the program. When this returns
    /// the kernel has the thread no more; it waits a second at most.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap};
    /// static HEAP: Heap = Heap::with(Config::DEFAULT);
    /// assert!(HEAP.start_background_thread());
    /// assert!(HEAP.give_up_background_thread());
    /// assert!(!HEAP.start_background_thread());
    /// ```
    pub fn give_up_background_thread(&self) -> bool {
        self.core_or_set_up().is_some_and(Core::give_up_thread)
    }

    /// The class for a request that is small in size and alignment: all classes are multiples of 8.
    #[inline(always)]
    fn small_entry(size: usize, align: usize) -> Option<SmallEntry> {
        if align <= 8 { C::Pages::TABLE.small_entry(size) } else { None }
    }

    /// The class for a request of more than 1 KiB that is aligned to no more than all such classes are.
    #[inline(always)]
    fn entry_above_1k(size: usize, align: usize) -> Option<SmallEntry> {
        if align <= 16 { C::Pages::TABLE.entry_above_1k(size) } else { None }
    }

    /// The class for a request; none for a large one.
    #[inline(always)]
    pub(crate) fn entry(size: usize, align: usize) -> Option<ClassEntry> {
        // All classes are multiples of 8, and those above 8 bytes of 16.
        if align <= 8 {
            C::Pages::TABLE.entry(size)
        } else if align <= 16 {
            C::Pages::TABLE.entry(size.max(align))
        } else {
            C::Pages::TABLE.entry_aligned(size, align)
        }
    }

    /// Which words of a thread are the heap's. Of a heap that is the only one it is known before it has them: they are
    /// closed until then.
    #[inline(always)]
    pub(crate) fn slot(&self) -> Slot {
        if C::IS_ONLY_HEAP { Slot::FIRST } else { self.slot.load() }
    }

    pub(crate) fn map_words(&self) -> &PageMapWords<C::Pages> {
        &self.map
    }

    /// The common path: count, pop. What was asked for goes to the slow path alone, for those who observe. In a heap that
    /// marks, a block of `SMALL` size loses the mark to another word than a larger one.
    #[inline(always)]
    fn allocate_class<const SMALL: bool, const ZEROED: bool>(
        &self,
        entry: SmallEntry,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let slot = self.slot();
        let (class, bytes) = (entry.class(), entry.size() as u64);
        let is_closed = if C::IS_ONLY_HEAP {
            thread_block::count_allocated_in_first(bytes)
        } else {
            thread_block::count_allocated(slot, bytes)
        };
        if is_closed {
            return self.allocate_closed::<ZEROED>(size, entry, align, slot, exhausted);
        }
        if C::MARKS_FREE_BLOCKS && mark::LOOKS {
            // SAFETY: a thread's slot is open only while the per-CPU caches of the heap that has the slot are set up and the
            // thread is registered for them.
            let block = unsafe { self.cpu.pop_or_nothing(class) };
            // SAFETY: the block is ours, and of a class, or a word that is no block.
            if !unsafe { mark::is_set(block) } {
                return self.allocate_doubtful(block, slot, class, exhausted);
            }
            // SAFETY: the block is ours, and of a class: what is none has no mark.
            unsafe {
                mark::clear(block, if SMALL { mark::word_of_small(bytes) } else { mark::TAKEN })
            };
            return block;
        }
        // SAFETY: as above.
        let block = unsafe { self.cpu.pop(class) };
        if block.is_null() {
            return self.allocate_missed(slot, class, exhausted);
        }
        block
    }

    /// The common path: count, push.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of that class, given up by the caller.
    #[inline(always)]
    unsafe fn deallocate_class<const LOOKS: bool>(
        &self,
        class: SizeClass,
        bytes: usize,
        pointer: *mut u8,
        said: Said,
    ) {
        let slot = self.slot();
        let is_closed = if C::IS_ONLY_HEAP {
            thread_block::count_deallocated_in_first(bytes as u64)
        } else {
            thread_block::count_deallocated(slot, bytes as u64)
        };
        if is_closed {
            // SAFETY: the block was handed out by this heap, and its owner gave it up.
            return unsafe { self.deallocate_closed(pointer, slot, class, said) };
        }
        if C::MARKS_FREE_BLOCKS && mark::LOOKS {
            // SAFETY: the block is the caller's to give, until it is pushed.
            unsafe { mark::set(pointer) };
        }
        let pushed = if LOOKS && mark::LOOKS {
            // SAFETY: as in `allocate_class`; and the block is the caller's to give, or was given before.
            unsafe { self.cpu.push_unless_top(class, pointer) }
        // SAFETY: as in `allocate_class`; and the block is the caller's to give.
        } else if unsafe { self.cpu.push(class, pointer) } {
            Pushed::Done
        } else {
            Pushed::Full
        };
        match pushed {
            Pushed::Done => {}
            // SAFETY: the block is of this class and given up, and no cache took it.
            Pushed::Full => unsafe { self.deallocate_overflowed(pointer, slot, class) },
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            Pushed::Again => unsafe { self.deallocate_again(pointer, slot, class, said) },
        }
    }

    /// The path is closed to this thread. One that has a cache of its own, with an object of the class in it, is served here: what was
    /// counted stays counted.
    #[inline(never)]
    // The size comes first: it stays in the register that it came in.
    fn allocate_closed<const ZEROED: bool>(
        &self,
        size: usize,
        entry: SmallEntry,
        align: usize,
        slot: Slot,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let block = Self::pop_own(slot, entry);
        if block.is_null() {
            return self.allocate_uncounted::<ZEROED>(slot, size, align, exhausted);
        }
        if mark::LOOKS {
            // SAFETY: the block is ours, and of a class; the word is a link, or the mark.
            unsafe { mark::clear(block, mark::CLEARED) };
        }
        block
    }

    /// An object of this thread's own cache, where it has one and all is as usual; or null.
    #[inline(always)]
    fn pop_own(slot: Slot, entry: SmallEntry) -> *mut u8 {
        let own = thread_block::block();
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*own.words(slot) };
        if words.allocated.has_come_near_end() {
            return core::ptr::null_mut();
        }
        match OwnCache::<C::Pages>::at_hand(own, words) {
            // SAFETY: the cache is this thread's own.
            Some(cache) => unsafe { cache.pop_sound(entry.class(), entry.size()) },
            None => core::ptr::null_mut(),
        }
    }

    /// The thread is new, or its cache misses, or it has none. What was counted is taken back.
    #[cold]
    #[inline(never)]
    fn allocate_uncounted<const ZEROED: bool>(
        &self,
        counted_in: Slot,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let entry = Self::entry(size, align);
        own_words(counted_in).allocated.take_back(entry.map_or(0, ClassEntry::size) as u64);
        if let Some(core) = self.core()
            && core.observer() == Some(Observer::Hardened)
        {
            // A heap that is hardened takes this way with each call.
            let block = core.allocate_hardened::<ZEROED>(self.slot(), size, align);
            return if block.is_null() { exhausted(size, align) } else { block };
        }
        let block = self.core_or_set_up().map_or(core::ptr::null_mut(), |core| {
            let slot = self.slot();
            match (core.observer(), entry) {
                (Some(observer), _) => {
                    let request = BlockRequest { size, align, zeroed: ZEROED };
                    core.allocate_observed(slot, observer, request)
                }
                (None, Some(entry)) => core.allocate_uncounted(slot, entry.class()),
                (None, None) => core::ptr::null_mut(),
            }
        });
        if block.is_null() { exhausted(size, align) } else { block }
    }

    /// What came from this CPU's cache has no mark: it is nothing, or an object that nobody had yet, or a block that was freed
    /// twice or written to since.
    #[cold]
    #[inline(never)]
    fn allocate_doubtful(
        &self,
        block: *mut u8,
        slot: Slot,
        class: SizeClass,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        if CpuWords::is_nothing(block) {
            return self.allocate_missed(slot, class, exhausted);
        }
        // SAFETY: the block came from the cache, and is of a class.
        if unsafe { mark::may_be_new::<C::Pages>(class, block) } {
            return block;
        }
        // It stays counted as the program's, if that goes on: of a block that was freed twice one free was too many.
        let another = self.core().map_or(core::ptr::null_mut(), |core| {
            core.report_unmarked(class, Address::of(block));
            core.allocate_uncounted(slot, class)
        });
        if another.is_null() { exhausted(C::Pages::TABLE.size(class), 1) } else { another }
    }

    /// This CPU has no object of the class.
    #[cold]
    #[inline(never)]
    fn allocate_missed(
        &self,
        slot: Slot,
        class: SizeClass,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        own_words(slot).allocated.take_back(C::Pages::TABLE.size(class) as u64);
        let block =
            self.core().map_or(core::ptr::null_mut(), |core| core.allocate_missed(slot, class));
        if block.is_null() { exhausted(C::Pages::TABLE.size(class), 1) } else { block }
    }

    /// What is larger than 1 KiB, or aligned to more than 8. Apart from the small ones, whose path is the shorter for
    /// having no way in from here.
    #[inline(never)]
    fn allocate_uncommon<const ZEROED: bool>(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match Self::entry_above_1k(size, align) {
            Some(entry) => self.allocate_class::<false, ZEROED>(entry, size, align, exhausted),
            None => self.allocate_rare::<ZEROED>(size, align, exhausted),
        }
    }

    /// What is aligned to more than all classes are, or has no class; or small and aligned to 16.
    #[inline(never)]
    fn allocate_rare<const ZEROED: bool>(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match Self::entry(size, align) {
            Some(entry) => {
                let entry = SmallEntry::of_entry(entry);
                self.allocate_class::<false, ZEROED>(entry, size, align, exhausted)
            }
            None => self.allocate_large(size, align, exhausted),
        }
    }

    /// The same for blocks that come back.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    unsafe fn deallocate_uncommon<const LOOKS: bool>(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        match Self::entry_above_1k(size, align) {
            // SAFETY: the caller's promise; equal requests have equal classes.
            Some(entry) => unsafe {
                let said = Said::layout(size, align);
                self.deallocate_class::<LOOKS>(entry.class(), entry.size(), pointer, said)
            },
            // SAFETY: the block was asked for with this layout, and its owner gave it up.
            None => unsafe { self.deallocate_rare::<LOOKS>(pointer, size, align) },
        }
    }

    /// The same for what [`Self::allocate_rare`] had.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    unsafe fn deallocate_rare<const LOOKS: bool>(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        let said = Said::layout(size, align);
        match Self::entry(size, align) {
            Some(entry) => {
                let entry = SmallEntry::of_entry(entry);
                // SAFETY: the caller's promise; equal requests have equal classes.
                unsafe {
                    self.deallocate_class::<LOOKS>(entry.class(), entry.size(), pointer, said)
                }
            }
            // SAFETY: the block was handed out by this heap, and its owner gave it up.
            None => unsafe { self.deallocate_unlisted(pointer, said) },
        }
    }

    #[cold]
    #[inline(never)]
    fn allocate_large(
        &self,
        size: usize,
        align: usize,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let block = self.core_or_set_up().map_or(core::ptr::null_mut(), |core| {
            let slot = self.slot();
            match core.observer() {
                Some(observer) => {
                    let request = BlockRequest { size, align, zeroed: false };
                    core.allocate_observed(slot, observer, request)
                }
                None => core.allocate_large(slot, size, align),
            }
        });
        if block.is_null() { exhausted(size, align) } else { block }
    }

    /// The path is closed to this thread. The block of one that has a cache of its own goes there: what was counted stays counted.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(never)]
    // The pointer comes first in these: it stays in the register that it came in.
    unsafe fn deallocate_closed(&self, pointer: *mut u8, slot: Slot, class: SizeClass, said: Said) {
        // SAFETY: the block is of this class, and its owner gave it up.
        match unsafe { Self::push_own(pointer, slot, class) } {
            Some(false) => {}
            Some(true) => self.flush_own(slot, class),
            // SAFETY: as above: nobody has taken it.
            None => unsafe { self.deallocate_uncounted(pointer, slot, class, said) },
        }
    }

    /// Gives a block to this thread's own cache, where it has one and all is as usual; says whether that has too much then.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(always)]
    unsafe fn push_own(pointer: *mut u8, slot: Slot, class: SizeClass) -> Option<bool> {
        let own = thread_block::block();
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*own.words(slot) };
        if words.deallocated.has_come_near_end() {
            return None;
        }
        let cache = OwnCache::<C::Pages>::at_hand(own, words)?;
        // SAFETY: the heap is not observed, since this thread has a cache; and a page of a class's is followed by the rest of its
        // span or another page of the source's.
        if unsafe { mark::is_set(pointer) } {
            return None;
        }
        // SAFETY: the cache is this thread's own; the block is the caller's to give.
        unsafe { cache.push_sound(class, C::Pages::TABLE.size(class), pointer) }
    }

    #[cold]
    #[inline(never)]
    fn flush_own(&self, slot: Slot, class: SizeClass) {
        if let Some(core) = self.core() {
            core.flush_own(slot, class);
        }
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_uncounted(
        &self,
        pointer: *mut u8,
        counted_in: Slot,
        class: SizeClass,
        said: Said,
    ) {
        own_words(counted_in).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        match self.core() {
            Some(core) if core.observer() == Some(Observer::Hardened) => {
                // SAFETY: the caller's promise, as far as it holds.
                unsafe { core.deallocate_hardened(self.slot(), pointer, said) }
            }
            // SAFETY: the block is of this class, and its owner gave it up.
            _ => unsafe { self.deallocate_uncommonly(class, pointer, said) },
        }
    }

    /// What is not counted yet goes off the common path.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    unsafe fn deallocate_uncommonly(&self, class: SizeClass, pointer: *mut u8, said: Said) {
        let Some(core) = self.core() else {
            return crate::misuse::before_the_first_block(said.function(), pointer);
        };
        let slot = self.slot();
        match core.front_end() {
            // SAFETY: its owner gave the block up, which the observer looks at before anything else.
            FrontEnd::Observed(observer) => unsafe {
                core.deallocate_observed(slot, observer, pointer, said)
            },
            FrontEnd::PerThread(_) if !self.is_unmarked_or_live(class, pointer, said) => {}
            // SAFETY: the block is of this class, and its owner gave it up.
            FrontEnd::PerCpu(_) | FrontEnd::PerThread(_) => unsafe {
                core.deallocate_uncounted(slot, class, pointer)
            },
        }
    }

    /// Whether an object has no mark, or is the program's all the same; if it is not, that is told.
    fn is_unmarked_or_live(&self, class: SizeClass, pointer: *mut u8, said: Said) -> bool {
        // SAFETY: a page of a class's is followed by the rest of its span or another page of the source's.
        let is_marked = unsafe { mark::is_set(pointer) };
        !is_marked || self.is_live(class, pointer, said.function())
    }

    /// The page map's window shows no class for the page, or one of which no block begins there: who has the time looks.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_uncertain(&self, pointer: *mut u8, class: SizeClass) {
        if !class.is_none() {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_suspect(class, pointer, Said::NOTHING) };
        }
        let class = self.map.class_at(Address::of(pointer).value());
        if class.is_none() {
            // SAFETY: the page map has no class for it: null, or a block of a span of its own, given up by its
            // owner.
            return unsafe { self.deallocate_unlisted(pointer, Said::NOTHING) };
        }
        let (is_no_beginning, bytes) =
            C::Pages::TABLE.is_no_beginning_of(class, Address::of(pointer).value());
        if mark::LOOKS && is_no_beginning {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_suspect(class, pointer, Said::NOTHING) };
        }
        // SAFETY: the caller's promise; the page map knows the block's class.
        unsafe { self.deallocate_class::<true>(class, bytes, pointer, Said::NOTHING) };
    }

    /// The pointer begins no block, or the block says that it is free: who has the time looks.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of that class, given up by the caller, or it is found that it is not.
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_suspect(&self, class: SizeClass, pointer: *mut u8, said: Said) {
        let is_observed = self.core().is_some_and(|core| core.observer().is_some());
        if is_observed || self.is_live(class, pointer, said.function()) {
            // SAFETY: nothing spoke against it: it is of this class, and its owner gave it up.
            unsafe { self.deallocate_uncommonly(class, pointer, said) };
        }
    }

    /// The caller says another class than the page map: an observer knows more, and else that is told.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_suspect`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_mismatched(&self, class: SizeClass, pointer: *mut u8, said: Said) {
        match self.core() {
            Some(core) if core.observer().is_none() => {
                core.report_wrong_size(class, Address::of(pointer), said);
            }
            // SAFETY: an observer looks at the block before anything else; without a core no block was ever handed out.
            _ => unsafe { self.deallocate_uncommonly(class, pointer, said) },
        }
    }

    /// Whether an object is the program's; if it is not, that is told.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn is_live(&self, class: SizeClass, pointer: *mut u8, function: Function) -> bool {
        self.core().is_none_or(|core| core.is_live(class, Address::of(pointer), function))
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_overflowed(&self, pointer: *mut u8, slot: Slot, class: SizeClass) {
        own_words(slot).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        if let Some(core) = self.core() {
            // SAFETY: the block is of this class and given up, and this CPU's cache did not take it.
            unsafe { core.deallocate_overflowed(slot, class, pointer) };
        }
    }

    /// The block that was freed last, once more. What was counted is taken back.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_suspect`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_again(&self, pointer: *mut u8, slot: Slot, class: SizeClass, said: Said) {
        own_words(slot).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        // SAFETY: whether its owner may give the block is looked up there, before it is touched.
        unsafe { self.deallocate_suspect(class, pointer, said) };
    }

    /// The page map has no class for it: a large block, null, or no block at all.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_unlisted(&self, pointer: *mut u8, said: Said) {
        if pointer.is_null() {
            return;
        }
        let Some(core) = self.core() else {
            return crate::misuse::before_the_first_block(said.function(), pointer);
        };
        let slot = self.slot();
        match core.observer() {
            // SAFETY: its owner gave the block up, which the observer looks at before anything else.
            Some(observer) => unsafe { core.deallocate_observed(slot, observer, pointer, said) },
            // SAFETY: no class is known for the block, and its owner gave it up; its span is looked up there.
            None => unsafe { core.deallocate_unlisted(slot, pointer, said) },
        }
    }

    /// The state, made if it is not there yet; none when there is no memory for it, or this very call is part of
    /// making it.
    #[inline]
    pub(crate) fn core_or_set_up(&self) -> Option<&Core<C>> {
        match self.core() {
            Some(core) => Some(core),
            None => self.set_up_core(),
        }
    }

    #[cold]
    #[inline(never)]
    fn set_up_core(&self) -> Option<&Core<C>> {
        self.set_up.alone(|| {
            if self.core().is_none() {
                self.make_core();
            }
        })?;
        let core = self.core()?;
        core.finish_set_up();
        Some(core)
    }

    fn read_options(&self) -> Config {
        match &self.options {
            Options::Environment => crate::environment::config(),
            Options::EnvironmentWithThread => {
                let config = crate::environment::config();
                match config.background_thread {
                    BackgroundThread::Auto => {
                        Config { background_thread: BackgroundThread::On, ..config }
                    }
                    BackgroundThread::On | BackgroundThread::Off => config,
                }
            }
            Options::Given(config) => *config,
        }
    }

    /// Makes the state and publishes it, if there is memory for it.
    fn make_core(&self) {
        let config = self.read_options();
        crate::system_calls::obey(&config);
        let Some(core) = Core::<C>::create(config) else { return };
        // SAFETY: the core was just created and stays until the heap is dropped.
        let made = unsafe { core.as_ref() };
        self.near.copy_from(made.map_ref());
        self.map.copy_from(made.map_ref());
        if let Some(cpu) = made.per_cpu() {
            self.cpu.copy_from(cpu);
        }
        // Release pairs with the acquire in `core`.
        self.core.store(core.as_ptr(), Ordering::Release);
        self.slot.store(made.slot());
    }
}

/// This thread's words of a slot: of the one that was counted in, for the heap's may be another by now.
fn own_words<'a>(slot: Slot) -> &'a SlotWords {
    // SAFETY: the words are this thread's own, and callers drop the borrow before they return.
    unsafe { &*thread_block::words(slot) }
}

impl<C: HeapConfig> Drop for Heap<C> {
    fn drop(&mut self) {
        if let Some(core) = NonNull::new(*self.core.get_mut()) {
            // SAFETY: the heap is the only one who knows the core, and nobody has the heap any more.
            unsafe { Core::destroy(core) };
        }
    }
}

impl<C: HeapConfig> Default for Heap<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: HeapConfig> core::fmt::Debug for Heap<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Heap")
            .field("options", &self.options)
            .field("is_set_up", &self.core().is_some())
            .finish()
    }
}
