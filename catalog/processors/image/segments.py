"""Model outputs -> label maps and segments in pixels of the image."""

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.boxes import as_numpy, sigmoid, softmax
from catalog.processors.linear import linear


def upsample(maps, size):
    """[C, h, w] -> [C, *size], bilinear."""
    rows = linear(maps.swapaxes(0, 1), size[0])
    return linear(rows.transpose(2, 0, 1), size[1]).transpose(2, 1, 0)


def _sizes(target_sizes, count):
    if target_sizes is not None and len(target_sizes) != count:
        raise ProcessorError(f"target_sizes: {len(target_sizes)} sizes for {count} images; give one per image")
    return [None] * count if target_sizes is None else [tuple(int(n) for n in size) for size in target_sizes]


def label_maps(scores, target_sizes):
    """Class scores [B, C, h, w] -> one map of the best class an image, int64 [H, W] (or [h, w] without sizes)."""
    sizes = _sizes(target_sizes, len(scores))
    return [(upsample(s, size) if size else s).argmax(0).astype(np.int64) for s, size in zip(as_numpy(scores), sizes)]


def class_scores(logits, masks):
    """Queries -> scores of classes. Logits [B, Q, C+1], the last "nothing"; mask logits [B, Q, h, w] -> [B, C, h, w]."""
    return np.einsum("bqc,bqhw->bchw", softmax(as_numpy(logits))[..., :-1], sigmoid(as_numpy(masks)))


def panoptic_maps(
    logits, masks, target_sizes=None, *, threshold=0.5, mask_threshold=0.5, overlap=0.8, fuse=frozenset()
):
    """Queries -> disjoint segments: every pixel goes to the surest query there, weak and mostly hidden queries go out.

    logits   [B, Q, C+1], the last "nothing"; masks, logits [B, Q, h, w]
    overlap  share of its own mask that a query must win to become a segment
    fuse     classes whose segments are joined into one (``stuff``)
    returns  one dict an image: "segmentation" int32 [H, W], 0 where nothing is, ids from 1; and "segments_info", a list
             of {"id", "label_id", "was_fused", "score"}, one per id
    """
    masks, found = sigmoid(as_numpy(masks)), []
    for scores, image, size in zip(softmax(as_numpy(logits)), masks, _sizes(target_sizes, len(masks))):
        labels, best = scores.argmax(-1), scores.max(-1)
        keep = (labels != scores.shape[-1] - 1) & (best > threshold)
        weighted = (upsample(image[keep], size) if size else image[keep]) * best[keep][:, None, None]
        found.append(_segments(labels[keep].tolist(), best[keep].tolist(), weighted, mask_threshold, overlap, fuse))
    return found


def _segments(labels, scores, weighted, mask_threshold, overlap, fuse):
    segmentation, info, joined = np.zeros(weighted.shape[1:], np.int32), [], {}
    winner = weighted.argmax(0) if labels else None
    for query, (label, score) in enumerate(zip(labels, scores)):
        won, own = winner == query, weighted[query] >= mask_threshold
        if not own.any() or won.sum() / own.sum() <= overlap:
            continue
        if label not in joined:
            info.append({"id": len(info) + 1, "label_id": label, "was_fused": label in fuse, "score": round(score, 6)})
        number = joined.get(label, len(info))
        segmentation[won] = number
        if label in fuse:
            joined[label] = number
    return {"segmentation": segmentation, "segments_info": info}


class LabelMaps:
    """Of an image processor: outputs of a segmentation head with one score a class and pixel."""

    def post_process_semantic_segmentation(self, outputs, target_sizes=None):
        """``outputs.logits`` [B, C, h, w] -> a list of int64 [H, W] in the given sizes (height, width)."""
        return label_maps(outputs.logits, target_sizes)


class QuerySegments:
    """Of an image processor: outputs of a head with a class and a mask a query."""

    def queries(self, outputs):
        """-> class logits [B, Q, C+1], mask logits [B, Q, h, w]."""
        return outputs.class_queries_logits, outputs.masks_queries_logits

    def post_process_semantic_segmentation(self, outputs, target_sizes=None):
        """Outputs -> a list of int64 [H, W], the best class of every pixel, in the given sizes (height, width)."""
        return label_maps(class_scores(*self.queries(outputs)), target_sizes)

    def post_process_panoptic_segmentation(
        self,
        outputs,
        threshold=0.5,
        mask_threshold=0.5,
        overlap_mask_area_threshold=0.8,
        label_ids_to_fuse=None,
        target_sizes=None,
    ):
        """Outputs -> one dict an image with segmentation and segments_info; see ``panoptic_maps``."""
        return panoptic_maps(
            *self.queries(outputs),
            target_sizes,
            threshold=threshold,
            mask_threshold=mask_threshold,
            overlap=overlap_mask_area_threshold,
            fuse=frozenset(label_ids_to_fuse or ()),
        )
