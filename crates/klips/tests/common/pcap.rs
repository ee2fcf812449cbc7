//! The captures of KLIPS in C, which are not ours to carry: `KLIPS_CAPTURES` names the directory they are in.

/// The Ethernet frames with IPv4 in a pcap file; `None`, said plainly, when there are no captures here.
pub fn frames(name: &str) -> Option<Vec<Vec<u8>>> {
    let Ok(dir) = std::env::var("KLIPS_CAPTURES") else {
        eprintln!("KLIPS_CAPTURES is not set: {name} is not tested");
        return None;
    };
    let file = std::fs::read(std::path::Path::new(&dir).join(name)).expect(name);
    let little = file[..4] == [0xd4, 0xc3, 0xb2, 0xa1];
    let word = |at: usize| {
        let bytes: [u8; 4] = file[at..at + 4].try_into().expect("4 bytes");
        if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        }
    };
    assert_eq!(word(20), 1, "Ethernet");
    let (mut at, mut frames) = (24, Vec::new());
    while at < file.len() {
        let len = word(at + 8) as usize;
        let frame = &file[at + 16..at + 16 + len];
        if frame[12..14] == [8, 0] {
            frames.push(frame.to_vec());
        }
        at += 16 + len;
    }
    Some(frames)
}
