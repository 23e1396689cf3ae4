//! Cameras by GStreamer, by file and by address, and cameras that fail.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Running, frames_in, free_udp_port, headless, live, mean, run, stderr, summary};
use crate::common::{Signal, clip, frame_rgb, frame_times, send};

#[test]
fn a_gstreamer_camera_gives_the_size_and_the_rate_that_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let camera = "videotestsrc is-live=true pattern=green";
    let arguments = ["--size", "160x96", "--fps", "20", "--frames", "41", "--json", "--record", "out.mkv"];
    let summary = summary(&run(headless(folder.path(), camera, &arguments)));
    assert_eq!((summary["width"].as_u64(), summary["height"].as_u64()), (Some(160), Some(96)));
    assert_eq!(summary["frames"], 41);
    let rate = summary["camera_fps"].as_f64().unwrap();
    assert!((12.0..24.0).contains(&rate), "{rate}: a busy machine may miss some");
    let (_, _, pixels) = frame_rgb(&folder.path().join("out.mkv"), 20);
    let green: Vec<u8> = [0, 255, 0].repeat(160 * 96);
    assert!(mean(&pixels, &green) < 4.0, "colours do not change places");

    // OpenCV would take the planes of an appsink of one's own for a gray picture of half as many lines more.
    let camera = "videotestsrc is-live=true pattern=green ! video/x-raw,format=I420 ! appsink";
    let arguments = ["--size", "160x96", "--frames", "2", "--json", "--record", "own.mkv"];
    let summary = self::summary(&run(headless(folder.path(), camera, &arguments)));
    assert_eq!((summary["width"].as_u64(), summary["height"].as_u64()), (Some(160), Some(96)));
    assert!(mean(&frame_rgb(&folder.path().join("own.mkv"), 1).2, &green) < 4.0);
}

#[test]
fn a_file_is_played_over_and_over_in_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=20", "-frames:v", "10"];
    let clip = clip(folder.path(), "ten.mkv", &source);
    let arguments = ["--frames", "36", "--json", "--record", "out.mkv"];
    let summary = summary(&run(headless(folder.path(), clip.to_str().unwrap(), &arguments)));
    let captured = summary["captured"].as_u64().unwrap();
    let seconds = summary["seconds"].as_f64().unwrap();
    assert!(captured >= 36 && summary["frames"] == 36, "{summary}");
    assert!((1.5..20.0).contains(&seconds), "36 frames at 20 a second in {seconds} s");
    // The recording has the times of capture: the steps of the clip, but for what was dropped.
    let times = frame_times(&folder.path().join("out.mkv"));
    assert_eq!(times.len(), 36);
    let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    assert!((0.04..0.11).contains(&steps[steps.len() / 2]), "{steps:?}");
}

#[test]
fn the_first_picture_of_a_slow_clip_is_shown_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let slides = "color=lime:size=64x48:rate=1/20:duration=20,format=rgb24[a];color=red:size=64x48:rate=1/20:duration=20,format=rgb24[b];[a][b]concat";
    let clip = clip(folder.path(), "slides.mkv", &["-filter_complex", slides, "-c:v", "ffv1"]);
    let begin = std::time::Instant::now();
    run(headless(folder.path(), clip.to_str().unwrap(), &["--frames", "1", "--record", "out.mkv"]));
    assert!(begin.elapsed().as_secs() < 15, "{:?}", begin.elapsed());
    assert!(mean(&frame_rgb(&folder.path().join("out.mkv"), 0).2, &[0, 255, 0].repeat(64 * 48)) < 4.0);
}

#[test]
fn a_slow_network_drops_pictures_and_a_smaller_size_holds_the_rate() {
    let folder = tempfile::tempdir().unwrap();
    let camera = "videotestsrc is-live=true ! capsfilter caps=video/x-raw,width=1280,height=720,framerate=30/1";
    // The larger network is slow at this size on any processor.
    let arguments =
        ["--no-window", "--smooth", "0", "--camera", camera, "--device", "cpu", "--network", "full", "--json"];
    let full = summary(&run(live(folder.path(), &[&arguments[..], &["--frames", "6"]].concat())));
    assert!(full["dropped"].as_u64().unwrap() > 0, "{full}");
    assert!(full["captured"].as_u64().unwrap() - full["dropped"].as_u64().unwrap() >= 6, "{full}");
    assert_eq!(full["work_size"], 720);
    let auto =
        summary(&run(live(folder.path(), &[&arguments[..], &["--duration", "25", "--quality", "auto"]].concat())));
    assert!(auto["work_size"].as_u64().unwrap() < 720, "{auto}");
    assert!(auto["fps"].as_f64() > full["fps"].as_f64(), "{auto} against {full}");
}

#[test]
fn pictures_of_other_pixels_are_stretched_to_square_ones() {
    let folder = tempfile::tempdir().unwrap();
    let source = "testsrc2=size=160x96:rate=10:duration=1,setsar=4/3";
    let wide = clip(folder.path(), "wide.mkv", &["-f", "lavfi", "-i", source, "-c:v", "ffv1"]);
    let arguments = ["--frames", "5", "--record", "out.mkv", "--json"];
    let summary = summary(&run(headless(folder.path(), wide.to_str().unwrap(), &arguments)));
    // 160 · 4/3, in whole pairs.
    assert_eq!((summary["width"].as_u64(), summary["height"].as_u64()), (Some(214), Some(96)));
    let (width, height, painted) = frame_rgb(&folder.path().join("out.mkv"), 0);
    assert_eq!((width, height), (214, 96));
    let (.., original) = frame_rgb(&wide, 0);
    let pixel = |pixels: &[u8], width: usize, x: usize| pixels[(48 * width + x) * 3..][..3].to_vec();
    for share in [0.2, 0.8] {
        let [a, b] = [(&painted, 214), (&original, 160)]
            .map(|(pixels, width)| pixel(pixels, width, (share * width as f64) as usize));
        assert!(a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) < 40), "{share}: {a:?} for {b:?}");
    }
}

#[test]
fn a_camera_that_stops_is_an_error_and_its_recording_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let camera =
        "videotestsrc num-buffers=30 is-live=true ! capsfilter caps=video/x-raw,width=64,height=48,framerate=20/1";
    let output = run(headless(folder.path(), camera, &["--record", "out.mkv"]));
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("has stopped giving pictures (was it unplugged?)") && text.contains("--reconnect"), "{text}");
    assert!(frames_in(&folder.path().join("out.mkv")) > 5);
}

#[test]
fn a_camera_that_comes_back_goes_on_if_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let camera =
        "videotestsrc num-buffers=12 is-live=true ! capsfilter caps=video/x-raw,width=64,height=48,framerate=20/1";
    let arguments = ["--reconnect", "--frames", "30", "--json", "--record", "out.mkv"];
    let output = run(headless(folder.path(), camera, &arguments));
    assert_eq!(summary(&output)["frames"], 30);
    let text = stderr(&output);
    assert!(text.contains("waiting for it") && text.contains("is back"), "{text}");
    let times = frame_times(&folder.path().join("out.mkv"));
    assert!(times.windows(2).any(|pair| pair[1] - pair[0] > 0.5), "the recording has the gap: {times:?}");
}

#[test]
fn a_camera_that_never_answers_does_not_hang_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let camera = format!("tcp://{}", silent.local_addr().unwrap());
    let begin = Instant::now();
    let output = run(headless(folder.path(), &camera, &["--camera-timeout", "1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("has given no picture for 1 s"), "{}", stderr(&output));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    let _connection = silent.accept().unwrap();

    // One that is waited for can be given up, too.
    let running = Running::start(headless(folder.path(), &camera, &["--camera-timeout", "1", "--reconnect"]));
    let _connection = silent.accept().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    send(Signal::INT, &running.0);
    assert_eq!(running.finish().status.code(), Some(130));
}

#[test]
fn a_stream_of_the_network_is_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_udp_port();
    let url = format!("udp://127.0.0.1:{port}");
    let sender = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=128x96:rate=20", "-t", "60"])
        .args(["-c:v", "libx264", "-tune", "zerolatency", "-g", "20", "-f", "mpegts", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _sender = Running(sender);
    let arguments = ["--frames", "20", "--camera-timeout", "30", "--json"];
    let summary = summary(&run(headless(folder.path(), &url, &arguments)));
    assert_eq!((summary["width"].as_u64(), summary["frames"].as_u64()), (Some(128), Some(20)));
}

#[test]
fn cameras_that_are_not_there_are_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = |camera: &str, arguments: &[&str]| {
        let output = run(headless(folder.path(), camera, arguments));
        assert!(output.stdout.is_empty());
        (output.status.code().unwrap(), stderr(&output))
    };
    let (code, text) = error("/dev/video4242", &[]);
    assert!(code == 1 && text.contains("there is no such device") && text.contains("--list-cameras"), "{text}");
    let (code, text) = error("no such camera", &[]);
    assert!(code == 2 && text.contains("there is no camera 'no such camera'"), "{text}");
    for file in ["nofile.mp4", "clips/evening"] {
        let (code, text) = error(file, &[]);
        assert!(code == 2 && text.contains(&format!("there is no file '{file}'")), "{text}");
    }
    // One that is waited for is waited for as long as the run may last.
    let (code, text) = error("/dev/video4242", &["--reconnect", "--duration", "2"]);
    assert!(code == 1 && text.contains("waiting for it") && text.contains("in the 2 s of --duration"), "{text}");
    let (code, text) = error("no such camera", &["--reconnect", "--duration", "2"]);
    assert!(
        code == 1 && text.contains("there is no camera 'no such camera'") && text.contains("waiting for it"),
        "{text}"
    );
    let (code, text) = error("nofile.mp4", &["--reconnect", "--duration", "2"]);
    assert!(code == 2 && text.contains("there is no file 'nofile.mp4'"), "{text}");
    let (code, text) = error("nonexistentsrc ! appsink", &[]);
    assert!(code == 1 && text.contains("GStreamer cannot run 'nonexistentsrc ! appsink'"), "{text}");
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/bunny.mp4");
    let (code, text) = error(clip, &["--size", "64x48"]);
    assert!(code == 2 && text.contains("has the size and the rate that it has"), "{text}");
    let output = run(live(folder.path(), &["--list-cameras"]));
    assert!(output.status.success() && !output.stdout.is_empty());
}
