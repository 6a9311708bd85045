use super::{KernelFile, leading_number};
use std::io::Write;
use std::string::String;
use std::vec::Vec;

#[test]
fn a_missing_file_is_an_error_number() {
    assert_eq!(KernelFile::open(c"/does/not/exist").err(), Some(libc::ENOENT));
}

#[test]
fn lines_longer_than_the_buffer_keep_their_beginning() {
    let path = std::format!("/tmp/strata-os-lines-{}", std::process::id());
    let mut file = std::fs::File::create(&path).expect("a file");
    let long = "x".repeat(3000);
    write!(file, "first\n\n{long}\nlast").expect("written");
    let name = std::ffi::CString::new(path.clone()).expect("no zero byte");
    let mut lines = Vec::new();
    KernelFile::open(&name)
        .expect("it is there")
        .for_each_line(|line| lines.push(String::from_utf8_lossy(line).into_owned()))
        .expect("it reads");
    std::fs::remove_file(path).expect("it was there");
    assert_eq!(lines, ["first", "", &long[..256], "last"]);
}

#[test]
fn a_file_larger_than_the_buffer_is_read_as_far_as_fits() {
    let mut small = [0; 7];
    let file = KernelFile::open(c"/proc/meminfo").expect("proc");
    assert_eq!(file.read_whole(&mut small), Ok(&b"MemTota"[..]));
}

#[test]
fn numbers_are_read_up_to_what_is_none() {
    assert_eq!(leading_number(b"   123 kB"), Some(123));
    assert_eq!(leading_number(b"kB"), None);
    assert_eq!(leading_number(b"99999999999999999999999"), None);
}
