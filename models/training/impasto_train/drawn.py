"""Draws two pictures to learn from that no free painting at hand shows: a drawing in ink, and a mosaic.

Both are made from photos of this repository, always in the same way, and belong to it.
"""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from . import data

REPOSITORY = Path(__file__).resolve().parents[3]
INK, MOSAIC = "drawn_ink.png", "drawn_mosaic.png"


def blurred(image, sigma):
    """Gaussian blur of `[H, W]`."""
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(image[None, None], [reach] * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[0, 0]


def along_edges(gray, sigma):
    """The direction of edges near each pixel, as an angle: structure tensor (Bigün and Granlund 1987)."""
    dy, dx = torch.gradient(blurred(gray, 1.5))
    xx, yy, xy = (blurred(product, sigma) for product in (dx * dx, dy * dy, dx * dy))
    return 0.5 * torch.atan2(2 * xy, xx - yy) + math.pi / 2


def read(path, size):
    """A photo as `[3, H, W]`, 0–1, its longer side `size`."""
    picture = data.open_picture(path)
    scale = size / max(picture.size)
    picture = picture.resize([round(scale * side) for side in picture.size], Image.LANCZOS)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


def ink(photo):
    """Pen and ink: contours, and strokes that follow edges, the denser the darker, crossed where it is darkest."""
    generator = np.random.default_rng(1)
    gray = photo.mean(0)
    height, width = gray.shape
    tone = blurred(gray, 2.5)
    tone = ((tone - tone.quantile(0.02)) / (tone.quantile(0.98) - tone.quantile(0.02))).clamp(0, 1).numpy()
    direction = along_edges(gray, 9.0).numpy()
    fine = 4
    paper = Image.new("L", (width * fine, height * fine), 250)
    pen = ImageDraw.Draw(paper)
    # (tone below which there are strokes, turn against the edges, strokes a pixel)
    for below, turn, density in ((0.9, 0.0, 0.014), (0.62, 0.9, 0.011), (0.38, -0.8, 0.011), (0.2, 0.0, 0.012)):
        count = int(density * width * height)
        for x, y in zip(generator.uniform(0, width, count), generator.uniform(0, height, count)):
            darkness = below - tone[int(y), int(x)]
            if darkness < generator.uniform(0, 0.35):
                continue
            length, wide = generator.uniform(9, 22), 0.7 + 0.9 * min(darkness, 0.6)
            # Half of the stroke each way, bending with the edges.
            points = []
            for way in (-1, 1):
                px, py, half = x, y, []
                for _ in range(int(length)):
                    cell = min(max(int(py), 0), height - 1), min(max(int(px), 0), width - 1)
                    angle = direction[cell] + turn
                    step = np.array([math.cos(angle), math.sin(angle)]) * way
                    px, py = px + 0.7 * step[0], py + 0.7 * step[1]
                    half.append(np.array([px, py]))
                points = [*reversed(half), *points] if way < 0 else [*points, *half]
            pen.line([tuple(fine * p) for p in points], fill=int(generator.uniform(8, 40)), width=max(1, round(fine * wide)))
    drawing = torch.from_numpy(np.asarray(paper.resize((width, height), Image.LANCZOS)).copy()).float()
    # Contours: where a fine blur is darker than a coarse one (Winnemöller et al. 2012).
    difference = blurred(gray, 1.1) - blurred(gray, 1.9)
    contour = torch.sigmoid((difference + 0.03) * 160)
    drawing = (drawing * contour.clamp(0.06, 1)).clamp(0, 255)
    shade = torch.from_numpy(generator.normal(0, 2.0, (height, width))).float()
    drawing = (drawing + shade).clamp(0, 255)
    return drawing.expand(3, -1, -1) * torch.tensor([1.0, 0.985, 0.95])[:, None, None]


def mosaic(photo, side):
    """Tiles of about `side` pixels that follow edges (Hausner 2001, "Simulating Decorative Mosaics"), in grout."""
    generator = np.random.default_rng(2)
    gray = photo.mean(0)
    height, width = gray.shape
    direction = along_edges(gray, 1.2 * side)
    count = round(width * height / side**2)
    sites = torch.from_numpy(generator.uniform(0, 1, (count, 2)) * [width, height]).float()
    # Every other pixel of every other row tells enough.
    y, x = torch.meshgrid(torch.arange(0, height, 2), torch.arange(0, width, 2), indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()], 1).float()
    for _ in range(10):
        cells = direction[sites[:, 1].long().clamp(0, height - 1), sites[:, 0].long().clamp(0, width - 1)]
        along = torch.stack([cells.cos(), cells.sin()])
        across = torch.stack([-cells.sin(), cells.cos()])
        # The distance in which squares along the edges are balls.
        offsets = (sites.T * along).sum(0), (sites.T * across).sum(0)
        nearest = torch.cat([
            torch.maximum((part @ along - offsets[0]).abs(), (part @ across - offsets[1]).abs()).argmin(1)
            for part in places.split(4096)
        ])
        sums = torch.zeros(count, 2).index_add_(0, nearest, places)
        pixels = torch.bincount(nearest, minlength=count).clamp(min=1)[:, None]
        sites = torch.where(sums > 0, sums / pixels, sites)
    colors = torch.zeros(count, 3).index_add_(0, nearest, photo[:, ::2, ::2].flatten(1).T) / pixels
    colors = (colors - 0.5) * 1.15 + 0.5 + torch.from_numpy(generator.normal(0, 0.05, (count, 1))).float()
    fine = 4
    picture = Image.new("RGB", (width * fine, height * fine), (58, 54, 50))
    pen = ImageDraw.Draw(picture)
    for (px, py), angle, color in zip(sites.tolist(), cells.tolist(), (255 * colors).clamp(0, 255).int().tolist()):
        half = 0.46 * side * generator.uniform(0.9, 1.06)
        turned = angle + generator.normal(0, 0.05)
        corners = []
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            a, b = (half * (k + generator.normal(0, 0.07)) for k in (a, b))
            corners.append((fine * (px + a * math.cos(turned) - b * math.sin(turned)), fine * (py + a * math.sin(turned) + b * math.cos(turned))))
        pen.polygon(corners, fill=tuple(color))
    tiles = torch.from_numpy(np.asarray(picture.resize((width, height), Image.LANCZOS)).copy()).permute(2, 0, 1).float()
    # Light from the top left on the rims of the tiles.
    relief = blurred(tiles.mean(0), 1.0)
    dy, dx = torch.gradient(relief)
    return (tiles + 0.35 * (dx + dy)).clamp(0, 255)


def draw(folder):
    """Writes both pictures into `folder`; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        INK: ink(read(REPOSITORY / "samples" / "castle.jpg", 760)),
        MOSAIC: mosaic(read(REPOSITORY / "models" / "photos" / "kingfisher.jpg", 800), 12),
    }
    written = []
    for name, picture in pictures.items():
        Image.fromarray(picture.round().byte().permute(1, 2, 0).numpy()).save(folder / name)
        written.append(folder / name)
    return written
