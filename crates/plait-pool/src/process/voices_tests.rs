use super::*;
use proptest::prelude::*;

fn packet(data: &[u8], more: bool, writer: u32, number: u32) -> Vec<u8> {
    let mut packet = MAGIC.to_vec();
    packet.extend_from_slice(&u16::try_from(data.len()).unwrap().to_ne_bytes());
    packet.extend_from_slice(&u16::from(more).to_ne_bytes());
    packet.extend_from_slice(&writer.to_ne_bytes());
    packet.extend_from_slice(&number.to_ne_bytes());
    packet.extend_from_slice(data);
    packet
}

fn say(voices: &Voices, bytes: &[u8]) {
    assert_eq!(pipe::write(voices.mouth.as_raw_fd(), bytes).unwrap(), Some(bytes.len()));
}

fn heard(voices: &mut Voices) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    while voices.read(&mut |said| heard.push(said.message)) {}
    heard
}

#[test]
fn packets_of_several_writers_are_told_apart() {
    let mut voices = Voices::new().unwrap();
    for (data, more, writer, number) in
        [("a", true, 1, 1), ("x", true, 2, 1), ("b", true, 1, 2), ("c", false, 1, 2), ("y", false, 2, 1)]
    {
        say(&voices, &packet(data.as_bytes(), more, writer, number));
    }
    assert_eq!(heard(&mut voices), [b"bc", b"xy"]);
    say(&voices, &packet(b"d", false, 1, 1));
    assert_eq!(heard(&mut voices), [b"ad"]);
    assert!(voices.begun.is_empty());
}

#[test]
fn who_is_gone_does_not_go_on() {
    let mut voices = Voices::new().unwrap();
    say(&voices, &packet(b"half", true, 7, 1));
    assert!(heard(&mut voices).is_empty());
    voices.forget(7);
    // The number was given to another process.
    say(&voices, &packet(b"whole", false, 7, 1));
    assert_eq!(heard(&mut voices), [b"whole"]);
}

#[test]
fn what_was_never_finished_is_dropped_in_time() {
    let mut voices = Voices::new().unwrap();
    for number in 0..1000 {
        say(&voices, &packet(b"half", true, 7, number));
        assert!(heard(&mut voices).is_empty());
    }
    assert!(voices.begun.len() <= UNFINISHED as usize);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut voices = Voices::new().unwrap();
    let mut heard = Vec::new();
    let piece = [7; 1 << 15];
    let mut take = |voices: &mut Voices, writer, number, more| {
        let packet = Packet { len: piece.len(), more, writer, number };
        voices.take(&packet, &piece, &mut |said| heard.push((said.writer, said.message.len())));
    };
    // Many who never end what they have begun.
    for writer in 0..3000 {
        take(&mut voices, writer, 1, true);
    }
    assert_eq!((voices.begun.len(), voices.held), (MOST, MOST << 15));
    take(&mut voices, 2999, 1, false);
    // One that is too long, and one of another that is not.
    for _ in 0..10_000 {
        take(&mut voices, 5000, 1, true);
        assert!(voices.held <= LONGEST);
    }
    take(&mut voices, 6000, 1, true);
    take(&mut voices, 5000, 1, false);
    take(&mut voices, 6000, 1, false);
    assert_eq!(heard, [(2999, 1 << 16), (6000, 1 << 16)]);
    assert_eq!(voices.noise(), Some(10_001 << 15));
}

#[test]
fn who_writes_on_is_not_read_for_ever() {
    let mut voices = Voices::new().unwrap();
    let mouth = voices.mouth.try_clone().unwrap();
    let whole = packet(&[7; 500], false, 1, 1);
    let mut count = 0;
    say(&voices, &whole);
    voices.empty(&mut |_| {
        // Whoever hears says something again.
        count += 1;
        let _ = pipe::write(mouth.as_raw_fd(), &whole);
    });
    assert_eq!(count, FULL);
}

#[test]
fn what_is_no_packet_is_passed_over_and_told() {
    let mut voices = Voices::new().unwrap();
    let mut too_long = packet(b"", false, 7, 1);
    too_long[4..6].copy_from_slice(&u16::MAX.to_ne_bytes());
    for noise in [&[0xff; 4000][..], &MAGIC[..2], b"x", &too_long] {
        say(&voices, &packet(b"before", false, 7, 1));
        say(&voices, noise);
        say(&voices, &packet(b"after", false, 7, 2));
        assert_eq!(heard(&mut voices), [b"before".to_vec(), b"after".to_vec()]);
    }
    assert_eq!(voices.noise(), Some(4000 + 2 + 1 + HEAD as u64));
    assert_eq!(voices.noise(), None);
    // Torn: it takes some of the next one, and that the rest.
    say(&voices, &packet(&[b'a'; 100], false, 7, 3)[..HEAD + 50]);
    say(&voices, &packet(&[b'b'; 100], false, 7, 4));
    say(&voices, &packet(b"whole", false, 7, 5));
    assert_eq!(heard(&mut voices).last().unwrap(), b"whole");
    assert!(voices.rest.is_empty());
    for _ in 0..3 {
        say(&voices, &[0; 4000]);
        assert!(heard(&mut voices).is_empty());
    }
    assert!(voices.noise().is_some_and(|noise| noise > 14_000));
}

proptest! {
    #[test]
    fn messages_arrive_whole_however_they_are_cut(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        size in 1_usize..100,
        cuts in prop::collection::vec(1_usize..700, 1..40),
    ) {
        let mut bytes = Vec::new();
        for (message, number) in messages.iter().zip(1..) {
            let mut pieces: Vec<&[u8]> = message.chunks(size).collect();
            let last = pieces.pop().unwrap_or_default();
            for piece in pieces {
                bytes.extend(packet(piece, true, 1, number));
            }
            bytes.extend(packet(last, false, 1, number));
        }
        let (mut voices, mut got, mut left) = (Voices::new().unwrap(), Vec::new(), &bytes[..]);
        for cut in cuts.iter().cycle() {
            let (now, later) = left.split_at(left.len().min(*cut));
            say(&voices, now);
            got.extend(heard(&mut voices));
            left = later;
            if left.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let mut voices = Voices::new().unwrap();
        say(&voices, &bytes);
        heard(&mut voices);
    }
}
