//! The state of an interrupted painting in a file: a line of JSON, then numbers.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::commands::outputs;
use crate::frame::{CHANNELS, FrameSize};
use crate::gatys::painting::State;
use crate::gatys::{Painting, Picture};

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// What this is.
    impasto_paint_state: u32,
    fingerprint: String,
    scale_index: usize,
    iteration: u64,
    steps: u64,
    width: usize,
    height: usize,
    /// Pictures of `f32` in little endian, `[3, height, width]`, behind the line.
    pictures: usize,
}

/// The version of the file.
const VERSION: u32 = 1;
/// No painting has sides longer than this.
const LONGEST_SIDE: usize = 65_535;

/// Writes a state; the one before is replaced in one step.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, state: &State, fingerprint: &str) -> Result<()> {
    let header = Header {
        impasto_paint_state: VERSION,
        fingerprint: fingerprint.to_owned(),
        scale_index: state.scale_index,
        iteration: state.iteration,
        steps: state.steps,
        width: state.picture.size.width,
        height: state.picture.size.height,
        pictures: 1 + state.memory.len(),
    };
    let mut bytes = serde_json::to_vec(&header).context("write a state")?;
    bytes.push(b'\n');
    for picture in [&state.picture].into_iter().chain(&state.memory) {
        bytes.extend(picture.planes.iter().flat_map(|value| value.to_le_bytes()));
    }
    outputs::write(path, &bytes, true)
}

/// Lets a painting go on from the state in a file.
///
/// # Errors
/// When it is no state, damaged, or one of another painting.
pub fn resume(painting: &mut Painting<'_>, path: &Path, fingerprint: &str) -> Result<()> {
    let mut resume = || {
        let bytes = std::fs::read(path)?;
        painting.resume(parse(&bytes, fingerprint)?)
    };
    resume().with_context(|| format!("go on from '{}'", path.display()))
}

fn parse(bytes: &[u8], fingerprint: &str) -> Result<State> {
    let end = bytes.iter().position(|&byte| byte == b'\n').context("it is no state of a painting")?;
    let header: Header = serde_json::from_slice(&bytes[..end]).ok().context("it is no state of a painting")?;
    ensure!(header.impasto_paint_state == VERSION, "it is of another version of impasto");
    if header.fingerprint != fingerprint {
        bail!("it is of another painting (expected the same pictures and settings as in the run that left it)");
    }
    let size = FrameSize::new(header.width, header.height);
    ensure!((1..=LONGEST_SIDE).contains(&size.width) && (1..=LONGEST_SIDE).contains(&size.height), "it is damaged");
    let length = size.pixels() * CHANNELS;
    let numbers = &bytes[end + 1..];
    // Checked before anything of that length is allocated.
    ensure!(header.pictures >= 1 && numbers.len() == length * header.pictures * size_of::<f32>(), "it is damaged");
    let values: Vec<f32> = numbers.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    ensure!(values.iter().all(|value| value.is_finite()), "it is damaged");
    let mut pictures = values.chunks(length).map(|planes| Picture { size, planes: planes.to_vec() });
    let picture = pictures.next().context("it is damaged")?;
    Ok(State {
        scale_index: header.scale_index,
        iteration: header.iteration,
        steps: header.steps,
        picture,
        memory: pictures.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let size = FrameSize::new(5, 4);
        let memory = vec![Picture::noise(size, 2), Picture::noise(size, 3)];
        State { scale_index: 1, iteration: 7, steps: 27, picture: Picture::noise(size, 1), memory }
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png.state");
        save(&path, &state(), "abc").unwrap();
        assert_eq!(parse(&std::fs::read(&path).unwrap(), "abc").unwrap(), state());
    }

    #[test]
    fn what_is_no_state_or_another_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png.state");
        save(&path, &state(), "abc").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let error = |bytes: &[u8], fingerprint: &str| parse(bytes, fingerprint).unwrap_err().to_string();
        assert!(error(&bytes, "abd").contains("another painting"));
        assert!(error(&bytes[..bytes.len() - 3], "abc").contains("damaged"));
        assert!(error(b"hello\nworld", "abc").contains("no state"));
        assert!(error(b"", "abc").contains("no state"));
        let text =
            String::from_utf8_lossy(&bytes[..bytes.iter().position(|&byte| byte == b'\n').unwrap()]).into_owned();
        let huge = text.replace("\"width\":5", "\"width\":4000000000");
        assert!(error(format!("{huge}\n").as_bytes(), "abc").contains("damaged"));
    }
}
