//! Who may know whom: the rules of ARCHITECTURE.md, read off the `use` lines of the sources.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // A test that panics fails: as it should.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each room, and the rooms of this crate that it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("frame", &[]),
    ("contrast", &["frame"]),
    ("scale", &["frame"]),
    ("input", &[]),
    ("memory", &[]),
    ("stills", &["frame", "input", "memory"]),
    ("output", &[]),
    ("media", &["frame", "output"]),
    ("temporal", &["frame", "motion", "onnx", "runtime"]),
    ("runtime", &[]),
    ("onnx", &["input"]),
    ("style", &["contrast", "frame", "memory", "onnx", "runtime", "scale", "stills"]),
    ("gatys", &["frame", "onnx", "runtime", "scale"]),
    ("learn", &["frame", "gatys", "onnx", "runtime", "scale", "style"]),
    ("motion", &["contrast", "frame", "scale"]),
    ("film", &["frame", "gatys", "motion"]),
    ("lettering", &[]),
    ("chart", &["lettering"]),
    ("measure", &["chart", "frame", "media", "motion", "stills"]),
    ("pipeline", &[]),
    ("console", &["pipeline"]),
    ("cli", &["commands", "film", "frame", "gatys", "media", "runtime", "stills", "temporal"]),
    (
        "commands",
        &[
            "chart",
            "cli",
            "console",
            "film",
            "frame",
            "gatys",
            "input",
            "learn",
            "lettering",
            "measure",
            "media",
            "memory",
            "motion",
            "output",
            "pipeline",
            "runtime",
            "scale",
            "stills",
            "style",
            "temporal",
        ],
    ),
    ("main", &["cli", "commands", "console"]),
    ("lib", &[]),
];

/// Each dependency with one owner, and the rooms that own it.
const OWNERS: &[(&str, &[&str])] = &[
    ("ort", &["runtime"]),
    ("ffmpeg_next", &["media"]),
    ("ffmpeg", &["media"]),
    ("fast_image_resize", &["scale"]),
    ("crossbeam", &["pipeline"]),
    ("crc32fast", &["media"]),
    ("half", &["onnx"]),
    ("opencv", &["media", "motion"]),
    ("clap", &["cli", "commands", "main"]),
    ("indicatif", &["console"]),
    ("multiversion", &["motion", "temporal"]),
    ("etcetera", &["commands"]),
    ("glob", &["commands"]),
    ("walkdir", &["commands"]),
    ("prost", &["onnx"]),
    ("safetensors", &["learn", "style"]),
    ("sha2", &["commands", "runtime"]),
    ("rayon", &["temporal"]),
    ("rustix", &["commands", "media"]),
    ("signal_hook", &["commands"]),
    ("tiff", &["stills"]),
    ("yuv", &["media"]),
    ("zune_jpeg", &["stills"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                let room = inside.components().next().unwrap().as_os_str().to_string_lossy();
                let room = room.trim_end_matches(".rs").to_owned();
                found.push((room, path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The code of a file without comments and unit tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or(text)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The names that follow `prefix` and are followed by `::`, `;`, ` as` or a brace.
fn names_after(line: &str, prefix: &str) -> Vec<String> {
    line.match_indices(prefix)
        .filter(|(at, _)| !line[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
        .map(|(at, _)| line[at + prefix.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn every_room_knows_only_the_rooms_it_may() {
    let mut offences = Vec::new();
    for (room, path, text) in sources() {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            offences.push(format!("{}: room '{room}' is not in the table of tests/architecture.rs", path.display()));
            continue;
        };
        for line in code(&text) {
            let prefix = if room == "main" { "impasto::" } else { "crate::" };
            for named in names_after(line, prefix) {
                let is_room = ROOMS.iter().any(|(name, _)| *name == named);
                if is_room && named != room && !allowed.contains(&named.as_str()) {
                    offences.push(format!("{}: {room} may not know {named}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn every_dependency_has_its_owner() {
    let mut offences = Vec::new();
    let mut seen = BTreeSet::new();
    for (room, path, text) in sources() {
        for line in code(&text) {
            for (dependency, owners) in OWNERS {
                let used = line.contains(&format!("use {dependency}::"))
                    || line.contains(&format!("use {dependency} "))
                    || !names_after(line, &format!("{dependency}::")).is_empty();
                if used {
                    seen.insert(*dependency);
                    if !owners.contains(&room.as_str()) {
                        offences.push(format!("{}: {room} may not use {dependency}: {}", path.display(), line.trim()));
                    }
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
    for (dependency, _) in OWNERS {
        assert!(seen.contains(dependency), "{dependency} is not used any more: take it out of the table");
    }
}

#[test]
fn unsafe_code_stands_only_where_it_is_named() {
    let allowed = ["main.rs", "media/ffi.rs", "media/v4l2.rs", "runtime/assignment.rs", "runtime/library.rs"];
    for (_, path, text) in sources() {
        let is_allowed = allowed.iter().any(|name| path.ends_with(name));
        let has_unsafe = code(&text).any(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        assert!(is_allowed || !has_unsafe, "{} has unsafe code", path.display());
    }
}

#[test]
fn every_file_says_why_it_exists() {
    for (_, path, text) in sources() {
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        // Generated code is included into a module and cannot open with module documentation.
        let opening = if path.ends_with("onnx/schema.rs") { "// " } else { "//!" };
        assert!(first.starts_with(opening), "{} does not open with why it exists", path.display());
    }
}
