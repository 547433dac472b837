"""Objects in images as a set: each query says what it sees and where, and is held to the object that it fits best.

Carion et al., 2020, "End-to-End Object Detection with Transformers" (arXiv:2005.12872).
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F

from catalog import losses
from catalog.boxes import corners, generalized_iou
from catalog.heads.base import Head
from catalog.losses import Term
from catalog.outputs import Detected


class BoxMLP(nn.Module):
    """Three linear layers, [B, queries, width] -> boxes [B, queries, 4] as (centre x, centre y, width, height) in [0, 1]."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 4)])

    def forward(self, x):
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x))))).sigmoid()


class Detect(Head):
    """Images -> logits [B, queries, labels + 1] (the last: nothing there), pred_boxes [B, queries, 4].

    ``labels`` is one table an image: class_labels [n], boxes [n, 4] (centre, size; shares of the image). Which query is
    held to which object is found outside of any graph, in ``terms``.
    """

    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        self.out = nn.Linear(backbone.width, len(config.labels) + 1)
        self.boxes = BoxMLP(backbone.width)

    def forward(self, pixel_values, pixel_mask=None, *, labels=None):
        return self.answer(Detected, labels, self.backbone(pixel_values, pixel_mask))

    def answer(self, kind, labels, encoded, **more):
        """The output ``kind``, with its losses where there are labels."""
        states = encoded.last_hidden_state
        out = kind(
            logits=self.out(states), pred_boxes=self.boxes(states), last_hidden_state=states,
            encoder_last_hidden_state=encoded.encoder_last_hidden_state, **more,
        )  # fmt: skip
        if labels is not None:
            terms = self.terms(out, labels=labels)
            floor = {name: term._replace(count=max(float(term.count), 1.0)) for name, term in terms.items()}
            out.loss = losses.mean(floor)
            out.loss_dict = {name: term.total.detach() / term.count for name, term in floor.items()}
            out.loss_dict["cardinality_error"] = self._miscount(out, labels)
        return out

    def terms(self, output, *, labels):
        """``loss_ce`` over all queries, ``loss_bbox`` and ``loss_giou`` over objects."""
        return self.matched_terms(output, labels, match(output, labels, self.config))

    def matched_terms(self, output, labels, pairs):
        """The terms for queries and objects paired so: (image, query, object), each [n]."""
        c = self.config
        image, query, _ = pairs
        nothing = len(c.labels)
        truth = torch.full(output.logits.shape[:2], nothing, device=output.logits.device)
        truth[image, query] = picked(labels, "class_labels", pairs)
        weight = torch.ones(nothing + 1, device=truth.device, dtype=output.logits.dtype)
        weight[-1] = c.empty_weight
        boxes, targets = output.pred_boxes[image, query], picked(labels, "boxes", pairs).to(output.pred_boxes.dtype)
        found = _objects(labels)
        giou = generalized_iou(corners(boxes), corners(targets))
        total = F.cross_entropy(output.logits.flatten(0, 1), truth.flatten(), weight, reduction="sum")
        return {
            "loss_ce": Term(total, weight[truth].sum()),
            "loss_bbox": Term((boxes - targets).abs().sum(), found, c.box_weight),
            "loss_giou": Term((1 - giou).sum(), found, c.giou_weight),
        }

    def counts(self, *, labels):
        """Queries by weight (those without an object count ``config.empty_weight``), and objects."""
        held = sum(min(len(target["class_labels"]), self.config.queries) for target in labels)
        free = self.config.queries * len(labels) - held
        return {
            "loss_ce": held + free * self.config.empty_weight,
            **dict.fromkeys(("loss_bbox", "loss_giou"), _objects(labels)),
        }

    def _miscount(self, output, labels):
        """By how many the number of objects found is off, on average; not trained on."""
        found = (output.logits.argmax(-1) != len(self.config.labels)).sum(1).float().detach()
        true = torch.tensor([float(len(target["class_labels"])) for target in labels], device=found.device)
        return (found - true).abs().mean()


def _objects(labels):
    return sum(len(target["class_labels"]) for target in labels)


def picked(labels, field, pairs):
    """``field`` of the objects of ``pairs``, in their order."""
    image, _, thing = pairs
    return torch.cat([target[field][thing[image == i].to(target[field].device)] for i, target in enumerate(labels)])


def match(output, labels, c):
    """The cheapest assignment of queries to objects, image by image: three int64 tensors, (image, query, object).

    An object costs a query its missing probability, the distance of the boxes and their disagreement, by weight.
    Kuhn, 1955; nothing of it is differentiated.
    """
    logits, boxes = output.logits.detach().float(), output.pred_boxes.detach().float()
    found = []
    for i, target in enumerate(labels):
        wanted = target["boxes"].to(boxes)
        kind = -logits[i].softmax(-1)[:, target["class_labels"]]
        distance = torch.cdist(boxes[i], wanted, p=1)
        overlap = -generalized_iou(corners(boxes[i])[:, None], corners(wanted)[None])
        cost = c.class_cost * kind + c.box_cost * distance + c.giou_cost * overlap
        query, thing = map(torch.as_tensor, linear_sum_assignment(cost.cpu().numpy()))
        found.append(torch.stack([torch.full_like(query, i), query, thing]))
    return torch.cat(found, 1).to(logits.device).unbind()
