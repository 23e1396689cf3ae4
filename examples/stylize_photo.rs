//! Paints one photo: `stylize_photo STYLE PHOTO.jpg OUT.png [WIDTHxHEIGHT] [WORK_SIZE] [STYLE_IMAGE] [STRENGTH] [keep]`.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use impasto::frame::{Frame, FrameSize};
use impasto::style::{StyleEngine, StyleOptions, StyleSettings, Stylizer as _};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let get = |i: usize| args.get(i).filter(|a| !a.is_empty() && *a != "-");
    let spec = args[1].parse()?;
    let mut photo = image::open(&args[2])?;
    if let Some(size) = get(4) {
        let size: FrameSize = size.parse()?;
        photo = photo.resize_to_fill(size.width as u32, size.height as u32, image::imageops::FilterType::CatmullRom);
    }
    let photo = photo.into_rgb8();
    let size = FrameSize::new(photo.width() as usize, photo.height() as usize);
    let mut src = Frame::black(size);
    src.pixels_mut().copy_from_slice(photo.as_raw());
    let mut dst = Frame::black(size);
    let mut settings = StyleSettings::default();
    if let Some(w) = get(5) {
        settings.work_size = w.parse()?;
    }
    if let Some(s) = get(7) {
        settings.strength = s.parse()?;
    }
    settings.keep_color = get(8).is_some();
    let options = StyleOptions { style_image: get(6).map(Into::into), threads: 2 };
    let start = Instant::now();
    let mut engine = StyleEngine::open(&spec, &options, settings)?;
    println!("{} on {}, opened in {:.0} ms", engine.describe(), engine.provider(), start.elapsed().as_secs_f64() * 1e3);
    for line in engine.contract().details() {
        println!("    {line}");
    }
    engine.stylize(&src, &mut dst)?;
    let start = Instant::now();
    engine.stylize(&src, &mut dst)?;
    println!("    {size}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    image::save_buffer(&args[3], dst.pixels(), size.width as u32, size.height as u32, image::ColorType::Rgb8)?;
    Ok(())
}
