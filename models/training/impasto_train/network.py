"""The style network: one set of convolutions, and a scale and a shift per style in every normalization.

Shape in and out: `[B, 3, H, W]`, RGB, 0–255, H and W multiples of `MULTIPLE`. What `export.py` writes as ONNX must compute
the same; the self-test compares the two.

Conditional instance normalization (CIN): Dumoulin et al. 2017, "A Learned Representation for Artistic Style", section 2.2.
All padding reflects: with zeros a network learns where the border is, and paints its style there.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

MULTIPLE = 8
EPSILON = 1e-5


@dataclass(frozen=True)
class Size:
    """Channels at 1/4 and 1/8 of the picture's size and at 1/2, and residual blocks at 1/8 and 1/4."""

    quarter: int
    eighth: int
    half: int
    eighth_blocks: int
    quarter_blocks: int
    head_kernel: int


SIZES = {
    # 8.4 kMAC/pixel: for a CPU.
    "lite": Size(quarter=32, eighth=64, half=16, eighth_blocks=3, quarter_blocks=1, head_kernel=5),
    # 60 kMAC/pixel: for a GPU.
    "full": Size(quarter=64, eighth=144, half=40, eighth_blocks=6, quarter_blocks=3, head_kernel=5),
}


class ConditionalNorm(nn.Module):
    """Instance normalization whose scale (`gamma`) and shift (`beta`), `[styles, channels]`, are mixed by the style weights."""

    def __init__(self, channels, styles):
        super().__init__()
        self.gamma = nn.Parameter(1 + 0.05 * torch.randn(styles, channels))
        self.beta = nn.Parameter(0.05 * torch.randn(styles, channels))

    def forward(self, x, style):
        gamma, beta = (style @ self.gamma).to(x.dtype), (style @ self.beta).to(x.dtype)
        return torch.addcmul(beta[:, :, None, None], F.instance_norm(x, eps=EPSILON), gamma[:, :, None, None])


class Conv(nn.Module):
    """Reflecting pad and convolution."""

    def __init__(self, in_channels, out_channels, kernel=3, stride=1):
        super().__init__()
        self.pad = kernel // 2
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x):
        x = F.pad(x, [self.pad] * 4, mode="reflect")
        return F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype), self.stride)


class ConvNorm(nn.Module):
    """Convolution and conditional normalization."""

    def __init__(self, in_channels, out_channels, styles, stride=1):
        super().__init__()
        self.conv = Conv(in_channels, out_channels, stride=stride)
        self.norm = ConditionalNorm(out_channels, styles)

    def forward(self, x, style):
        return self.norm(self.conv(x), style)


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels, styles):
        super().__init__()
        self.a = ConvNorm(channels, channels, styles)
        self.b = ConvNorm(channels, channels, styles)

    def forward(self, x, style):
        return x + self.b(F.relu(self.a(x, style)), style)


class StyleNetwork(nn.Module):
    """`forward(image, style)`: image `[B, 3, H, W]` 0–255, style `[B, styles]` weights that sum to 1; not clipped."""

    def __init__(self, size, styles):
        super().__init__()
        self.size, self.styles = size, styles
        s = SIZES[size]
        self.stem = ConvNorm(48, s.quarter, styles)
        self.down = ConvNorm(s.quarter, s.eighth, styles, stride=2)
        self.coarse = nn.ModuleList(Residual(s.eighth, styles) for _ in range(s.eighth_blocks))
        self.up = ConvNorm(s.eighth, s.quarter, styles)
        self.fine = nn.ModuleList(Residual(s.quarter, styles) for _ in range(s.quarter_blocks))
        self.fuse = ConvNorm(s.quarter, s.half, styles)
        self.head = Conv(s.half, 12, kernel=s.head_kernel)
        with torch.no_grad():
            # The four pixels that the head makes of one start alike (ICNR, Aitken et al. 2017): no checkerboard to unlearn.
            self.head.weight.copy_(0.3 * self.head.weight[::4].repeat_interleave(4, dim=0))

    def forward(self, image, style, dtype=torch.float32):
        x = F.pixel_unshuffle(image / 127.5 - 1, 4).to(dtype, memory_format=torch.channels_last)
        quarter = F.relu(self.stem(x, style))
        x = F.relu(self.down(quarter, style))
        for block in self.coarse:
            x = block(x, style)
        x = F.interpolate(F.relu(self.up(x, style)), scale_factor=2, mode="nearest") + quarter
        for block in self.fine:
            x = block(x, style)
        x = F.relu(self.fuse(F.interpolate(x, scale_factor=2, mode="nearest"), style))
        return F.pixel_shuffle(self.head(x), 2).float() * 127.5 + 127.5


def macs_per_pixel(network):
    """Multiply-accumulates of the convolutions per pixel of the picture."""
    scales = {"stem": 16, "down": 64, "coarse": 64, "up": 64, "fine": 16, "fuse": 4, "head": 4}
    return sum(
        p.numel() / scales[name.split(".")[0]] for name, p in network.named_parameters() if name.endswith("weight")
    )
