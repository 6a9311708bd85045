//! This process and its threads: environment, ids, memory, what to do at fork and exit.

use crate::KeepErrno;
use crate::address_space::auxiliary;
use crate::kernel_file::{KernelFile, leading_number};
use crate::system_call::system_call;
use crate::{restraint, weak};
use core::ffi::{CStr, c_int, c_void};

/// What the variable `name` of the environment says, as bytes.
///
/// `None` if it is not set, and always in a program that runs with more rights than its user
/// (`AT_SECURE`): it must not be steered by that user. Read it at start: a program that takes a
/// variable back which it had placed by `putenv` may free it.
pub fn environment(name: &CStr) -> Option<&'static [u8]> {
    if auxiliary(libc::AT_SECURE) != 0 {
        return None;
    }
    let _keep = KeepErrno::new();
    // SAFETY: `name` ends in a zero byte. Nobody changes the environment while malloc starts up:
    // POSIX forbids it to threads.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv answers with a string that ends in a zero byte; the kernel's and setenv's
    // are never freed by the C library.
    Some(unsafe { CStr::from_ptr(value) }.to_bytes())
}

/// The kernel's number of this thread. One system call.
pub fn thread_id() -> u32 {
    // A filter of system calls may answer with an error.
    let _keep = KeepErrno::new();
    // SAFETY: takes nothing.
    let id = unsafe { system_call!(libc::SYS_gettid) };
    u32::try_from(id).unwrap_or(0)
}

/// Whether the kernel has a thread of this number in this process. One system call; false in a process that keeps
/// to the calls of memory.
///
/// ```
/// use strata_os::{has_thread, thread_id};
/// assert!(has_thread(thread_id()));
/// assert!(!has_thread(u32::MAX >> 1));
/// ```
pub fn has_thread(id: u32) -> bool {
    let _keep = KeepErrno::new();
    if restraint::check().is_err() {
        return false;
    }
    let process = process_id();
    // SAFETY: signal 0 is a question, and goes to nobody.
    unsafe { system_call!(libc::SYS_tgkill, process, id, 0) == 0 }
}

/// The kernel's number of this process. One system call.
pub fn process_id() -> u32 {
    let _keep = KeepErrno::new();
    // SAFETY: takes nothing.
    let id = unsafe { system_call!(libc::SYS_getpid) };
    u32::try_from(id).unwrap_or(0)
}

/// Copies words of this process from `address`, which need not be mapped. One system call.
///
/// For what another thread left behind and may have taken along: a read of one's own would end the process.
///
/// # Errors
///
/// The system's number: `EFAULT` where something of it is not mapped, `EPERM` or `ENOSYS` where the kernel does not let a
/// process read itself this way, and in a process that keeps to the calls of memory.
///
/// ```
/// let words = [1_u64, 2, 3];
/// let mut copy = [0; 3];
/// strata_os::read_own_memory(words.as_ptr().expose_provenance(), &mut copy)?;
/// assert_eq!(copy, words);
/// assert!(strata_os::read_own_memory(8, &mut copy).is_err());
/// # Ok::<(), i32>(())
/// ```
pub fn read_own_memory(address: usize, words: &mut [u64]) -> Result<(), i32> {
    let _keep = KeepErrno::new();
    restraint::check()?;
    let bytes = size_of_val(words);
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: bytes };
    let remote =
        libc::iovec { iov_base: core::ptr::with_exposed_provenance_mut(address), iov_len: bytes };
    // SAFETY: takes nothing and cannot fail.
    let this_process = unsafe { system_call!(libc::SYS_getpid) };
    // SAFETY: the kernel checks the other range, and writes no more than the local one holds.
    let read = unsafe {
        system_call!(
            libc::SYS_process_vm_readv,
            this_process,
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    match usize::try_from(read) {
        Ok(read) if read == bytes => Ok(()),
        Ok(_) => Err(libc::EFAULT),
        Err(_) => Err(crate::errno()),
    }
}

/// The name that the kernel has for a process: at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessName {
    bytes: [u8; 16],
    length: usize,
}

impl ProcessName {
    /// The name, up to the first byte that is no text; empty where /proc is not to be had.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        let text = bytes.utf8_chunks().next().map(|chunk| chunk.valid()).unwrap_or_default();
        text.trim_end()
    }
}

/// The name of this process, which is that of its program unless somebody renamed it. Three system calls.
pub fn process_name() -> ProcessName {
    let _keep = KeepErrno::new();
    let mut name = ProcessName::default();
    // The process's, not the thread's: threads are named for what they do.
    if let Ok(file) = KernelFile::open(c"/proc/self/comm") {
        name.length = file.read_whole(&mut name.bytes).map_or(0, <[u8]>::len);
    }
    name
}

/// What the kernel counts as this process's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ProcessMemory {
    /// Bytes in memory (`VmRSS`).
    pub resident_bytes: usize,
    /// Bytes of address space (`VmSize`).
    pub mapped_bytes: usize,
    /// Bytes of page tables (`VmPTE`).
    pub pte_bytes: usize,
    /// Its threads; 0 where the kernel does not tell.
    pub threads: usize,
}

/// What the kernel counts as this process's memory; `None` where /proc is not to be had.
///
/// Allocates nothing, keeps `errno`; three system calls. The kernel's own counters lag by up to
/// some dozen pages a thread.
pub fn process_memory() -> Option<ProcessMemory> {
    let _keep = KeepErrno::new();
    let file = KernelFile::open_own(c"/proc/thread-self/status", c"/proc/self/status").ok()?;
    let (mut resident, mut mapped, mut tables, mut threads) = (None, None, None, None);
    file.for_each_line(|line| {
        if let Some(rest) = line.strip_prefix(b"VmRSS:") {
            resident = kibibytes(rest);
        } else if let Some(rest) = line.strip_prefix(b"VmSize:") {
            mapped = kibibytes(rest);
        } else if let Some(rest) = line.strip_prefix(b"VmPTE:") {
            tables = kibibytes(rest);
        } else if let Some(rest) = line.strip_prefix(b"Threads:") {
            threads = leading_number(rest);
        }
    })
    .ok()?;
    Some(ProcessMemory {
        resident_bytes: resident?,
        mapped_bytes: mapped?,
        pte_bytes: tables.unwrap_or(0),
        threads: threads.and_then(|threads| usize::try_from(threads).ok()).unwrap_or(0),
    })
}

/// The number of bytes that `text`, such as `   1234 kB`, stands for.
pub(crate) fn kibibytes(text: &[u8]) -> Option<usize> {
    usize::try_from(leading_number(text)?).ok()?.checked_mul(1024)
}

/// A place in every thread, and what is done with it when the thread ends: a key of
/// `pthread_key_create`.
///
/// The one way to learn of a thread's end that no Rust runtime is needed for. The C library
/// runs destructors after C++'s and Rust's thread-locals are gone, up to four rounds, and
/// allocations of later destructors come after ours: a destructor that sets the key again is
/// called again.
///
/// ```
/// use core::ffi::c_void;
/// use strata_os::ExitKey;
/// unsafe extern "C" fn thread_ends(_value: *mut c_void) {}
/// let key = ExitKey::create(thread_ends).expect("a free key");
/// assert!(key.set(core::ptr::dangling_mut()));
/// assert!(key.set(core::ptr::null_mut()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitKey(libc::pthread_key_t);

impl ExitKey {
    /// A new key: when a thread ends that set it to anything but null, `destructor` gets that
    /// value, in that thread. `None` where the process has no key left (1024 in glibc).
    ///
    /// Create it early: glibc keeps the first 32 keys' values in the thread itself, and asks
    /// `calloc` for those of later keys. A library's destructor must not be unloaded.
    pub fn create(destructor: unsafe extern "C" fn(*mut c_void)) -> Option<Self> {
        let _keep = KeepErrno::new();
        let mut key = 0;
        // SAFETY: `key` is ours to write; the destructor is a function, which stays.
        let error = unsafe { libc::pthread_key_create(&raw mut key, Some(destructor)) };
        (error == 0).then_some(Self(key))
    }

    /// Sets this thread's value; null means that nothing happens at its end. False where the C
    /// library could not keep it.
    pub fn set(self, value: *mut ()) -> bool {
        let _keep = KeepErrno::new();
        // SAFETY: the key came from `create` and is never deleted; the value is not looked at.
        unsafe { libc::pthread_setspecific(self.0, value.cast::<c_void>().cast_const()) == 0 }
    }

    /// This thread's value: null if it set none.
    pub fn get(self) -> *mut () {
        // SAFETY: the key came from `create` and is never deleted.
        unsafe { libc::pthread_getspecific(self.0) }.cast()
    }

    /// The key as a number, to be kept in an atomic.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The key that `to_bits` made a number of.
    ///
    /// # Safety
    ///
    /// The number is one that `to_bits` gave in this process.
    pub const unsafe fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// Has `prepare` called before each fork, in the thread that forks, then `parent` in the old and
/// `child` in the new process. Says whether the C library took it.
///
/// Preparations run in the opposite order of their registration, the others in its order: who
/// registers first locks last and unlocks first. Not called by `vfork`, `posix_spawn` and a bare
/// `clone`. glibc keeps the first 48 without allocating.
pub fn at_fork(
    prepare: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) -> bool {
    register_at_fork(weak::register_atfork(), prepare, parent, child)
}

/// The same for a program beside whose code nobody defines a `__register_atfork` of his own, which a library does
/// that stands before the C library: it is called without the linker's table of calls, by way of which
/// `pthread_atfork` does, and which lies behind all code: a page there brings some 60 KiB of what never runs along.
pub fn at_fork_of_program(
    prepare: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) -> bool {
    register_at_fork(weak::register_atfork_by_name(), prepare, parent, child)
}

fn register_at_fork(
    register: Option<weak::RegisterAtfork>,
    prepare: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) -> bool {
    let _keep = KeepErrno::new();
    let error = match register {
        // SAFETY: three functions, which stay as long as the object that they and this handle are in.
        Some(register) => unsafe { register(prepare, parent, child, dso_handle()) },
        // SAFETY: three functions, which stay as long as the object that they are in.
        None => unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) },
    };
    error == 0
}

/// What the C library knows the object by that this code is in: each program and shared object has one, from the
/// compiler's start files.
fn dso_handle() -> *const c_void {
    unsafe extern "C" {
        static __dso_handle: c_void;
    }
    &raw const __dso_handle
}

/// Has `function` called when the program ends by `exit` or by returning from main. Says whether
/// the C library took it.
///
/// The C library may call `calloc` under a lock of its own here: never call this with a lock held,
/// nor in an allocation that holds one.
pub fn at_exit(function: extern "C" fn()) -> bool {
    let _keep = KeepErrno::new();
    // SAFETY: a function, which stays.
    let error: c_int = unsafe { libc::atexit(function) };
    error == 0
}

#[cfg(test)]
mod tests;
