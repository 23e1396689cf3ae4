//! Where a fit begins: the blend of the network's own styles that comes nearest to the painting, found by trying.

use anyhow::{Context as _, Result};

use super::judge::Judge;
use super::network::FrozenNetwork;
use crate::style::StyleTables;
use crate::style::tables::StyleRow;

/// A blend that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The share of each style of the network; they sum to 1.
    pub shares: Vec<f32>,
    /// The row of the blend.
    pub row: StyleRow,
    /// Its loss on the photos that were tried.
    pub loss: f32,
}

/// Photos that blends are tried on.
const PHOTOS: usize = 2;
/// How much of another style is mixed in, one try after the other.
const MIXED_IN: [f32; 2] = [0.5, 0.25];

/// Tries each style alone, then mixes each other one into the best so far, half and then a quarter of it, as long as that helps.
///
/// # Errors
/// When the network has no styles, or a run fails.
pub fn find(judge: &mut Judge, network: &FrozenNetwork) -> Result<Start> {
    let tables = &network.tables;
    let count = tables.style_count;
    let mut try_blend = |shares: Vec<f32>| -> Result<Start> {
        let row = blend(tables, &shares);
        let loss = judge.judge_on(&network.parameters(&row), PHOTOS)?.total;
        Ok(Start { shares, row, loss })
    };
    let alone = |index: usize| (0..count).map(|other| if other == index { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
    let mut tried = (0..count).map(|index| try_blend(alone(index))).collect::<Result<Vec<_>>>()?;
    tried.sort_by(|a, b| a.loss.total_cmp(&b.loss));
    let mut best = tried.into_iter().next().context("the network has no styles")?;
    for share in MIXED_IN {
        let before = best.shares.clone();
        for index in (0..count).filter(|&index| before[index] < 1.0) {
            let mut shares: Vec<f32> = before.iter().map(|other| other * (1.0 - share)).collect();
            shares[index] += share;
            let mixed = try_blend(shares)?;
            if mixed.loss < best.loss {
                best = mixed;
            }
        }
    }
    Ok(best)
}

/// The row of a blend of a network's styles.
pub fn blend(tables: &StyleTables, shares: &[f32]) -> StyleRow {
    let mut row = vec![0.0; tables.row_length()];
    for (index, share) in shares.iter().enumerate() {
        let own = tables.row(index).unwrap_or_default();
        row.iter_mut().zip(own).for_each(|(sum, number)| *sum += share * number);
    }
    row
}
