use super::*;

const SECRET: &str = "correct-horse-battery-staple";

/// The nodes of a cluster with these secrets; `process` tells two processes apart.
fn node(secrets: &str, cluster: &str, process: u8) -> Arc<LinkSecurity> {
    let secret = (!secrets.is_empty()).then(|| ClusterSecret::parse(secrets.as_bytes()));
    let secret = secret.map(|secret| secret.expect("allowed"));
    Arc::new(LinkSecurity::new(secret, cluster.into(), [process; 32]))
}

fn say(link: &mut SecureLink, words: &[u8]) -> Vec<u8> {
    let mut bytes = words.to_vec();
    link.seal(&mut bytes);
    bytes
}

fn heard(link: &mut SecureLink) -> Vec<u8> {
    link.plain().split().to_vec()
}

/// A link on which both sides have proved the secret.
fn link() -> (SecureLink, SecureLink) {
    let (mut dialer, mut acceptor) =
        (node(SECRET, "shop", 1).dial("a"), node(SECRET, "shop", 2).accept("b"));
    meet(&mut dialer, &mut acceptor).expect("the same secret");
    (dialer, acceptor)
}

/// The handshake, in which the dialer says `hello` as soon as it can.
fn meet(dialer: &mut SecureLink, acceptor: &mut SecureLink) -> Result<(), LinkFault> {
    let mut bytes = say(dialer, b"hello");
    for _ in 0..2 {
        acceptor.receive(&bytes)?;
        dialer.receive(&say(acceptor, b""))?;
        bytes = say(dialer, b"");
    }
    assert_eq!(heard(acceptor), b"hello");
    Ok(())
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Made by another implementation, from the description above.
#[test]
fn the_bytes_are_those_of_the_description() {
    let mut dialer = node(SECRET, "shop", 1).dial("a");
    let mut acceptor = node(SECRET, "shop", 2).accept("b");
    let hello = say(&mut dialer, b"first");
    assert_eq!(
        hello,
        hex("51525473953a64d0163d0ece3c1edcfe1c347cc6955099432555ca2167ab36799511d0e3")
    );
    acceptor.receive(&hello).expect("a hello");
    let challenge = say(&mut acceptor, b"");
    assert_eq!(
        challenge,
        hex("5152547320c6cb9a4bccf741c96cde2ceef453dc00337910cf50e9bb6f10f1a92900bbee")
    );
    dialer.receive(&challenge).expect("a challenge");
    let proof = say(&mut dialer, b"second");
    let expected = "1178bb8be9ec3b3e1af6c819bd9e792e01f90e65d6479a700e8d1e59f5bbe97d\
                    1500000087f4b968a9bb1d93952db03eb5266cfb9eb36bbc59\
                    16000000569a4c6c2cd50389d4b01ec6b6e4f70e2e7093b3d081";
    assert_eq!(proof, hex(expected));
    acceptor.receive(&proof).expect("a proof");
    assert_eq!(heard(&mut acceptor), b"firstsecond");
    let answer = say(&mut acceptor, b"answer");
    let expected = "6feb3796aef2c8b0d4fb391d076892376996dac871c32d5152c06219d8f68e0e\
                    16000000e02201069de46d8ea0f9e4c93eee4146bfe21201bd89";
    assert_eq!(answer, hex(expected));
    dialer.receive(&answer).expect("a proof");
    assert_eq!(heard(&mut dialer), b"answer");
}

#[test]
fn bytes_arrive_however_they_are_cut() {
    for cut in [1, 3, 35, 36, 37, 1000] {
        let mut dialer = node(SECRET, "shop", 1).dial("a");
        let mut acceptor = node(SECRET, "shop", 2).accept("b");
        let long: Vec<u8> = (0..=255).cycle().take(3 * records::RECORD_MAX + 5).collect();
        let mut bytes = say(&mut dialer, &long);
        for _ in 0..3 {
            bytes.chunks(cut).for_each(|piece| acceptor.receive(piece).expect("a piece"));
            let answer = say(&mut acceptor, b"");
            answer.chunks(cut).for_each(|piece| dialer.receive(piece).expect("a piece"));
            bytes = say(&mut dialer, b"x");
        }
        let taken = heard(&mut acceptor);
        let (first, rest) = taken.split_at(long.len());
        assert_eq!(first, long);
        assert!(!rest.is_empty() && rest.iter().all(|byte| *byte == b'x'));
    }
}

#[test]
fn links_without_a_secret_carry_frames_as_they_are() {
    let (mut dialer, mut acceptor) =
        (node("", "shop", 1).dial("a"), node("", "shop", 2).accept("b"));
    let frame = b"QRT1 and so on";
    let bytes = say(&mut dialer, frame);
    assert_eq!(bytes, frame);
    acceptor.receive(&bytes[..2]).expect("a piece");
    assert!(acceptor.plain().is_empty());
    acceptor.receive(&bytes[2..]).expect("the rest");
    assert_eq!(heard(&mut acceptor), frame);
    assert_eq!(say(&mut acceptor, b"answer"), b"answer");
}

#[test]
fn both_sides_hear_who_has_no_secret() {
    let mut dialer = node(SECRET, "shop", 1).dial("a");
    let mut acceptor = node("", "shop", 2).accept("b");
    let met = acceptor.receive(&say(&mut dialer, b"hello"));
    assert_eq!(met, Err(LinkFault::PeerWithSecret));
    let refusal = say(&mut acceptor, b"");
    assert_eq!(dialer.receive(&refusal), Err(LinkFault::PeerWithoutSecret));
    assert!(heard(&mut acceptor).is_empty() && heard(&mut dialer).is_empty());

    let mut acceptor = node(SECRET, "shop", 2).accept("b");
    let mut hello = Vec::new();
    frame::encode(&mut hello, 0, 0, &Message::Reply(bytes::Bytes::from_static(b"+OK\r\n")));
    assert_eq!(acceptor.receive(&hello), Err(LinkFault::PeerWithoutSecret));
    assert!(heard(&mut acceptor).is_empty());
    let mut refusal = BytesMut::from(&say(&mut acceptor, b"")[..]);
    let told = frame::decode(&mut refusal).expect("a frame").expect("whole").message;
    let Message::Refused(told) = told else { panic!("{told:?}") };
    assert!(told.text.contains("cluster secret") && told.code.passes());
    assert_eq!(
        acceptor.receive(&hello),
        Err(LinkFault::PeerWithoutSecret),
        "it takes nothing more"
    );
}

#[test]
fn another_secret_or_another_cluster_is_refused_on_both_sides() {
    let other = "another-secret-of-the-same-kind";
    for (secret, cluster) in [(other, "shop"), (SECRET, "shops"), (SECRET, "")] {
        let mut dialer = node(SECRET, "shop", 1).dial("a");
        let mut acceptor = node(secret, cluster, 2).accept("b");
        let met = meet(&mut dialer, &mut acceptor);
        assert_eq!(met, Err(LinkFault::WrongSecret), "{secret} {cluster}");
        let refusal = say(&mut acceptor, b"");
        assert_eq!(dialer.receive(&refusal), Err(LinkFault::WrongSecret));
        assert!(heard(&mut acceptor).is_empty());
    }
}

#[test]
fn a_secret_is_replaced_while_the_cluster_runs() {
    let new = "the-secret-that-is-to-come";
    let steps =
        [SECRET.to_owned(), format!("{SECRET} {new}"), format!("{new} {SECRET}"), new.to_owned()];
    for pair in steps.windows(2) {
        for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let (mut dialer, mut acceptor) =
                (node(from, "shop", 1).dial("a"), node(to, "shop", 2).accept("b"));
            meet(&mut dialer, &mut acceptor).expect("one step apart");
        }
    }
}

#[test]
fn an_acceptor_that_sends_back_what_it_hears_proves_nothing() {
    let mut dialer = node(SECRET, "shop", 1).dial("a");
    let hello = say(&mut dialer, b"hello");
    dialer.receive(&hello).expect("a challenge like any other");
    let proof = say(&mut dialer, b"");
    assert_eq!(dialer.receive(&proof), Err(LinkFault::WrongSecret));
}

#[test]
fn a_recording_opens_no_other_link() {
    let (mut dialer, mut acceptor) =
        (node(SECRET, "shop", 1).dial("a"), node(SECRET, "shop", 2).accept("b"));
    let hello = say(&mut dialer, b"hello");
    acceptor.receive(&hello).expect("a hello");
    dialer.receive(&say(&mut acceptor, b"")).expect("a challenge");
    let rest = say(&mut dialer, b"");
    acceptor.receive(&rest).expect("a proof");
    assert_eq!(heard(&mut acceptor), b"hello");
    // The same process, and another one that has started in its place.
    let security = node(SECRET, "shop", 2);
    security.accept("b").receive(&hello).expect("a first link");
    for mut again in [security.accept("b"), node(SECRET, "shop", 3).accept("b")] {
        again.receive(&hello).expect("anybody can say hello");
        assert_eq!(again.receive(&rest), Err(LinkFault::WrongSecret));
        assert!(heard(&mut again).is_empty());
    }
}

#[test]
fn no_record_is_taken_that_was_changed_moved_repeated_or_turned_around() {
    let (mut dialer, _) = link();
    let records = [say(&mut dialer, b"one"), say(&mut dialer, b"two"), say(&mut dialer, b"three")];
    let takes = |bytes: &[u8]| {
        let (_, mut acceptor) = link();
        let outcome = acceptor.receive(bytes);
        (outcome, heard(&mut acceptor))
    };
    assert_eq!(takes(&records.concat()), (Ok(()), b"onetwothree".to_vec()));
    for at in 0..records[0].len() {
        for bit in 0..8 {
            let mut changed = records.concat();
            changed[at] ^= 1 << bit;
            let (outcome, taken) = takes(&changed);
            // A length that has become longer waits for the rest, at most of a whole record.
            assert!(
                taken.is_empty() && (at < 4 || outcome == Err(LinkFault::Changed)),
                "{at} {bit}"
            );
        }
    }
    let [one, two, three] = &records;
    let changed = Err(LinkFault::Changed);
    for (bytes, taken) in [
        ([one, one].map(|record| &record[..]).concat(), "one"),
        ([one, three].map(|record| &record[..]).concat(), "one"),
        ([two, one].map(|record| &record[..]).concat(), ""),
        (vec![0; 4], ""),
        (vec![0xff; 4], ""),
        ([&17_u32.to_le_bytes()[..], &[0; 17]].concat(), ""),
    ] {
        assert_eq!(takes(&bytes), (changed, taken.as_bytes().to_vec()));
    }
    // What the acceptor has said, sent back to it.
    let (_, mut acceptor) = link();
    let own = say(&mut acceptor, b"one");
    assert_eq!(acceptor.receive(&own), changed);
}

#[test]
fn strangers_are_told_apart_by_their_first_bytes() {
    let mut acceptor = node(SECRET, "shop", 2).accept("b");
    acceptor.receive(b"GET").expect("less than a magic");
    assert_eq!(acceptor.receive(b" / HTTP/1.1\r\n"), Err(LinkFault::Stranger));
    assert!(say(&mut acceptor, b"").is_empty(), "nothing is said to them");
    let mut dialer = node(SECRET, "shop", 1).dial("a");
    assert_eq!(dialer.receive(b"-ERR unknown command\r\n"), Err(LinkFault::Stranger));
}
