"""Contact sheets: what a network paints, to be looked at."""

from pathlib import Path

import numpy as np
from PIL import Image

from . import data, files
from .network import MULTIPLE


def session(path, threads=2):
    """An ONNX Runtime session on the CPU, and the names of its styles (`None` for a network of one)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not Path(path).is_file():
        raise ValueError(f"no network '{path}'")
    try:
        opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    # Its errors have only this kind in common.
    except Exception as error:
        raise ValueError(f"'{path}' cannot be opened as a network: {error}") from error
    names = opened.get_modelmeta().custom_metadata_map.get("impasto.styles")
    return opened, names.split(",") if names else None


def paint(opened, names, image, style):
    """`image` `[1, 3, H, W]` float RGB 0–255 as numpy, painted and clipped; padded to the multiple by reflection."""
    height, width = image.shape[2:]
    pads = [(0, 0), (0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE)]
    feed = {opened.get_inputs()[0].name: np.pad(image, pads, mode="reflect").astype(np.float32)}
    if names:
        weights = np.zeros((1, len(names)), np.float32)
        weights[0, names.index(style)] = 1
        feed["style"] = weights
    return opened.run(None, feed)[0][:, :, :height, :width].clip(0, 255)


def read(path, height):
    """A photo scaled to a height, as numpy `[1, 3, H, W]`."""
    image = data.open_picture(path)
    image = image.resize((round(image.width * height / image.height), height), Image.LANCZOS)
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None]


def run(arguments):
    """Writes the sheet: the styles one after the other, each on every photo."""
    files.check_writable(arguments.output)
    if Path(arguments.output).suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"'{arguments.output}' is of no known kind (expected a name that ends in .png or .jpg)")
    opened, names = session(arguments.network)
    if not names:
        raise ValueError(f"'{arguments.network}' is no network of impasto (expected one that `export` wrote)")
    data.check_styles(arguments.only or [], names)
    photos = [read(photo, arguments.height) for photo in arguments.photos]
    tiles = []
    for style in arguments.only or names:
        for photo in photos:
            painted = paint(opened, names, photo, style)[0].transpose(1, 2, 0)
            tile = Image.fromarray(painted.round().astype(np.uint8))
            if arguments.tile:
                tile = tile.resize((arguments.tile, round(tile.height * arguments.tile / tile.width)), Image.LANCZOS)
            tiles.append(tile)
    columns = arguments.columns or len(arguments.photos)
    rows = -(-len(tiles) // columns)
    width, height = max(t.width for t in tiles), max(t.height for t in tiles)
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    sheet.save(arguments.output, quality=88)
