"""The command line: `python -m impasto_train <command>`."""

import argparse
import math
import sys
from dataclasses import fields
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
DEFAULT_STYLES = HERE / "styles.toml"


DEVICES = ["cpu", "cuda"]
# As in network.py, which would load PyTorch first.
MULTIPLE = 8


def number(kind, fits, expected):
    """A type of argument: a number that fits."""

    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"'{text}' (expected {expected})")
        return value

    return read


def frame(text):
    """A type of argument: width and height that a network paints."""
    sides = [int(side) if side.isdecimal() else 0 for side in text.split("x")]
    if len(sides) != 2 or any(side < 2 * MULTIPLE or side % MULTIPLE for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' (expected WIDTHxHEIGHT, both multiples of {MULTIPLE} from {2 * MULTIPLE} on)")
    return tuple(sides)


count = number(int, lambda value: value >= 1, "a whole number from 1 on")
pixels = number(int, lambda value: value >= 64, "a whole number of pixels from 64 on")
positive = number(float, lambda value: 0 < value < math.inf, "a number above 0")
weight = number(float, lambda value: 0 <= value < math.inf, "a number from 0 on")
an_end = number(float, lambda value: 0 < value <= 1, "a progress above 0 and up to 1")
a_start = number(float, lambda value: 0 <= value < 1, "a progress from 0 to below 1")


def parser():
    top = argparse.ArgumentParser(prog="impasto_train", description="Trains impasto's style networks.")
    commands = top.add_subparsers(dest="command", required=True)

    prepare = commands.add_parser("prepare", help="take paintings out of gcompris-qt-data")
    prepare.add_argument("resource", help="paintings.rcc of Debian's package gcompris-qt-data")
    prepare.add_argument("folder", help="where to write them")

    draw = commands.add_parser("draw", help="draw the pictures that ink and mosaic are learnt from")
    draw.add_argument("folder", help="where to write them")

    train = commands.add_parser("train", help="train, or go on with a training")
    train.add_argument("--state", required=True, help="folder for state.pt and log.jsonl")
    train.add_argument("--budget", type=positive, required=True, metavar="MINUTES", help="work to do in this session")
    train.add_argument("--stop-at", type=an_end, default=1.0, help="progress that the budget leads to [1.0]")
    train.add_argument("--resume", action="store_true", help="go on with the state in --state")
    train.add_argument("--rewind", type=a_start, help="with --resume: go on as if the progress were this, to train a finished one further")
    train.add_argument("--init", metavar="NETWORK", help="start from the weights of an exported network")
    train.add_argument("--rows", nargs="+", metavar="STYLE", help="fit the scales and shifts of these styles alone; all else stays as it is")
    train.add_argument("--size", choices=["lite", "full"], default="lite")
    train.add_argument("--optimizer", choices=["muon", "adam"], default="muon")
    train.add_argument("--lr", type=positive, help="peak learning rate")
    train.add_argument("--stability", type=weight, help="weight of the stability term")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--device", choices=DEVICES, help="cpu or cuda [cuda where there is one]")
    train.add_argument("--threads", type=count, default=2)
    add_material(train)

    export = commands.add_parser("export", help="write the network of a state as ONNX")
    export.add_argument("state", help="state.pt")
    export.add_argument("output", help="network.onnx")
    export.add_argument("--half", action="store_true", help="store the convolutions in half precision: half the bytes")

    quantize = commands.add_parser("quantize", help="round an exported network's convolutions to 8-bit integers")
    quantize.add_argument("network", help="network.onnx")
    quantize.add_argument("output", help="network-int8.onnx")
    quantize.add_argument("--photos", nargs="+", required=True, help="folders of photos, of which the first twelve are looked at")

    pack = commands.add_parser("pack", help="put all material into one small folder, for gpu.sh")
    pack.add_argument("folder")
    add_material(pack)

    evaluate = commands.add_parser("evaluate", help="losses of networks on the held-out photos, as a table")
    evaluate.add_argument("networks", nargs="+", help="ONNX files; FILE=STYLE for a network of one style")
    evaluate.add_argument("--size", type=pixels, default=512, help="longer side of the photos in pixels [512]")
    evaluate.add_argument("--lbfgs", type=count, metavar="ITERATIONS", help="also optimize the photos themselves")
    evaluate.add_argument("--only", nargs="*", help="styles to evaluate [all]")
    evaluate.add_argument("--count", type=count, default=6, help="photos [6]")
    evaluate.add_argument("--json", help="write the numbers here too")
    evaluate.add_argument("--threads", type=count, default=2)
    add_material(evaluate)

    sheet = commands.add_parser("sheet", help="a picture of every style on held-out photos")
    sheet.add_argument("network")
    sheet.add_argument("output")
    sheet.add_argument("--photos", nargs="+", required=True, help="photo files")
    sheet.add_argument("--height", type=pixels, default=360, help="height at which the network sees them [360]")
    sheet.add_argument("--tile", type=count, help="width of a tile in the sheet [as painted]")
    sheet.add_argument("--only", nargs="*", help="styles to show [all]")
    sheet.add_argument("--columns", type=count, help="tiles in a row [one row a style]")

    speed = commands.add_parser("speed", help="frame rate of a network in PyTorch, to compare `impasto bench` with")
    speed.add_argument("--size", choices=["lite", "full"], default="lite")
    speed.add_argument("--frame", type=frame, default="1920x1080", metavar="WIDTHxHEIGHT", help="[1920x1080]")
    speed.add_argument("--frames", type=count, default=200, help="frames to paint [200]")
    speed.add_argument("--device", choices=DEVICES, help="cpu or cuda [cuda where there is one]")
    speed.add_argument("--threads", type=count, default=2)

    commands.add_parser("selftest", help="check the program itself, without photos, paintings or VGG weights")
    return top


def add_material(command):
    """The options that name photos, paintings and weights."""
    command.add_argument("--vgg", required=True, help="ONNX file with the VGG-16 weights (README.md names the package)")
    command.add_argument("--photos", nargs="+", required=True, help="folders of photos")
    command.add_argument("--paintings", nargs="+", required=True, help="folders of paintings")
    command.add_argument("--styles", default=DEFAULT_STYLES, help="settings of the styles [styles.toml]")


def chosen_device(name):
    """`name`, or cuda where there is one if it is `None`."""
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("--device cuda: PyTorch finds none here (--device cpu runs everywhere)")
    return name or ("cuda" if there else "cpu")


def check_state(state, resume):
    """Fails where there is a state and should be none, or the other way round."""
    if state.parent.exists() and not state.parent.is_dir():
        raise ValueError(f"--state '{state.parent}' is a file (expected a folder)")
    if resume and not state.is_file():
        raise ValueError(f"there is no '{state}' to go on with (without --resume a training begins)")
    if not resume and state.exists():
        raise ValueError(f"'{state}' exists (--resume goes on with it)")


def command_train(arguments):
    """`train`."""
    from . import data, train

    state = Path(arguments.state) / train.STATE_FILE
    check_state(state, arguments.resume)
    styles, held_out = data.read_settings(arguments.styles)
    photos = [file for file in data.picture_files(arguments.photos) if file.stem not in held_out]
    if not photos:
        raise ValueError(f"'{arguments.styles}' holds all photos out (expected others to train on)")
    device = chosen_device(arguments.device)
    given = {f.name: getattr(arguments, f.name) for f in fields(train.Options) if getattr(arguments, f.name, None) is not None}
    options = train.Options(**{**given, "device": device})
    training = train.Training(options, styles, photos, arguments.paintings, arguments.vgg)
    if arguments.resume:
        training.restore(state)
        if arguments.rewind is not None:
            training.totals.progress = arguments.rewind
        if training.totals.progress >= arguments.stop_at:
            raise ValueError(f"the training is at {training.totals.progress:.3f} already (--rewind P goes back)")
    print(f"{len(training.photos.pictures)} photos, {len(styles)} styles, {device}", flush=True)
    train.run(training, arguments.state, 60 * arguments.budget, arguments.stop_at)


def command_evaluate(arguments):
    """`evaluate`."""
    from . import evaluate

    evaluate.run(arguments)


def failed(error, code=1):
    """Says so; returns the exit code."""
    print(f"error: {error}", file=sys.stderr)
    return code


def main(argv=None):
    """Runs one command; returns the exit code."""
    top = parser()
    arguments = top.parse_args(argv)
    if arguments.command == "train" and arguments.rewind is not None and not arguments.resume:
        top.error("--rewind goes with --resume (expected both, or neither to begin a training)")
    try:
        match arguments.command:
            case "prepare":
                from . import paintings

                for path in paintings.prepare(arguments.resource, arguments.folder):
                    print(path)
            case "draw":
                from . import drawn

                for path in drawn.draw(arguments.folder):
                    print(path)
            case "train":
                command_train(arguments)
            case "export":
                from . import export

                export.export(arguments.state, arguments.output, arguments.half)
            case "quantize":
                from . import data, quantize

                quantize.quantize(arguments.network, arguments.output, data.picture_files(arguments.photos))
            case "pack":
                from . import data, pack

                styles, _ = data.read_settings(arguments.styles)
                pack.pack(arguments.folder, arguments.vgg, arguments.photos, arguments.paintings, styles)
            case "evaluate":
                command_evaluate(arguments)
            case "sheet":
                from . import sheet

                sheet.run(arguments)
            case "speed":
                from . import speed

                arguments.device = chosen_device(arguments.device)
                speed.run(arguments)
            case "selftest":
                from . import selftest

                return selftest.run()
    except OSError as error:
        return failed(f"'{error.filename}': {error.strerror}" if error.filename else error)
    except ValueError as error:
        return failed(error)
    except KeyboardInterrupt:
        return failed("interrupted", 130)
    return 0
