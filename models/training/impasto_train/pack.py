"""Packs photos, paintings and VGG weights into one small folder, for a machine without network (`gpu.sh`)."""

from pathlib import Path

import torch
from PIL import Image

from . import data, vgg

PHOTO_SIDE = 512
PAINTING_SIDE = 768


def shrink(source, target, short_side):
    """A JPEG whose short side is at most `short_side`."""
    image = data.open_picture(source)
    scale = min(1.0, short_side / min(image.size))
    if scale < 1:
        image = image.resize([round(side * scale) for side in image.size], Image.LANCZOS)
    image.save(target, "JPEG", quality=92)


def targets(files, folder):
    """A file for each photo. Of several with one name all but the first go into folders below: photos are held out by their names."""
    taken = set()
    for file in files:
        target, number = folder / f"{file.stem}.jpg", 1
        while str(target).lower() in taken:
            number += 1
            target = folder / str(number) / f"{file.stem}.jpg"
        taken.add(str(target).lower())
        yield target


def pack(folder, vgg_path, photos, paintings, styles):
    """Fills `folder` with vgg16.pt (half precision), photos/ and paintings/ under the names that styles.toml has."""
    files, sources = data.picture_files(photos), [data.painting_file(style, paintings) for style in styles]
    weights = {name: value.half() for name, value in vgg.load(vgg_path).state_dict().items()}
    folder = Path(folder)
    for name in ("photos", "paintings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / "vgg16.pt")
    for file, target in zip(files, targets(files, folder / "photos")):
        target.parent.mkdir(exist_ok=True)
        shrink(file, target, PHOTO_SIDE)
    for style, source in zip(styles, sources):
        shrink(source, folder / "paintings" / style.file, PAINTING_SIDE)
