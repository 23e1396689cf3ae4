//! `impasto styles sheet`: one picture in every style of the catalog, side by side under their names.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use image::{ImageFormat, Rgb, RgbImage};

use super::device::Compute;
use super::signals::{STOPPING, stop_on_signals};
use super::style::{self, OpenStyle};
use super::styles;
use super::{Outcome, UsageError, outputs, thread_count};
use crate::cli::{LookArgs, SheetArgs, StyleArgs};
use crate::console::Console;
use crate::frame::{Frame, FrameSize};
use crate::lettering::{LINE_HEIGHT, text_width, write};
use crate::media::{self, Cut, ReaderOptions, Time, VideoReader};
use crate::pipeline::Control;
use crate::scale::{Filter, Scaler};
use crate::stills::{Still, StillFormat};
use crate::style::folder::FolderStyle;
use crate::style::pixels::{Mix, mix_in_place};
use crate::style::{Catalog, LearnedStyle, NetworkChoice, Stylizer};

/// Longer side of a painting on the sheet.
const CELL_SIDE: usize = 480;
/// Paintings side by side; more styles go below.
const COLUMNS: usize = 5;
/// Around paintings and names.
const MARGIN: u32 = 12;
const BACKGROUND: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([40; 3]);

/// A small picture and what is written under it.
pub(super) struct Cell {
    /// What is written under it, in lines.
    pub name: String,
    /// The picture.
    pub picture: Frame,
}

/// Runs the command.
pub fn run(args: &SheetArgs) -> Result<Outcome> {
    let console = Console::new(args.quiet);
    check_output(args)?;
    let content = read(&args.input, args.at)?;
    let control = Control::new();
    stop_on_signals(&control, console, STOPPING)?;

    let cell_size = content.size.with_long_side_at_most(CELL_SIDE);
    let mut scaler = Scaler::new();
    let mut small = |frame: &Frame| -> Result<Frame> {
        let mut small = Frame::black(cell_size);
        scaler.scale_rgb(frame.size, frame.pixels(), cell_size, small.pixels_mut(), Filter::Box)?;
        Ok(small)
    };
    let small_content = small(&content)?;
    let styles = all_styles(args.network.network, console)?;
    let bundled = Catalog::bundled()?.styles().len();
    let mut compute = Compute::new(&args.device, thread_count(args.threads), console)?;
    let mut progress = console.progress_of_pictures(styles.len() as u64);
    // One column for each style, a painting for each strength.
    let mut columns = vec![vec![Cell { name: "input".to_owned(), picture: copy(&small_content) }]];
    for (index, style) in styles.iter().enumerate() {
        let OpenStyle { mut engine, .. } = match style::open(&style_args(args, style), &mut compute, &control) {
            Ok(opened) => opened,
            Err(error) if index >= bundled => {
                leave_out(style, &error, console);
                continue;
            }
            Err(error) => return Err(error),
        };
        if index == 0 {
            compute.tell(false);
        }
        let mut painted = Frame::black(content.size);
        let done = engine.stylize(&content, &mut painted);
        if control.is_stopped() {
            progress.end();
            console.line("interrupted: nothing was written");
            return Ok(Outcome::Interrupted);
        }
        done.with_context(|| format!("paint in the style '{style}'"))?;
        let whole = small(&painted)?;
        columns.push(column(style, &whole, &small_content, &args.strengths));
        progress.update(index as u64 + 1, std::time::Duration::ZERO, None);
    }
    progress.end();
    let sheet = lay_out(&columns, cell_size, args.strengths.len());
    save(&sheet, &args.output, args.overwrite)?;
    console.line(&format!("{}: {} styles of {}", args.output.display(), columns.len() - 1, args.input.display()));
    Ok(Outcome::Done)
}

/// A painting at each strength.
fn column(style: &str, painted: &Frame, content: &Frame, strengths: &[f32]) -> Vec<Cell> {
    let cells = strengths.iter().map(|&strength| {
        let mut picture = copy(painted);
        mix_in_place(content.pixels(), picture.pixels_mut(), Mix { strength, keep_color: false });
        let is_alone = strengths.len() == 1 && strength >= 1.0;
        let name = if is_alone { style.to_owned() } else { format!("{style} {strength}") };
        Cell { name, picture }
    });
    cells.collect()
}

/// The styles that come with impasto, then one's own, as far as `network` paints them.
fn all_styles(network: NetworkChoice, console: Console) -> Result<Vec<String>> {
    let bundled = Catalog::bundled()?.styles().iter();
    let mut styles: Vec<String> = bundled.map(|style| style.name.clone()).collect();
    for own in styles::own_styles() {
        match check_is_painted(&own, network) {
            Ok(()) => styles.push(own.name),
            Err(error) => leave_out(&own.name, &error, console),
        }
    }
    Ok(styles)
}

/// Refuses a style of one's own that `network` does not paint when its name is asked for.
fn check_is_painted(own: &FolderStyle, network: NetworkChoice) -> Result<()> {
    styles::check_is_not_hidden(own)?;
    let of = LearnedStyle::load(&own.path)?.description.bundled_network()?;
    let is_painted = network == NetworkChoice::Auto || NetworkChoice::of(of) == network;
    ensure!(is_painted, "it was learnt for '{of}' (without --network it is on the sheet)");
    Ok(())
}

fn leave_out(style: &str, reason: &anyhow::Error, console: Console) {
    console.warning(&format!("left out: '{style}': {reason:#}"));
}

fn style_args(args: &SheetArgs, style: &str) -> StyleArgs {
    let SheetArgs { keep_color, work_size, network, precision, .. } = *args;
    StyleArgs {
        style: Some(style.to_owned()),
        look: LookArgs { style_image: None, strength: 1.0, keep_color, work_size, network, precision },
    }
}

fn check_output(args: &SheetArgs) -> Result<()> {
    let path = args.output.display();
    outputs::check_png(&args.output, "sheet")?;
    if outputs::is_same(&args.input, &args.output) {
        bail!("the sheet '{path}' would replace the input (choose another name)");
    }
    outputs::check(&args.output, args.overwrite)
}

/// The picture itself, or a frame of a video: at a time, or the middle one.
fn read(path: &Path, at: Option<Time>) -> Result<Frame> {
    let name = media::shown(path);
    if is_picture(path)? {
        if at.is_some() {
            let text = format!("'{name}' is a picture and has no frames (expected no --at)");
            return Err(UsageError(anyhow!(text)).into());
        }
        return Ok(Still::read(path).with_context(|| format!("cannot read the picture '{name}'"))?.content);
    }
    // What is shown of a clip is a picture: no program stretches it.
    let open = |start: Option<Time>| {
        let cut = Cut { start, end: None, frames: start.map(|_| 1) };
        VideoReader::open(path, ReaderOptions { cut, square_pixels: true, ..ReaderOptions::default() })
    };
    let mut reader = match at {
        Some(at) => open(Some(at)).or_else(|error| match length(&open(None)?) {
            Some(length) if at >= length => {
                bail!("'{name}' has no frame at {at}: it is {length} long (expected an earlier --at)")
            }
            _ => Err(error),
        })?,
        None => {
            let whole = open(None)?;
            // What a file says of its length may be more than there is.
            length(&whole).and_then(|length| open(Some(Time(length.0 / 2))).ok()).unwrap_or(whole)
        }
    };
    let frame = reader.next_frame()?;
    frame.with_context(|| format!("'{name}' has no frame there"))
}

/// Whether a file is a picture, by what is in it; a PNG that calls itself animated is a clip.
fn is_picture(path: &Path) -> Result<bool> {
    if media::is_url(path) || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("apng")) {
        return Ok(false);
    }
    ensure!(!path.is_dir(), "'{}' is a folder (expected a picture or a video)", path.display());
    let format = StillFormat::of_file(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    Ok(format.is_some())
}

/// How long a video is, as far as its file says it.
fn length(reader: &VideoReader) -> Option<Time> {
    let info = reader.info();
    let (frames, rate) = (info.expected_frames?, f64::from(info.frame_rate));
    (rate > 0.0).then(|| Time((frames as f64 / rate * 1e6).round() as i64))
}

fn copy(frame: &Frame) -> Frame {
    let mut copy = Frame::black(frame.size);
    copy.pixels_mut().copy_from_slice(frame.pixels());
    copy
}

/// Bands of at most [`COLUMNS`] columns, each as many rows high as there are strengths.
pub(super) fn lay_out(columns: &[Vec<Cell>], cell_size: FrameSize, rows: usize) -> RgbImage {
    let names = || columns.iter().flatten().map(|cell| cell.name.as_str());
    let width = names().flat_map(str::lines).map(text_width).fold(cell_size.width as u32, u32::max) + MARGIN;
    let lines = names().map(|name| name.lines().count()).max().unwrap_or(0) as u32;
    let height = cell_size.height as u32 + MARGIN / 2 + lines * LINE_HEIGHT + MARGIN;
    let side_by_side = columns.len().min(COLUMNS);
    let bands = columns.len().div_ceil(COLUMNS);
    let size = (side_by_side as u32 * width + MARGIN, (bands * rows) as u32 * height + MARGIN);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, BACKGROUND);
    for (index, column) in columns.iter().enumerate() {
        let x = MARGIN + (index % COLUMNS) as u32 * width;
        for (row, cell) in column.iter().enumerate() {
            let y = MARGIN + (index / COLUMNS * rows + row) as u32 * height;
            place(&mut sheet, x, y, &cell.picture);
            let below = y + cell_size.height as u32 + MARGIN / 2;
            for (line, text) in cell.name.lines().enumerate() {
                write(&mut sheet, x, below + line as u32 * LINE_HEIGHT, text, INK);
            }
        }
    }
    sheet
}

fn place(sheet: &mut RgbImage, x: u32, y: u32, picture: &Frame) {
    for (index, pixel) in picture.pixels().as_chunks::<3>().0.iter().enumerate() {
        let (column, row) = (index % picture.size.width, index / picture.size.width);
        if let Some(target) = sheet.get_pixel_mut_checked(x + column as u32, y + row as u32) {
            *target = Rgb(*pixel);
        }
    }
}

fn save(sheet: &RgbImage, path: &Path, overwrite: bool) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, ImageFormat::Png).context("draw the sheet")?;
    outputs::write(path, bytes.get_ref(), overwrite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_has_room_for_every_column_and_row() {
        let cell_size = FrameSize::new(40, 30);
        let cell = |name: &str| Cell { name: name.to_owned(), picture: Frame::black(cell_size) };
        let columns: Vec<Vec<Cell>> = (0..7).map(|i| vec![cell(&format!("a{i}")), cell("b")]).collect();
        let sheet = lay_out(&columns, cell_size, 2);
        assert_eq!(sheet.dimensions(), (5 * 52 + 12, 4 * 66 + 12));
        let black = sheet.pixels().filter(|pixel| pixel.0 == [0; 3]).count();
        assert_eq!(black, 14 * cell_size.pixels());
        let of_two_lines = vec![vec![Cell { name: "a\nb".to_owned(), picture: Frame::black(cell_size) }]];
        assert_eq!(lay_out(&of_two_lines, cell_size, 1).dimensions(), (52 + 12, 66 + 12 + LINE_HEIGHT));
    }
}
