use super::*;

/// Where the code of the tests stands, and where their descriptor does.
const TEXT: u64 = 0x1000;
const DESCRIPTOR: u64 = 0x2010;

/// ud1 edi, [rip + 0x53053053]; jmp to what follows; lea rax, [rip + 0x1000]
const HANDLER: [u8; 16] =
    [0x0f, 0xb9, 0x3d, 0x53, 0x30, 0x05, 0x53, 0xeb, 0, 0x48, 0x8d, 0x05, 0, 0x10, 0, 0];
/// mov rcx, [rdi + 8]
const LOAD_OF_WORD: [u8; 4] = [0x48, 0x8b, 0x4f, 0x08];
/// mov fs:[rcx], rax
const STORE_OF_NAME: [u8; 4] = [0x64, 0x48, 0x89, 0x01];
/// mov rcx, [rdi + 16]
const LOAD_OF_ID_WORD: [u8; 4] = [0x48, 0x8b, 0x4f, 0x10];
/// mov eax, fs:[rcx]; shl rax, 19; add rax, [rdi]; mov rdx, [rax + rsi*8]
const LOADS: [u8; 14] =
    [0x64, 0x8b, 0x01, 0x48, 0xc1, 0xe0, 0x13, 0x48, 0x03, 0x07, 0x48, 0x8b, 0x14, 0xf0];
/// mov [rax + rsi*8], rdx
const COMMIT: [u8; 4] = [0x48, 0x89, 0x14, 0xf0];

/// What is wrong with a section of these parts, which lie between the store of its name and its commit; `before` stands
/// in front of that store.
fn fault(before: &[u8], section: &[&[u8]]) -> Option<String> {
    let way_in = [&HANDLER[..], before, &STORE_OF_NAME].concat();
    fault_of(&way_in, &section.concat())
}

fn fault_of(way_in: &[u8], section: &[u8]) -> Option<String> {
    let start = TEXT + way_in.len() as u64;
    let end = start + section.len() as u64;
    let code = [way_in, section].concat();
    let descriptor = Descriptor { address: DESCRIPTOR, start, end, abort: TEXT + 7 };
    let image = Image { texts: vec![(TEXT, &code)] };
    image.look_at(&descriptor).err().map(|error| format!("{error:#}"))
}

#[test]
fn a_section_as_it_is_written_has_no_fault() {
    assert_eq!(fault(&LOAD_OF_WORD, &[&LOAD_OF_ID_WORD, &LOADS, &COMMIT]), None);
}

#[test]
fn a_section_begins_right_behind_the_store_that_names_it() {
    let way_in = [&HANDLER[..], &LOAD_OF_WORD, &STORE_OF_NAME, &LOAD_OF_ID_WORD].concat();
    let fault = fault_of(&way_in, &[&LOADS[..], &COMMIT].concat()).expect("one load between");
    assert!(fault.starts_with("before the section stands"), "{fault}");
    // mov fs:[rcx], rdx
    let way_in = [&HANDLER[..], &LOAD_OF_WORD, &[0x64, 0x48, 0x89, 0x11]].concat();
    let fault = fault_of(&way_in, &[&LOADS[..], &COMMIT].concat()).expect("another register");
    assert!(fault.starts_with("before the section stands"), "{fault}");
}

#[test]
fn a_handler_leads_to_the_name_of_its_own_section() {
    let code = [&HANDLER[..], &LOAD_OF_WORD, &STORE_OF_NAME, &LOADS, &COMMIT].concat();
    let start = TEXT + 24;
    let sound = Descriptor { address: DESCRIPTOR, start, end: start + 18, abort: TEXT + 7 };
    let image = Image { texts: vec![(TEXT, &code)] };
    assert!(image.look_at(&sound).is_ok());
    let others = [
        Descriptor { address: DESCRIPTOR + 32, ..sound },
        Descriptor { abort: TEXT + 9, ..sound },
        Descriptor { abort: start + 3, ..sound },
        Descriptor { start: start + 3, ..sound },
        Descriptor { end: start + 17, ..sound },
        Descriptor { end: start, ..sound },
        Descriptor { end: start + 32, ..sound },
    ];
    for (place, other) in others.iter().enumerate() {
        assert!(image.look_at(other).is_err(), "{place}");
    }
}

#[test]
fn what_a_second_run_reads_stays() {
    let begins = [&LOAD_OF_ID_WORD[..], &LOADS].concat();
    // inc rsi; xor edi, edi; mov rdx, rsi, which takes nothing away
    for (bytes, is_fine) in
        [(&[0x48, 0xff, 0xc6][..], false), (&[0x31, 0xff], false), (&[0x48, 0x89, 0xf2], true)]
    {
        let fault = fault(&LOAD_OF_WORD, &[&begins, bytes, &COMMIT]);
        assert_eq!(fault.is_none(), is_fine, "{fault:?}");
    }
}

#[test]
fn a_section_ends_with_its_only_commit_and_calls_nothing() {
    let begins = [&LOAD_OF_ID_WORD[..], &LOADS].concat();
    let inside: [&[u8]; 6] = [
        &COMMIT,
        // call; syscall; push rax; mov [rsp + 8], rax; jmp into the commit
        &[0xe8, 0, 0, 0, 0],
        &[0x0f, 0x05],
        &[0x50],
        &[0x48, 0x89, 0x44, 0x24, 0x08],
        &[0xeb, 1],
    ];
    for bytes in inside {
        assert!(fault(&LOAD_OF_WORD, &[&begins, bytes, &COMMIT]).is_some(), "{bytes:x?}");
    }
    // A jump out of it is fine, and so is a store to another place: mov [rax + rdx*8], rsi
    for bytes in [&[0x74, 4][..], &[0x48, 0x89, 0x34, 0xd0]] {
        assert_eq!(fault(&LOAD_OF_WORD, &[&begins, bytes, &COMMIT]), None, "{bytes:x?}");
    }
    assert!(fault(&LOAD_OF_WORD, &[&begins]).is_some(), "no commit");
}
