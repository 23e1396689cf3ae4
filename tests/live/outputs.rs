//! Recordings and streams.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{BARS, Running, frames_in, free_udp_port, headless, mean, run, stderr, summary, wait_until};
use crate::common::{Signal, frame_rgb, frame_times, send, stream};

#[test]
fn a_recording_plays_after_ctrl_c_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for (signal, name) in [(Signal::INT, "interrupted.mkv"), (Signal::KILL, "killed.mkv")] {
        let path = folder.path().join(name);
        let running = Running::start(headless(folder.path(), BARS, &["--record", name]));
        wait_until("a playable recording", || path.exists());
        // Whatever stands under the name plays.
        assert!(frames_in(&path) > 0);
        std::thread::sleep(Duration::from_secs(3));
        send(signal, &running.0);
        let output = running.finish();
        assert_eq!(output.status.code(), (signal == Signal::INT).then_some(0), "{}", stderr(&output));
        let times = frame_times(&path);
        assert!(times.last().unwrap() - times[0] > 1.5, "{times:?}");
        let left_over = std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".impasto"));
        assert_eq!(left_over.count(), 0);
    }
}

#[test]
fn a_recording_that_is_given_up_before_it_has_a_name_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // Slow to encode, so that nothing is on the disk for long.
    let slow = ["--record", "show.mkv", "--codec", "hevc", "--preset", "placebo"];
    let camera = "videotestsrc is-live=true ! capsfilter caps=video/x-raw,width=640,height=480,framerate=30/1";
    let running = Running::start(headless(folder.path(), camera, &slow));
    wait_until("the file of the recording", || !names().is_empty());
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..2 {
        send(Signal::INT, &running.0);
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = stderr(&running.finish());
    match names().as_slice() {
        [] => assert!(text.contains("'show.mkv' was not written"), "{text}"),
        names => assert_eq!(names, ["show.mkv"], "{text}"),
    }
}

#[test]
fn recordings_are_refused_before_the_camera_is_painted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("old.mkv"), "old").unwrap();
    let output = run(headless(folder.path(), BARS, &["--record", "old.mkv"]));
    assert!(output.status.code() == Some(1) && stderr(&output).contains("exists already"), "{}", stderr(&output));
    assert!(stderr(&output).contains("-y"), "{}", stderr(&output));
    assert_eq!(std::fs::read(folder.path().join("old.mkv")).unwrap(), b"old");
    let output = run(headless(folder.path(), BARS, &["--record", "old.mkv", "-y", "--frames", "3"]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(frames_in(&folder.path().join("old.mkv")), 3);
    let output = run(headless(folder.path(), "old.mkv", &["--record", "./old.mkv", "-y", "--frames", "3"]));
    assert!(stderr(&output).contains("is the camera's clip"), "{}", stderr(&output));
    assert_eq!(frames_in(&folder.path().join("old.mkv")), 3);
    let output = run(headless(folder.path(), BARS, &["--record", "new.mp4"]));
    assert!(
        output.status.code() == Some(2) && stderr(&output).contains("a recording is a .mkv"),
        "{}",
        stderr(&output)
    );
    let output = run(headless(folder.path(), BARS, &["--record", "new.mkv", "--codec", "none"]));
    assert!(output.status.code() == Some(2) && stderr(&output).contains("no video encoder"), "{}", stderr(&output));
}

#[test]
fn a_recording_that_the_disk_does_not_take_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.mkv"), "a good one").unwrap();
    let live = headless(folder.path(), BARS, &["--record", "good.mkv", "-y", "--frames", "5"]);
    let mut limited = Command::new("bash");
    limited.current_dir(folder.path()).args(["-c", "ulimit -f 1; exec \"$@\"", "bash"]);
    limited.arg(live.get_program()).args(live.get_args());
    let output = run(limited);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("too large"), "{}", stderr(&output));
    assert_eq!(std::fs::read(folder.path().join("good.mkv")).unwrap(), b"a good one");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_stream_is_received_by_ffmpeg() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("udp://127.0.0.1:{}", free_udp_port());
    let received = folder.path().join("received.ts");
    let receiver = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-i", &format!("{url}?timeout=60000000"), "-t", "2", "-c", "copy"])
        .arg(&received)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let receiver = Running(receiver);
    let sender = Running::start(headless(folder.path(), BARS, &["--stream", &url, "--record", "out.mkv"]));
    let output = receiver.finish();
    assert!(output.status.success(), "{}", stderr(&output));
    send(Signal::INT, &sender.0);
    let output = sender.finish();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("{url}: ")), "{}", stderr(&output));
    let video = stream(&received, "video");
    assert_eq!((video["codec_name"].as_str(), video["width"].as_u64()), (Some("h264"), Some(320)));
    assert!(frames_in(&received) > 10);
    let (_, _, pixels) = frame_rgb(&received, 8);
    let (_, _, recorded) = frame_rgb(&folder.path().join("out.mkv"), 8);
    assert!(mean(&pixels, &recorded) < 8.0, "{}", mean(&pixels, &recorded));
}

#[test]
fn a_receiver_that_takes_nothing_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    // The system's buffers take the first megabytes; after that every write would wait.
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", receiver.local_addr().unwrap());
    let camera =
        "videotestsrc is-live=true pattern=snow ! capsfilter caps=video/x-raw,width=640,height=480,framerate=20/1";
    let arguments = ["--stream", &url, "--stream-bitrate", "400000", "--duration", "12", "--json"];
    let begin = Instant::now();
    let output = run(headless(folder.path(), camera, &arguments));
    let summary = summary(&output);
    let lost = summary["lost"].as_array().unwrap().iter().find(|lost| lost["output"] == "stream");
    assert!(lost.is_some_and(|lost| lost["frames"].as_u64() > Some(0)), "{summary} {}", stderr(&output));
    assert!(summary["latency_ms"]["max"].as_f64().unwrap() < 3000.0, "{summary}");
    assert!(summary["seconds"].as_f64().unwrap() > 10.0, "{summary}");
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}

#[test]
fn outputs_that_cannot_be_opened_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let error = |arguments: &[&str]| stderr(&run(headless(folder.path(), BARS, arguments)));
    let text = error(&["--virtual-camera", "/dev/video4242"]);
    assert!(text.contains("open the virtual camera '/dev/video4242': there is no such device"), "{text}");
    let text = error(&["--virtual-camera", "/dev/null"]);
    assert!(text.contains("it is no video device"), "{text}");
    let text = error(&["--stream", "rtmp://127.0.0.1:9/live/secret"]);
    assert!(
        text.contains("cannot open the stream to 'rtmp://127.0.0.1:9/live/…'") && !text.contains("secret"),
        "{text}"
    );
    let text = error(&["--stream", "somewhere"]);
    assert!(text.contains("expected udp://") && text.contains("HOST:PORT"), "{text}");
}
