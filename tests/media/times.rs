//! Every frame at its own time.

use impasto::media::{Cut, WriterOptions};

use super::{assert_same_times, copy, copy_with, test_clip};
use crate::common::{clip, frame_times, packets, shared, stream};

/// Good clips of the extra material: (file, where matroska's millisecond clock or joined clocks allow no better).
const GOOD_CLIPS: &[&str] = &[
    "alpha_prores4444.mov",
    "alpha_qtrle.mov",
    "alpha_vp9.webm",
    "anamorphic_sar32x27.mp4",
    "anim.gif",
    "audio_flac51.mkv",
    "audio_longer.mp4",
    "audio_shorter.mp4",
    "av1.mp4",
    "fps_1.mp4",
    "fps_59940.mp4",
    "full_range.mp4",
    "gray_ffv1.mkv",
    "h264_hi10.mkv",
    "hevc10_pq.mp4",
    "interlaced_tff_mpeg2.ts",
    "mjpeg.avi",
    "multi_audio_subs.mkv",
    "notmult4_322x182.mp4",
    "odd_321x181_h264_444.mkv",
    "odd_321x181_vp9.webm",
    "rotate180.mp4",
    "rotate90.mp4",
    "scene_cut.mp4",
    "single_frame.mp4",
    "start_offset_1p5s.mkv",
    "static_image.mp4",
    "tiny_16x16.mp4",
    "vfr_dropped.mp4",
    "vfr_jitter.mkv",
];

#[test]
fn every_good_odd_clip_keeps_its_frames_and_times_in_mp4_and_mkv() {
    let Some(odd) = shared("clips/odd") else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in GOOD_CLIPS {
        for extension in ["mp4", "mkv"] {
            let input = odd.join(name);
            let output = folder.path().join(format!("{name}.{extension}"));
            let copied = copy(&input, &output);
            assert_eq!(copied.damage, None, "{name}");
            assert_eq!(copied.written.frames as usize, frame_times(&input).len(), "{name}");
            println!("{name}: {:?}", copied.notes);
            // Matroska counts in milliseconds, and moves all streams if one starts before 0.
            let shift = if extension == "mkv" { 0.0225 } else { 0.0011 };
            assert_same_times(&input, &output, shift);
        }
    }
}

#[test]
fn containers_that_count_pictures_have_no_empty_ones() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "in.mp4", &[]);
    let cinema = test_clip(folder.path(), "cinema.mkv", &["-vf", "fps=24000/1001"]);
    for (input, name, rate) in
        [(&input, "out.avi", "25/1"), (&input, "out.mxf", "25/1"), (&cinema, "cinema.avi", "24000/1001")]
    {
        let output = folder.path().join(name);
        let frames = copy(input, &output).written.frames;
        assert_eq!(stream(&output, "video")["r_frame_rate"], rate, "{name}");
        assert_eq!(packets(&output, "v:0").len() as u64, frames, "{name}");
        assert_same_times(input, &output, 0.0006);
    }
    // At no steady rate, with a clock that MPEG-4 part 2 is too coarse for.
    let jitter = "settb=1/90000,setpts=PTS+mod(N*N*1237\\,2401)";
    let clock = ["-vf", jitter, "-fps_mode", "vfr", "-enc_time_base", "1:90000", "-bf", "0", "-video_track_timescale"];
    let input = test_clip(folder.path(), "jitter.mp4", &[&clock[..], &["90000"]].concat());
    assert_eq!(copy(&input, &folder.path().join("jitter.avi")).written.frames, 25);
}

#[test]
fn variable_frame_rate_and_a_start_offset_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let jitter = ["-vf", "setpts='(N*40+15*sin(N*1.7))/1000/TB'", "-fps_mode", "vfr", "-enc_time_base", "1/1000"];
    let input = test_clip(folder.path(), "jitter.mkv", &jitter);
    for name in ["out.mp4", "out.mkv"] {
        let output = folder.path().join(name);
        copy(&input, &output);
        assert_same_times(&input, &output, 0.0006);
    }

    let late = clip(folder.path(), "late.mkv", &["-itsoffset", "1.5", "-i", input.to_str().unwrap(), "-c", "copy"]);
    assert!(frame_times(&late)[0] > 1.4);
    let output = folder.path().join("late.mp4");
    copy(&late, &output);
    assert_same_times(&late, &output, 0.0006);
}

#[test]
fn rational_frame_rates_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "ntsc.mp4", &["-vf", "fps=60000/1001"]);
    let output = folder.path().join("out.mp4");
    copy(&input, &output);
    assert_eq!(stream(&output, "video")["avg_frame_rate"], "60000/1001");
    assert_eq!(stream(&output, "video")["time_base"], stream(&input, "video")["time_base"]);
    assert_same_times(&input, &output, 0.0);
}

#[test]
fn a_single_frame_makes_a_video_of_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "one.mp4", &["-frames:v", "1"]);
    for name in ["out.mp4", "out.mkv", "out.webm", "out.gif", "out.mov"] {
        let output = folder.path().join(name);
        assert_eq!(copy(&input, &output).written.frames, 1);
        assert_eq!(frame_times(&output).len(), 1, "{name}");
    }
}

#[test]
fn a_gif_of_more_than_a_hundred_frames_a_second_keeps_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "fast.mp4", &["-vf", "fps=240"]);
    let output = folder.path().join("out.gif");
    assert_eq!(copy(&input, &output).written.frames, 240);
    assert_eq!(frame_times(&output).len(), 240);
}

#[test]
fn a_change_of_size_or_clock_in_the_middle_keeps_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name, size: &str, pixel: &str| {
        let source = format!("testsrc2=size={size}:rate=25,setsar={pixel}");
        clip(
            folder.path(),
            name,
            &["-f", "lavfi", "-i", &source, "-t", "0.8", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-f", "mpegts"],
        )
    };
    let first = make("1.ts", "160x90", "1");
    let others = [
        (make("2.ts", "320x180", "1"), "the size of the pictures changes"),
        (make("3.ts", "160x90", "4/3"), "the shape of its pixels changes"),
    ];
    for (other, note) in others {
        let input = folder.path().join("joined.ts");
        std::fs::write(&input, [std::fs::read(&first).unwrap(), std::fs::read(other).unwrap()].concat()).unwrap();
        let output = folder.path().join("out.mp4");
        let copied = copy(&input, &output);
        assert_eq!((copied.written.frames, copied.damage), (40, None));
        assert!(copied.notes.iter().any(|told| told.contains(note)), "{:?}", copied.notes);
        let times = frame_times(&output);
        assert_eq!(times.len(), 40);
        for pair in times.windows(2) {
            assert!((pair[1] - pair[0] - 0.04).abs() < 0.025, "{times:?}");
        }
        std::fs::remove_file(output).unwrap();
    }
}

#[test]
fn timestamps_that_jump_by_hours_are_named_where_a_container_does_not_take_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let source = "testsrc2=size=160x90:rate=25:duration=2";
    let plain = clip(folder, "plain.mkv", &["-f", "lavfi", "-i", source, "-c:v", "libx264", "-bf", "0"]);
    let jump = "setts=ts='if(gt(N,20),TS+1000*3600*70,TS)'";
    let input = clip(folder, "in.mkv", &["-i", plain.to_str().unwrap(), "-c", "copy", "-bsf:v", jump]);
    for name in ["out.mp4", "out.avi"] {
        let error = copy_with(&input, &folder.join(name), Cut::default(), WriterOptions::default()).err().expect(name);
        let text = format!("{error:#}");
        assert!(text.contains("jump by 70.0 hours") && text.contains(".mkv does"), "{text}");
        assert!(!folder.join(name).exists());
    }
    let output = folder.join("out.mkv");
    copy(&input, &output);
    assert_same_times(&input, &output, 1e-3);
}

#[test]
fn pictures_behind_one_that_leapt_ahead_follow_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let source = "testsrc2=size=160x90:rate=25:duration=2";
    let plain = clip(folder.path(), "plain.mkv", &["-f", "lavfi", "-i", source, "-c:v", "ffv1"]);
    let mut bytes = std::fs::read(&plain).unwrap();
    // The time of a block in its cluster, in milliseconds, behind the number of its track.
    let block = bytes.windows(4).position(|bytes| bytes == [0x81, 0, 120, 0]).unwrap();
    bytes[block + 1..block + 3].copy_from_slice(&30_000_i16.to_be_bytes());
    let input = folder.path().join("leap.mkv");
    std::fs::write(&input, bytes).unwrap();
    let output = folder.path().join("out.mkv");
    assert_eq!(copy(&input, &output).written.frames, 50);
    let times = frame_times(&output);
    assert!((times[3] - 30.0).abs() < 0.01, "{times:?}");
    assert!(times[4..].windows(2).all(|pair| (pair[1] - pair[0] - 0.04).abs() < 0.002), "{times:?}");
}

#[test]
fn pictures_closer_than_a_containers_clock_can_tell_are_no_error() {
    let folder = tempfile::tempdir().unwrap();
    // Every tenth picture comes a third of a millisecond behind the one before.
    let pairs = "settb=1/90000,setpts=if(eq(mod(N\\,10)\\,5)\\,(N-1)*3600+30\\,N*3600)";
    let clock = ["-vf", pairs, "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-bf", "0"];
    let input = test_clip(folder.path(), "pairs.mp4", &[&clock[..], &["-video_track_timescale", "90000"]].concat());
    for name in ["out.mkv", "out.webm", "out.flv", "out.mov", "out.ts"] {
        let output = folder.path().join(name);
        assert_eq!(copy(&input, &output).written.frames as usize, frame_times(&input).len(), "{name}");
        if !name.ends_with("flv") && !name.ends_with("ts") {
            assert_same_times(&input, &output, 0.0025);
        }
    }
    // A container that counts pictures, with more of them a second than a millisecond tells apart.
    let quick = test_clip(
        folder.path(),
        "quick.mp4",
        &["-vf", "setpts=N,settb=1/5000", "-fps_mode", "passthrough", "-r", "5000"],
    );
    for name in ["quick.mkv", "quick.avi"] {
        assert_eq!(
            copy(&quick, &folder.path().join(name)).written.frames as usize,
            frame_times(&quick).len(),
            "{name}"
        );
    }
}
