//! A thread of the allocator's own.

use crate::system_call::system_call;
use crate::{KeepErrno, keeps_to_memory_calls, kernel_page_bytes, restraint};
use core::ffi::{CStr, c_int, c_void};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Starts a thread that runs `run` with `argument`: detached, with about `stack_bytes` of stack besides the
/// thread-local storage of what was loaded with this library, and with every signal blocked, so that handlers of
/// the program run in the program's threads. The error is the system's number.
///
/// The C library allocates here, in the calling thread: only with no lock held that an allocation takes, and where
/// one that comes back into the caller does no harm. Keeps `errno`.
///
/// # Errors
///
/// `EAGAIN` where no more threads can be had, `EPERM` in a process that keeps to the calls of memory.
///
/// # Safety
///
/// `run` bears to be called with `argument` in another thread, for as long as that one runs; it does not unwind, and
/// its code is not unloaded.
#[unsafe(link_section = ".text_rarely")]
pub unsafe fn start_thread(
    stack_bytes: usize,
    run: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> Result<(), i32> {
    let _keep = KeepErrno::new();
    restraint::check()?;
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the place is ours, and as large as attributes are.
    answer(unsafe { libc::pthread_attr_init(attributes) })?;
    // SAFETY: the attributes were made above.
    unsafe { libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) };
    // The C library takes the storage out of the stack, and makes no thread where that does not hold it.
    let stack_bytes = stack_bytes.saturating_add(THREAD_LOCAL_BYTES.load(Ordering::Relaxed));
    // A stack that the C library finds too small leaves the usual one.
    // SAFETY: the attributes were made above.
    unsafe { libc::pthread_attr_setstacksize(attributes, stack_bytes) };
    // A thread begins with its maker's signals.
    let blocked = SignalsBlocked::all();
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes were made above, the place for the thread's number is ours, and the caller answers for
    // `run`.
    let started = unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, run, argument) };
    drop(blocked);
    // SAFETY: the attributes were made above, and are not used after this.
    unsafe { libc::pthread_attr_destroy(attributes) };
    answer(started)
}

/// What [`measure_thread_locals`] found: in whole kernel pages, at least what a new thread is given of its stack,
/// since some of it may come with its first use instead. Zero before that.
static THREAD_LOCAL_BYTES: AtomicUsize = AtomicUsize::new(0);

/// How much thread-local storage the loaded objects have is asked when this one is loaded, and never again: the
/// loader has its lock while it tells. A thread that holds it may wait for one that allocates, and the child of a
/// fork finds it held by a thread that did not come along. What is loaded later gets its part from a reserve of the
/// loader's, not of stacks. (Constructors run with that lock held, or before there is a second thread.)
#[cfg(not(miri))]
#[used]
#[unsafe(link_section = ".init_array")]
static MEASURE: extern "C" fn() = measure_thread_locals;

#[cfg_attr(miri, allow(dead_code, reason = "it has no loader"))]
extern "C" fn measure_thread_locals() {
    let mut bytes = 0_usize;
    // SAFETY: the function bears what the loader calls it with, and the counter outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(add_thread_local_bytes), (&raw mut bytes).cast()) };
    let bytes = bytes.checked_next_multiple_of(kernel_page_bytes()).unwrap_or(usize::MAX);
    THREAD_LOCAL_BYTES.store(bytes, Ordering::Relaxed);
}

/// # Safety
///
/// `object` is what the loader says of one, and `bytes` a counter.
unsafe extern "C" fn add_thread_local_bytes(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    bytes: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes its description of an object, which stands during the call.
    let object = unsafe { &*object };
    // SAFETY: the same.
    let bytes = unsafe { &mut *bytes.cast::<usize>() };
    for index in 0..usize::from(object.dlpi_phnum) {
        // SAFETY: the loader has that many of them there.
        let header = unsafe { object.dlpi_phdr.add(index) };
        // SAFETY: it stays as long as this call lasts.
        let header = unsafe { &*header };
        if header.p_type == libc::PT_TLS {
            let [memory, align] = [header.p_memsz, header.p_align]
                .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
            *bytes = bytes.saturating_add(memory).saturating_add(align);
        }
    }
    0
}

/// Gives the calling thread a name of at most 15 bytes, which debuggers and `ps` show.
pub fn name_this_thread(name: &CStr) {
    if keeps_to_memory_calls() {
        return;
    }
    let _keep = KeepErrno::new();
    // SAFETY: the kernel copies the name, which ends in a zero byte.
    unsafe { system_call!(libc::SYS_prctl, libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Gives the calling thread an empty table of descriptors of its own (Linux 5.9; nothing happens where the kernel cannot).
///
/// What it opens then never has a number that the program expects to be given next, and what it closes is never the
/// program's, which may have closed that number and opened it again meanwhile. No file of the program stays open
/// for the thread's sake. Lines to standard error find it all the same.
pub fn own_descriptors() {
    if keeps_to_memory_calls() {
        return;
    }
    let _keep = KeepErrno::new();
    // SAFETY: in a table that no other thread has, and that nobody has a descriptor of yet: a kernel that does not know
    // the flag refuses the call.
    unsafe { system_call!(libc::SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
}

/// Keeps signals from the calling thread while it lives, but for those that the C library needs. Keeps `errno`. In
/// a process that keeps to the calls of memory it does nothing.
#[derive(Debug)]
#[must_use = "signals come again when it is dropped"]
pub struct SignalsBlocked {
    /// Those that were blocked before.
    before: Option<Signals>,
    /// It ends in the thread that made it.
    _of_one_thread: PhantomData<*mut ()>,
}

/// Signals that say what the thread itself did just now: one that is blocked ends the process, whatever its handler
/// would do.
const OF_FAULTS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
];

impl SignalsBlocked {
    /// All of them.
    pub fn all() -> Self {
        Self::but(&[])
    }

    /// Those that come from outside: where code of the program's runs meanwhile, whose faults its handlers are to see.
    pub fn from_outside() -> Self {
        Self::but(&OF_FAULTS)
    }

    fn but(let_through: &[c_int]) -> Self {
        let before = if keeps_to_memory_calls() { None } else { block_signals(let_through) };
        Self { before, _of_one_thread: PhantomData }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _keep = KeepErrno::new();
            let _ = set_signals(libc::SIG_SETMASK, *before);
        }
    }
}

/// A set of signals as the kernel has it: the lowest bit is signal 1.
pub(crate) type Signals = u64;

/// Blocks every signal of this thread but these; says which were blocked before.
fn block_signals(but: &[c_int]) -> Option<Signals> {
    let _keep = KeepErrno::new();
    let let_through = but.iter().fold(0, |set, signal| set | 1 << (signal - 1));
    set_signals(libc::SIG_BLOCK, all_signals() & !let_through)
}

/// All but the C library's own, which it never lets anybody block: by these it tells threads that they are
/// cancelled, or to change their user with the others. Which they are, it knows.
fn all_signals() -> Signals {
    let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the place is ours.
    unsafe { libc::sigfillset(signals.as_mut_ptr()) };
    // SAFETY: the line above filled it, and the kernel's set is its beginning.
    unsafe { signals.as_ptr().cast::<Signals>().read() }
}

/// Changes the signals that are blocked in this thread as `how` says; those that were before.
pub(crate) fn set_signals(how: c_int, signals: Signals) -> Option<Signals> {
    let mut before: Signals = 0;
    // SAFETY: the kernel reads the one set and writes the other, both of the size that it is told.
    let result = unsafe {
        system_call!(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const signals,
            &raw mut before,
            size_of::<Signals>(),
        )
    };
    (result == 0).then_some(before)
}

fn answer(number: c_int) -> Result<(), i32> {
    if number == 0 { Ok(()) } else { Err(number) }
}

#[cfg(test)]
mod tests;
