"""Muon for the convolutions, Adam for everything else.

Muon (Jordan et al. 2024): momentum whose singular values are set to about 1 by Newton-Schulz iterations. The network's
matrices are tiny beside the loss's VGG, so that it costs nothing here. In a paired run of 300 steps on the same crops it
drew level with Adam (1e-3) after losing the first 60; which is better over a long training was not measured.
"""

import torch


def orthogonalized(matrices, steps=5):
    """The nearest semi-orthogonal matrix of each of `[N, rows, columns]`, roughly: quintic Newton-Schulz."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    transposed = x.shape[1] > x.shape[2]
    if transposed:
        x = x.mT
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if transposed else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; the step's size is that of Adam for the same learning rate."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.shape, []).append(p)
            for parameters in alike.values():
                self.step_alike(parameters, group["lr"], group["momentum"])

    def step_alike(self, parameters, lr, decay):
        """One step of parameters of one shape, together: what is small keeps a GPU waiting for the next kernel."""
        for p in parameters:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        gradients = [p.grad for p in parameters]
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - decay)
        updates = torch.stack(torch._foreach_lerp(gradients, momenta, decay)).flatten(2)
        # Root mean square 0.2 per entry, as Adam's updates have (Liu et al. 2025).
        updates = orthogonalized(updates) * (0.2 * max(updates.shape[1:]) ** 0.5)
        torch._foreach_add_(parameters, [u.view_as(p) for u, p in zip(updates, parameters)], alpha=-lr)


# A style's scale and shift see only the pictures of that style, one of as many as there are styles.
NORM_SCALE = 5.0


def make(network, kind, lr):
    """The optimizers of the network: a list, whose groups carry their share of the learning rate as `scale`."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    norms = [p for name, p in named if ".norm." in name]
    matrices = [p for name, p in named if p.ndim == 4 and not name.startswith("head")]
    others = [p for name, p in named if p.ndim != 2 and (p.ndim != 4 or name.startswith("head"))]
    fused = norms[0].is_cuda
    groups = [{"params": norms, "scale": NORM_SCALE}, {"params": others, "scale": 1.0}]
    if kind == "adam":
        groups[1]["params"] = others + matrices
        return [torch.optim.Adam(groups, lr=lr, fused=fused)]
    if not matrices:
        return [torch.optim.Adam(groups[:1], lr=lr, fused=fused)]
    muon = Muon(matrices, lr=lr)
    muon.param_groups[0]["scale"] = 1.0
    return [muon, torch.optim.Adam(groups, lr=lr, fused=fused)]
