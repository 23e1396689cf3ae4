"""Packs photos, paintings and VGG weights into one small folder, for a machine without network (`gpu.sh`)."""

from pathlib import Path

import torch
from PIL import Image

from . import data, vgg

PHOTO_SIDE = 512
PAINTING_SIDE = 768


def shrink(source, target, short_side):
    """A JPEG whose short side is at most `short_side`."""
    image = Image.open(source).convert("RGB")
    scale = min(1.0, short_side / min(image.size))
    if scale < 1:
        image = image.resize([round(side * scale) for side in image.size], Image.LANCZOS)
    image.save(target, "JPEG", quality=92)


def pack(folder, vgg_path, photos, paintings, styles):
    """Fills `folder` with vgg16.pt (half precision), photos/ and paintings/ under the names that styles.toml has."""
    folder = Path(folder)
    for name in ("photos", "paintings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    weights = {name: value.half() for name, value in vgg.load(vgg_path).state_dict().items() if name.startswith("convs")}
    torch.save(weights, folder / "vgg16.pt")
    for file in data.picture_files(photos):
        shrink(file, folder / "photos" / f"{file.stem}.jpg", PHOTO_SIDE)
    for style in styles:
        source = next(Path(f) / style.file for f in paintings if (Path(f) / style.file).is_file())
        shrink(source, folder / "paintings" / style.file, PAINTING_SIDE)
