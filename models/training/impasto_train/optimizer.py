"""Muon for the convolutions, Adam for everything else.

Muon (Jordan et al. 2024): momentum whose singular values are set to about 1 by Newton-Schulz iterations. The network's
matrices are tiny beside the loss's VGG, so that it costs nothing here. In a paired run of 300 steps on the same crops it
drew level with Adam (1e-3) after losing the first 60; which is better over a long training was not measured.
"""

import torch


def orthogonalized(matrix, steps=5):
    """The nearest semi-orthogonal matrix, roughly: quintic Newton-Schulz."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    transposed = x.shape[0] > x.shape[1]
    if transposed:
        x = x.T
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if transposed else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; the step's size is that of Adam for the same learning rate."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(momentum, group["momentum"]).flatten(1)
                update = orthogonalized(update)
                # Root mean square 0.2 per entry, as Adam's updates have (Liu et al. 2025).
                update *= 0.2 * max(update.shape) ** 0.5
                p.add_(update.view_as(p), alpha=-group["lr"])


# A style's scale and shift see only the pictures of that style, a twelfth of all.
NORM_SCALE = 5.0


def make(network, kind, lr):
    """The optimizers of the network: a list, whose groups carry their share of the learning rate as `scale`."""
    named = list(network.named_parameters())
    norms = [p for name, p in named if ".norm." in name]
    matrices = [p for name, p in named if p.ndim == 4 and not name.startswith("head")]
    others = [p for name, p in named if p.ndim != 2 and (p.ndim != 4 or name.startswith("head"))]
    groups = [{"params": norms, "scale": NORM_SCALE}, {"params": others, "scale": 1.0}]
    if kind == "adam":
        groups[1]["params"] = others + matrices
        return [torch.optim.Adam(groups, lr=lr)]
    muon = Muon(matrices, lr=lr)
    muon.param_groups[0]["scale"] = 1.0
    return [muon, torch.optim.Adam(groups, lr=lr)]
