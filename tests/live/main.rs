//! `impasto live` for real: windows under Xvfb, keys from xdotool, cameras by GStreamer and by file, streams to ffmpeg,
//! recordings of killed programs, and cameras that fail.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod cameras;
#[path = "../common/mod.rs"]
mod common;
mod outputs;
mod windows;

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{frame_times, mean_difference};

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

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn mean(a: &[u8], b: &[u8]) -> f64 {
    mean_difference(a, b).iter().sum::<f64>() / 3.0
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
