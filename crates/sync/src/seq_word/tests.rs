use super::SeqWord;

#[test]
fn a_read_at_rest_gives_what_it_read() {
    assert_eq!(SeqWord::new().read(|| 3), Some(3));
}

#[test]
fn a_read_inside_a_change_is_in_flux_and_reads_nothing() {
    let word = SeqWord::new();
    word.begin();
    assert_eq!(word.read(|| unreachable!("the figures are in flux")), None::<()>);
    assert_eq!(word.sequence(), 1);
    word.end();
    assert_eq!(word.read(|| 3), Some(3));
    assert_eq!(word.sequence(), 2);
}

#[test]
fn a_read_over_a_change_is_in_flux() {
    let word = SeqWord::new();
    assert_eq!(word.read(|| word.begin()), None);
    word.end();
    let whole_change = || {
        word.begin();
        word.end();
    };
    assert_eq!(word.read(whole_change), None);
}

#[test]
fn a_change_cut_off_by_fork_is_at_rest_after_reset() {
    let word = SeqWord::new();
    word.begin();
    word.reset_after_fork();
    assert_eq!(word.sequence(), 2);
    word.reset_after_fork();
    assert_eq!(word.sequence(), 2);
    assert_eq!(word.read(|| 3), Some(3));
}
