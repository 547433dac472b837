"""Boxes: COCO annotations -> training targets, and model outputs -> boxes in pixels of the image."""

import numpy as np

from catalog.errors import ProcessorError


def to_centres(boxes):
    """(left, top, right, bottom) [..., 4] -> (centre x, centre y, width, height)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def to_corners(boxes):
    """(centre x, centre y, width, height) [..., 4] -> (left, top, right, bottom)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def coco_targets(annotation, original, resized, name="annotations", masks_path=None):
    """One image's COCO detection annotation -> the labels of DETR.

    annotation   {"image_id": int, "annotations": [{"bbox": [x, y, w, h], "category_id", "area", "iscrowd"}, ...]}
    original     (height, width) that the boxes refer to
    resized      (height, width) given to the model
    returns      boxes float32 [N, 4] in centre form as fractions of the image; class_labels, iscrowd int64 [N];
                 area float32 [N] in resized pixels; image_id int64 [1]; size, orig_size int64 [2]
    Crowds and boxes without area inside the image are left out. Raises ProcessorError.
    """
    if masks_path is not None:
        raise ProcessorError("masks_path: only the format coco_panoptic has masks; leave it out or change the format")
    try:
        objects = [o for o in annotation["annotations"] if not o.get("iscrowd", 0)]
        image_id = annotation["image_id"]
        boxes = np.array([o["bbox"] for o in objects], np.float32).reshape(-1, 4)
        classes = np.array([o["category_id"] for o in objects], np.int64)
        area = np.array([o.get("area", o["bbox"][2] * o["bbox"][3]) for o in objects], np.float32)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProcessorError(
            f"{name}: expected image_id and annotations, each with bbox [x, y, width, height] and category_id; "
            f"problem at {error}"
        ) from None
    height, width = original
    boxes[:, 2:] += boxes[:, :2]
    boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    crowd = np.zeros(int(keep.sum()), np.int64)
    return labels(image_id, classes[keep], boxes[keep], area[keep], crowd, original, resized)


def labels(image_id, classes, boxes, area, crowd, original, resized):
    """The labels of one image as DETR takes them: boxes by corners in original pixels become fractions, by centres."""
    (height, width), (new_height, new_width) = original, resized
    return {
        "size": np.array(resized, np.int64),
        "image_id": np.array([image_id], np.int64),
        "class_labels": classes,
        "boxes": to_centres(boxes) / np.array([width, height] * 2, np.float32),
        "area": area * np.float32(new_height / height * (new_width / width)),
        "iscrowd": crowd,
        "orig_size": np.array(original, np.int64),
    }


def as_numpy(values):
    """A numpy array, or a torch tensor on any device and of any dtype, as float32 numpy."""
    values = values.detach().float().cpu() if hasattr(values, "detach") else values
    return np.asarray(values, np.float32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 0.5 * (np.tanh(0.5 * x) + 1)


def best_class(logits, boxes):
    """One class a query, the last logit meaning "nothing". [Q, C+1], [Q, 4] -> scores [Q], labels [Q], boxes [Q, 4]."""
    scores = softmax(logits)[:, :-1]
    return scores.max(-1), scores.argmax(-1), boxes


def best_text(logits, boxes):
    """One text a query by sigmoid, "nothing" being a low score. [Q, C], [Q, 4] -> scores [Q], labels [Q], boxes [Q, 4]."""
    return sigmoid(logits.max(-1)), logits.argmax(-1), boxes


def best_pairs(logits, boxes, count=100):
    """The ``count`` best (query, class) pairs by sigmoid. [Q, C], [Q, 4] -> scores, labels, boxes, best first."""
    scores = sigmoid(logits).ravel()
    top = np.argsort(-scores, kind="stable")[:count]
    return scores[top], top % logits.shape[1], boxes[top // logits.shape[1]]


def best_apart(logits, boxes, count=100, candidates=10000, overlap=0.7):
    """``best_pairs`` without those that overlap a better pair of the same class (intersection over union)."""
    scores, labels, boxes = best_pairs(logits, boxes, candidates)
    alive, kept = np.ones(len(scores), bool), []
    for i in range(len(scores)):
        if alive[i]:
            kept.append(i)
            alive &= (labels != labels[i]) | (_overlap(boxes[i], boxes) <= overlap)
        if len(kept) == count:
            break
    return scores[kept], labels[kept], boxes[kept]


def _overlap(box, boxes):
    """Intersection over union of one box [4] with others [N, 4], by corners -> [N]."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared)


def detections(outputs, pick, threshold, target_sizes):
    """Model outputs -> one dict an image: scores, labels and boxes (left, top, right, bottom).

    outputs        with ``logits`` [B, Q, C] and ``pred_boxes`` [B, Q, 4] in centre form, fractions of the image
    pick           ``best_class``, ``best_pairs`` or a function like them
    target_sizes   (height, width) an image; the boxes come in its pixels, or stay fractions when None
    """
    logits, boxes = as_numpy(outputs.logits), to_corners(as_numpy(outputs.pred_boxes))
    if target_sizes is not None and len(target_sizes) != len(logits):
        raise ProcessorError(f"target_sizes: {len(target_sizes)} sizes for {len(logits)} images; give one per image")
    found = []
    for i in range(len(logits)):
        scores, labels, corners = pick(logits[i], boxes[i])
        if target_sizes is not None:
            height, width = (float(n) for n in target_sizes[i])
            corners = corners * np.float32([width, height] * 2)
        keep = scores > threshold
        found.append({"scores": scores[keep], "labels": labels[keep], "boxes": corners[keep]})
    return found


class ObjectDetection:
    """Of an image processor: outputs of a detection head; ``pick`` says which queries speak for which classes."""

    pick = staticmethod(best_class)

    def post_process_object_detection(self, outputs, threshold=0.5, target_sizes=None):
        """Outputs -> one dict an image with scores, labels, boxes above ``threshold``; see ``detections``."""
        return detections(outputs, self.pick, threshold, target_sizes)
