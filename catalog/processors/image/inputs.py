"""Whatever holds an image -> uint8 RGB pixels [H, W, 3].

Files are turned upright by their EXIF tag; an image that is already open is taken as it stands. Grey, palette and
alpha images become RGB as Pillow converts them (alpha is dropped, not blended), which is what published models saw.
"""

from pathlib import Path

import numpy as np

from catalog.errors import ProcessorError
from catalog.processors.image.pillow import Image, ImageOps

DEEP = ("I", "F")  # first letter of Pillow's modes with more than eight bits; converting them would clip silently


def read_images(images):
    """One image or a list of them -> (list of uint8 [H, W, 3]).

    An image is a path, a PIL image, or an array [H, W], [H, W, C], [C, H, W] of 0..255 or of floats in 0..1;
    an array of four dimensions is a batch. Raises ProcessorError naming the file or the position.
    """
    if isinstance(images, (list, tuple)) and not _is_nested_numbers(images):
        batch = list(images)
    else:
        batch = list(images) if getattr(images, "ndim", 0) == 4 else [images]
    if not batch:
        raise ProcessorError("images: an empty list; give at least one image")
    return [read_image(image, f"images[{i}]") for i, image in enumerate(batch)]


def _is_nested_numbers(images):
    return bool(images) and isinstance(images[0], (list, tuple))


def read_image(image, name="image"):
    """One image -> uint8 [H, W, 3]. Raises ProcessorError naming the file, or ``name``."""
    if isinstance(image, (str, Path)):
        return _from_file(image)
    if isinstance(image, Image.Image):
        return _from_pillow(image, name)
    try:
        array = np.asarray(image)
    except ValueError as error:
        raise ProcessorError(f"{name}: not an array ({error})") from None
    return _from_array(array, name)


def read_map(labels, name="segmentation_map"):
    """One label map (path, PIL image of mode L, P, I or 1, or integer array [H, W]) -> int32 [H, W]."""
    if isinstance(labels, (str, Path)):
        with _opened(labels) as image:
            return read_map(image, str(labels))
    array = np.asarray(labels)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise ProcessorError(
            f"{name}: expected one label per pixel, integers [H, W]; found {array.dtype} {list(array.shape)}"
        )
    return array.astype(np.int32)


def read_maps(maps, images, name="segmentation_maps"):
    """One label map, or a list of them, for images [H, W, 3] -> list of int32 [H, W] of the same sizes."""
    several = isinstance(maps, (list, tuple)) or getattr(maps, "ndim", 0) == 3
    read = [read_map(m, f"{name}[{i}]") for i, m in enumerate(maps if several else [maps])]
    if [m.shape for m in read] != [image.shape[:2] for image in images]:
        raise ProcessorError(
            f"{name}: sizes {[m.shape for m in read]}, the images have {[image.shape[:2] for image in images]}; "
            "give one map per image, of its size"
        )
    return read


def _opened(path):
    if str(path).startswith(("http://", "https://")):
        raise ProcessorError(f"{path}: an address, not a file; download it first")
    try:
        image = Image.open(path)
        image.load()  # decodes now, so that a cut file is met here, where its name is known
        return image
    except FileNotFoundError:
        raise ProcessorError(f"{path}: no such image file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ProcessorError(f"{path}: not a readable image ({error})") from None


def _from_file(path):
    with _opened(path) as image:
        return _from_pillow(ImageOps.exif_transpose(image), str(path))


def _from_pillow(image, name):
    if image.mode[0] in DEEP:
        raise ProcessorError(f"{name}: mode {image.mode} has more than 8 bits a channel; scale it to 0..255 first")
    try:
        return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ProcessorError(f"{name}: not a readable image ({error})") from None


def _from_array(array, name):
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[0] in (1, 3):  # as published, channels first wins where both would do
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise ProcessorError(
            f"{name}: expected [H, W], [H, W, 1|3|4] or [1|3, H, W], found {array.dtype} {list(array.shape)}"
        )
    array = _eight_bit(array, name)[..., :3]
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array


def _eight_bit(array, name):
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iufb":
        raise ProcessorError(f"{name}: expected numbers, found {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(array * 255).astype(np.uint8)  # k/255 gives k again, for every k
    if low >= 0 and high <= 255 and (array.dtype.kind != "f" or np.array_equal(array, np.rint(array))):
        return array.astype(np.uint8)
    raise ProcessorError(
        f"{name}: values {low:g} to {high:g}; expected whole numbers in 0..255 or floats in 0..1 (not yet normalised)"
    )
