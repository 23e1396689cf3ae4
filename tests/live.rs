//! `impasto live` for real: windows under Xvfb, keys from xdotool, cameras by GStreamer and by file, streams to ffmpeg,
//! recordings of killed programs, and cameras that fail.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Signal, clip, ffmpeg, frame_rgb, frame_times, mean_difference, send, stream};

/// Longer than anything here takes on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(90);

const BARS: &str =
    "videotestsrc is-live=true pattern=smpte ! capsfilter caps=video/x-raw,width=320,height=180,framerate=20/1";

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `impasto live` in `folder`, without a display.
fn live(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("impasto"));
    command.arg("live").args(arguments).current_dir(folder).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// With a network that changes nothing, without smoothing and without a window.
fn headless(folder: &Path, camera: &str, arguments: &[&str]) -> Command {
    let mut command = live(folder, &["--no-window", "--smooth", "0", "--camera", camera]);
    command.args(["--style", &fixture("identity.onnx")]).args(arguments);
    command
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `--json` said.
fn summary(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file under its name, with frames in it.
fn frames_in(path: &Path) -> usize {
    frame_times(path).len()
}

fn mean(a: &[u8], b: &[u8]) -> f64 {
    mean_difference(a, b).iter().sum::<f64>() / 3.0
}

// --- Windows ---------------------------------------------------------------------------------------------

/// An X server without a screen, and what is done to it.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    const SIZE: (usize, usize) = (800, 600);

    fn open() -> Self {
        let screen = format!("{}x{}x24", Self::SIZE.0, Self::SIZE.1);
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", &screen])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed by make test");
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        Self { server, name: format!(":{}", number.trim()) }
    }

    /// The pixels of the upper left corner, RGB.
    fn screenshot(&self, width: usize, height: usize) -> Vec<u8> {
        let size = format!("{width}x{height}");
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "x11grab", "-draw_mouse", "0", "-video_size", &size])
            .args(["-i", &self.name, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
            .output()
            .unwrap();
        assert_eq!(output.stdout.len(), width * height * 3, "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn xdotool(&self, arguments: &[&str]) -> String {
        let output = Command::new("xdotool")
            .args(arguments)
            .env("DISPLAY", &self.name)
            .output()
            .expect("xdotool is installed by make test");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits for the program's window and turns the keyboard to it.
    fn focus(&self, running: &mut Running) -> String {
        let mut window = String::new();
        wait_until("a window", || {
            running.must_run();
            let found = self.xdotool(&["search", "--onlyvisible", "--name", "^impasto$"]);
            window = found.lines().next().unwrap_or_default().to_owned();
            !window.is_empty()
        });
        self.xdotool(&["windowfocus", "--sync", &window]);
        window
    }

    /// As fast as a person: of keys within one look at the window, OpenCV tells the last.
    fn press(&self, key: &str) {
        self.xdotool(&["key", key]);
        std::thread::sleep(Duration::from_millis(250));
    }

    /// Waits until the corner of the screen looks like `expected`, within so many levels.
    fn wait_for(&self, what: &str, (width, height): (usize, usize), expected: &[u8]) {
        let begin = Instant::now();
        loop {
            let difference = mean(&self.screenshot(width, height), expected);
            if difference <= 3.0 {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: the window is {difference:.1} levels away");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A program that is ended with the test.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn must_run(&mut self) {
        if self.0.try_wait().unwrap().is_some() {
            let mut err = String::new();
            std::io::Read::read_to_string(&mut self.0.stderr.take().unwrap(), &mut err).unwrap();
            panic!("impasto ended: {err}");
        }
    }

    fn finish(mut self) -> Output {
        let begin = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < PATIENCE, "impasto does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        std::io::Read::read_to_end(&mut self.0.stdout.take().unwrap(), &mut out).unwrap();
        std::io::Read::read_to_end(&mut self.0.stderr.take().unwrap(), &mut err).unwrap();
        Output { status: self.0.wait().unwrap(), stdout: out, stderr: err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A photo as a clip that does not move, without losses; and what the styles make of it.
struct Still {
    clip: PathBuf,
    width: usize,
    height: usize,
    photo: Vec<u8>,
}

impl Still {
    fn new(folder: &Path) -> Self {
        let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/red-panda.jpg");
        let png = folder.join("photo.png");
        ffmpeg(&["-i", photo, "-vf", "scale=320:240", png.to_str().unwrap()]);
        let loops =
            ["-loop", "1", "-r", "10", "-i", png.to_str().unwrap(), "-t", "2", "-c:v", "ffv1", "-pix_fmt", "bgr0"];
        let clip = clip(folder, "still.mkv", &loops);
        let (width, height, photo) = frame_rgb(&png, 0);
        Self { clip, width, height, photo }
    }

    fn camera(&self) -> &str {
        self.clip.to_str().unwrap()
    }

    fn painted(&self, folder: &Path, style: &str) -> Vec<u8> {
        let output = folder.join(format!("{style}.png"));
        let status = Command::new(assert_cmd::cargo::cargo_bin("impasto"))
            .args(["image", "-q", "--style", style, "-o"])
            .args([&output, &folder.join("photo.png")])
            .status()
            .unwrap();
        assert!(status.success());
        frame_rgb(&output, 0).2
    }
}

#[test]
fn the_window_shows_the_painting_and_obeys_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let still = Still::new(folder);
    let styles: Vec<String> = {
        let output = Command::new(assert_cmd::cargo::cargo_bin("impasto")).args(["styles", "--json"]).output().unwrap();
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        list["styles"]
            .as_array()
            .unwrap_or_else(|| list.as_array().unwrap())
            .iter()
            .take(2)
            .map(|style| style["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let [first, second] = [0, 1].map(|index| still.painted(folder, &styles[index]));
    assert!(mean(&first, &second) > 15.0 && mean(&first, &still.photo) > 15.0, "styles are told apart by looking");

    let display = Display::open();
    let mut command = live(folder, &["--camera", still.camera(), "--json"]);
    command.env("DISPLAY", &display.name);
    let mut running = Running::start(command);
    display.focus(&mut running);
    let size = (still.width, still.height);
    display.wait_for("the first style", size, &first);
    display.press("n");
    display.wait_for("the next style", size, &second);
    display.press("p");
    display.wait_for("the style before", size, &first);
    (0..10).for_each(|_| display.press("minus"));
    display.wait_for("no style", size, &still.photo);

    let mirrored: Vec<u8> = still
        .photo
        .chunks_exact(still.width * 3)
        .flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied())
        .collect();
    display.press("m");
    display.wait_for("the mirror", size, &mirrored);
    display.press("m");
    display.wait_for("no mirror", size, &still.photo);

    display.press("s");
    let snapshot = folder.join("impasto-1.png");
    wait_until("a snapshot", || snapshot.exists());
    assert_eq!(frame_rgb(&snapshot, 0).2, still.photo);

    display.press("r");
    std::thread::sleep(Duration::from_secs(2));
    display.press("r");
    let recording = folder.join("impasto-1.mkv");
    wait_until("a recording", || recording.exists());

    // Help is white letters on a darker picture.
    display.press("h");
    wait_until("the list of keys", || {
        let screen = display.screenshot(still.width, still.height);
        let is_white = |pixel: &&[u8; 3]| pixel.iter().all(|value| *value > 240);
        screen.as_chunks::<3>().0.iter().filter(is_white).count() > 500 && mean(&screen, &still.photo) > 20.0
    });
    display.press("h");
    display.wait_for("no list", size, &still.photo);

    (0..10).for_each(|_| display.press("plus"));
    display.press("v");
    let both: Vec<u8> = still
        .photo
        .chunks_exact(still.width * 3)
        .zip(first.chunks_exact(still.width * 3))
        .flat_map(|(left, right)| left.iter().chain(right).copied())
        .collect();
    display.wait_for("both side by side", (still.width * 2, still.height), &both);
    display.press("v");

    display.press("q");
    let output = running.finish();
    let summary = summary(&output);
    assert_eq!(summary["style"], styles[0].as_str());
    assert!(summary["frames"].as_u64().unwrap() > 20, "{summary}");
    assert!(frames_in(&recording) > 0);
}

#[test]
fn a_full_screen_is_filled_and_left_again() {
    let folder = tempfile::tempdir().unwrap();
    let display = Display::open();
    // Nothing but a window manager can make a window fill the screen.
    let mut manager = Command::new("openbox");
    manager.env("DISPLAY", &display.name).stdout(Stdio::null()).stderr(Stdio::null());
    let _manager = Running(manager.spawn().expect("openbox is installed by make test"));
    let mut command = live(folder.path(), &["--camera", BARS, "--style", &fixture("identity.onnx")]);
    command.env("DISPLAY", &display.name);
    let mut running = Running::start(command);
    let window = display.focus(&mut running);
    let has_size = |(width, height): (usize, usize)| {
        let geometry = display.xdotool(&["getwindowgeometry", &window]);
        geometry.contains(&format!("Geometry: {width}x{height}"))
    };
    wait_until("a window as large as the picture", || has_size((320, 180)));
    for size in [Display::SIZE, (320, 180)] {
        display.focus(&mut running);
        display.press("f");
        wait_until("the screen", || has_size(size));
    }
    display.press("q");
    assert!(running.finish().status.success());
}

#[test]
fn a_closed_window_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let display = Display::open();
    let mut command = live(folder.path(), &["--camera", BARS, "--style", &fixture("identity.onnx")]);
    command.env("DISPLAY", &display.name);
    let mut running = Running::start(command);
    let window = display.focus(&mut running);
    wait_until("a picture", || display.screenshot(160, 90).iter().any(|value| *value > 100));
    let closed = Command::new("python3").args([&fixture("close_window.py"), &display.name, &window]).status().unwrap();
    assert!(closed.success());
    let output = running.finish();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn without_a_display_the_error_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--camera", BARS, "--style", &fixture("identity.onnx")];
    let output = run(live(folder.path(), &arguments));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error: there is no display to open a window on"), "{}", stderr(&output));
    assert!(stderr(&output).contains("--no-window"), "{}", stderr(&output));

    let mut command = live(folder.path(), &arguments);
    command.env("DISPLAY", ":54399");
    let output = run(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the display ':54399' does not answer"), "{}", stderr(&output));
}

// --- Cameras ---------------------------------------------------------------------------------------------

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
        summary(&run(live(folder.path(), &[&arguments[..], &["--duration", "12", "--quality", "auto"]].concat())));
    assert!(auto["work_size"].as_u64().unwrap() < 720, "{auto}");
    assert!(auto["fps"].as_f64() > full["fps"].as_f64(), "{auto} against {full}");
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

    // One that is waited for can be given up, too.
    let running = Running::start(headless(folder.path(), &camera, &["--camera-timeout", "1", "--reconnect"]));
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
    let (code, text) = error("nonexistentsrc ! appsink", &[]);
    assert!(code == 1 && text.contains("GStreamer cannot run 'nonexistentsrc ! appsink'"), "{text}");
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/bunny.mp4");
    let (code, text) = error(clip, &["--size", "64x48"]);
    assert!(code == 2 && text.contains("has the size and the rate that it has"), "{text}");
    let output = run(live(folder.path(), &["--list-cameras"]));
    assert!(output.status.success() && !output.stdout.is_empty());
}

// --- Outputs ---------------------------------------------------------------------------------------------

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
    let output = run(headless(folder.path(), BARS, &["--record", "new.mp4"]));
    assert!(stderr(&output).contains("a recording is a .mkv"), "{}", stderr(&output));
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
    assert!(text.contains("expected udp://HOST:PORT"), "{text}");
}
