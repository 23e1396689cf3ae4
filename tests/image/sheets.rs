//! `impasto styles sheet`: a picture, or a frame of a video, in every style.

use super::*;

fn sheet() -> Command {
    let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
    command.args(["styles", "sheet"]);
    command
}

/// How many styles there are.
fn style_count() -> u32 {
    let output = Process::new(assert_cmd::cargo::cargo_bin("impasto")).args(["styles", "--json"]).output().unwrap();
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap().as_array().unwrap().len() as u32
}

#[test]
fn a_sheet_shows_a_picture_in_every_style_and_strength() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "in.png", "rgb24");
    let args = ["in.png", "-o", "sheet.png", "--strengths", "0,1"];
    sheet().current_dir(&folder).args(args).assert().success().stderr(contains("styles of in.png"));
    let sheet_picture = open(folder.path(), "sheet.png").to_rgb8();
    let bands = (style_count() + 1).div_ceil(5);
    // 60 rows of the picture, 18 of its name, and 18 around them.
    assert_eq!(sheet_picture.height(), bands * 2 * (60 + 36) + 12);
    let input = open(folder.path(), "in.png").to_rgb8();
    let cell = |column: u32, row: u32| {
        let advance = (sheet_picture.width() - 12) / (style_count() + 1).min(5);
        let view = image::imageops::crop_imm(&sheet_picture, 12 + column * advance, 12 + row * 96, 90, 60);
        DynamicImage::from(view.to_image())
    };
    let input = DynamicImage::from(input);
    assert!(difference(&input, &cell(0, 0)) == 0.0);
    assert!(difference(&input, &cell(1, 0)) == 0.0, "nothing of the style");
    assert!(difference(&input, &cell(1, 1)) > 10.0, "all of it");
    assert!(difference(&cell(1, 1), &cell(2, 1)) > 3.0, "another style");
}

#[test]
fn a_sheet_takes_the_middle_of_a_video_or_the_frame_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    // Black, then red, then blue, a second each.
    let colors =
        "color=black:size=64x48:d=1[a];color=red:size=64x48:d=1[b];color=blue:size=64x48:d=1[c];[a][b][c]concat=n=3";
    clip(folder.path(), "in.mp4", &["-filter_complex", colors, "-pix_fmt", "yuv420p"]);
    // A file that says that it is longer than its pictures.
    clip(
        folder.path(),
        "long.mkv",
        &["-f", "lavfi", "-i", "color=red:size=64x48:d=0.4", "-f", "lavfi", "-i", "sine=duration=3", "-c:a", "flac"],
    );
    sheet().current_dir(&folder).args(["long.mkv", "-o", "long.png"]).assert().success();
    for (more, channel) in [(&[][..], 0), (&["--at", "2.5"], 2)] {
        sheet().current_dir(&folder).args(["in.mp4", "-o", "sheet.png", "-y"]).args(more).assert().success();
        let pixel = open(folder.path(), "sheet.png").to_rgb8().get_pixel(40, 30).0;
        assert!(pixel[channel] > 200 && pixel[1] < 50, "{more:?}: {pixel:?}");
    }
}

#[test]
fn a_sheet_goes_by_what_is_in_a_file_and_shows_square_pixels() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "in.png", "rgb24");
    std::fs::rename(folder.path().join("in.png"), folder.path().join("in.mp4")).unwrap();
    sheet().current_dir(&folder).args(["in.mp4", "-o", "of-picture.png"]).assert().success();
    let wide = ["-f", "lavfi", "-i", "color=red:size=96x64:d=0.4", "-vf", "setsar=2/1", "-pix_fmt", "yuv420p"];
    clip(folder.path(), "wide.mp4", &wide);
    std::fs::rename(folder.path().join("wide.mp4"), folder.path().join("wide.png")).unwrap();
    sheet().current_dir(&folder).args(["wide.png", "-o", "of-video.png"]).assert().success();
    // The first cell is the input: red up to its right end.
    let of_video = open(folder.path(), "of-video.png").to_rgb8();
    assert_eq!(of_video.height(), (style_count() + 1).div_ceil(5) * (64 + 36) + 12);
    let red = (0..of_video.width()).take_while(|x| of_video.get_pixel(12 + x, 12).0[1] < 50).count();
    assert_eq!(red, 192);
}

#[test]
fn a_sheet_that_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "in.png", "rgb24");
    std::fs::write(folder.path().join("there.png"), "precious").unwrap();
    std::fs::write(folder.path().join("bad.jpg"), "no picture").unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    clip(folder.path(), "in.mp4", &["-f", "lavfi", "-i", "color=red:size=64x48:d=2:r=10"]);
    let before = files(folder.path());
    let cases: [(&[&str], i32, &str); 10] = [
        (&["in.png"], 2, "--output"),
        (&["in.png", "-o", "out.jpg"], 2, "expected a name that ends in .png"),
        (&["in.png", "-o", "there.png"], 1, "-y to replace it"),
        (&["in.png", "-o", "in.png", "-y"], 1, "would replace the input"),
        (&["in.png", "-o", "out.png", "--strengths", "0.5,2"], 2, "0 to 1"),
        (&["in.png", "-o", "out.png", "--at", "1"], 2, "expected no --at"),
        (&["bad.jpg", "-o", "out.png"], 1, "'bad.jpg'"),
        (&["missing.mp4", "-o", "out.png"], 1, "'missing.mp4'"),
        (&["in", "-o", "out.png"], 1, "'in' is a folder (expected a picture or a video)"),
        (&["in.mp4", "-o", "out.png", "--at", "2"], 1, "'in.mp4' has no frame at 2 s: it is 2 s long"),
    ];
    for (arguments, code, expected) in cases {
        let output = sheet().current_dir(&folder).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(expected), "{arguments:?}: {}", text(&output));
        assert_eq!(files(folder.path()), before, "{arguments:?}");
    }
}
