//! What is kept comes back, whatever happens to the file.

use super::records::PacketRecord;
use super::*;

fn frame(pts: i64) -> FrameEnd {
    FrameEnd { pts, end: (pts + 1) * 40_000 }
}

fn flags(pts: i64) -> i32 {
    [1, 2, 4, 16, 17][pts.rem_euclid(5) as usize]
}

fn packet(pts: i64, dts: i64) -> Packet {
    let mut packet = Packet::copy(format!("packet {pts}\n").as_bytes());
    packet.set_pts(Some(pts));
    packet.set_dts(Some(dts));
    packet.set_duration(1);
    ffi::set_packet_flags(&mut packet, flags(pts));
    ffi::set_new_extradata(&mut packet, &b"header"[..pts.rem_euclid(3) as usize]).unwrap();
    packet
}

/// A journal of a run in which packets came in this order, and six frames had been encoded.
fn left(path: &Path, order: &[i64]) -> Whole {
    let mut journal =
        Journal::create(path, Settings::from([("style".to_owned(), "wave".to_owned())]), Vec::new()).unwrap();
    journal.begin(&path.with_file_name(".impasto-a.mp4")).unwrap();
    (0..6).for_each(|pts| journal.put(frame(pts)));
    order.iter().zip(-2..).for_each(|(pts, dts)| journal.write(&packet(*pts, dts)).unwrap());
    journal.whole()
}

fn replayed(journal: &Journal) -> Vec<Packet> {
    let mut packets = Vec::new();
    let keep = |packet| {
        packets.push(packet);
        Ok(())
    };
    journal.replay(keep).unwrap();
    packets
}

#[test]
fn packets_come_back_up_to_where_no_frame_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    assert_eq!(left(&path, &[0, 4, 2, 1, 3, 5]), Whole { frames: 6, last: Some(frame(5)) });
    assert_eq!(left(&path, &[0, 4, 2, 1]), Whole { frames: 1, last: Some(frame(0)) });
    assert_eq!(left(&path, &[0, 4, 2, 1, 3]), Whole { frames: 5, last: Some(frame(4)) });
    let mut journal = Journal::open(&path).unwrap();
    assert_eq!(journal.settings()["style"], "wave");
    assert_eq!(journal.whole(), Whole { frames: 5, last: Some(frame(4)) });
    for (index, (packet, pts)) in replayed(&journal).iter().zip([0, 4, 2, 1, 3]).enumerate() {
        assert_eq!((packet.pts(), packet.dts()), (Some(pts), Some(index as i64 - 2)));
        assert_eq!((packet.duration(), ffi::packet_flags(packet)), (1, flags(pts)));
        assert_eq!(packet.data(), Some(format!("packet {pts}\n").as_bytes()));
        assert_eq!(ffi::new_extradata(packet), &b"header"[..pts as usize % 3]);
    }

    // The next run follows.
    journal.begin(&folder.path().join(".impasto-b.mp4")).unwrap();
    (5..7).for_each(|pts| journal.put(frame(pts)));
    journal.write(&packet(5, 3)).unwrap();
    assert_eq!(journal.whole(), Whole { frames: 6, last: Some(frame(5)) });
    drop(journal);
    let packets = replayed(&Journal::open(&path).unwrap());
    assert_eq!(packets.iter().map(|packet| packet.pts().unwrap()).collect::<Vec<_>>(), [0, 4, 2, 1, 3, 5]);
}

#[test]
fn packets_without_a_frame_of_their_own_are_kept_and_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    assert_eq!(left(&path, &[0, 100, 1]), Whole { frames: 2, last: Some(frame(1)) });
    assert_eq!(replayed(&Journal::open(&path).unwrap()).len(), 3);
}

#[test]
fn what_is_cut_off_or_damaged_counts_as_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a.state"), folder.path().join("b.state"));
    let order = [0, 2, 1, 3];
    left(&path, &order);
    let bytes = std::fs::read(&path).unwrap();
    let begin = Journal::open(&path).unwrap().begin as usize;
    assert!(!Journal::open(&path).unwrap().is_damaged());
    let file = File::open(&path).unwrap();
    let mut records = Records::new(&file, 0).unwrap();
    let mut ends = Vec::new();
    while records.next().unwrap().is_some() {
        ends.push(records.at as usize);
    }
    let whole_after = |packets: usize| [0, 1, 1, 3, 4][packets];
    let mut seen = [false; 5];
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 4;
        for damaged in [&bytes[..place], &flipped] {
            std::fs::write(&other, damaged).unwrap();
            match Journal::open(&other) {
                Ok(journal) => {
                    assert!(place >= begin);
                    let is_cut_between_records = damaged.len() == place && ends.contains(&place);
                    assert_eq!(journal.is_damaged(), !is_cut_between_records, "{place}");
                    let frames = journal.whole().frames as usize;
                    let packets = replayed(&journal);
                    assert_eq!(whole_after(packets.len()), frames);
                    assert!(packets.iter().zip(order).all(|(packet, pts)| packet.pts() == Some(pts)));
                    seen[frames] = true;
                }
                Err(error) => {
                    assert!(place < begin, "{error:#}");
                    assert!(format!("{error:#}").contains("no state of a video"), "{error:#}");
                }
            }
        }
    }
    assert_eq!(seen, [true, true, false, true, false], "the last byte is missing or wrong at least");
}

#[test]
fn a_length_that_is_not_there_costs_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    left(&path, &[0]);
    let whole = Some(Whole { frames: 9, last: Some(frame(8)) });
    let record = PacketRecord { pts: None, dts: None, duration: 0, flags: 0, whole, bytes: u64::MAX, header_bytes: 1 };
    write_record(&mut OpenOptions::new().append(true).open(&path).unwrap(), &Record::Packet(record), [b"few", &[]])
        .unwrap();
    assert_eq!(Journal::open(&path).unwrap().whole().frames, 1);
}

#[test]
fn one_program_has_it_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    let journal = Journal::create(&path, Settings::new(), Vec::new()).unwrap();
    for refusal in [Journal::open(&path).unwrap_err(), Journal::create(&path, Settings::new(), Vec::new()).unwrap_err()]
    {
        assert!(refusal.is::<JournalInUse>(), "{refusal:#}");
    }
    drop(journal);
    Journal::open(&path).unwrap();
}

#[test]
fn an_unfinished_output_is_removed_and_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    left(&path, &[0]);
    for (name, is_ours) in [(".impasto-a.mp4", true), (".impasto-b.mp4", false), ("clip.mp4", false)] {
        std::fs::write(folder.path().join(name), "").unwrap();
        Journal::open(&path).unwrap().remove_leftover();
        assert_eq!(folder.path().join(name).exists(), !is_ours, "{name}");
    }
    let mut journal = Journal::open(&path).unwrap();
    journal.temporary = Some("clip.mp4".to_owned());
    journal.remove_leftover();
    assert!(folder.path().join("clip.mp4").exists());
}

#[test]
fn what_was_left_unfinished_is_so_for_a_run_that_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    left(&path, &[0]);
    Journal::open(&path).unwrap().note_output(6).unwrap();
    let outputs = Journal::open(&path).unwrap().outputs().to_vec();
    let mut journal = Journal::create(&path, Settings::new(), outputs).unwrap();
    journal.begin(&folder.path().join(".impasto-b.mp4")).unwrap();
    journal.note_output(7).unwrap();
    drop(journal);
    let journal = Journal::open(&path).unwrap();
    assert_eq!((journal.frames(), journal.outputs()), (0, &[6, 7][..]));
}

#[test]
fn a_finished_output_is_known_by_its_size_in_later_runs_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    left(&path, &[0]);
    assert_eq!(Journal::open(&path).unwrap().outputs(), [0_u64; 0]);
    Journal::open(&path).unwrap().note_output(6).unwrap();
    for _ in 0..2 {
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.outputs(), [6]);
        journal.begin(&folder.path().join(".impasto-b.mp4")).unwrap();
    }
}
