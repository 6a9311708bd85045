use super::*;
use crate::{KeepErrno, errno};

#[test]
fn a_call_answers_what_the_c_librarys_does() {
    // SAFETY: takes nothing and cannot fail.
    let process = unsafe { system_call!(libc::SYS_getpid) };
    assert_eq!(u32::try_from(process).ok(), Some(std::process::id()));
}

#[test]
fn an_error_is_minus_one_and_its_number() {
    let _keep = KeepErrno::new();
    // SAFETY: no such descriptor; nothing happens.
    assert_eq!(unsafe { system_call!(libc::SYS_close, -1) }, -1);
    assert_eq!(errno(), libc::EBADF);
}

#[test]
fn an_answer_that_is_no_error_may_have_the_highest_bit() {
    assert_eq!(answer(-GREATEST_ERRNO - 1), -GREATEST_ERRNO - 1);
    assert_eq!(answer(0), 0);
    let _keep = KeepErrno::new();
    assert_eq!(answer(-GREATEST_ERRNO), -1);
    assert_eq!(errno(), 4095);
}

#[test]
fn all_six_arguments_arrive() {
    let bytes = crate::kernel_page_bytes();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let none = core::ptr::null_mut::<u8>();
    // SAFETY: the kernel chooses a place that nobody uses.
    let start = unsafe { system_call!(libc::SYS_mmap, none, bytes, protection, flags, -1, 0) };
    assert_ne!(start, -1);
    let word = core::ptr::with_exposed_provenance_mut::<u64>(usize::try_from(start).unwrap_or(0));
    // SAFETY: the first word of a page of ours.
    unsafe { word.write(7) };
    // SAFETY: the first word of a page of ours; written by the line before.
    assert_eq!(unsafe { word.read() }, 7);
    // SAFETY: nobody uses it any more.
    assert_eq!(unsafe { system_call!(libc::SYS_munmap, word, bytes) }, 0);
}
