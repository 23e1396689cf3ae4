//! What an interrupted fit goes on from, in a file: a safetensors file like a style, with the fit's memory in it.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::judge::HeldOutLoss;
use super::step::Memory;

/// The version of the file.
const VERSION: u32 = 1;
/// The key under which the numbers of a state stand.
const STATE: &str = "impasto.learn-state";
/// No network has rows so long.
const MOST_BYTES: usize = 16 << 20;

/// A fit at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Steps that were made.
    pub step: u64,
    /// Seconds that they took.
    pub seconds: f64,
    /// The losses at the start.
    pub start_loss: HeldOutLoss,
    /// The best row so far.
    pub best: Vec<f32>,
    /// Its losses.
    pub best_loss: HeldOutLoss,
    /// Judgements since the last gain.
    pub checks_without_gain: u32,
    /// How much shorter steps have become for want of gains; 1 at the start.
    pub rate_share: f32,
    /// What the next step starts from.
    pub memory: Memory,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    version: u32,
    fingerprint: String,
    start: String,
    step: u64,
    seconds: f64,
    start_loss: [f32; 3],
    best_loss: [f32; 3],
    checks_without_gain: u32,
    rate_share: f32,
}

const ROWS: [&str; 5] = ["best", "row", "first-moment", "second-moment", "average"];

impl State {
    /// The bytes of a file; `fingerprint` is another one for other paintings, photos or settings, `start` what the fit began with.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn to_bytes(&self, fingerprint: &str, start: &str) -> Result<Vec<u8>> {
        let loss = |loss: HeldOutLoss| [loss.total, loss.content, loss.style];
        let numbers = Numbers {
            version: VERSION,
            fingerprint: fingerprint.to_owned(),
            start: start.to_owned(),
            step: self.step,
            seconds: self.seconds,
            start_loss: loss(self.start_loss),
            best_loss: loss(self.best_loss),
            checks_without_gain: self.checks_without_gain,
            rate_share: self.rate_share,
        };
        let memory = &self.memory;
        let rows = [&self.best, &memory.row, &memory.first, &memory.second, &memory.average];
        let bytes = rows.map(|row| row.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
        let mut tensors = Vec::with_capacity(ROWS.len());
        for (name, bytes) in ROWS.into_iter().zip(&bytes) {
            tensors.push((name, TensorView::new(Dtype::F32, vec![bytes.len() / size_of::<f32>()], bytes)?));
        }
        let metadata = HashMap::from([(STATE.to_owned(), serde_json::to_string(&numbers)?)]);
        Ok(safetensors::serialize(tensors, Some(metadata))?)
    }

    /// Understands the bytes of a file: the state, and what its fit began with.
    ///
    /// # Errors
    /// When they are no state, a damaged one, or one of another fit.
    pub fn from_bytes(bytes: &[u8], fingerprint: &str) -> Result<(Self, String)> {
        ensure!(bytes.len() <= MOST_BYTES, "it is no state of a style");
        let (_, header) = SafeTensors::read_metadata(bytes).ok().context("it is no state of a style")?;
        let text = header.metadata().as_ref().and_then(|entries| entries.get(STATE));
        let text = text.context("it is no state of a style")?;
        let numbers: Numbers = serde_json::from_str(text).ok().context("it is damaged, or of another version")?;
        ensure!(numbers.version == VERSION, "it is of another version of impasto");
        if numbers.fingerprint != fingerprint {
            bail!(
                "it is of another style (expected the same paintings, photos, settings and network as in the run that left it)"
            );
        }
        let tensors = SafeTensors::deserialize(bytes).ok().context("it is damaged")?;
        let row = |name: &str| -> Result<Vec<f32>> {
            let tensor = tensors.tensor(name).ok().filter(|tensor| tensor.dtype() == Dtype::F32);
            let tensor = tensor.context("it is damaged")?;
            let row: Vec<f32> =
                tensor.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            ensure!(row.iter().all(|number| number.is_finite()), "it is damaged");
            Ok(row)
        };
        let [best, row, first, second, average] = {
            let rows = ROWS.into_iter().map(row).collect::<Result<Vec<_>>>()?;
            <[Vec<f32>; 5]>::try_from(rows).ok().context("it is damaged")?
        };
        ensure!(numbers.rate_share > 0.0 && numbers.rate_share <= 1.0, "it is damaged");
        ensure!(second.iter().all(|square| *square >= 0.0), "it is damaged");
        let loss = |[total, content, style]: [f32; 3]| HeldOutLoss { total, content, style };
        let state = Self {
            step: numbers.step,
            seconds: numbers.seconds.max(0.0),
            start_loss: loss(numbers.start_loss),
            best,
            best_loss: loss(numbers.best_loss),
            checks_without_gain: numbers.checks_without_gain,
            rate_share: numbers.rate_share,
            memory: Memory { row, first, second, average },
        };
        Ok((state, numbers.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let loss = HeldOutLoss { total: 3.0, content: 1.0, style: 2.0 };
        let memory =
            Memory { row: vec![1.0, 2.0], first: vec![0.5, 0.25], second: vec![0.1, 0.2], average: vec![3.0, 4.0] };
        State {
            step: 75,
            seconds: 30.5,
            start_loss: loss,
            best: vec![5.0, 6.0],
            best_loss: loss,
            checks_without_gain: 2,
            rate_share: 0.4,
            memory,
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let bytes = state().to_bytes("abc", "great-wave").unwrap();
        assert_eq!(State::from_bytes(&bytes, "abc").unwrap(), (state(), "great-wave".to_owned()));
    }

    #[test]
    fn what_is_no_state_or_another_one_is_told() {
        let bytes = state().to_bytes("abc", "great-wave").unwrap();
        let error = |bytes: &[u8], fingerprint: &str| State::from_bytes(bytes, fingerprint).unwrap_err().to_string();
        assert!(error(&bytes, "abd").contains("another style"));
        assert!(error(&bytes[..bytes.len() - 3], "abc").contains("no state"));
        assert!(error(b"hello", "abc").contains("no state"));
        let mut none = state();
        none.memory.row[0] = f32::NAN;
        assert!(error(&none.to_bytes("abc", "").unwrap(), "abc").contains("damaged"));
    }
}
