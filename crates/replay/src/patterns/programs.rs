//! What the programs do.

use std::collections::VecDeque;

use super::maker::{Made, Maker};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

pub(super) fn compiler(m: &mut Maker) {
    let mut types = Vec::new();
    for _unit in 0..12 {
        let source = m.between(64 * KIB, MIB);
        let source = m.allocate(source);
        let mut nodes = Vec::new();
        for number in 0..m.between(1500, 3000) {
            let size = m.size(24, 5);
            nodes.push(m.allocate(size));
            if number % 16 == 0 {
                let size = m.between(32, 256);
                types.push(m.allocate(size));
            }
            if number % 200 == 0 {
                let arena = m.between(256 * KIB, MIB);
                nodes.push(m.allocate(arena));
                m.wait_ms(10);
            }
        }
        m.wait_ms(200);
        m.free_all(nodes.into_iter().rev());
        m.free(source);
        m.wait_ms(20);
    }
    m.free_all(types);
}

pub(super) fn linker(m: &mut Maker) {
    let mut inputs = Vec::new();
    let mut symbols = Vec::new();
    for _input in 0..60 {
        let size = m.size(64 * KIB, 6);
        inputs.push(m.allocate_aligned(size, 4096));
        for _symbol in 0..300 {
            let size = m.between(40, 200);
            symbols.push(m.allocate(size));
        }
        m.wait_ms(15);
    }
    let mut table = m.allocate(4 * KIB);
    let mut size = 4 * KIB;
    while size < 16 * MIB {
        size *= 2;
        table = m.resize(table, size);
        m.wait_ms(5);
    }
    let output = m.allocate(96 * MIB);
    m.wait_ms(500);
    m.free_all(inputs);
    m.wait_ms(2000);
    m.free_all(symbols);
    m.free(table);
    m.free(output);
}

pub(super) fn key_value(m: &mut Maker) {
    let mut values = Vec::new();
    for _ in 0..20_000 {
        let size = m.size(64, 7);
        values.push(m.allocate(size));
    }
    for number in 0..12_000 {
        let place = m.place_in(&values);
        let size = m.size(64, 7);
        let value = m.allocate(size);
        if let Some(old) = values.get_mut(place).map(|slot| core::mem::replace(slot, value)) {
            m.free(old);
        }
        if number % 100 == 0 {
            m.wait_ms(50);
        }
    }
    // Waves of expiry: most of what is there goes at random, and half of it comes again.
    for _wave in 0..3 {
        for _ in 0..values.len() * 3 / 4 {
            let place = m.place_in(&values);
            let gone = values.swap_remove(place);
            m.free(gone);
        }
        m.wait_ms(20_000);
        for _ in 0..5000 {
            let size = m.size(64, 7);
            values.push(m.allocate(size));
        }
        m.wait_ms(10_000);
    }
}

pub(super) fn interpreter(m: &mut Maker) {
    let mut dictionaries: Vec<(Made, u64)> = Vec::new();
    let mut kept = Vec::new();
    for round in 0..800 {
        let mut frame = Vec::new();
        for _ in 0..40 {
            let size = m.size(16, 5);
            frame.push(m.allocate(size));
        }
        let size = m.between(48, 512);
        kept.push(m.allocate(size));
        if round % 8 == 0 {
            dictionaries.push((m.allocate(256), 256));
        }
        let place = m.place_in(&dictionaries);
        if let Some(slot) = dictionaries.get_mut(place).filter(|slot| slot.1 < 8 * MIB) {
            let block = core::mem::replace(&mut slot.0, Made::NONE);
            slot.1 *= 2;
            slot.0 = m.resize(block, slot.1);
        }
        m.free_all(frame.into_iter().rev());
        if round % 10 == 0 {
            m.wait_ms(8);
        }
    }
    m.free_all(dictionaries.into_iter().map(|(block, _)| block));
    m.wait_ms(3000);
    m.free_all(kept);
}

pub(super) fn web_server(m: &mut Maker) {
    let mut sessions: VecDeque<Made> = VecDeque::new();
    for hour in 0..48_u64 {
        // Twelve hours of day, twelve of night.
        let requests = if hour % 24 < 12 { 60 } else { 6 };
        for request in 0..requests {
            m.go_to_thread(request % 16);
            let mut blocks = Vec::new();
            for _ in 0..12 {
                let size = m.size(32, 7);
                blocks.push(m.allocate(size));
            }
            let body = m.size(8 * KIB, 7);
            blocks.push(m.allocate(body));
            for _ in 0..4 {
                let size = m.size(256, 5);
                sessions.push_back(m.allocate(size));
            }
            m.free_all(blocks);
            while sessions.len() as u64 > requests * 60 {
                if let Some(session) = sessions.pop_front() {
                    m.free(session);
                }
            }
        }
        m.wait_ms(3_600_000);
    }
    m.free_all(sessions);
}

pub(super) fn json(m: &mut Maker) {
    for _document in 0..10 {
        let bytes = m.between(MIB, 12 * MIB);
        let text = m.allocate(bytes);
        let mut tree = Vec::new();
        for _ in 0..2500 {
            let size = m.size(16, 6);
            tree.push(m.allocate(size));
        }
        let mut list = m.allocate(64);
        let mut size = 64;
        while size < 4 * MIB {
            size *= 2;
            list = m.resize(list, size);
        }
        m.wait_ms(100);
        m.free(text);
        m.free_all(tree);
        m.free(list);
        m.wait_ms(1000);
    }
}

pub(super) fn database(m: &mut Maker) {
    let mut pool = Vec::new();
    for _ in 0..4096 {
        pool.push(m.allocate_aligned(16 * KIB, 4096));
    }
    let mut cursors: VecDeque<Made> = VecDeque::new();
    for query in 0..900 {
        m.go_to_thread(query % 8);
        for _ in 0..12 {
            let size = m.size(48, 6);
            cursors.push_back(m.allocate(size));
        }
        if query % 30 == 0 {
            let runs = m.between(4, 12);
            let mut runs: Vec<Made> = (0..runs).map(|_| m.allocate(4 * MIB)).collect();
            m.wait_ms(300);
            let merged = m.allocate(24 * MIB);
            m.free_all(runs.drain(..));
            m.wait_ms(300);
            m.free(merged);
        }
        if query % 100 == 0 {
            // A checkpoint writes a part of the pool out and reads other pages in.
            for _ in 0..200 {
                let place = m.place_in(&pool);
                let gone = pool.swap_remove(place);
                m.free(gone);
            }
            for _ in 0..200 {
                pool.push(m.allocate_aligned(16 * KIB, 4096));
            }
        }
        while cursors.len() > 400 {
            if let Some(cursor) = cursors.pop_front() {
                m.free(cursor);
            }
        }
        m.wait_ms(20);
    }
}

pub(super) fn browser(m: &mut Maker) {
    let mut tabs: VecDeque<Vec<Made>> = VecDeque::new();
    for number in 0..40_u64 {
        m.go_to_thread(number % 4);
        let mut tab = Vec::new();
        // One page has many small nodes, another a few images.
        let (least, doublings, count) = match number % 3 {
            0 => (32, 6, 900),
            1 => (256, 7, 400),
            _ => (16 * KIB, 7, 40),
        };
        for _ in 0..count {
            let size = m.size(least, doublings);
            tab.push(m.allocate(size));
        }
        for _ in 0..count / 4 {
            let place = m.place_in(&tab);
            let gone = tab.swap_remove(place);
            m.free(gone);
            let size = m.size(64, 5);
            tab.push(m.allocate(size));
        }
        tabs.push_back(tab);
        m.wait_ms(4000);
        if tabs.len() > 8 {
            let place = m.place_in(&[(); 8]);
            if let Some(closed) = tabs.remove(place) {
                m.free_all(closed);
            }
            m.wait_ms(1000);
        }
    }
    m.wait_ms(60_000);
    tabs.into_iter().for_each(|tab| m.free_all(tab));
    m.wait_ms(60_000);
}

pub(super) fn video(m: &mut Maker) {
    let mut ring: VecDeque<Made> = VecDeque::new();
    let mut packets: VecDeque<Made> = VecDeque::new();
    for frame in 0..1500 {
        // Two films of different size, one after the other.
        let bytes = if frame < 800 { 3 * MIB + 110 * KIB } else { 12 * MIB + 300 * KIB };
        ring.push_back(m.allocate_aligned(bytes, 64));
        for _ in 0..6 {
            let size = m.between(200, 60 * KIB);
            packets.push_back(m.allocate(size));
        }
        while ring.len() > 12 {
            if let Some(shown) = ring.pop_front() {
                m.free(shown);
            }
        }
        while packets.len() > 240 {
            if let Some(read) = packets.pop_front() {
                m.free(read);
            }
        }
        m.wait_ms(40);
    }
}

pub(super) fn queue(m: &mut Maker) {
    let mut backlog: VecDeque<Made> = VecDeque::new();
    for wave in 0..6 {
        m.go_to_thread(1);
        for number in 0..4000 {
            let size = m.size(128, 6);
            backlog.push_back(m.allocate(size));
            if number % 50 == 0 {
                m.wait_ms(5);
            }
        }
        m.go_to_thread(2);
        for number in 0..if wave == 5 { 24_000 } else { 3500 } {
            if let Some(message) = backlog.pop_front() {
                m.free(message);
            }
            if number % 50 == 0 {
                m.wait_ms(5);
            }
        }
        m.wait_ms(5000);
    }
}

pub(super) fn build(m: &mut Maker) {
    let mut kept = Vec::new();
    for job in 0..120_u64 {
        m.go_to_thread(job);
        let mut blocks = Vec::new();
        let buffer = m.size(32 * KIB, 7);
        blocks.push(m.allocate(buffer));
        for _ in 0..200 {
            let size = m.size(24, 7);
            blocks.push(m.allocate(size));
        }
        let size = m.size(512, 6);
        kept.push(m.allocate(size));
        m.wait_ms(60);
        m.free_all(blocks);
    }
    m.wait_ms(10_000);
    m.free_all(kept);
}

pub(super) fn graph(m: &mut Maker) {
    let mut nodes: Vec<(Made, u64)> = Vec::new();
    for _ in 0..3000 {
        nodes.push((m.allocate(64), 64));
    }
    for edge in 0..24_000 {
        // A few nodes have most of the edges.
        let (first, second) = (m.place_in(&nodes), m.place_in(&nodes));
        let Some(slot) = nodes.get_mut(first * second / 3000) else { continue };
        if slot.1 < 512 * KIB {
            let block = core::mem::replace(&mut slot.0, Made::NONE);
            slot.1 = slot.1 * 3 / 2;
            slot.0 = m.resize(block, slot.1);
        }
        if edge % 200 == 0 {
            m.wait_ms(10);
        }
    }
    m.wait_ms(2000);
    let shrunk: Vec<Made> =
        nodes.into_iter().map(|(block, size)| m.resize(block, size / 2 + size / 8)).collect();
    m.wait_ms(20_000);
    m.free_all(shrunk);
}
