//! FFmpeg, OpenCV, cameras and the display.

use super::report::Check;
use crate::media::{self, CodecAbility, camera_modes, list_cameras};

/// What reads and writes video.
pub fn video() -> Vec<Check> {
    let mut checks = vec![Check::ok("FFmpeg", media::ffmpeg_version())];
    checks.push(codecs(
        "encoders",
        &media::encoders(),
        &["h264"],
        "install an FFmpeg that was built with it (libx264, libx265, libsvtav1, libvpx)",
    ));
    checks.push(codecs(
        "decoders",
        &media::decoders(),
        &["h264"],
        "install an FFmpeg that was built with it (av1: libdav1d)",
    ));
    let hardware = media::hardware_encoders();
    if hardware.is_empty() {
        let advice = "if you want one (--codec h264_nvenc, h264_qsv, …): install an FFmpeg that was built with it";
        checks.push(Check::absent("hardware encoders", "none in this FFmpeg", advice));
    }
    checks.extend(hardware.into_iter().map(|encoder| match encoder.trouble {
        None => Check::ok(encoder.name, format!("opens; --codec {} uses it", encoder.name)),
        Some(trouble) => Check::absent(
            encoder.name,
            format!("in this FFmpeg, but does not open here: {trouble}"),
            "it needs its hardware and driver; other encoders do without",
        ),
    }));
    checks
}

/// One line for codecs: broken if one of `needed` is missing.
fn codecs(name: &str, abilities: &[CodecAbility], needed: &[&str], advice: &str) -> Check {
    let describe = |ability: &CodecAbility| match &ability.found {
        Some(found) if found == ability.codec => ability.codec.to_owned(),
        Some(found) => format!("{} ({found})", ability.codec),
        None => format!("no {}", ability.codec),
    };
    let found = abilities.iter().map(describe).collect::<Vec<_>>().join(", ");
    let missing: Vec<&str> =
        abilities.iter().filter(|ability| ability.found.is_none()).map(|ability| ability.codec).collect();
    match missing.as_slice() {
        [] => Check::ok(name, found),
        missing if missing.iter().any(|codec| needed.contains(codec)) => Check::broken(name, found, advice),
        _ => Check::absent(name, found, format!("if you want one that is missing: {advice}")),
    }
}

/// What `impasto live` uses.
pub fn live() -> Vec<Check> {
    let mut checks = vec![match media::opencv_version() {
        Ok(version) => Check::ok("OpenCV", version),
        Err(error) => Check::broken("OpenCV", format!("{error:#}"), "install it again"),
    }];
    let cameras = list_cameras();
    if cameras.is_empty() {
        let advice =
            "connect one; files, addresses and GStreamer pipelines serve as cameras as well (impasto live --camera)";
        checks.push(Check::absent("cameras", "none found", advice));
    }
    checks.extend(cameras.iter().map(|camera| {
        let name = format!("camera {}", camera.index);
        let modes = camera_modes(camera);
        let found = format!("{} ('{}'), {} modes", camera.name, camera.path.display(), modes.len());
        match modes.is_empty() {
            false => Check::ok(name, found),
            true => {
                Check::broken(name, found, "it lists no modes: is it in use, or may you not open it (group video)?")
            }
        }
    }));
    checks.push(match media::check_display() {
        Ok(()) => Check::ok("display", "answers"),
        Err(error) => Check::absent("display", error.to_string(), "impasto live --no-window does without one"),
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::report::State;

    #[test]
    fn a_missing_codec_is_named_and_only_a_needed_one_is_wrong() {
        let ability = |codec, found: Option<&str>| CodecAbility { codec, found: found.map(str::to_owned) };
        let (h264, vp9) = (ability("h264", Some("libx264")), ability("vp9", Some("vp9")));
        let check = |abilities: &[CodecAbility]| codecs("encoders", abilities, &["h264"], "install one");
        assert_eq!(check(&[h264.clone(), vp9.clone()]), Check::ok("encoders", "h264 (libx264), vp9"));
        let missing = check(&[h264, ability("vp9", None)]);
        assert_eq!((missing.state, missing.found.as_str()), (State::Absent, "h264 (libx264), no vp9"));
        assert!(missing.advice.is_some_and(|advice| advice.contains("install one")));
        assert_eq!(check(&[ability("h264", None), vp9]).state, State::Broken);
    }
}
