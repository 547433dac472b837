"""Videos, frame by frame: VideoMAE (and TimeSformer), ViViT, TVLT."""

from dataclasses import dataclass

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.inputs import read_images
from catalog.processors.image.processor import ImageProcessor, stack
from catalog.processors.image.sizes import Exact, Shortest
from catalog.processors.image.steps import BILINEAR, HALF, CenterCrop, Normalize, Rescale, Resize, Step


class VideoProcessor(ImageProcessor):
    """An image processor whose input is a video: a list of frames, or an array [T, H, W, C]."""

    def __call__(self, videos):
        """One video or a list of them, all of as many frames -> {"pixel_values": float32 [B, T, C, H, W]}."""
        videos = videos if _is_batch(videos) else [videos]
        frames = [stack([self.apply(frame) for frame in read_images(video)]) for video in videos]
        if len({len(f) for f in frames}) > 1:
            raise ProcessorError(f"videos of {[len(f) for f in frames]} frames; sample as many of each for one batch")
        return {"pixel_values": np.stack(frames)}


def _is_batch(videos):
    """Whether this is several videos: a list of lists or of arrays [T, H, W, C], or an array of five dimensions."""
    if isinstance(videos, (list, tuple)) and len(videos):
        return isinstance(videos[0], (list, tuple)) or getattr(videos[0], "ndim", 0) == 4
    return getattr(videos, "ndim", 0) == 5


class VideoMAEImageProcessor(VideoProcessor):
    """VideoMAE, TimeSformer."""

    steps = (Resize(Shortest(224), BILINEAR), CenterCrop(Exact(224, 224)), Rescale(), Normalize(HALF, HALF))


@dataclass(frozen=True)
class RescaleAround(Step):
    """0..255 times ``rescale_factor``, minus 1 where ``offset`` is set."""

    rescale_factor: float = 1 / 127.5
    offset: bool = True
    do_rescale: bool = True

    def __call__(self, image):
        if not self.do_rescale:
            return image
        return Rescale(self.rescale_factor)(image) - np.float32(self.offset)


class VivitImageProcessor(VideoProcessor):
    """ViViT: to -1..1, then normalised once more, as published."""

    steps = (Resize(Shortest(256), BILINEAR), CenterCrop(Exact(224, 224)), RescaleAround(), Normalize(HALF, HALF))


@dataclass(frozen=True)
class Patches:
    """Published keys of TVLT's patch mask."""

    patch_size: tuple = (16, 16)
    num_frames: int = 8


class TvltImageProcessor(VideoProcessor):
    """TVLT: with a mask over all patches of all frames, [B, T * patches a frame]."""

    steps = VideoMAEImageProcessor.steps
    parts = (Patches(),)

    def __call__(self, videos):
        batch = super().__call__(videos)
        patches, (count, frames, _, height, width) = self.part(Patches), batch["pixel_values"].shape
        if frames > patches.num_frames:
            raise ProcessorError(f"{frames} frames, the model takes {patches.num_frames}; sample fewer")
        per_frame = (height // patches.patch_size[0]) * (width // patches.patch_size[1])
        return batch | {"pixel_mask": np.ones((count, frames * per_frame), np.int64)}
