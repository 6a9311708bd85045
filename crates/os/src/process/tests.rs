use super::{
    ExitKey, at_exit, at_fork, at_fork_of_program, environment, kibibytes, process_memory,
    thread_id,
};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

#[test]
fn the_environment_is_what_std_sees() {
    use std::os::unix::ffi::OsStrExt;
    let path = std::env::var_os("PATH").expect("tests have a PATH");
    assert_eq!(environment(c"PATH"), Some(path.as_bytes()));
    assert_eq!(environment(c"NO_SUCH_VARIABLE_OF_STRATA"), None);
}

#[test]
fn each_thread_has_an_id_of_its_own() {
    let mine = thread_id();
    assert_eq!(mine, thread_id());
    let other = std::thread::spawn(thread_id).join().expect("it ended well");
    assert!(mine != 0 && other != 0 && mine != other);
}

#[test]
fn process_memory_grows_with_what_is_touched() {
    let before = process_memory().expect("proc");
    assert!(before.mapped_bytes >= before.resident_bytes && before.pte_bytes > 0);
    let touched = std::vec![1u8; 32 << 20];
    let after = process_memory().expect("proc");
    assert!(after.resident_bytes >= before.resident_bytes + (24 << 20));
    drop(core::hint::black_box(touched));
}

#[test]
fn an_exit_key_runs_when_its_thread_ends() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn ends(value: *mut c_void) {
        SEEN.store(value.addr(), Ordering::Relaxed);
    }
    let key = ExitKey::create(ends).expect("a free key");
    assert!(key.get().is_null());
    std::thread::spawn(move || {
        assert!(key.set(core::ptr::without_provenance_mut(64)));
        assert_eq!(key.get().addr(), 64);
    })
    .join()
    .expect("it ended well");
    assert_eq!(SEEN.load(Ordering::Relaxed), 64);
}

#[test]
fn fork_calls_all_three_and_exit_calls_its_function() {
    static PREPARED: AtomicU32 = AtomicU32::new(0);
    static PARENT: AtomicU32 = AtomicU32::new(0);
    static CHILD: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn prepare() {
        PREPARED.fetch_add(1, Ordering::Relaxed);
    }
    unsafe extern "C" fn parent() {
        PARENT.fetch_add(1, Ordering::Relaxed);
    }
    unsafe extern "C" fn child() {
        CHILD.fetch_add(1, Ordering::Relaxed);
    }
    extern "C" fn exits() {
        // SAFETY: ends the child here and now, with a number that its parent looks for.
        unsafe { libc::_exit(40 + i32::from(CHILD.load(Ordering::Relaxed) == 2)) }
    }
    // By way of the C library's function and past it.
    assert!(at_fork(prepare, parent, child));
    assert!(at_fork_of_program(prepare, parent, child));
    // SAFETY: the child calls only what a child of a threaded program may: exit's handlers, of
    // which ours comes first and ends it.
    let id = unsafe { libc::fork() };
    if id == 0 {
        at_exit(exits);
        // SAFETY: runs `exits`, which does not return.
        unsafe { libc::exit(1) }
    }
    let mut status = 0;
    // SAFETY: our own child.
    unsafe { libc::waitpid(id, &raw mut status, 0) };
    assert!(libc::WIFEXITED(status));
    assert_eq!(libc::WEXITSTATUS(status), 41);
    // Another test of this program may fork meanwhile.
    assert!(PREPARED.load(Ordering::Relaxed) >= 2 && PARENT.load(Ordering::Relaxed) >= 2);
    assert_eq!(CHILD.load(Ordering::Relaxed), 0);
}

#[test]
fn kibibytes_are_read_or_refused() {
    assert_eq!(kibibytes(b"\t   12 kB"), Some(12 * 1024));
    assert_eq!(kibibytes(b"none"), None);
    assert_eq!(kibibytes(b"18446744073709551615 kB"), None);
}
