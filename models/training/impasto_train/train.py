"""The training loop: crops in, losses, a step, an average of the weights, and a state on disk every few minutes."""

import json
import math
import os
import signal
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch

from . import captured, data, files, losses, optimizer, schedule, vgg, warm
from .network import StyleNetwork

STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"
# Steps that a device may be behind before its numbers are waited for, and seconds between two states.
STEPS_AHEAD = {"cpu": 0, "cuda": 2}
SAVE_EVERY = {"cpu": 180.0, "cuda": 60.0}


@dataclass
class Options:
    """What a training is asked for; written into its state."""

    size: str = "lite"
    optimizer: str = "muon"
    lr: float = 2e-3
    stability: float = 30.0
    seed: int = 1
    device: str = "cpu"
    threads: int = 2
    average: float = 0.999
    init: str = ""
    rows: list = field(default_factory=list)


@dataclass
class Totals:
    """What all the sessions of one training did so far."""

    progress: float = 0.0
    steps: int = 0
    pictures: int = 0
    work_seconds: float = 0.0
    sessions: list = field(default_factory=list)


class Average:
    """Exponential average of the weights, which is what is exported."""

    def __init__(self, network, decay):
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in network.named_parameters()}
        self.updates = 0

    @torch.no_grad()
    def update(self, network):
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        names, parameters = zip(*network.named_parameters())
        torch._foreach_lerp_([self.values[name] for name in names], [p.detach() for p in parameters], 1 - decay)


def style_targets(eye, styles, folders, device):
    """The Gram matrices of every painting: per layer `[styles, C, C]`."""
    per_style = []
    for style in styles:
        features = eye(data.read_style(style, folders).to(device))
        per_style.append([losses.gram(f)[0] for f in features])
    return [torch.stack(layer) for layer in zip(*per_style)]


class Measured:
    """What a step measured, on its way from the device: reading it at once would keep a GPU waiting for the next step."""

    def __init__(self, numbers, styles, crop, step, progress):
        self.styles, self.crop, self.step, self.progress = styles, crop, step, progress
        self.numbers, self.is_there = numbers, None
        if numbers.is_cuda:
            self.numbers = torch.empty(numbers.shape, pin_memory=True).copy_(numbers, non_blocking=True)
            self.is_there = torch.cuda.Event()
            self.is_there.record()

    def read(self):
        """The numbers by name; waits for the step."""
        if self.is_there:
            self.is_there.synchronize()
        loss, content, stability, *errors = self.numbers[: -len(self.styles)].tolist()
        return {
            "loss": loss,
            "content": content,
            "errors": errors + [None] * (4 - len(errors)),
            "stability": stability,
            "style": dict(zip(self.styles, self.numbers[-len(self.styles) :].tolist())),
            "crop": self.crop,
            "step": self.step,
            "progress": round(self.progress, 5),
        }


def check_resumable(path, state, options, style_names):
    """Fails where the state in `path` is of another training than `options` and the styles ask for."""
    if state["styles"] != style_names:
        raise ValueError(f"'{path}' holds the styles {', '.join(state['styles'])} (expected {', '.join(style_names)})")
    saved = state["options"]
    for name in ("size", "optimizer"):
        if saved[name] != (given := getattr(options, name)):
            raise ValueError(f"'{path}' was trained with --{name} {saved[name]} (give it again; it is {given} now)")
    # Moments of rows that are not fitted any more would go on moving them.
    if set(rows := saved.get("rows", [])) != set(options.rows):
        was, now = (f"--rows {' '.join(names)}" if names else "no --rows" for names in (rows, options.rows))
        raise ValueError(f"'{path}' was trained with {was} (expected the same again, found {now}; --init starts anew from its export)")


class Training:
    """Everything that a step needs."""

    def __init__(self, options, styles, photos, paintings, vgg_path):
        names = [style.name for style in styles]
        data.check_styles(options.rows, names)
        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self.options, self.styles = options, styles
        self.device = torch.device(options.device)
        self.kind = self.device.type
        self.generator = torch.Generator().manual_seed(options.seed)
        self.noise_generator = self.generator if self.kind == "cpu" else torch.Generator(self.device).manual_seed(options.seed)
        # The same sizes again and again; and what meets here in 32 bits was rounded to fewer than TF32 keeps.
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        self.photos = data.Photos(photos, self.device, self.generator)
        eye = vgg.load(vgg_path).to(self.device)
        self.targets = style_targets(eye, styles, paintings, self.device)
        # The mean stays exact.
        eye.convs.to(torch.bfloat16, memory_format=torch.channels_last)
        self.eye = eye
        self.weights = torch.tensor([s.weight for s in styles], device=self.device)
        self.one_hot = torch.eye(len(styles), device=self.device)
        self.network = StyleNetwork(options.size, len(styles)).to(self.device)
        if options.init:
            warm.start_from(self.network, options.init, names)
        # The gradient of a row whose style is not drawn is 0, and so it stays.
        self.drawn = [index for index, name in enumerate(names) if not options.rows or name in options.rows]
        if options.rows:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(".norm." in name)
        self.parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.captured = {}
        self.optimizers = optimizer.make(self.network, options.optimizer, options.lr)
        self.average = Average(self.network, options.average)
        self.totals = Totals()
        self.order = []

    def next_styles(self, batch):
        """Indices of the styles of the next pictures: all styles in random order, again and again."""
        while len(self.order) < batch:
            self.order += [self.drawn[i] for i in torch.randperm(len(self.drawn), generator=self.generator).tolist()]
        chosen, self.order = self.order[:batch], self.order[batch:]
        return chosen

    def step(self):
        """One step; the numbers that it leaves on the device."""
        progress = self.totals.progress
        phase = schedule.phase(self.kind, progress)
        chosen = self.next_styles(phase.batch)
        wide = self.photos.crops(phase.batch, phase.crop + losses.MAX_SHIFT)
        motion = losses.random_motion(self.generator, phase.batch)
        moved = motion.move(wide, phase.crop)
        noise = torch.randn(moved.shape, generator=self.noise_generator, device=self.device) * self.photos.uniform(0, 6)
        inputs = (
            wide[:, :, : phase.crop, : phase.crop].contiguous(),
            moved * self.photos.uniform(0.97, 1.03) + noise,
            losses.grid_of(data.on_device(motion.matrix(phase.batch, phase.crop).contiguous(), self.device), phase.crop),
            data.on_device(motion.seen(phase.crop), self.device),
            data.on_device(torch.tensor(chosen), self.device),
            torch.full((), schedule.stability_weight(self.options.stability, progress), device=self.device),
        )
        # relu4_3 costs a quarter of a step and counts little: every other step, twice as much.
        numbers = self.gradients(phase.crop, 3 + self.totals.steps % 2, inputs)
        torch.nn.utils.clip_grad_norm_(self.parameters, 50.0)
        for each in self.optimizers:
            for group in each.param_groups:
                group["lr"] = group["scale"] * schedule.learning_rate(self.options.lr, progress)
            each.step()
        self.average.update(self.network)
        self.totals.steps += 1
        self.totals.pictures += phase.batch
        return Measured(numbers, chosen, phase.crop, self.totals.steps, progress)

    def gradients(self, crop, blocks, inputs):
        """Leaves the gradients of one step in the parameters; returns what `differentiate` measured."""
        if self.kind != "cuda":
            return self.differentiate(blocks, *inputs)
        if (crop, blocks) not in self.captured:
            function = partial(self.differentiate, blocks)
            self.captured[crop, blocks] = captured.Captured(function, inputs, self.parameters)
        return self.captured[crop, blocks](inputs)

    def differentiate(self, blocks, image, moved, grid, seen, index, stability_weight):
        """The loss and its gradients; numbers `[4 or 5 + B]`: loss, content, stability, error of each of `blocks`, style of each picture."""
        for parameter in self.parameters:
            parameter.grad = None
        style = self.one_hot[index]
        with torch.no_grad():
            content = self.eye(image, losses.CONTENT_LAYER + 1)
        output = self.network(image, style, torch.bfloat16)
        grams = [layer[index] for layer in self.targets]
        total, parts = losses.picture_losses(self.eye, output, content, grams, self.weights[index], blocks)
        stability = losses.stability_loss(image, output, self.network(moved, style, torch.bfloat16), grid, seen)
        loss = total.mean() + stability_weight * stability
        loss.backward()
        numbers = [loss, parts["content"].mean(), stability, *(e.mean() for e in parts["errors"])]
        return torch.cat([torch.stack(numbers), parts["style"]]).detach()

    def save(self, path):
        """Writes the state."""
        state = {
            "version": 1,
            "options": asdict(self.options),
            "styles": [style.name for style in self.styles],
            "totals": asdict(self.totals),
            "network": self.network.state_dict(),
            "average": self.average.values,
            "average_updates": self.average.updates,
            "optimizers": [each.state_dict() for each in self.optimizers],
            "generator": self.generator.get_state(),
            "noise_generator": self.noise_generator.get_state(),
            "order": self.order,
        }
        files.write_whole(path, lambda temporary: torch.save(state, temporary))

    def restore(self, path):
        """Continues from a state; its styles must be those of styles.toml, in the same order."""
        state = files.read_state(path, self.device)
        check_resumable(path, state, self.options, [style.name for style in self.styles])
        self.network.load_state_dict(state["network"])
        self.average.values = {k: v.float() for k, v in state["average"].items()}
        self.average.updates = state["average_updates"]
        for each, saved in zip(self.optimizers, state["optimizers"]):
            each.load_state_dict(saved)
        self.generator.set_state(state["generator"].cpu())
        # On a processor they are one; a state may also come from the other kind of device.
        if self.kind == torch.device(state["options"]["device"]).type and "noise_generator" in state:
            self.noise_generator.set_state(state["noise_generator"].cpu())
        self.order = state.get("order", [])
        self.totals = Totals(**state["totals"])


def run(training, folder, budget_seconds, stop_at=1.0, say=print):
    """Trains until the budget of work is spent, which takes the progress from where it is to `stop_at`.

    A first SIGTERM or Ctrl-C ends it after the step, with its state; a Ctrl-C after that ends it at once.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clock = schedule.WorkClock()
    threads = schedule.ThreadCount(training.options.threads if training.kind == "cpu" else 1)
    start = training.totals.progress
    spent, last_save = 0.0, time.monotonic()
    session = {"started": time.strftime("%Y-%m-%d %H:%M"), "budget_seconds": budget_seconds, "device": str(training.device)}
    training.totals.sessions.append(session)
    journal = Journal(folder / LOG_FILE, say)
    pending = deque()
    stopped = []

    def stop(*_):
        stopped.append(True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # `print` may be what was interrupted.
        os.write(2, b"stopping after this step (Ctrl-C stops at once, with the state that was saved last)\n")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with journal:
        while spent < budget_seconds and not stopped:
            began, cpu_began = time.monotonic(), time.process_time()
            pending.append(training.step())
            if len(pending) > STEPS_AHEAD[training.kind]:
                journal.note(pending.popleft().read())
            wall, cpu = time.monotonic() - began, time.process_time() - cpu_began
            if training.kind == "cpu":
                torch.set_num_threads(threads.after(wall, cpu))
            work = clock.work(wall)
            spent += work
            training.totals.work_seconds += work
            training.totals.progress = start + (stop_at - start) * min(1.0, spent / budget_seconds)
            session.update(work_seconds=round(spent, 1), steps=session.get("steps", 0) + 1)
            if time.monotonic() - last_save > SAVE_EVERY[training.kind]:
                training.save(folder / STATE_FILE)
                last_save = time.monotonic()
        while pending:
            journal.note(pending.popleft().read())
    training.save(folder / STATE_FILE)
    say(ending(training.totals, folder), flush=True)


def ending(totals, folder):
    """What is said at the end: where the training stands, where its state lies and how to go on."""
    state = folder / STATE_FILE
    if totals.progress < 1:
        onward = f"train --resume --state {folder} --budget MINUTES … goes on"
    else:
        onward = f"export {state} network.onnx writes the network, train --resume --rewind 0.3 --state {folder} --budget MINUTES … trains it further"
    return f"{100 * totals.progress:5.1f} %  {totals.steps} steps in {totals.work_seconds / 60:.1f} minutes of work; state in {state}\n{onward}"


class Journal:
    """The log: every step in a file, and a line with their running means now and then."""

    SAY_EVERY = 30.0

    def __init__(self, path, say):
        self.file, self.say = open(path, "a"), say
        self.running, self.count = {}, 0
        self.last_say, self.last_count = time.monotonic(), 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def note(self, result):
        """Takes note of a step; fails where the training has come apart."""
        if not math.isfinite(result["loss"]):
            raise ValueError(f"the loss of step {result['step']} is {result['loss']} (a lower --lr may help; the last state is whole)")
        self.file.write(json.dumps(result) + "\n")
        self.count += 1
        values = {key: result[key] for key in ("loss", "content", "stability")} | dict(enumerate(result["errors"]))
        for key, value in values.items():
            if value is not None:
                self.running[key] = 0.98 * self.running.get(key, value) + 0.02 * value
        elapsed = time.monotonic() - self.last_say
        if elapsed > self.SAY_EVERY or self.count == 1:
            running = self.running
            errors = " ".join(f"{running.get(layer, 0):.3f}" for layer in range(4))
            self.say(
                f"{100 * result['progress']:5.1f} %  step {result['step']}  crop {result['crop']}  "
                f"loss {running['loss']:.2f}  content {running['content']:.0f}  errors {errors}  "
                f"stability {running['stability']:.4f}  {elapsed / (self.count - self.last_count):.3f} s/step",
                flush=True,
            )
            self.last_say, self.last_count = time.monotonic(), self.count
            self.file.flush()
