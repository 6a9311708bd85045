//! The heap: how it is made, and where it finds its state. The paths of a block are in the files below.

mod allocate;
mod deallocate;
mod hardened;

pub(crate) use deallocate::TRUSTS;

use crate::{BackgroundThread, Config, Core, HeapConfig, Standard, set_up_lock::SetUpLock};
use core::{marker::PhantomData, ptr::NonNull};
use strata_cpu_cache::CpuWords;
use strata_size_classes::{ClassEntry, PageSize, SmallEntry};
use strata_span::{PageMapWindow, PageMapWords};
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

    /// Ends the heap's own thread, and lets none be made in this process any more; says whether there was one. What
    /// it did is done by threads that miss their caches.
    ///
    /// For a program that is about to change its rights one call after the other, each in one thread alone
    /// (`PR_SET_KEEPCAPS`, and setresuid(2) behind it): a second thread could not follow, and the C library ends
    /// the program. When this returns the kernel has the thread no more; it waits a second at most.
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

    /// The class for a request that is small in size and alignment: all classes are multiples of 8.
    #[inline(always)]
    pub(crate) fn small_entry(size: usize, align: usize) -> Option<SmallEntry> {
        if align <= 8 {
            C::Pages::TABLE.small_entry(size)
        } else if align <= 16 {
            // All classes above 8 bytes are multiples of 16.
            C::Pages::TABLE.small_entry(size.max(16))
        } else {
            None
        }
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

    /// The page map's window.
    pub(crate) fn near(&self) -> &PageMapWindow<C::Pages> {
        &self.near
    }

    pub(crate) fn map_words(&self) -> &PageMapWords<C::Pages> {
        &self.map
    }
}

/// This thread's words of a slot: of the one that was counted in, for the heap's may be another by now.
pub(crate) fn own_words<'a>(slot: Slot) -> &'a SlotWords {
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
