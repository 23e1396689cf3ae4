"""Losses of the training and of the evaluation, so that both speak of the same numbers.

Total = content + style + 0.002·TV + range + stability:
- content: MSE of relu3_3 / 1.5e5 (Johnson et al. 2016, section 3.2; the divisor makes it about as large as one style term);
- style: 6·weight·Σ w_l·‖G_l − S_l‖² / ‖S_l‖², w = 1, 1, 1, 0.3 at relu1_2, 2_2, 3_3, 4_3; Gram = F·Fᵀ/(H·W)
  (Gatys et al. 2016); divided by the painting's own energy so that all styles train alike;
- TV: mean |difference| of neighbouring pixels; range: mean square of what lies outside 0–255;
- stability: L1 between net(moved photo) and moved net(photo) (after Wang et al. 2020). The motion is two times out of three a whole number
  of pixels below the network's stride, so that a pattern that stands still on the network's grid costs.
"""

import torch
import torch.nn.functional as F

from . import data

STYLE_WEIGHT = 6.0
LAYER_WEIGHTS = (1.0, 1.0, 1.0, 0.3)
CONTENT_DIVISOR = 1.5e5
CONTENT_LAYER = 2  # relu3_3
TV_WEIGHT = 0.002
RANGE_WEIGHT = 1e-3


def gram(features):
    """`[B, C, H, W]` → `[B, C, C]` in float32, divided by H·W."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def relative_gram_errors(features, targets):
    """Per layer `[B]`: squared distance of the Gram matrices relative to the painting's."""
    return [
        (gram(f) - target).square().sum((1, 2)) / target.square().sum((1, 2)) for f, target in zip(features, targets)
    ]


def content_error(features, targets):
    """`[B]`: MSE at relu3_3, undivided."""
    return (features[CONTENT_LAYER].float() - targets[CONTENT_LAYER].float()).square().mean((1, 2, 3))


def total_variation(image):
    """`[B]`, in levels of 0–255."""
    return (image[:, :, 1:] - image[:, :, :-1]).abs().mean((1, 2, 3)) + (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))


def clipped(image):
    """`image` clipped to 0–255, with the gradient of the unclipped one."""
    return image + (image.clamp(0, 255) - image).detach()


def picture_losses(vgg, output, content_features, style_grams, style_weights, blocks=None):
    """The loss of unclipped `output`, per picture `[B]`, and its parts.

    A training that leaves the last block out every other step passes 3 and 4 in turn: the last layer then counts twice.
    """
    features = vgg(clipped(output), blocks or 4)
    errors = relative_gram_errors(features, style_grams)
    weights = LAYER_WEIGHTS if blocks is None else (*LAYER_WEIGHTS[:3], 2 * LAYER_WEIGHTS[3])
    style = sum(w * e for w, e in zip(weights, errors))
    content = content_error(features, content_features)
    outside = (output - output.clamp(0, 255)).square().mean((1, 2, 3))
    total = (
        content / CONTENT_DIVISOR
        + STYLE_WEIGHT * style_weights * style
        + TV_WEIGHT * total_variation(output)
        + RANGE_WEIGHT * outside
    )
    return total, {"content": content, "style": style, "errors": errors}


MAX_SHIFT = 8  # pixels: the network's stride


class Shift:
    """Moves the window by a whole number of pixels below the stride: what stands still on the grid shows."""

    def __init__(self, generator):
        self.y, self.x = torch.randint(0, MAX_SHIFT, (2,), generator=generator).tolist()

    def move(self, wide, size):
        """The moved window of `wide`, which is `MAX_SHIFT` larger than `size`; the unmoved one starts at 0, 0."""
        return wide[:, :, self.y : self.y + size, self.x : self.x + size]

    def matrix(self, batch, size):
        """`[batch, 2, 3]` for `affine_grid`: where the moved window shows what the unmoved one has."""
        return torch.tensor([[1.0, 0.0, 2 * self.x / size], [0.0, 1.0, 2 * self.y / size]]).expand(batch, 2, 3)

    def seen(self, size):
        """`[1, 1, size, size]`: 1 where both windows show the same."""
        mask = torch.zeros(1, 1, size, size)
        mask[:, :, : size - self.y, : size - self.x] = 1
        return mask


class Affine:
    """Turns, zooms and shifts a little, as a hand-held camera does."""

    def __init__(self, generator, batch):
        def uniform(*shape):
            return torch.rand(*shape, generator=generator) * 2 - 1

        angle, zoom = 0.05 * uniform(batch), 1 + 0.04 * uniform(batch)
        cos, sin, offset = zoom * angle.cos(), zoom * angle.sin(), 0.05 * uniform(batch, 2)
        self.turn = torch.stack([torch.stack([cos, -sin, offset[:, 0]], 1), torch.stack([sin, cos, offset[:, 1]], 1)], 1)

    def move(self, wide, size):
        """The window at 0, 0 of `wide`, moved."""
        image = wide[:, :, :size, :size]
        return sampled(image, grid_of(data.on_device(self.turn, image.device), size))

    def matrix(self, batch, size):
        """As `Shift.matrix`."""
        return self.turn

    def seen(self, size):
        """As `Shift.seen`: away from the border that moved in."""
        margin = size // 10
        return F.pad(torch.ones(1, 1, size - 2 * margin, size - 2 * margin), [margin] * 4)


def grid_of(matrix, size):
    """`[B, size, size, 2]` for `sampled`, from `[B, 2, 3]`."""
    return F.affine_grid(matrix, [len(matrix), 1, size, size], align_corners=False)


def sampled(image, grid):
    """`image` as it is seen at the places of `grid`."""
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def random_motion(generator, batch):
    """A shift, two times out of three, or an affine motion."""
    return Shift(generator) if torch.rand((), generator=generator) < 2 / 3 else Affine(generator, batch)


FLAT_LEVELS = 8.0
FLAT_EXTRA = 4.0


def flatness(image):
    """`[B, 1, H, W]`: 1 where `image` does not change within 9 pixels, falling to 0 over some `FLAT_LEVELS`."""
    grey = F.avg_pool2d(image.mean(1, keepdim=True), 3, 1, 1, count_include_pad=False)
    local = F.avg_pool2d(grey, 9, 1, 4, count_include_pad=False)
    variance = F.avg_pool2d(grey.square(), 9, 1, 4, count_include_pad=False) - local.square()
    return torch.exp(-variance / FLAT_LEVELS**2)


def stability_loss(image, output, moved_output, grid, seen):
    """L1 between the output of the moved picture and the moved output, in units of the whole range, where both are `seen`.

    Flat areas count more: there a network has nothing to hold on to but its own grid, and the eye sees that the pattern stands still.
    """
    still, flat = sampled(torch.cat([output, flatness(image)], 1), grid).split([3, 1], 1)
    weight = seen * (1 + FLAT_EXTRA * flat)
    return (weight * (moved_output - still).abs()).sum() / (seen.sum() * output.shape[0] * 3 * 255)
