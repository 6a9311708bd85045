use super::numbers;

#[test]
fn the_first_two_numbers_of_a_version_are_read() {
    assert_eq!(numbers(b"2.36"), Some((2, 36)));
    assert_eq!(numbers(b"2.3.2"), Some((2, 3)));
    for other in [&b""[..], b"2", b"2.x", b"two.36"] {
        assert_eq!(numbers(other), None);
    }
}

#[test]
#[cfg(target_env = "gnu")]
fn the_glibc_that_this_runs_on_is_one_that_programs_of_rust_run_on() {
    let version = super::glibc_version();
    assert!(version.is_none_or(|version| version >= (2, 17)), "{version:?}");
}
