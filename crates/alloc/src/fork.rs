//! Forks of a program with threads: all heaps are at rest while the process is copied.

use crate::{Core, HeapConfig, threads::ENDS};
use core::{cell::Cell, ffi::c_void, ptr::NonNull};
use strata_sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering},
    locks_kept_over_forks,
};

/// Held by a thread while it is in a function of the C library's that allocates under a lock for which the
/// library's own `fork` waits. The first lock.
static CALLS: Mutex<()> = Mutex::new(());

/// Guards the list of the heaps that a fork has to stop. A lock under [`ENDS`].
static HEAPS: Mutex<()> = Mutex::new(());

/// The first entry of the list. Written under [`HEAPS`]; a fork holds that lock from before to after.
static FIRST: AtomicPtr<ForkEntry> = AtomicPtr::new(core::ptr::null_mut());

/// Whether a fork has the lock of the C library's streams. Written and read under [`HEAPS`].
static HAS_STREAMS: AtomicBool = AtomicBool::new(false);

/// Locks that forks before this one found with the thread that forks. (A handler of a signal that interrupted an allocation
/// forks: what that was changing is not looked at in the child.) Written and read under [`ENDS`].
static KEPT_BEFORE: AtomicU32 = AtomicU32::new(0);

/// Whether the C library knows our handlers. Written by the first thread that tells it.
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// Whether the C library took them. Written by the thread that told it.
static IS_HEEDED: AtomicBool = AtomicBool::new(false);

/// How many forks lead to this process since handlers are called. Written in children.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks lead to this process, as far as they called handlers: the same for all processes that share its
/// memory. None where no fork would be counted.
pub(crate) fn generation() -> Option<u32> {
    IS_HEEDED.load(Ordering::Relaxed).then(|| GENERATION.load(Ordering::Relaxed))
}

/// A heap's place in the list. All zero bits are an entry that is not in it.
#[derive(Debug)]
pub(crate) struct ForkEntry {
    next: Cell<Option<NonNull<ForkEntry>>>,
    core: Cell<*const c_void>,
    handlers: Cell<Option<&'static Handlers>>,
}

// SAFETY: the cells are changed and read under the list's lock alone.
unsafe impl Sync for ForkEntry {}
// SAFETY: the same: whichever thread has it takes the lock first.
unsafe impl Send for ForkEntry {}

/// What another layer does in the child of a fork: a list of statics, so that nothing is allocated for it.
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use strata_alloc::{ForkWatcher, watch_forks};
///
/// static CHILDREN: AtomicU32 = AtomicU32::new(0);
/// static WATCHER: ForkWatcher = ForkWatcher::new(|| {
///     CHILDREN.fetch_add(1, Ordering::Relaxed);
/// });
///
/// watch_forks();
/// WATCHER.register();
/// # assert_eq!(CHILDREN.load(Ordering::Relaxed), 0);
/// ```
#[derive(Debug)]
pub struct ForkWatcher {
    in_child: fn(),
    is_registered: AtomicBool,
    /// Written before the entry is in the list, by who puts it there; read in children.
    next: AtomicPtr<ForkWatcher>,
}

/// The first of the list. Written by who registers one, read in children.
static WATCHERS: AtomicPtr<ForkWatcher> = AtomicPtr::new(core::ptr::null_mut());

impl ForkWatcher {
    /// One that calls `in_child`, once it is registered, in each child, whose only thread that is.
    pub const fn new(in_child: fn()) -> Self {
        let next = AtomicPtr::new(core::ptr::null_mut());
        Self { in_child, is_registered: AtomicBool::new(false), next }
    }

    /// From now on it is called in children of forks that call their handlers (see [`watch_forks`]). Any thread may
    /// register one at any time, more than once. Takes no lock.
    pub fn register(&'static self) {
        if self.is_registered.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = core::ptr::from_ref(self).cast_mut();
        let mut first = WATCHERS.load(Ordering::Relaxed);
        loop {
            self.next.store(first, Ordering::Relaxed);
            // Release: publishes `next`. Pairs with the acquire in `call_watchers`.
            match WATCHERS.compare_exchange(first, this, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => first = other,
            }
        }
    }
}

#[unsafe(link_section = ".text_rarely")]
fn call_watchers() {
    // Acquire: pairs with the release in `register`.
    let mut next = NonNull::new(WATCHERS.load(Ordering::Acquire));
    while let Some(watcher) = next {
        // SAFETY: `register` takes statics alone.
        let watcher = unsafe { watcher.as_ref() };
        (watcher.in_child)();
        next = NonNull::new(watcher.next.load(Ordering::Relaxed));
    }
}

/// What is done with a heap around a fork.
#[derive(Debug)]
struct Handlers {
    acquire: unsafe fn(*const c_void),
    release: unsafe fn(*const c_void),
    forget_vanished: unsafe fn(*const c_void),
    begin: unsafe fn(*const c_void),
}

/// Puts a heap in the list, and registers the handlers with the C library, which may allocate.
pub(crate) fn register<C: HeapConfig>(core: &Core<C>) {
    let entry = &core.fork_entry;
    {
        let _heaps = HEAPS.lock();
        entry.core.set(core::ptr::from_ref(core).cast());
        entry.handlers.set(Some(
            const {
                &Handlers {
                    acquire: acquire::<C>,
                    release: release::<C>,
                    forget_vanished: forget_vanished::<C>,
                    begin: begin::<C>,
                }
            },
        ));
        entry.next.set(first());
        FIRST.store(core::ptr::from_ref(entry).cast_mut(), Ordering::Relaxed);
    }
    if C::IS_ONLY_HEAP {
        watch_forks();
    } else {
        watch_forks_by(strata_os::at_fork_of_program);
    }
}

/// As long as this lives, no fork of another thread's begins to stop heaps.
///
/// The C library's `fork` takes locks of its own behind the handlers that run before it. Where another thread
/// allocates under one of these, it would wait for a heap that the fork has stopped, and the fork for that thread.
/// So who calls such a function takes this first, and forks wait until it is through.
#[derive(Debug)]
#[must_use = "forks wait for as long as it lives"]
pub struct ForksHeldOff {
    _calls: Option<MutexGuard<'static, ()>>,
}

/// Has forks wait. One thread at a time; a thread may do it again in a signal handler, and may fork in one. To be
/// called while no lock is held that a heap's call or an earlier fork handler takes.
///
/// ```
/// let held_off = strata_alloc::hold_off_forks();
/// // … a function of the C library's that holds a lock and allocates …
/// drop(held_off);
/// ```
pub fn hold_off_forks() -> ForksHeldOff {
    ForksHeldOff { _calls: CALLS.lock_unless_ours() }
}

/// Tells the C library what to call around a fork, if nobody did yet: before the first block of a heap, so that handlers
/// that a program registers later run while no lock of a heap is held. A heap does it by itself with its first block.
pub fn watch_forks() {
    watch_forks_by(strata_os::at_fork);
}

/// A handler of forks, and what tells the C library of three.
type Handler = unsafe extern "C" fn();
type Tell = fn(Handler, Handler, Handler) -> bool;

fn watch_forks_by(tell: Tell) {
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        let heeded = tell(before, in_parent, in_child);
        IS_HEEDED.store(heeded, Ordering::Relaxed);
    }
}

/// Takes a heap out of the list, if it is in it.
pub(crate) fn unregister(entry: &ForkEntry) {
    let _heaps = HEAPS.lock();
    if first() == Some(NonNull::from(entry)) {
        let next = entry.next.get().map_or(core::ptr::null_mut(), NonNull::as_ptr);
        FIRST.store(next, Ordering::Relaxed);
        return;
    }
    for_each(|other| {
        if other.next.get() == Some(NonNull::from(entry)) {
            other.next.set(entry.next.get());
        }
    });
}

fn first() -> Option<NonNull<ForkEntry>> {
    NonNull::new(FIRST.load(Ordering::Relaxed))
}

/// Visits the heaps; the caller has the list's lock.
fn for_each(mut visit: impl FnMut(&ForkEntry)) {
    let mut next = first();
    while let Some(entry) = next {
        // SAFETY: entries are part of heaps that stand, since each takes its entry out before it ends.
        let entry = unsafe { entry.as_ref() };
        next = entry.next.get();
        visit(entry);
    }
}

/// Calls one of the handlers of each heap; the caller has the list's lock.
fn call(which: fn(&Handlers) -> unsafe fn(*const c_void)) {
    for_each(|entry| {
        if let Some(handlers) = entry.handlers.get() {
            // SAFETY: `register` set both: the handlers are for this core's configuration.
            unsafe { which(handlers)(entry.core.get()) };
        }
    });
}

#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn before() {
    // First: who has it may want the next.
    CALLS.acquire();
    // Before the heaps' own: the C library takes it while it copies the process, and who has it may wait for an allocation.
    let has_streams = strata_os::lock_stream_list();
    let kept = locks_kept_over_forks();
    ENDS.acquire();
    KEPT_BEFORE.store(kept, Ordering::Relaxed);
    HEAPS.acquire();
    HAS_STREAMS.store(has_streams, Ordering::Relaxed);
    call(|handlers| handlers.acquire);
}

#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn in_parent() {
    call(|handlers| handlers.release);
    let has_streams = HAS_STREAMS.load(Ordering::Relaxed);
    // SAFETY: `before` took the lock in this thread.
    unsafe { HEAPS.release() };
    // SAFETY: `before` took it in this thread, or in the one that this is the copy of.
    unsafe { ENDS.release() };
    if has_streams {
        // SAFETY: `before` took the C library's lock in this thread.
        unsafe { strata_os::unlock_stream_list() };
    }
    // SAFETY: `before` took the lock in this thread, or in the one that this is the copy of.
    unsafe { CALLS.release() };
}

#[unsafe(link_section = ".text_rarely")]
unsafe extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    if HAS_STREAMS.load(Ordering::Relaxed) {
        // SAFETY: `before` took it in the thread that this one is the copy of.
        unsafe { strata_os::reset_stream_list() };
    }
    call(|handlers| handlers.release);
    if locks_kept_over_forks() == KEPT_BEFORE.load(Ordering::Relaxed) {
        call(|handlers| handlers.forget_vanished);
    } else {
        call(|handlers| handlers.begin);
    }
    call_watchers();
    // SAFETY: `before` took the lock in the thread that this one is the copy of.
    unsafe { HEAPS.release() };
    // SAFETY: `before` took it in this thread, or in the one that this is the copy of.
    unsafe { ENDS.release() };
    // SAFETY: `before` took the lock in the thread that this one is the copy of.
    unsafe { CALLS.release() };
}

/// # Safety
///
/// `core` points to a core of this configuration that stands.
#[unsafe(link_section = ".text_rarely")]
unsafe fn acquire<C: HeapConfig>(core: *const c_void) {
    // SAFETY: the core stands, and is of the configuration that these functions were made for.
    unsafe { Core::<C>::of_raw(core) }.acquire_all();
}

/// # Safety
///
/// As for [`acquire`], which was called before.
#[unsafe(link_section = ".text_rarely")]
unsafe fn release<C: HeapConfig>(core: *const c_void) {
    // SAFETY: the core stands, and is of the configuration that these functions were made for: `register` set both.
    let core = unsafe { Core::<C>::of_raw(core) };
    // SAFETY: `acquire` took its locks before the fork, in this thread or in the one that forked it.
    unsafe { core.release_all() };
}

/// # Safety
///
/// As for [`acquire`]; in the child of a fork.
#[unsafe(link_section = ".text_rarely")]
unsafe fn forget_vanished<C: HeapConfig>(core: *const c_void) {
    // SAFETY: the core stands, and is of the configuration that these functions were made for: `register` set both.
    let core = unsafe { Core::<C>::of_raw(core) };
    let shard = core.threads.forget_vanished(core.slot());
    // SAFETY: the handlers before the fork acquired the heap, and those in the child, where this is, released it.
    unsafe { core.hardened.forget_vanished(shard) };
    if let Some(cpu) = core.per_cpu() {
        cpu.settle_limits();
    }
    core.background.forget_others();
    core.begin_in_child();
    core.recorder.forget();
}

/// # Safety
///
/// As for [`forget_vanished`]; this thread interrupted itself in a layer, so that no lock is taken.
unsafe fn begin<C: HeapConfig>(core: *const c_void) {
    // SAFETY: the core stands, and is of the configuration that these functions were made for: `register` set both.
    let core = unsafe { Core::<C>::of_raw(core) };
    core.background.forget_others();
    core.background.note_if_lost();
    core.begin_without_thread();
}
