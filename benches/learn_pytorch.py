"""Compares a step of `impasto learn` with the same step in PyTorch: the same network, losses, views and optimizer.

    python3 benches/learn_pytorch.py target/release/impasto [--crop 192] [--rounds 3] [--steps 20]

Needs the packages torch, onnx, numpy and pillow (PyTorch from PyPI). Both run on the CPU with 2 threads in float32, in turns
so that what else the machine does meets both. A round is the median of its steps, without preparation and judgements; the
fastest round of each counts. Prints one line of JSON.
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
LAYERS = [(block, index) for block, count in enumerate([2, 2, 3, 3], 1) for index in range(1, count + 1)]
STYLE_LAYERS = {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 0.3}


def arrays(path):
    graph = onnx.load(path).graph
    tensors = {t.name: torch.tensor(numpy_helper.to_array(t).astype(numpy.float32)) for t in graph.initializer}
    return graph, tensors


class Network:
    """The graph of the bundled network, node by node, with a row for each table in the place of the style."""

    def __init__(self):
        self.graph, self.weights = arrays(ROOT / "models" / "impasto-lite.onnx")
        self.tables = [node.input[1] for node in self.graph.node if node.input[0] == "style"]
        lengths = [self.weights[name].shape[1] for name in self.tables]
        start = [self.weights[name][0] for name in self.tables]
        self.row, self.lengths = torch.cat(start).clone().requires_grad_(), lengths

    def __call__(self, image):
        values = dict(self.weights)
        values["image"] = image
        rows = dict(zip(self.tables, self.row.split(self.lengths)))
        for node in self.graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            x = values.get(node.input[0])
            kind, name = node.op_type, node.output[0]
            if kind == "MatMul":
                values[name] = rows[node.input[1]]
            elif kind == "Squeeze":
                values[name] = x
            elif kind == "Div":
                values[name] = x / values[node.input[1]]
            elif kind == "Sub":
                values[name] = x - values[node.input[1]]
            elif kind == "Add":
                values[name] = x + values[node.input[1]]
            elif kind == "Mul":
                values[name] = x * values[node.input[1]]
            elif kind == "Relu":
                values[name] = F.relu(x)
            elif kind == "SpaceToDepth":
                b, c, h, w = x.shape
                n = attributes["blocksize"]
                split = x.view(b, c, h // n, n, w // n, n)
                values[name] = split.permute(0, 3, 5, 1, 2, 4).reshape(b, c * n * n, h // n, w // n)
            elif kind == "DepthToSpace":
                values[name] = F.pixel_shuffle(x, attributes["blocksize"])
            elif kind == "Pad":
                values[name] = F.pad(x, [int(values[node.input[1]][2])] * 4, mode="reflect")
            elif kind == "Conv":
                values[name] = F.conv2d(x, values[node.input[1]], values[node.input[2]], attributes["strides"])
            elif kind == "InstanceNormalization":
                scale, shift = values[node.input[1]], values[node.input[2]]
                normal = F.instance_norm(x, eps=attributes["epsilon"])
                values[name] = normal * scale[:, None, None] + shift[:, None, None]
            elif kind == "Resize":
                values[name] = F.interpolate(x, scale_factor=2, mode="nearest")
            elif kind == "Clip":
                return x
            else:
                raise ValueError(f"operator {kind}")
        raise ValueError("the graph has no Clip at its end")


class Vgg:
    def __init__(self):
        _, tensors = arrays(ROOT / "models" / "vgg16.onnx")
        part = "conv{}_{}.{}.half"
        self.convs = [(b, i, tensors[part.format(b, i, "weight")], tensors[part.format(b, i, "bias")]) for b, i in LAYERS]
        self.mean = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)

    def __call__(self, image, blocks):
        x, found, last = (image - self.mean).flip(1), {}, 1
        x = F.pad(x, [1] * 4, mode="replicate")
        for block, index, weight, bias in self.convs:
            if block > blocks:
                break
            if block != last:
                x, last = F.max_pool2d(x, 2), block
            x = F.relu(F.conv2d(x, weight, bias, padding=0 if (block, index) == (1, 1) else 1))
            found[f"relu{block}_{index}"] = x
        return found


def gram(features):
    flat = features.flatten(2)[0]
    return flat @ flat.T / flat.numel()


class Step:
    def __init__(self, side, photo, painting):
        self.network, self.vgg = Network(), Vgg()
        with torch.no_grad():
            self.grams = {layer: gram(found) for layer, found in self.vgg(painting, 4).items() if layer in STYLE_LAYERS}
        self.views = torch.cat([photo, photo.roll((3, 5), (2, 3))])
        self.rows, self.columns = torch.eye(side).roll(3, 0), torch.eye(side).roll(5, 1)
        self.weights = torch.rand(side, side)
        self.optimizer = torch.optim.Adam([self.network.row], lr=0.02, betas=(0.9, 0.99))

    def __call__(self):
        self.optimizer.zero_grad()
        painted = self.network(self.views)
        first, second = painted[:1], painted[1:]
        with torch.no_grad():
            content = self.vgg(self.views[:1], 3)["relu3_3"]
        beyond = first.clamp(0, 255) - first
        found = self.vgg(first + beyond.detach(), 4)
        loss = (found["relu3_3"] - content).square().mean() / 1.5e5
        for layer, weight in STYLE_LAYERS.items():
            target = self.grams[layer]
            loss = loss + 6 * weight * (gram(found[layer]) - target).square().sum() / target.square().sum()
        rough = (first[:, :, 1:] - first[:, :, :-1]).abs().mean() + (first[..., 1:] - first[..., :-1]).abs().mean()
        moved = self.rows @ first @ self.columns
        stable = ((moved - second).abs() * self.weights).mean() / 255
        loss = loss + 0.002 * rough + 1e-3 * beyond.square().mean() + 10 * stable
        loss.backward()
        self.optimizer.step()
        return loss.item()


def seconds_of(binary, folder, crop, steps):
    command = [binary, "learn", folder / "painting.png", "-o", folder / "out.style", "-y", "-q", "--from", "starry-night",
               "--crop", crop, "--steps", steps, "--threads", 2, "--json"]
    result = subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return json.loads(result.stdout)["step_seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("impasto")
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(2)

    def picture(name, size):
        return Image.open(ROOT / "samples" / name).convert("RGB").resize(size, Image.LANCZOS)

    def tensor(picture):
        return torch.tensor(numpy.array(picture)).permute(2, 0, 1)[None].float()

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        painting = picture("shipwreck.jpg", (512, 384))
        painting.save(folder / "painting.png")
        step = Step(args.crop, tensor(picture("castle.jpg", (args.crop, args.crop))), tensor(painting))
        seconds = {"impasto": [], "pytorch": []}
        for _ in range(args.rounds):
            seconds["impasto"].append(seconds_of(args.impasto, folder, args.crop, args.steps))
            step(), step()
            times = []
            for _ in range(args.steps):
                started = time.perf_counter()
                step()
                times.append(time.perf_counter() - started)
            seconds["pytorch"].append(sorted(times)[len(times) // 2])
    result = {"crop": args.crop, **{name: round(min(times), 4) for name, times in seconds.items()}}
    result["ratio"] = round(result["impasto"] / result["pytorch"], 3)
    result["rounds"] = {name: [round(time, 4) for time in times] for name, times in seconds.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
