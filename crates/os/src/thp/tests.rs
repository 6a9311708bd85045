use super::{ThpMode, mode_of_text, thp_mode};

#[test]
fn the_word_in_brackets_counts() {
    assert_eq!(mode_of_text(b"[always] madvise never\n"), ThpMode::Always);
    assert_eq!(mode_of_text(b"always [madvise] never\n"), ThpMode::Madvise);
    assert_eq!(mode_of_text(b"always madvise [never]\n"), ThpMode::Never);
    assert_eq!(mode_of_text(b"always madvise never\n"), ThpMode::Unknown);
    assert_eq!(mode_of_text(b"[inherit]"), ThpMode::Unknown);
}

#[test]
fn the_mode_is_the_systems() {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(text) = std::fs::read(path) else {
        assert_eq!(thp_mode(), ThpMode::Unknown);
        return;
    };
    assert_eq!(thp_mode(), mode_of_text(&text));
}

#[test]
fn a_process_that_does_without_hugepages_never_gets_one() {
    // SAFETY: the child makes a handful of system calls and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
        // SAFETY: changes this child alone.
        let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, yes, none, none, none) };
        let forbidden = result == 0;
        let right = !forbidden || thp_mode() == ThpMode::Never;
        // SAFETY: ends the child here and now.
        unsafe { libc::_exit(i32::from(!right)) }
    }
    let mut status = -1;
    // SAFETY: our own child.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0);
}
