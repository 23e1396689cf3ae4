"""How fast PyTorch runs a network: what `impasto bench` on the same machine is compared with.

Frames are bytes in the processor's memory, and so are paintings, as in impasto. On a GPU: half precision, channels last, compiled with
CUDA graphs. On a CPU: 32-bit floats, channels last. The weights are random; speed does not depend on them.
"""

import time

import torch

from .network import StyleNetwork

WARM_UP = 10


class Painter(torch.nn.Module):
    """`[1, H, W, 3]` bytes to the same, as in impasto's graph."""

    def __init__(self, network, styles, dtype):
        super().__init__()
        self.network, self.dtype = network, dtype
        self.register_buffer("style", torch.nn.functional.one_hot(torch.tensor([0]), styles).float())

    def forward(self, frame):
        image = frame.permute(0, 3, 1, 2).float()
        painted = self.network(image, self.style.to(image.device), self.dtype)
        return (painted.clamp(0, 255) + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def measure(size, width, height, frames, device, threads, styles=12):
    """Frames a second: of the network on frames that lie there already, and with the copies there and back."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    on_gpu = device == "cuda"
    dtype = torch.float16 if on_gpu else torch.float32
    painter = Painter(StyleNetwork(size, styles).eval(), styles, dtype).to(device, memory_format=torch.channels_last)
    if on_gpu:
        torch.backends.cudnn.benchmark = True
        for module in painter.network.modules():
            if type(module).__name__ == "Conv":
                module.half()
        painter = torch.compile(painter, mode="reduce-overhead")
    frame = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)
    painted = torch.empty_like(frame)
    if on_gpu:
        frame, painted = frame.pin_memory(), painted.pin_memory()

    def rate(step):
        for _ in range(WARM_UP):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(frames):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        return frames / (time.perf_counter() - start)

    there = frame.to(device)
    alone = rate(lambda: painter(there))
    with_copies = rate(lambda: painted.copy_(painter(frame.to(device, non_blocking=True)), non_blocking=True))
    return alone, with_copies


def run(arguments):
    device, (width, height) = arguments.device, arguments.frame
    alone, with_copies = measure(arguments.size, width, height, arguments.frames, device, arguments.threads)
    print(f"PyTorch {torch.__version__} on {device}, {arguments.size} at {width}x{height}, {arguments.frames} frames")
    print(f"network      {1000 / alone:8.2f} ms {alone:8.1f} fps")
    print(f"with copies  {1000 / with_copies:8.2f} ms {with_copies:8.1f} fps")
