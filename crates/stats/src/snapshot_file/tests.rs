use super::{INVALID, LONGEST_PATH, Path, TOO_LONG};

#[test]
fn a_path_may_have_the_number_of_the_process_in_it() {
    let expand = |pattern: &[u8]| Path::expand(pattern, 4711).map(|path| path.as_bytes().to_vec());
    assert_eq!(expand(b"/tmp/a.json"), Ok(b"/tmp/a.json".to_vec()));
    assert_eq!(expand(b"%p/x.%p"), Ok(b"4711/x.4711".to_vec()));
    assert_eq!(expand(b"100%%"), Ok(b"100%".to_vec()));
    assert_eq!(expand(b"%q"), Err(INVALID));
    assert_eq!(expand(b"%"), Err(INVALID));
    assert_eq!(expand(&[b'a'; LONGEST_PATH + 1]), Err(TOO_LONG));
}
