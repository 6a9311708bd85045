use super::*;
use core::ptr;
use std::string::String;
use std::vec::Vec;

/// A stream over `room` bytes of memory, and what arrived there.
fn written(room: usize, write: impl FnOnce(&mut CStream) -> fmt::Result) -> (fmt::Result, Vec<u8>) {
    let mut memory = std::vec![0_u8; room];
    // SAFETY: the memory is ours until the stream is closed.
    let stream = unsafe { libc::fmemopen(memory.as_mut_ptr().cast(), room, c"w".as_ptr()) };
    // SAFETY: the stream is open until it is closed below.
    let mut out = unsafe { CStream::new(stream.cast()) }.expect("the stream was opened");
    let result = write(&mut out);
    drop(out);
    // SAFETY: nobody uses it any more.
    unsafe { libc::fclose(stream) };
    (result, memory)
}

#[test]
fn what_is_longer_than_the_buffer_arrives_whole() {
    let text: String = (0..1000).map(|number| std::format!("{number} ")).collect();
    let (result, memory) =
        written(1 << 20, |out| text.split_inclusive(' ').try_for_each(|word| out.write_str(word)));
    assert!(result.is_ok());
    assert_eq!(memory.get(..text.len()), Some(text.as_bytes()));
}

#[test]
fn errno_stays_where_a_stream_fails() {
    // SAFETY: a name and a mode that end in zero.
    let stream = unsafe { libc::fopen(c"/dev/full".as_ptr(), c"w".as_ptr()) };
    // SAFETY: an open stream that nobody has used yet.
    unsafe { libc::setvbuf(stream, ptr::null_mut(), libc::_IONBF, 0) };
    crate::set_errno(77);
    {
        // SAFETY: the stream is open until it is closed below.
        let mut out = unsafe { CStream::new(stream.cast()) }.expect("the stream was opened");
        let long = "x".repeat(3 * BUFFER_BYTES);
        assert!(out.write_str(&long).is_err());
    }
    assert_eq!(crate::errno(), 77);
    // SAFETY: nobody uses it any more.
    unsafe { libc::fclose(stream) };
}

#[test]
fn no_stream_is_none() {
    // SAFETY: null is allowed.
    assert!(unsafe { CStream::new(ptr::null_mut()) }.is_none());
}
