//! The window under Xvfb: what it shows, its keys, its end.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{BARS, PATIENCE, Running, fixture, frames_in, live, mean, run, stderr, summary, wait_until};
use crate::common::{clip, ffmpeg, frame_rgb};

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
    let (width, height) = Display::SIZE;
    for size in [Display::SIZE, (320, 180)] {
        display.focus(&mut running);
        display.press("f");
        wait_until("the screen", || has_size(size));
        if size == Display::SIZE {
            // The picture takes 450 of the 600 lines.
            wait_until("black bars around a picture", || {
                let screen = display.screenshot(width, height);
                let lines: Vec<_> = screen.chunks_exact(width * 3).collect();
                let brightest = |from: usize, to: usize| *lines[from..to].concat().iter().max().unwrap();
                brightest(0, 72) == 0 && brightest(528, 600) == 0 && brightest(80, 520) > 150
            });
        }
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

#[test]
fn a_recording_that_fails_is_told_at_once_and_in_the_window_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let still = Still::new(folder);
    let display = Display::open();
    let live = live(folder, &["--camera", still.camera(), "--style", &fixture("identity.onnx"), "--record", "a.mkv"]);
    let mut limited = Command::new("bash");
    limited.current_dir(folder).args(["-c", "ulimit -f 4; exec \"$@\" 2> said.txt", "bash"]);
    limited.arg(live.get_program()).args(live.get_args()).env("DISPLAY", &display.name).stdout(Stdio::piped());
    let mut running = Running::start(limited);
    display.focus(&mut running);
    let said = || std::fs::read_to_string(folder.join("said.txt")).unwrap();
    wait_until("an error", || said().contains("error: cannot write the recording"));
    // Behind the first messages, which go away.
    std::thread::sleep(Duration::from_secs(3));
    let screen = display.screenshot(still.width, still.height);
    let (top, rest) = screen.split_at(still.width * 30 * 3);
    let (expected_top, expected_rest) = still.photo.split_at(top.len());
    assert!(mean(top, expected_top) > 5.0, "the window says nothing: {}", mean(top, expected_top));
    assert!(mean(rest, expected_rest) <= 3.0, "{}", mean(rest, expected_rest));
    display.press("q");
    assert!(running.0.wait().unwrap().code() == Some(1), "{}", said());
}
