"""Checks of the program that need no photos, paintings or VGG weights: seconds on a CPU."""

import struct
import tempfile
from pathlib import Path

import numpy as np
import torch

from . import drawn, export, losses, network, optimizer, quantize, rcc, schedule, sheet, speed, warm


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
        pictures = []
        for name, form in (("plain", model), ("rearranged", quantize.rearranged(model))):
            path = str(Path(folder) / f"{name}.onnx")
            onnx.save(form, path)
            opened, names = sheet.session(path)
            image = 255 * torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
            pictures.append(sheet.paint(opened, names, image.numpy(), "b"))
    difference = np.abs(pictures[0] - pictures[1])
    assert difference[:, :, 4:-4, 4:-4].max() < 0.05, f"{difference[:, :, 4:-4, 4:-4].max()} levels"


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
    clock = schedule.WorkClock()
    counted = sum(clock.work(seconds) for seconds in [1.0] * 10 + [300.0] + [1.0] * 10)
    assert counted == 21, counted


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
