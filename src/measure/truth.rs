//! Optical flow from files, where it is known: Middlebury's `.flo` and MPI Sintel's masks.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::stills;
use crate::frame::{CHANNELS, FrameSize};
use crate::motion::flow::FlowField;

/// A flow field from a file, and where it says anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Flo {
    /// The flow, in pixels; 0 where it is not known.
    pub flow: FlowField,
    /// Whether the flow of a pixel is known, `[height, width]`.
    pub is_known: Vec<bool>,
}

/// The first four bytes: 202021.25 as a little-endian `f32`.
const MAGIC: [u8; 4] = *b"PIEH";
const HEADER_BYTES: usize = 12;
/// The largest side that Middlebury's own reader takes.
const MAX_SIDE: i32 = 99_999;
/// Larger values mean "unknown" (Baker et al. 2011, "A Database and Evaluation Methodology for Optical Flow").
const UNKNOWN_ABOVE: f32 = 1e9;

/// Reads a `.flo` file: magic, width and height as `i32`, then rows of (u, v) as `f32`, all little-endian. Values that
/// are no number or larger than 1e9 are unknown.
///
/// # Errors
/// If the file cannot be read, is no `.flo` file, or its length is not what its header says.
pub fn read_flo(path: &Path) -> Result<Flo> {
    let read = || -> Result<Flo> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        ensure!(
            length >= HEADER_BYTES as u64,
            "it holds {length} bytes (expected a header of {HEADER_BYTES} and the flow)"
        );
        file.read_exact(&mut header)?;
        let size = parse_header(&header)?;
        // Before anything of this size is allocated.
        let expected = HEADER_BYTES as u64 + size.pixels() as u64 * 8;
        ensure!(length == expected, "it holds {length} bytes (expected {expected} for {size})");
        let mut bytes = vec![0; size.pixels() * 8];
        file.read_exact(&mut bytes)?;
        Ok(parse_vectors(size, &bytes))
    };
    read().with_context(|| format!("cannot read the flow '{}'", path.display()))
}

fn parse_header(header: &[u8; HEADER_BYTES]) -> Result<FrameSize> {
    let [a, b, c, d, w0, w1, w2, w3, h0, h1, h2, h3] = *header;
    ensure!([a, b, c, d] == MAGIC, "it is no .flo file: it starts with {:02x?} (expected 'PIEH')", [a, b, c, d]);
    let (width, height) = (i32::from_le_bytes([w0, w1, w2, w3]), i32::from_le_bytes([h0, h1, h2, h3]));
    for (name, side) in [("width", width), ("height", height)] {
        ensure!((1..=MAX_SIDE).contains(&side), "its {name} is {side} (expected 1 to {MAX_SIDE})");
    }
    Ok(FrameSize::new(width as usize, height as usize))
}

fn parse_vectors(size: FrameSize, bytes: &[u8]) -> Flo {
    let mut flo = Flo { flow: FlowField::zero(size), is_known: vec![false; size.pixels()] };
    let vectors = flo.flow.vectors.iter_mut().zip(&mut flo.is_known);
    for (bytes, (vector, is_known)) in bytes.as_chunks::<8>().0.iter().zip(vectors) {
        let [a, b, c, d, e, f, g, h] = *bytes;
        let read = [f32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h])];
        // Not `>`: what is no number is not known either.
        if read.iter().all(|value| value.abs() <= UNKNOWN_ABOVE) {
            (*vector, *is_known) = (read, true);
        }
    }
    flo
}

/// A folder of flows, one for each pair of frames, and the masks that belong to it.
#[derive(Debug, Clone)]
pub struct TrueFlows {
    folder: PathBuf,
    flows: Vec<PathBuf>,
    masks: Vec<Masks>,
}

/// Pictures in which white marks what must not count.
#[derive(Debug, Clone)]
enum Masks {
    /// One for each flow, of the same name.
    Folder(PathBuf),
    /// The only one, for the only flow.
    Picture(PathBuf),
}

impl TrueFlows {
    /// Names of the masks: MPI Sintel's.
    const MASKS: [&'static str; 2] = ["occlusions", "invalid"];

    /// The `.flo` files of a folder, by name, from each frame to the next.
    ///
    /// Masks `occlusions` and `invalid` are used where they are found: as folders of PNG pictures named like the flows,
    /// in the folder or where MPI Sintel has them (`occlusions/SCENE` for `flow/SCENE`), or, for a single flow, as
    /// `occlusions.png` and `invalid.png` beside it.
    ///
    /// # Errors
    /// If the folder cannot be read or holds no `.flo` files.
    pub fn open(folder: &Path) -> Result<Self> {
        let flows = stills::list(folder, &["flo"])?;
        ensure!(!flows.is_empty(), "the folder '{}' holds no flow (expected .flo files)", folder.display());
        let absolute = folder.canonicalize().with_context(|| format!("cannot find '{}'", folder.display()))?;
        let find = |kind: &str| {
            let of_sintel = absolute
                .file_name()
                .and_then(|scene| Some(absolute.parent()?.parent()?.join(kind).join(scene)))
                .filter(|path| path.is_dir());
            let beside = Some(folder.join(kind)).filter(|path| path.is_dir());
            let single = Some(folder.join(format!("{kind}.png"))).filter(|path| flows.len() == 1 && path.is_file());
            beside.or(of_sintel).map(Masks::Folder).or(single.map(Masks::Picture))
        };
        let masks = Self::MASKS.into_iter().filter_map(find).collect();
        Ok(Self { folder: folder.to_owned(), flows, masks })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many pairs of frames there are flows for.
    pub fn count(&self) -> usize {
        self.flows.len()
    }

    /// Where masks were found.
    pub fn mask_paths(&self) -> impl Iterator<Item = &Path> {
        self.masks.iter().map(|(Masks::Folder(path) | Masks::Picture(path))| path.as_path())
    }

    /// The flow from frame `pair` to the next, and where it counts (1) and where not (0): known, not masked, and not
    /// leading out of the picture.
    ///
    /// # Errors
    /// If there is no such pair, a file cannot be read, or its size is not `size`.
    pub fn load(&self, pair: usize, size: FrameSize, flow: &mut FlowField, mask: &mut Vec<f32>) -> Result<()> {
        let Some(path) = self.flows.get(pair) else {
            bail!("'{}' holds {} flows (expected one for pair {pair})", self.folder.display(), self.flows.len());
        };
        let flo = read_flo(path)?;
        ensure!(
            flo.flow.size == size,
            "the flow '{}' is {} (expected {size} as the clips)",
            path.display(),
            flo.flow.size
        );
        let (right, bottom) = ((size.width - 1) as f32, (size.height - 1) as f32);
        mask.clear();
        mask.extend(flo.flow.vectors.iter().zip(&flo.is_known).enumerate().map(|(index, ([u, v], is_known))| {
            let (x, y) = ((index % size.width) as f32 + u, (index / size.width) as f32 + v);
            let is_inside = (0.0..=right).contains(&x) && (0.0..=bottom).contains(&y);
            f32::from(u8::from(*is_known && is_inside))
        }));
        for masks in &self.masks {
            let picture = match masks {
                Masks::Picture(path) => path.clone(),
                Masks::Folder(folder) => folder.join(path.file_name().unwrap_or_default()).with_extension("png"),
            };
            let masked = stills::read(&picture)?;
            ensure!(
                masked.size == size,
                "the mask '{}' is {} (expected {size} as the clips)",
                picture.display(),
                masked.size
            );
            for (mask, [level, ..]) in mask.iter_mut().zip(masked.pixels().as_chunks::<CHANNELS>().0) {
                if *level > 127 {
                    *mask = 0.0;
                }
            }
        }
        *flow = flo.flow;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flo(magic: &[u8; 4], width: i32, height: i32, vectors: &[[f32; 2]]) -> Vec<u8> {
        let mut bytes = magic.to_vec();
        bytes.extend(width.to_le_bytes());
        bytes.extend(height.to_le_bytes());
        bytes.extend(vectors.iter().flatten().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Flo> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.flo");
        std::fs::write(&path, bytes).unwrap();
        read_flo(&path)
    }

    #[test]
    fn vectors_come_row_by_row_and_unknown_ones_are_marked() {
        let vectors = [[1.0, -2.0], [f32::NAN, 0.0], [1.7e9, 1.7e9], [0.0, f32::NEG_INFINITY], [0.5, 0.25], [3.0, 4.0]];
        let flo = read(&flo(b"PIEH", 3, 2, &vectors)).unwrap();
        assert_eq!(flo.flow.size, FrameSize::new(3, 2));
        assert_eq!(flo.flow.vectors, [[1.0, -2.0], [0.0; 2], [0.0; 2], [0.0; 2], [0.5, 0.25], [3.0, 4.0]]);
        assert_eq!(flo.is_known, [true, false, false, false, true, true]);
        assert_eq!(MAGIC, 202_021.25_f32.to_le_bytes());
    }

    #[test]
    fn files_that_are_no_flow_or_promise_another_size_are_refused() {
        let cases = [
            (Vec::new(), "holds 0 bytes"),
            (b"PIEH".to_vec(), "holds 4 bytes"),
            (flo(b"RIFF", 1, 1, &[[0.0; 2]]), "no .flo file"),
            (flo(b"PIEH", 0, 1, &[]), "width is 0"),
            (flo(b"PIEH", 1, -5, &[]), "height is -5"),
            (flo(b"PIEH", i32::MAX, i32::MAX, &[[0.0; 2]]), "width is 2147483647"),
            (flo(b"PIEH", 99_999, 99_999, &[[0.0; 2]]), "expected 79998400020 for 99999×99999"),
            (flo(b"PIEH", 2, 1, &[[0.0; 2]]), "holds 20 bytes (expected 28 for 2×1)"),
            (flo(b"PIEH", 1, 1, &[[0.0; 2]; 2]), "holds 28 bytes (expected 20 for 1×1)"),
        ];
        for (bytes, expected) in cases {
            let error = format!("{:#}", read(&bytes).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_masked_unknown_or_leads_outside_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let vectors = [[0.0, 0.0], [1.0, 0.0], [1e10, 0.0], [1.0, 0.0]];
        std::fs::write(folder.path().join("1.flo"), flo(b"PIEH", 4, 1, &vectors)).unwrap();
        image::GrayImage::from_raw(4, 1, vec![255, 0, 0, 0])
            .unwrap()
            .save(folder.path().join("occlusions.png"))
            .unwrap();
        let flows = TrueFlows::open(folder.path()).unwrap();
        let (mut flow, mut mask) = (FlowField::zero(FrameSize::new(1, 1)), Vec::new());
        flows.load(0, FrameSize::new(4, 1), &mut flow, &mut mask).unwrap();
        assert_eq!(mask, [0.0, 1.0, 0.0, 0.0]);
        let error = flows.load(0, FrameSize::new(2, 2), &mut flow, &mut mask).unwrap_err().to_string();
        assert!(error.contains("is 4×1 (expected 2×2 as the clips)"), "{error}");
        assert!(flows.load(1, FrameSize::new(4, 1), &mut flow, &mut mask).is_err());
    }

    #[test]
    fn masks_are_found_where_mpi_sintel_has_them() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["flow/alley_1", "occlusions/alley_1", "invalid/alley_1"] {
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        let flow = folder.path().join("flow/alley_1");
        for name in ["frame_0001.flo", "frame_0002.flo"] {
            std::fs::write(flow.join(name), flo(b"PIEH", 1, 1, &[[0.0; 2]])).unwrap();
        }
        let flows = TrueFlows::open(&flow).unwrap();
        assert_eq!((flows.count(), flows.mask_paths().count()), (2, 2));
        let error = format!(
            "{:#}",
            flows
                .load(1, FrameSize::new(1, 1), &mut FlowField::zero(FrameSize::new(1, 1)), &mut Vec::new())
                .unwrap_err()
        );
        assert!(
            error.contains("occlusions/alley_1/frame_0002.png"),
            "a mask that is missing is not passed over: {error}"
        );
    }
}
