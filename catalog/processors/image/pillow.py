"""Pillow, or one line that says how to get it."""

from catalog.errors import MissingExtra

try:
    from PIL import Image, ImageOps
except ImportError:
    raise MissingExtra("image processors need Pillow; pip install 'trivium[vision]'") from None

__all__ = ["Image", "ImageOps"]
