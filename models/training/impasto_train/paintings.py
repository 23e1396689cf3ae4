"""Takes the paintings that styles.toml calls `gcompris_*.png` out of Debian's package gcompris-qt-data.

The package keeps each painting as the tiles of a puzzle, in a Qt resource; a QML file beside them says where each
tile's middle lies on the board.
"""

import io
import re
import struct
import zlib
from pathlib import Path

from PIL import Image

from . import rcc

ROOT = "gcompris/src/activities/paintings/resource/"
PAINTINGS = {
    "board/board19_0.qml": "gcompris_composition_viii.png",
    "board/board9_0.qml": "gcompris_horse_mackerel_and_prawn.png",
}
TILE = re.compile(r'"(image/[^"]+\.webp)",\s*"x"\s*:\s*"([\d.]+)",\s*"y"\s*:\s*"([\d.]+)"')
BOARD = re.compile(r'"width"\s*:\s*(\d+),\s*"height"\s*:\s*(\d+)')


def assembled(board, files):
    """The painting of one board: its tiles where the QML text puts them, cut to what they cover."""
    width, height = map(int, BOARD.search(board).groups())
    picture = Image.new("RGBA", (width, height))
    for file, x, y in TILE.findall(board):
        tile = Image.open(io.BytesIO(files[ROOT + file])).convert("RGBA")
        corner = (round(float(x) * width - tile.width / 2), round(float(y) * height - tile.height / 2))
        picture.alpha_composite(tile, tuple(max(0, c) for c in corner))
    return picture.crop(picture.getbbox()).convert("RGB")


def prepare(resource, folder):
    """Writes the paintings of `resource` (paintings.rcc) into `folder`; returns the paths."""
    try:
        files = dict(rcc.files(Path(resource).read_bytes()))
    except (ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"'{resource}' cannot be read: {error}") from error
    if missing := [board for board in PAINTINGS if ROOT + board not in files]:
        raise ValueError(f"'{resource}' has no {', '.join(missing)} (expected paintings.rcc of gcompris-qt-data)")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for board, name in PAINTINGS.items():
        path = folder / name
        assembled(files[ROOT + board].decode(), files).save(path)
        written.append(path)
    return written
