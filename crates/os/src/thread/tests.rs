use super::*;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::{borrow::ToOwned, fs, thread};

static SEEN: AtomicU32 = AtomicU32::new(0);

extern "C" fn run(argument: *mut c_void) -> *mut c_void {
    name_this_thread(c"strata-test");
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    assert_eq!(field("Name:"), "strata-test");
    let blocked = u64::from_str_radix(&field("SigBlk:"), 16).unwrap();
    // All but SIGKILL and SIGSTOP, which nobody blocks, and those that the C library keeps for itself.
    let [kill, stop] = [libc::SIGKILL, libc::SIGSTOP].map(|signal| 1_u64 << (signal - 1));
    // 32 and 33; musl keeps 34, too.
    let own = if cfg!(target_env = "musl") { 0b111 << 31 } else { 0b11 << 31 };
    assert_eq!(blocked | kill | stop | own, !0, "{blocked:#x}");
    assert_eq!(blocked & own, 0, "{blocked:#x}");
    SEEN.store(u32::try_from(argument.addr()).unwrap(), Ordering::Release);
    core::ptr::null_mut()
}

#[test]
fn a_thread_runs_with_its_name_and_without_signals() {
    let mask = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find(|line| line.starts_with("SigBlk:")).unwrap().to_owned()
    };
    let before = mask();
    // SAFETY: the function bears any argument, and stays.
    unsafe { start_thread(256 << 10, run, core::ptr::without_provenance_mut(42)) }.unwrap();
    for _ in 0..100_000 {
        if SEEN.load(Ordering::Acquire) != 0 {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(SEEN.load(Ordering::Acquire), 42);
    assert_eq!(mask(), before, "the maker's signals are as they were");
}
