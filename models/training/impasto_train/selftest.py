"""Checks of the program that need no photos, paintings or VGG weights: seconds on a CPU."""

import contextlib
import io
import struct
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from . import cli, data, drawn, export, files, losses, network, optimizer, pack, quantize, rcc, schedule, sheet, speed, train, vgg, warm


def _refusal(function, *arguments):
    """What a call that should fail says."""
    try:
        function(*arguments)
    except ValueError as error:
        return str(error)
    raise AssertionError("it was not refused")


def onnx_computes_what_torch_computes():
    import onnx

    for size in network.SIZES:
        torch.manual_seed(1)
        style_network = network.StyleNetwork(size, 3).eval()
        names = ["a", "b", "c"]
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "network.onnx")
            onnx.save(export.build(size, style_network.state_dict(), names, {}), path)
            opened, found = sheet.session(path)
            assert found == names, found
            image = 255 * torch.rand(1, 3, 48, 64)
            with torch.no_grad():
                expected = style_network(image, torch.tensor([[0.0, 1.0, 0.0]])).clamp(0, 255)
            got = sheet.paint(opened, found, image.numpy(), "b")
        difference = np.abs(got - expected.numpy()).max()
        assert difference < 0.05, f"{size}: {difference} levels"


def ink_and_mosaic_are_drawn_the_same_each_time_and_keep_the_photos_tones():
    photo = torch.linspace(0, 1, 96)[None, None].expand(3, 64, 96) * torch.tensor([1.0, 0.6, 0.2])[:, None, None]
    for picture, again in ((drawn.ink(photo), drawn.ink(photo)), (drawn.mosaic(photo, 6), drawn.mosaic(photo, 6))):
        assert picture.shape == photo.shape and torch.equal(picture, again), picture.shape
        assert 0 <= picture.min() and picture.max() <= 255, picture
        assert picture[..., :32].mean() + 40 < picture[..., 64:].mean(), "dark is dark and light is light"


def weights_in_half_precision_paint_nearly_the_same_and_can_be_started_from():
    import onnx

    torch.manual_seed(4)
    trained = network.StyleNetwork("lite", 2)
    model = export.build("lite", trained.state_dict(), ["a", "b"], {})
    halved = export.with_half_weights(model)
    tables = {i.name: i for i in halved.graph.initializer if ".norm." in i.name}
    assert all(tables[i.name] == i for i in model.graph.initializer if ".norm." in i.name)
    image = 255 * torch.rand(1, 3, 48, 64)
    with tempfile.TemporaryDirectory() as folder:
        pictures, sizes = [], []
        for name, form in (("float", model), ("half", halved)):
            path = str(Path(folder) / f"{name}.onnx")
            onnx.save(form, path)
            sizes.append(Path(path).stat().st_size)
            opened, names = sheet.session(path)
            pictures.append(sheet.paint(opened, names, image.numpy(), "b"))
        again = network.StyleNetwork("lite", 2)
        missing = warm.start_from(again, path, ["a", "b"])
    assert sizes[1] < 0.6 * sizes[0], sizes
    difference = np.abs(pictures[0] - pictures[1])
    assert 0 < difference.mean() < 0.5, f"{difference.mean()} levels"
    assert not missing, missing
    for name, value in trained.state_dict().items():
        assert torch.allclose(again.state_dict()[name], value, rtol=1e-3, atol=1e-6), name


def the_rearranged_network_computes_the_same_away_from_the_border():
    import onnx

    torch.manual_seed(2)
    model = export.build("lite", network.StyleNetwork("lite", 2).state_dict(), ["a", "b"], {})
    with tempfile.TemporaryDirectory() as folder:
        image = (255 * torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))).numpy()
        plain, rearranged = str(Path(folder) / "plain.onnx"), str(Path(folder) / "rearranged.onnx")
        for form in (model, export.with_half_weights(model)):
            onnx.save(form, plain)
            onnx.save(quantize.rearranged(*files.read_exported(plain)), rearranged)
            pictures = [sheet.paint(*sheet.session(path), image, "b") for path in (plain, rearranged)]
            difference = np.abs(pictures[0] - pictures[1])[:, :, 4:-4, 4:-4].max()
            assert difference < 0.05, f"{difference} levels"


def a_wider_network_begins_as_the_one_it_is_started_from():
    import onnx

    torch.manual_seed(4)
    small, wide = network.StyleNetwork("lite", 2), network.StyleNetwork("full", 3)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network.onnx")
        onnx.save(export.build("lite", small.state_dict(), ["a", "b"], {}), path)
        missing = warm.start_from(wide, path, ["a", "b", "new"])
    assert "coarse.5.a.conv.weight" in missing and "stem.conv.weight" not in missing, missing
    image = 255 * torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, got = small(image, torch.tensor([[0.0, 1.0]])), wide(image, torch.tensor([[0.0, 1.0, 0.0]]))
    difference = (got - expected).abs().mean()
    # The blocks that the small one does not have give a hundredth of what the others give.
    assert difference < 2, f"{difference} levels"


def lite_keeps_its_budget():
    macs = network.macs_per_pixel(network.StyleNetwork("lite", 1))
    assert macs <= 9000, f"{macs} MAC/pixel (expected at most 9000)"


def _stability(motion, image, output, moved_output):
    """The stability term under one motion."""
    batch, size = image.shape[0], image.shape[3]
    return losses.stability_loss(image, output, moved_output, losses.grid_of(motion.matrix(batch, size), size), motion.seen(size))


def a_motion_compares_what_shows_the_same():
    generator = torch.Generator().manual_seed(3)
    wide = torch.rand(2, 3, 64 + losses.MAX_SHIFT, 64 + losses.MAX_SHIFT, generator=generator) * 255
    still = wide[:, :, :64, :64]
    for motion in [losses.Shift(generator) for _ in range(5)] + [losses.Affine(generator, 2)]:
        moved = motion.move(wide, 64)
        assert moved.shape == still.shape, moved.shape
        assert _stability(motion, still, still, moved) < 1e-5, _stability(motion, still, still, moved)
        # Other pictures are told apart, and what is not seen does not count.
        assert _stability(motion, still, still, 255 - moved) > 0.2
        hidden = torch.where(motion.seen(64) > 0, moved, 0 * moved)
        assert _stability(motion, still, still, hidden) < 1e-5
    # A pattern that stands still on the grid while the picture moves is seen.
    grid = torch.zeros(1, 3, 64, 64)
    grid[:, :, ::8, ::8] = 255
    shift = losses.Shift(generator)
    shift.y, shift.x = 3, 0
    assert _stability(shift, grid, grid, grid) > 0.02


def gram_errors_are_relative_to_the_painting():
    features = [torch.rand(1, 4, 8, 8)]
    target = [losses.gram(features[0])]
    assert losses.relative_gram_errors(features, target)[0].item() < 1e-9
    black = losses.relative_gram_errors([torch.zeros(1, 4, 8, 8)], target)[0].item()
    assert abs(black - 1) < 1e-6, black


def orthogonalized_has_singular_values_about_one():
    values = torch.linalg.svdvals(optimizer.orthogonalized(torch.randn(2, 16, 64)))
    assert 0.5 < values.min() and values.max() < 1.5, values


def pauses_do_not_count_as_work():
    for before in range(12):
        clock = schedule.WorkClock()
        counted = sum(clock.work(seconds) for seconds in [1.0] * before + [300.0] + [1.0] * 10)
        assert counted == before + 11, f"{counted} after {before} steps"
    clock = schedule.WorkClock()
    assert sum(map(clock.work, [1.0, 2.0, 1.5, 3.0])) == 7.5, "ordinary steps count as they are"


def a_starved_step_is_followed_by_one_thread_for_a_while():
    threads = schedule.ThreadCount(2)
    assert threads.after(1.0, 2.0) == 2
    assert threads.after(3.0, 2.0) == 1
    assert [threads.after(2.0, 2.0) for _ in range(schedule.ThreadCount.RETRY_STEPS)][-2:] == [1, 2]


def the_schedule_ends_small_and_with_large_crops():
    assert schedule.learning_rate(1.0, 1.0) < 0.011
    for kind, phases in schedule.PHASES.items():
        assert schedule.phase(kind, 0.0) == phases[0] and schedule.phase(kind, 1.0) == phases[-1]


def a_resource_file_is_read():
    name = "a".encode("utf-16-be")
    names = struct.pack(">HI", 1, 0) + name
    tree = struct.pack(">IHIIQ", 0, rcc.DIRECTORY, 1, 1, 0) + struct.pack(">IHHHIQ", 0, 0, 0, 0, 0, 0)
    content = struct.pack(">I", 5) + b"hello"
    header = b"qres" + struct.pack(">4I", 2, 20, 20 + len(tree), 20 + len(tree) + len(content))
    assert list(rcc.files(header + tree + content + names)) == [("a", b"hello")]


def what_speed_measures_paints_bytes():
    torch.manual_seed(3)
    style_network = network.StyleNetwork("lite", 2).eval()
    frame = torch.randint(0, 256, (1, 48, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        painted = speed.Painter(style_network, 2, torch.float32)(frame)
        expected = style_network(frame.permute(0, 3, 1, 2).float(), torch.tensor([[1.0, 0.0]])).clamp(0, 255)
    assert painted.dtype == torch.uint8 and painted.shape == frame.shape, painted.shape
    difference = (painted.permute(0, 3, 1, 2).float() - expected).abs().max()
    assert difference <= 0.501, f"{difference} levels"


def _saved_picture(path, sides, seed):
    """Writes noise as a picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*sides, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def _training(folder, **options):
    """A training of three styles with photos, paintings and an eye of noise in `folder`."""
    folder = Path(folder)
    styles = [data.Style(name, f"{name}.png", name, "", 2000, 64, 1.0, (0, 0, 0, 0)) for name in "abc"]
    if not (folder / "vgg16.pt").exists():
        for seed, style in enumerate(styles):
            _saved_picture(folder / style.file, (64, 80), seed)
        _saved_picture(folder / "photo.png", (160, 200), 9)
        torch.manual_seed(6)
        weights = vgg.Vgg16().state_dict()
        weights["convs.0.weight"].view(-1)[0], weights["convs.0.bias"][0] = vgg.FIRST_WEIGHT, vgg.FIRST_BIAS
        torch.save(weights, folder / "vgg16.pt")
    return train.Training(train.Options(threads=1, **options), styles, [folder / "photo.png"], [folder], folder / "vgg16.pt")


def _steps(training, number):
    """What so many steps measure."""
    return [training.step().read() for _ in range(number)]


def a_resumed_training_goes_on_as_if_it_had_not_stopped():
    small = {"cpu": (schedule.Phase(0, 64, 1),)}
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(schedule.PHASES, small):
        state = Path(folder) / "state.pt"
        training = _training(folder)
        # Of three styles, one waits to be drawn.
        _steps(training, 2)
        training.save(state)
        expected = _steps(training, 2)
        resumed = _training(folder, seed=7)
        resumed.restore(state)
        assert _steps(resumed, 2) == expected


def a_state_of_another_training_is_not_resumed():
    saved = {"styles": ["a", "b"], "options": {"size": "lite", "optimizer": "muon", "rows": ["a"]}}

    def check(names, **options):
        train.check_resumable("state.pt", saved, train.Options(**options), names)

    check(["a", "b"], rows=["a"])
    for names, options, expected in (
        (["a"], {"rows": ["a"]}, "the styles a, b"),
        (["a", "b"], {"rows": ["a"], "size": "full"}, "--size lite"),
        (["a", "b"], {"rows": ["a"], "optimizer": "adam"}, "--optimizer muon"),
        (["a", "b"], {"rows": ["b"]}, "--rows a"),
        (["a", "b"], {}, "--rows a"),
    ):
        found = _refusal(lambda: check(names, **options))
        assert expected in found, found


def an_eye_that_lacks_weights_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg16.pt"
        weights = vgg.Vgg16().state_dict()
        del weights["convs.5.weight"]
        for written in (weights, {"version": 1}, [1]):
            torch.save(written, path)
            assert "vgg16.pt' is no VGG-16" in _refusal(vgg.load, path)
        path.write_bytes(b"junk")
        assert "vgg16.pt' cannot be read" in _refusal(vgg.load, path)


def folders_and_pictures_that_cannot_be_read_are_named():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _saved_picture(folder / "small.png", (40, 40), 1)
        assert data.picture_files([folder]) == [folder / "small.png"]
        assert "nowhere' is missing" in _refusal(data.picture_files, [folder, folder / "nowhere"])
        assert "small.png' is a file" in _refusal(data.picture_files, [folder, folder / "small.png"])
        assert "large enough" in _refusal(data.Photos, [folder / "small.png"], torch.device("cpu"), None)
        (folder / "cut.png").write_bytes((folder / "small.png").read_bytes()[:2000])
        (folder / "text.png").write_text("text")
        for name in ("cut.png", "text.png"):
            assert f"{name}' cannot be read" in _refusal(data.read_picture, folder / name)
        (folder / "styles.toml").write_text("held_out = []\n[defaults\n")
        assert "styles.toml' cannot be read" in _refusal(data.read_settings, folder / "styles.toml")


def what_is_written_replaces_only_when_it_is_whole():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_text("old")

        def half(temporary):
            temporary.write_text("ha")
            raise ValueError("no space")

        _refusal(files.write_whole, path, half)
        assert path.read_text() == "old" and list(Path(folder).iterdir()) == [path]
        files.write_whole(path, lambda temporary: temporary.write_text("new"))
        assert path.read_text() == "new" and list(Path(folder).iterdir()) == [path]
        assert "is a folder" in _refusal(files.check_writable, folder)
        assert "no folder" in _refusal(files.check_writable, Path(folder) / "nowhere" / "network.onnx")


def photos_of_one_name_are_packed_beside_each_other():
    photos = [Path(name) for name in ("a/x.jpg", "a/x.png", "b/X.jpg", "b/y.jpg")]
    found = [target.as_posix() for target in pack.targets(photos, Path("photos"))]
    assert found == ["photos/x.jpg", "photos/2/x.jpg", "photos/3/X.jpg", "photos/y.jpg"], found


def numbers_out_of_range_are_refused():
    train_options = ["train", "--state", "S", "--vgg", "V", "--photos", "P", "--paintings", "Q"]
    for wrong in (
        *([*train_options, "--budget", budget] for budget in ("0", "-5", "nan", "inf", "x")),
        *([*train_options, "--budget", "1", *rest] for rest in (["--threads", "0"], ["--stop-at", "0"], ["--device", "x"], ["--lr", "0"])),
        *([*train_options, "--budget", "1", *rest] for rest in (["--resume", "--rewind", "-1"], ["--resume", "--rewind", "1"], ["--rewind", "0.3"])),
        *(["speed", "--frame", size] for size in ("100x100", "64", "x", "0x0")),
        ["speed", "--frames", "0"],
    ):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                code = cli.main(wrong)
            except SystemExit as end:
                code = end.code
        assert code == 2 and ("expected" in said.getvalue() or "invalid choice" in said.getvalue()), (wrong, code, said.getvalue())
    assert cli.parser().parse_args(["speed", "--frame", "1920x1080"]).frame == (1920, 1080)


def run():
    """Runs every check; 1 if one failed."""
    failed = 0
    for name, check in list(globals().items()):
        if callable(check) and getattr(check, "__module__", "") == __name__ and name != "run" and not name.startswith("_"):
            try:
                check()
                print(f"ok      {name}")
            except AssertionError as error:
                failed = 1
                print(f"FAILED  {name}: {error}")
    return failed
