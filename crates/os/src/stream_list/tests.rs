use super::{lock_stream_list, unlock_stream_list};
use core::time::Duration;
use std::sync::mpsc::channel;
use std::thread;

#[test]
fn who_flushes_all_streams_waits_for_the_lock() {
    // Tests run in threads of their own.
    assert!(lock_stream_list());
    assert!(lock_stream_list(), "it may be taken twice");
    let (flushed, flushes) = channel();
    let thread = thread::spawn(move || {
        // SAFETY: null means all streams.
        unsafe { libc::fflush(core::ptr::null_mut()) };
        flushed.send(()).expect("somebody waits for it");
    });
    assert!(flushes.recv_timeout(Duration::from_millis(50)).is_err());
    // SAFETY: taken twice above.
    unsafe { unlock_stream_list() };
    // SAFETY: taken twice above.
    unsafe { unlock_stream_list() };
    flushes.recv().expect("nobody holds the lock any more");
    thread.join().expect("the thread ends");
}
