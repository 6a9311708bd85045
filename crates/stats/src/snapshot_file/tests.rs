use super::{INVALID, LONGEST_PATH, NO_MEMORY, Path, TOO_LONG, conclude};
use core::fmt;
use std::{env, format, fs, process};
use strata_os::NewFile;

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

#[test]
fn a_snapshot_that_was_not_taken_leaves_the_last_good_one() {
    let path = env::temp_dir().join(format!("strata-snapshot-{}", process::id()));
    fs::write(&path, "good").expect("a directory to write to");
    let file =
        || NewFile::create(path.as_os_str().as_encoded_bytes()).expect("a directory to write to");
    assert_eq!(conclude(file(), Err(fmt::Error)), Err(NO_MEMORY));
    assert_eq!(fs::read_to_string(&path).expect("it stayed"), "good");
    assert_eq!(conclude(file(), Ok(())), Ok(()));
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "");
    fs::remove_file(path).expect("it is there");
}
