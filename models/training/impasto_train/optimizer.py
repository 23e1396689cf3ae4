"""Muon for the convolutions, Adam for everything else.

Muon (Jordan et al. 2024): momentum whose singular values are set to about 1 by Newton-Schulz iterations. The network's
matrices are tiny beside the loss's VGG, so that it costs nothing here, and fewer steps reach the same loss (README.md has the figures).
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


def make(network, kind, lr):
    """The optimizers of the network: a list, whose groups carry their share of the learning rate as `scale`."""
    matrices = [p for name, p in network.named_parameters() if p.ndim == 4 and not name.startswith("head")]
    ids = {id(p) for p in matrices}
    if kind == "adam":
        return [torch.optim.Adam(network.parameters(), lr=lr)]
    others = [p for p in network.parameters() if id(p) not in ids]
    return [Muon(matrices, lr=lr), torch.optim.Adam(others, lr=lr)]
