//! What the integration tests share: the test material, clips and styles made on the spot, and questions to ffprobe.
#![allow(dead_code)] // Each test binary uses its part.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use impasto::learn::FrozenNetwork;
use impasto::style::LearnedStyle;
use impasto::style::learned::{Depth, Description, Learning, PaintingRecord, VERSION};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// The folder of extra test material beside the checkout (or where `IMPASTO_SHARED` says); `None`, with a message,
/// where there is none.
pub fn shared(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("IMPASTO_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("data")
        .join(part);
    if folder.exists() {
        Some(folder)
    } else {
        println!("skipped: there is no extra test material '{part}' beside this checkout");
        None
    }
}

/// Sends a signal to a program that was started; not by `kill`, which small systems do not have.
pub fn send(signal: Signal, child: &Child) {
    kill_process(Pid::from_child(child), signal).expect("the program still runs");
}

/// Waits until a program that was started would not be ended by a signal; where the system does not tell, for a while.
pub fn wait_until_caught(signal: Signal, child: &Child) {
    let path = format!("/proc/{}/status", child.id());
    let is_caught = || {
        let status = std::fs::read_to_string(&path).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        Some(u64::from_str_radix(caught.trim(), 16).ok()? & (1 << (signal.as_raw() - 1)) != 0)
    };
    let begin = std::time::Instant::now();
    while !is_caught().unwrap_or_else(|| begin.elapsed().as_secs() > 2) {
        assert!(begin.elapsed().as_secs() < 60, "the program catches no signal");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Runs ffmpeg quietly; panics with what it says if it fails.
pub fn ffmpeg(arguments: &[&str]) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .output()
        .expect("ffmpeg is installed by make test");
    assert!(output.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a clip in `folder` from ffmpeg's arguments (without the output) and returns its path.
pub fn clip(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let text = path.to_str().expect("temporary folders are UTF-8").to_owned();
    let mut all = arguments.to_vec();
    all.push(&text);
    ffmpeg(&all);
    path
}

/// Everything ffprobe says in JSON for the given `-show_entries`.
pub fn probe(path: &Path, entries: &[&str]) -> serde_json::Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json"])
        .args(entries)
        .arg(path)
        .output()
        .expect("ffprobe is installed by make test");
    assert!(output.status.success(), "ffprobe {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("ffprobe writes JSON")
}

/// All streams of a file.
pub fn streams(path: &Path) -> Vec<serde_json::Value> {
    probe(path, &["-show_streams"])["streams"].as_array().expect("streams").clone()
}

/// The first stream of a kind.
pub fn stream(path: &Path, kind: &str) -> serde_json::Value {
    streams(path).into_iter().find(|stream| stream["codec_type"] == kind).expect("a stream of this kind")
}

/// Presentation times of all video frames, in seconds.
pub fn frame_times(path: &Path) -> Vec<f64> {
    let frames = probe(path, &["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time"]);
    frames["frames"]
        .as_array()
        .expect("frames")
        .iter()
        .map(|frame| frame["best_effort_timestamp_time"].as_str().expect("a time").parse().expect("a number"))
        .collect()
}

/// Times and sizes of all packets of the streams of a kind ("a", "s").
pub fn packets(path: &Path, kind: &str) -> Vec<(f64, u64)> {
    let packets = probe(path, &["-select_streams", kind, "-show_entries", "packet=pts_time,size"]);
    packets["packets"]
        .as_array()
        .expect("packets")
        .iter()
        .filter_map(|packet| Some((packet["pts_time"].as_str()?.parse().ok()?, packet["size"].as_str()?.parse().ok()?)))
        .collect()
}

/// The frame at an index as RGB, decoded by ffmpeg: width, height, pixels.
pub fn frame_rgb(path: &Path, index: usize) -> (usize, usize, Vec<u8>) {
    let stream = stream(path, "video");
    let side = |key: &str| stream[key].as_u64().expect("a size") as usize;
    let (width, height) = (side("width"), side("height"));
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-noautorotate", "-i"])
        .arg(path)
        .args(["-vf", &format!("select=eq(n\\,{index}),scale=flags=accurate_rnd+full_chroma_int+bicubic")])
        .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .expect("ffmpeg is installed by make test");
    assert_eq!(output.stdout.len(), width * height * 3, "{}", String::from_utf8_lossy(&output.stderr));
    (width, height, output.stdout)
}

/// Mean absolute difference of all values, in levels of 0–255.
pub fn mean_levels(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

/// Mean absolute difference in each of red, green and blue.
pub fn mean_difference(a: &[u8], b: &[u8]) -> [f64; 3] {
    assert_eq!(a.len(), b.len());
    let mut sums = [0.0; 3];
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        sums[index % 3] += f64::from(a.abs_diff(*b));
    }
    sums.map(|sum| sum / (a.len() / 3) as f64)
}

/// A style of a bundled network with the numbers of one that is there already.
pub fn style_of(network: &str, index: usize) -> LearnedStyle {
    let network = FrozenNetwork::bundled(network, Depth::Rows).unwrap();
    let learning = Learning {
        start: "nothing".to_owned(),
        photos: "nothing".to_owned(),
        depth: Depth::Rows,
        steps: 0,
        seconds: 0.0,
        stroke_size: 1.0,
        style_weight: 1.0,
        start_loss: 1.0,
        loss: 1.0,
        content_loss: 0.5,
        style_loss: 0.5,
    };
    let description = Description {
        version: VERSION,
        network: network.name.clone(),
        network_sha256: network.sha256.clone(),
        paintings: vec![PaintingRecord { file: "a.jpg".to_owned(), sha256: "00".to_owned() }],
        learning,
    };
    let row = network.tables.row(index).unwrap();
    LearnedStyle::new(description, &network.tables, &row, Vec::new())
}
