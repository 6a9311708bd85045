use super::GrowingFile;
use crate::thread;
use core::mem::MaybeUninit;
use core::num::NonZeroI32;
use std::path::{Path, PathBuf};
use std::{env, format, fs, process};

fn path(name: &str) -> PathBuf {
    env::temp_dir().join(format!("strata-growing-{name}-{}", process::id()))
}

fn create(path: &Path) -> Result<GrowingFile, i32> {
    GrowingFile::create(path.as_os_str().as_encoded_bytes())
}

#[test]
fn pieces_stand_one_behind_the_other_and_what_was_there_is_gone() {
    let path = path("pieces");
    fs::write(&path, "something that is longer than what comes").expect("a directory");
    let file = create(&path).expect("a directory");
    let piece = [b'x'; 100_000];
    file.write_all(&piece).expect("room");
    file.write_all(b"end").expect("room");
    file.write_all(b"").expect("nothing to do");
    let text = fs::read(&path).expect("it is there");
    assert_eq!(text.len(), 100_003);
    assert!(text.ends_with(b"xend"));
    fs::remove_file(path).expect("it is there");
}

#[test]
fn what_cannot_be_made_or_written_is_told() {
    assert_eq!(GrowingFile::create(b"/nowhere/at/all").err(), Some(libc::ENOENT));
    assert_eq!(GrowingFile::create(b"a\0b").err(), Some(libc::EINVAL));
    assert_eq!(GrowingFile::create(b"").err(), Some(libc::EINVAL));
    let full = GrowingFile::create(b"/dev/full").expect("Linux has it");
    assert_eq!(full.write_all(b"x"), Err(libc::ENOSPC));
}

/// As of a named pipe whose reader went: here one of a pair of sockets, since a child that another test makes
/// meanwhile may have the end of a pipe for a while.
#[test]
fn a_reader_that_went_is_an_error_and_no_signal() {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two numbers, which are ours.
    let result = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    assert_eq!(result, 0, "a pair of sockets can be had");
    // SAFETY: made above.
    assert_eq!(unsafe { libc::shutdown(ends[1], libc::SHUT_WR) }, 0);
    // A signal that came would wait.
    thread::set_signals(libc::SIG_BLOCK, 1 << (libc::SIGPIPE - 1)).expect("a mask can be changed");
    let file = GrowingFile(NonZeroI32::new(ends[1] + 1).expect("a descriptor"));
    assert_eq!(file.write_all(b"a piece"), Err(libc::EPIPE));
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is ours to write.
    assert_eq!(unsafe { libc::sigpending(pending.as_mut_ptr()) }, 0);
    // SAFETY: written above.
    assert_eq!(unsafe { libc::sigismember(pending.as_ptr(), libc::SIGPIPE) }, 0);
    // SAFETY: made above, and not used after this.
    unsafe { libc::close(ends[0]) };
}

#[test]
fn none_of_it_is_zero() {
    let path = path("zero");
    let file = Some(create(&path).expect("a directory"));
    assert_eq!(size_of_val(&file), size_of::<i32>());
    fs::remove_file(path).expect("it is there");
}
