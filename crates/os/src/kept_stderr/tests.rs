use super::StderrWriter;
use core::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::string::String;

/// Both ends of a pipe: what is read, and the descriptor to write to.
fn pipe() -> (File, i32) {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two numbers, which are ours.
    let result = unsafe { libc::pipe(ends.as_mut_ptr()) };
    assert_eq!(result, 0, "a pipe can be had");
    // SAFETY: just made, and nobody else's.
    (unsafe { File::from_raw_fd(ends[0]) }, ends[1])
}

#[test]
fn text_longer_than_the_buffer_arrives_whole_and_in_order() {
    let (mut reader, descriptor) = pipe();
    let mut writer = StderrWriter::new(descriptor);
    let mut expected = String::new();
    for line in 0..1000 {
        writeln!(writer, "line {line}").expect("the pipe takes it");
        writeln!(expected, "line {line}").expect("a string takes it");
    }
    drop(writer);
    // SAFETY: ours, and no longer needed.
    drop(unsafe { File::from_raw_fd(descriptor) });
    let mut had = String::new();
    reader.read_to_string(&mut had).expect("a pipe can be read");
    assert_eq!(had, expected);
}

#[test]
fn an_error_is_told_and_ends_the_writing() {
    let closed = File::open("/dev/null").expect("there is such a file").into_raw_fd();
    // Open for reading only: every write fails.
    let mut writer = StderrWriter::new(closed);
    let long = "x".repeat(3 * super::BUFFER_BYTES);
    assert!(writer.write_str(&long).is_err());
    assert!(writer.write_str("more").is_err());
}

#[test]
fn no_descriptor_has_no_identity() {
    assert_eq!(super::identity(-1), None);
    assert_eq!(super::identity(1_000_000), None);
}
