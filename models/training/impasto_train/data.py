"""Photos to train on, photos held out, and paintings: read once, kept as 8-bit tensors on the training device."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Style:
    """One entry of styles.toml; `box` cuts left, top, right, bottom off as fractions, `short_side` sets the size of strokes."""

    name: str
    file: str
    title: str
    artist: str
    year: int
    short_side: int
    weight: float
    box: tuple
    died: int | None = None


def on_device(values, device):
    """A small tensor from the processor's memory, without waiting for what the device still has to do."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def read_settings(path):
    """Reads styles.toml: the styles in order, and the stems of the photos that are held out."""
    with open(path, "rb") as file:
        try:
            table = tomllib.load(file)
            entries = [{**table["defaults"], **entry} for entry in table["styles"]]
            styles = [Style(**{**entry, "box": tuple(entry["box"])}) for entry in entries]
            held_out = table["held_out"]
        except KeyError as error:
            raise ValueError(f"'{path}' has no {error}") from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"'{path}' cannot be read as settings of styles: {error}") from error
    names = [style.name for style in styles]
    if len(set(names)) != len(names):
        raise ValueError(f"'{path}' names a style twice")
    return styles, held_out


def check_styles(asked, names):
    """Fails where `asked` has styles that are not among `names`."""
    if unknown := [name for name in asked if name not in names]:
        raise ValueError(f"no styles: {', '.join(unknown)} (expected some of {', '.join(names)})")


def check_folders(folders):
    """Fails where one of `folders` is none."""
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ValueError(f"'{folder}' is {'a file' if folder.exists() else 'missing'} (expected a folder of pictures)")


def picture_files(folders):
    """All pictures below the folders, in a fixed order."""
    check_folders(folders)
    files = sorted(f for folder in folders for f in Path(folder).rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"no pictures in {', '.join(map(str, folders))}")
    return files


def open_picture(path):
    """The picture of a file, RGB."""
    try:
        return Image.open(path).convert("RGB")
    # Pillow calls a broken PNG a SyntaxError.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"'{path}' cannot be read as a picture: {getattr(error, 'strerror', None) or error}") from error


def read_picture(path, short_side=None, box=(0, 0, 0, 0)):
    """A picture as uint8 `[3, H, W]`, RGB, cut by `box`, its short side scaled to `short_side`."""
    image = open_picture(path)
    width, height = image.size
    left, top, right, bottom = box
    image = image.crop((round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height)))
    if short_side:
        scale = short_side / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def painting_file(style, folders):
    """The file of a style's painting, in the first of `folders` that has it."""
    check_folders(folders)
    for folder in folders:
        path = Path(folder) / style.file
        if path.is_file():
            return path
    raise ValueError(f"painting '{style.file}' is in none of {', '.join(map(str, folders))}")


def read_style(style, folders):
    """The painting of a style as float `[1, 3, H, W]`, 0–255."""
    return read_picture(painting_file(style, folders), style.short_side, style.box)[None].float()


SMALLEST = 128


class Photos:
    """Random crops of photos. Small photos (below 300 pixels) are drawn a quarter as often as large ones."""

    def __init__(self, files, device, generator):
        pictures = [read_picture(file) for file in files]
        pictures = [p for p in pictures if min(p.shape[1:]) >= SMALLEST]
        if not pictures:
            raise ValueError(f"none of {len(files)} photos is large enough (expected short sides of {SMALLEST} pixels or more)")
        self.pictures = [p.to(device) for p in pictures]
        self.chances = torch.tensor([1.0 if min(p.shape[1:]) >= 300 else 0.25 for p in pictures])
        self.generator = generator

    def uniform(self, low, high):
        """A random number."""
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def crops(self, batch, size):
        """`[batch, 3, size, size]`, float 0–255: random photo, scale, place, mirroring, contrast and color."""
        indices = torch.multinomial(self.chances, batch, replacement=True, generator=self.generator).tolist()
        crops = torch.cat([self.crop(self.pictures[index], size) for index in indices])
        # Half of them as they are: contrast, brightness and the three gains are 1.
        changed = torch.rand(batch, 1, generator=self.generator) < 0.5
        low, high = torch.tensor([[0.7, 0.8, 0.9, 0.9, 0.9], [1.2, 1.15, 1.1, 1.1, 1.1]])
        factors = torch.where(changed, low + (high - low) * torch.rand(batch, 5, generator=self.generator), torch.ones(()))
        contrast, brightness, gains = on_device(factors, crops.device).view(batch, 5, 1, 1).split([1, 1, 3], 1)
        mean = crops.mean((2, 3), keepdim=True)
        return (((crops - mean) * contrast + mean * brightness) * gains).clamp(0, 255)

    def crop(self, picture, size):
        """One crop `[1, 3, size, size]`, not yet changed in color."""
        height, width = picture.shape[1:]
        # Between the whole short side and a crop that is enlarged 1.3 times.
        low = min(min(height, width), size / 1.3)
        side = round(low * (min(height, width) / low) ** self.uniform(0, 1))
        top, left = round(self.uniform(0, height - side)), round(self.uniform(0, width - side))
        crop = picture[None, :, top : top + side, left : left + side].float()
        crop = F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        return crop.flip(3) if self.uniform(0, 1) < 0.5 else crop
