use super::{CallKind, CallKinds};

#[test]
fn kinds_stand_at_their_index() {
    for (index, kind) in CallKind::ALL.into_iter().enumerate() {
        assert_eq!(kind.index(), index);
    }
}

#[test]
fn the_sets_of_one_make_up_the_set_of_all() {
    let union = CallKind::ALL.into_iter().map(CallKind::only).collect::<CallKinds>();
    assert_eq!(union, CallKinds::all());
    assert_eq!(CallKind::Release.only(), CallKinds::RELEASE);
}
