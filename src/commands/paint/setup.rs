//! From arguments to pictures, masks and settings.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{KeepColor, UsageError};
use crate::cli::PaintArgs;
use crate::commands::device::Compute;
use crate::commands::painting::painting_bytes;
use crate::commands::{mask, sha256, thread_count};
use crate::console::{Console, counted};
use crate::gatys::objective::{MOST_WEIGHT, TooSmall};
use crate::gatys::painting::scale_schedule;
use crate::gatys::targets::Region;
use crate::gatys::{Objective, PaintSettings, Painting, Picture, Vgg, match_colors};
use crate::input;
use crate::memory;
use crate::pipeline::Control;
use crate::runtime::SessionOptions;
use crate::stills::Still;

/// A gradient that takes more memory than this is computed in tiles.
pub const WHOLE_BYTES: u64 = 5_000_000_000;

/// A picture that is smaller than this has nothing to show.
const SMALLEST_SIDE: usize = 32;

/// Everything that a painting is made of.
pub struct Setup {
    /// The content at its own size.
    pub content: Picture,
    /// Its colour profile, which the painting gets as well.
    pub profile: Option<Vec<u8>>,
    /// Styles and where they are to be.
    pub regions: Vec<Region>,
    /// What to start from.
    pub start: Picture,
    /// How it is painted.
    pub settings: PaintSettings,
    /// What was found that is worth knowing.
    pub notes: Vec<String>,
    pub vgg: Vgg,
    /// Tells another VGG from the bundled one.
    vgg_sha256: Option<String>,
}

impl Setup {
    /// Reads and checks what the arguments name.
    ///
    /// # Errors
    /// [`UsageError`] for arguments that do not go together; else the file, what is wrong with it and what to do.
    pub fn read(args: &PaintArgs, control: &Control, console: Console) -> Result<Self> {
        let objective_args = &args.objective;
        let styles = args.styles.iter().map(|text| parse_style(text)).collect::<Result<Vec<_>>>()?;
        if !objective_args.masks.is_empty() && objective_args.masks.len() != styles.len() {
            let text = format!(
                "{} for {} (expected one --mask for each --style, in their order)",
                counted(objective_args.masks.len() as u64, "mask"),
                counted(styles.len() as u64, "style")
            );
            return Err(UsageError(anyhow!(text)).into());
        }
        if !objective_args.masks.is_empty()
            && let Some((path, weight)) = styles.iter().find(|(_, weight)| *weight != 1.0)
        {
            let text = format!(
                "the weight {weight} of '{}' means nothing with --mask, where each style has its own part (expected none)",
                path.display()
            );
            return Err(UsageError(anyhow!(text)).into());
        }
        let mut notes = Vec::new();
        let still = read_still(&args.content)?;
        let content = Picture::from_frame(&still.content);
        check_size(&content, &args.content)?;
        if still.has_transparency() {
            notes.push(format!("{}: its transparency is left out", args.content.display()));
        }
        let mut pictures = Vec::with_capacity(styles.len());
        for (path, weight) in &styles {
            let mut picture = read_style(path)?;
            if objective_args.keep_color == Some(KeepColor::Match) {
                match_colors(&mut picture, &content);
            }
            pictures.push((picture, *weight));
        }
        let regions = if objective_args.masks.is_empty() {
            let sum: f32 = pictures.iter().map(|(_, weight)| weight).sum();
            let styles = pictures.into_iter().map(|(picture, weight)| (picture, weight / sum)).collect();
            vec![Region { mask: None, styles }]
        } else {
            let masks = objective_args.masks.iter().zip(pictures);
            masks
                .map(|(path, (picture, _))| {
                    Ok(Region { mask: Some(read_mask(path, &content)?), styles: vec![(picture, 1.0)] })
                })
                .collect::<Result<_>>()?
        };
        let start = match args.search.init.as_str() {
            "content" => content.clone(),
            "noise" => Picture::noise(content.size, args.search.seed.unwrap_or(0)),
            path => {
                let path = Path::new(path);
                let start = Picture::from_frame(&read_still(path)?.content);
                check_size(&start, path)?;
                start
            }
        };
        let (vgg, vgg_sha256) = read_vgg(objective_args.vgg.as_deref())?;
        let mut setup = Self {
            settings: settings(args, &content, objective_args.masks.len()),
            content,
            profile: still.profile(),
            regions,
            start,
            notes,
            vgg,
            vgg_sha256,
        };
        setup.settings.objective.check(&setup.vgg).map_err(UsageError)?;
        let mut compute = Compute::new(&args.device, thread_count(args.threads), console)?;
        setup.settings.session = compute.session_options_until_abort(control)?;
        compute.tell(false);
        Ok(setup)
    }

    /// A painting with these settings, before its first step.
    ///
    /// # Errors
    /// When the settings are not usable.
    pub fn painting(&self, settings: &PaintSettings) -> Result<Painting<'_>> {
        Painting::new(&self.vgg, settings.clone(), self.content.clone(), self.regions.clone(), &self.start)
    }

    /// A number that is another one for other pictures or settings.
    pub fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        let mut hash = |picture: &Picture| picture.planes.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        hash(&self.content);
        for region in &self.regions {
            region.styles.iter().for_each(|(picture, _)| hash(picture));
        }
        let mut settings = self.settings.clone();
        settings.session = SessionOptions::default();
        format!("{settings:?}").hash(&mut hasher);
        if let Some(vgg) = &self.vgg_sha256 {
            vgg.hash(&mut hasher);
        }
        for region in &self.regions {
            region.styles.iter().for_each(|(_, share)| share.to_bits().hash(&mut hasher));
            region.mask.iter().flatten().for_each(|value| value.to_bits().hash(&mut hasher));
        }
        format!("{:016x}", hasher.finish())
    }
}

fn settings(args: &PaintArgs, content: &Picture, regions: usize) -> PaintSettings {
    let (objective, search) = (&args.objective, &args.search);
    let size = search.size.unwrap_or_else(|| args.preset.size()) as usize;
    let iterations = search.iterations.unwrap_or_else(|| args.preset.iterations());
    let smallest = (search.start_size as usize).min(size);
    let asked = Objective {
        content_weight: objective.content_weight,
        content_layers: objective.content_layers.clone(),
        style_weight: objective.style_weight,
        style_layers: objective.style_layers.clone(),
        statistics: objective.statistics,
        roughness_weight: objective.roughness_weight,
        anchor_weight: 0.0,
        pooling: objective.pooling,
        regions,
    };
    let least_short = asked.smallest_side();
    PaintSettings {
        objective: asked,
        optimizer: search.optimizer,
        learning_rate: search.learning_rate.unwrap_or_else(|| search.optimizer.default_learning_rate()),
        scales: scale_schedule(content.size, (smallest, size), least_short, (2 * iterations, iterations)),
        style_scale: objective.style_scale,
        session: SessionOptions::default(),
        whole_bytes: WHOLE_BYTES,
    }
}

/// `painting.jpg:2` is the painting with twice the weight of others.
pub fn parse_style(text: &str) -> Result<(PathBuf, f32)> {
    // A file that is called so is meant, whatever follows its colon.
    let (path, weight) = match text.rsplit_once(':') {
        Some((path, weight)) if !Path::new(text).exists() && !weight.contains(['/', '\\']) => (path, weight),
        _ => return Ok((PathBuf::from(text), 1.0)),
    };
    match weight.parse::<f32>() {
        Ok(weight) if weight > 0.0 && weight <= MOST_WEIGHT => Ok((PathBuf::from(path), weight)),
        _ => {
            let text = format!(
                "weight '{weight}' of the style '{path}' is not usable (expected a number above 0 and at most {MOST_WEIGHT}, for example {path}:2)"
            );
            Err(UsageError(anyhow!(text)).into())
        }
    }
}

/// A painting to take a style from, as [`painting_bytes`] understands it.
///
/// # Errors
/// As [`painting_bytes`], or when it is transparent or tiny.
pub fn read_style(path: &Path) -> Result<Picture> {
    let still = decode(&painting_bytes(path)?, path)?;
    ensure!(
        !still.has_transparency(),
        "the style '{}' is transparent in places (expected an opaque picture: flatten it first)",
        path.display()
    );
    let picture = Picture::from_frame(&still.content);
    check_size(&picture, path)?;
    Ok(picture)
}

/// The VGG in a file and the file's checksum, or the one that comes with impasto.
///
/// # Errors
/// When the file cannot be read or is no VGG.
pub fn read_vgg(path: Option<&Path>) -> Result<(Vgg, Option<String>)> {
    let Some(path) = path else { return Ok((Vgg::bundled()?.clone(), None)) };
    let bytes = input::read(path, |_| Ok(())).with_context(|| format!("cannot read '{}'", path.display()))?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let vgg = Vgg::from_bytes(&name, &bytes).with_context(|| format!("'{}' is no VGG", path.display()))?;
    Ok((vgg, Some(sha256(&bytes))))
}

fn read_still(path: &Path) -> Result<Still> {
    Still::read(path).with_context(|| format!("read '{}'", path.display()))
}

fn decode(bytes: &[u8], path: &Path) -> Result<Still> {
    Still::decode(bytes).with_context(|| format!("read '{}'", path.display()))
}

fn check_size(picture: &Picture, path: &Path) -> Result<()> {
    ensure!(
        picture.size.short_side() >= SMALLEST_SIDE,
        "'{}' is {} (expected at least {SMALLEST_SIDE} pixels on its shorter side)",
        path.display(),
        picture.size
    );
    Ok(())
}

/// How white a mask is at each pixel of the content.
fn read_mask(path: &Path, content: &Picture) -> Result<Vec<f32>> {
    let (mask, _) = mask::read(path)?;
    let mut whiteness = Vec::new();
    mask::Whiteness::default().measure(path, &mask, content.size, &mut whiteness)?;
    let plane: Vec<f32> = whiteness.into_iter().map(|white| f32::from(white) / 255.0).collect();
    let share = plane.iter().sum::<f32>() / plane.len() as f32;
    ensure!(share > 0.001, "the mask '{}' is black (expected white where the style is to be)", path.display());
    Ok(plane)
}

/// Says how much memory the painting takes, and refuses one that cannot fit. `size` is its longer side, which the flag
/// `flag` sets.
///
/// # Errors
/// When less memory is available; the error names the size that would fit.
pub fn check_memory(painting: &Painting<'_>, size: u32, flag: &str, console: Console) -> Result<()> {
    let (needed, is_tiled) = painting.peak_bytes().map_err(|error| match error.is::<TooSmall>() {
        true => anyhow!("{error:#} (a larger {flag} helps)"),
        false => error,
    })?;
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let tiles = if is_tiled { ", in tiles" } else { "" };
    console.line(&format!("about {:.1} GB of memory will be needed{tiles}", gigabytes(needed)));
    let Some(available) = memory::available() else { return Ok(()) };
    if needed <= available {
        return Ok(());
    }
    // Memory grows with the number of pixels.
    let fitting = (f64::from(size) * (available as f64 / needed as f64).sqrt()) as u32 / 32 * 32;
    bail!(
        "a size of {size} needs about {:.1} GB of memory and {:.1} GB are available (expected at most {flag} {fitting})",
        gigabytes(needed),
        gigabytes(available)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_stands_behind_the_last_colon() {
        assert_eq!(parse_style("a.jpg").unwrap(), (PathBuf::from("a.jpg"), 1.0));
        assert_eq!(parse_style("a.jpg:2.5").unwrap(), (PathBuf::from("a.jpg"), 2.5));
        assert_eq!(parse_style(r"C:\a.jpg").unwrap(), (PathBuf::from(r"C:\a.jpg"), 1.0));
        for text in ["a.jpg:", "a.jpg:-1", "a.jpg:nan", "a.jpg:x"] {
            assert!(parse_style(text).unwrap_err().is::<UsageError>(), "{text}");
        }
    }
}
