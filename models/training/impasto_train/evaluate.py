"""Losses on held-out photos: networks against each other, and against optimizing the photo itself.

All are measured in float32 with the losses of `losses.py`, on clipped pictures, and without the stability term. L-BFGS starts from the
photo (Gatys et al. 2016), so that "at most the loss of N iterations" says how far a network goes in one pass.
"""

import json
from pathlib import Path

import torch

from . import data, files, losses, sheet, vgg


class Judge:
    """Measures pictures against a photo and a style."""

    def __init__(self, eye, styles, paintings):
        self.eye, self.styles = eye, {style.name: style for style in styles}
        self.grams = {}
        for style in styles:
            self.grams[style.name] = [losses.gram(f) for f in eye(data.read_style(style, paintings))]

    def losses(self, picture, content, style):
        """Total (without stability) and parts of float `[1, 3, H, W]`."""
        weight = torch.tensor([self.styles[style].weight])
        return losses.picture_losses(self.eye, picture, content, self.grams[style], weight)

    @torch.no_grad()
    def judged(self, picture, content, style):
        """The numbers of a table row."""
        total, parts = self.losses(picture, content, style)
        return {
            "total": total.item(),
            "content": parts["content"].item(),
            "style": sum(e.item() for e in parts["errors"]),
            "weighted_style": parts["style"].item(),
            "errors": [e.item() for e in parts["errors"]],
        }

    def optimized(self, photo, content, style, iterations):
        """The photo after so many L-BFGS iterations on the total loss."""
        # Scaled to about one, as L-BFGS' first step is of length one.
        x = (photo / 255).clone().requires_grad_(True)
        solver = torch.optim.LBFGS([x], max_iter=iterations, history_size=100, tolerance_grad=0, tolerance_change=0)

        def closure():
            solver.zero_grad()
            total = self.losses(x * 255, content, style)[0].sum()
            total.backward()
            return total

        solver.step(closure)
        return (x.detach() * 255).clamp(0, 255)


def mean(rows):
    """The mean of every number over the rows."""
    count = len(rows)
    return {
        key: [sum(parts) / count for parts in zip(*(row[key] for row in rows))]
        if isinstance(rows[0][key], list)
        else sum(row[key] for row in rows) / count
        for key in rows[0]
    }


def held_out_photos(folders, held_out, count, size):
    """The first `count` held-out photos as float `[1, 3, H, W]`, the longer side `size`, by the order of styles.toml."""
    by_stem = {file.stem: file for file in data.picture_files(folders)}
    if missing := [stem for stem in held_out[:count] if stem not in by_stem]:
        raise ValueError(f"held-out photos are missing in {', '.join(map(str, folders))}: {', '.join(missing)}")
    photos = []
    for stem in held_out[:count]:
        picture = data.read_picture(by_stem[stem])[None].float()
        scale = size / max(picture.shape[2:])
        shape = [round(side * scale / 8) * 8 for side in picture.shape[2:]]
        photos.append(torch.nn.functional.interpolate(picture, size=shape, mode="bicubic", antialias=True).clamp(0, 255))
    return photos


def opened_network(entry, known, threads):
    """Of `FILE` or `FILE=STYLE`: the file, its session, the styles it has, and those to evaluate."""
    path, _, only = entry.partition("=")
    opened, names = sheet.session(path, threads)
    if not (only or names):
        raise ValueError(f"'{path}' does not say which style it has (expected {path}=STYLE)")
    data.check_styles([only] if only else [], [name for name in names or known if name in known])
    return path, opened, names, [only] if only else [name for name in names if name in known]


def run(arguments):
    """Prints the table, a row per network and style."""
    torch.set_num_threads(arguments.threads)
    if arguments.json:
        files.check_writable(arguments.json)
    styles, held_out = data.read_settings(arguments.styles)
    known = [style.name for style in styles]
    data.check_styles(arguments.only or [], known)
    networks = [opened_network(entry, known, arguments.threads) for entry in arguments.networks]
    judge = Judge(vgg.load(arguments.vgg), styles, arguments.paintings)
    photos = held_out_photos(arguments.photos, held_out, arguments.count, arguments.size)
    with torch.no_grad():
        contents = [judge.eye(photo) for photo in photos]
    results = {}

    def report(name, style, rows):
        row = results.setdefault(style, {})[name] = mean(rows)
        errors = " ".join(f"{e:.3f}" for e in row["errors"])
        print(
            f"{style:20} {name:24} total {row['total']:7.3f}  content {row['content']:8.0f}  "
            f"style {row['style']:.3f} ({errors})",
            flush=True,
        )

    for path, opened, names, asked in networks:
        for style in asked:
            if arguments.only and style not in arguments.only:
                continue
            rows = []
            for photo, content in zip(photos, contents):
                painted = torch.from_numpy(sheet.paint(opened, names, photo.numpy(), style))
                rows.append(judge.judged(painted, content, style))
            report(Path(path).parent.name + "/" + Path(path).stem, style, rows)
    if arguments.lbfgs:
        for style in arguments.only or judge.styles:
            rows = []
            for photo, content in zip(photos, contents):
                picture = judge.optimized(photo, content, style, arguments.lbfgs)
                rows.append(judge.judged(picture, content, style))
            report(f"L-BFGS {arguments.lbfgs}", style, rows)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1))
