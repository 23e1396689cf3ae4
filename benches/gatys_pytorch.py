"""Compares `impasto paint` with a plain PyTorch loop: the same network, losses, optimizer and start.

    python3 benches/gatys_pytorch.py target/release/impasto [--size 256] [--rounds 3] [--iterations 20] [--long 300]

Needs the packages torch, onnx, numpy and pillow (PyTorch from PyPI). Both run on the CPU with 2 threads in float32, in turns
so that what else the machine does meets both; the fastest round of each counts. Then both go on for --long iterations from
the same start, and their losses are compared. Prints one line of JSON.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
CONTENT_WEIGHT, STYLE_WEIGHT, ROUGHNESS_WEIGHT = 1.0, 5.0, 1.0
LEARNING_RATE, BETAS = 0.02, (0.9, 0.99)
LAYERS = [(block, index) for block, count in enumerate([2, 2, 3, 3, 1], 1) for index in range(1, count + 1)]


def load_vgg():
    graph = onnx.load(ROOT / "models" / "vgg16.onnx").graph
    tensors = {tensor.name: torch.tensor(numpy_helper.to_array(tensor).astype(numpy.float32)) for tensor in graph.initializer}
    return [(f"{block}_{index}", tensors[f"conv{block}_{index}.weight.half"], tensors[f"conv{block}_{index}.bias.half"])
            for block, index in LAYERS]


def features(vgg, image):
    mean = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
    x = F.pad((image * 255 - mean).flip(1), (1, 1, 1, 1), mode="replicate")
    found, block = {}, "1"
    for name, weight, bias in vgg:
        if name[0] != block:
            block = name[0]
            x = F.avg_pool2d(x, 2)
        x = F.relu(F.conv2d(x, weight, bias, padding=0 if name == "1_1" else 1))
        found[f"relu{name}"] = x
    return found


def gram(features):
    flat = features.flatten(2)[0]
    return flat @ flat.T / flat.numel()


def relative_error(a, target):
    return (a - target).square().mean() / (target.square().mean() + 1e-12)


class Loop:
    def __init__(self, vgg, content, style):
        self.vgg = vgg
        with torch.no_grad():
            self.content = features(vgg, content)[CONTENT_LAYER]
            found = features(vgg, style)
            self.grams = {layer: gram(found[layer]) for layer in STYLE_LAYERS}
        self.image = content.clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.image], lr=LEARNING_RATE, betas=BETAS)

    def step(self):
        self.optimizer.zero_grad()
        found = features(self.vgg, self.image)
        loss = CONTENT_WEIGHT * relative_error(found[CONTENT_LAYER], self.content)
        for layer in STYLE_LAYERS:
            loss = loss + STYLE_WEIGHT / len(STYLE_LAYERS) * relative_error(gram(found[layer]), self.grams[layer])
        x = self.image
        rough = (x[..., 1:, :] - x[..., :-1, :]).square().mean() + (x[..., 1:] - x[..., :-1]).square().mean()
        loss = loss + ROUGHNESS_WEIGHT * rough
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.image.clamp_(0, 1)
        return loss.item()


def run_impasto(binary, folder, size, iterations):
    trace = folder / "trace.json"
    # The first size takes twice the iterations.
    command = [binary, "paint", folder / "content.png", "--style", folder / "style.png", "-o", folder / "out.png", "-y", "-q",
               "--optimizer", "adam", "--size", size, "--start-size", size, "--iterations", iterations // 2, "--threads", 2,
               "--trace", trace]
    subprocess.run([str(word) for word in command], check=True)
    return json.loads(trace.read_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("impasto")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--long", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(2)
    vgg = load_vgg()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pictures = []
        for part, sample in (("content", "castle.jpg"), ("style", "starry-night.jpg")):
            picture = Image.open(ROOT / "samples" / sample).convert("RGB").resize((args.size, args.size), Image.LANCZOS)
            picture.save(folder / f"{part}.png")
            pictures.append(torch.tensor(numpy.array(picture)).permute(2, 0, 1)[None].float() / 255)
        seconds = {"impasto": [], "pytorch": []}
        for _ in range(args.rounds):
            rows = run_impasto(args.impasto, folder, args.size, args.iterations)
            times = [row["seconds"] for row in rows]
            seconds["impasto"].append((times[-1] - times[1]) / (len(times) - 2))
            loop = Loop(vgg, *pictures)
            loop.step(), loop.step()
            started = time.perf_counter()
            for _ in range(args.iterations - 2):
                loop.step()
            seconds["pytorch"].append((time.perf_counter() - started) / (args.iterations - 2))
        result = {"size": args.size, **{name: round(min(times), 4) for name, times in seconds.items()}}
        result["ratio"] = round(result["impasto"] / result["pytorch"], 3)
        result["rounds"] = {name: [round(time, 4) for time in times] for name, times in seconds.items()}
        if args.long:
            ours = run_impasto(args.impasto, folder, args.size, args.long)
            loop = Loop(vgg, *pictures)
            losses = [loop.step() for _ in range(args.long)]
            result["loss"] = {"impasto": ours[-1]["total"], "pytorch": losses[-1], "first": [ours[0]["total"], losses[0]]}
        print(json.dumps(result))


if __name__ == "__main__":
    main()
