"""Boxes of objects in images, and how well two of them agree."""

import torch
from torch import Tensor


def corners(boxes: Tensor) -> Tensor:
    """(centre x, centre y, width, height) -> (left, top, right, bottom); [..., 4]."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def area(boxes: Tensor) -> Tensor:
    """Areas [...] of boxes by corners [..., 4]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def generalized_iou(one: Tensor, other: Tensor) -> Tensor:
    """Shared area over joint area, less the share of the enclosing box that neither covers: in [-1, 1].

    Boxes by corners, shapes broadcastable to [..., 4] -> [...]. Rezatofighi et al., 2019 (arXiv:1902.09630).
    """
    inner = (torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])).clamp_min(0)
    outer = (torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])).clamp_min(0)
    shared, around = inner.prod(-1), outer.prod(-1)
    joint = area(one) + area(other) - shared
    return shared / joint - (around - joint) / around
