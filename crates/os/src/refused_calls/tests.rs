use super::*;
use crate::{errno, set_errno};
use std::{println, thread};

/// What these three calls answer, and the error if it is one: they need nothing and do nothing.
fn answers() -> [i32; 3] {
    [libc::SYS_getppid, libc::SYS_getuid, libc::SYS_getgid].map(|call| {
        set_errno(0);
        // SAFETY: these take nothing and answer a number.
        unsafe { libc::syscall(call) };
        errno()
    })
}

#[test]
fn calls_that_are_named_are_refused_to_this_thread_and_others_are_not() {
    let refused = thread::spawn(|| {
        refuse_calls(&[libc::SYS_getgid, libc::SYS_getppid], libc::EXDEV)?;
        let inherited = thread::spawn(answers).join().expect("it ends");
        Ok::<_, io::Error>((answers(), inherited))
    });
    match refused.join().expect("it ends") {
        Ok((own, inherited)) => {
            assert_eq!(own, [libc::EXDEV, 0, libc::EXDEV]);
            assert_eq!(inherited, own);
        }
        Err(error) => println!("left out: no seccomp filters: {error}"),
    }
    assert_eq!(answers(), [0, 0, 0], "other threads are let alone");
}

#[test]
fn more_calls_than_fit_and_numbers_of_none_are_errors_and_change_nothing() {
    let error = |calls: &[c_long]| refuse_calls(calls, 1).map_err(|error| error.raw_os_error());
    assert_eq!(error(&[libc::SYS_getuid; MOST_CALLS + 1]), Err(Some(libc::EINVAL)));
    assert_eq!(error(&[-1]), Err(Some(libc::EINVAL)));
    assert_eq!(answers(), [0, 0, 0]);
}
