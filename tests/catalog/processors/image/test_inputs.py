"""Every way to hand over an image gives the same pixels; what is not an image is refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image

from catalog.errors import ProcessorError
from catalog.processors.image.inputs import read_image, read_images, read_map

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "form",
    [
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        PIXELS.astype(np.int64),
        PIXELS.astype(np.float64),
        PIXELS / np.float32(255),
        Image.fromarray(PIXELS),
        PIXELS.tolist(),
    ],
    ids=["hwc", "chw", "int64", "float 0..255", "float 0..1", "pillow", "nested lists"],
)
def test_forms_of_one_image(form):
    np.testing.assert_array_equal(read_image(form), PIXELS)


def test_torch_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(read_image(torch.from_numpy(PIXELS)), PIXELS)


@given(arrays(np.uint8, (4, 5, 3)))
def test_floats_in_unit_range_give_the_eight_bits_back(pixels):
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(read_image((pixels / 255).astype(dtype)), pixels)


def test_files_palettes_grey_and_alpha(tmp_path):
    page = Image.fromarray(PIXELS)
    page.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), PIXELS)
    alpha = page.copy()
    alpha.putalpha(Image.fromarray(PIXELS[..., 0]))
    np.testing.assert_array_equal(read_image(alpha), PIXELS)  # dropped, not blended
    np.testing.assert_array_equal(read_image(np.asarray(alpha)), PIXELS)
    grey = PIXELS[..., 0]
    for form in (Image.fromarray(grey), grey, grey[..., None], grey[None]):
        np.testing.assert_array_equal(read_image(form), np.stack([grey] * 3, axis=-1))
    few = Image.fromarray(PIXELS // 128 * 255).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(read_image(few), np.asarray(few.convert("RGB")))


def test_files_are_turned_upright_but_open_images_are_not(tmp_path):
    page, tags = Image.fromarray(PIXELS), Image.Exif()
    tags[0x0112] = 6  # stored lying on its side
    page.save(tmp_path / "side.png", exif=tags)
    np.testing.assert_array_equal(read_image(tmp_path / "side.png"), np.rot90(PIXELS, 3))
    with Image.open(tmp_path / "side.png") as open_image:
        np.testing.assert_array_equal(read_image(open_image), PIXELS)


def test_batches():
    batch = np.stack([PIXELS, PIXELS[::-1]])
    for form in (batch, list(batch), tuple(batch), batch.transpose(0, 3, 1, 2)):
        got = read_images(form)
        assert len(got) == 2
        np.testing.assert_array_equal(got[1], PIXELS[::-1])
    assert len(read_images(PIXELS)) == len(read_images(PIXELS.tolist())) == 1


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((5, 7, 2)), r"image: expected \[H, W\].*found float64 \[5, 7, 2\]"),
        (np.zeros(9), r"found float64 \[9\]"),
        (np.zeros((0, 7, 3)), r"found float64 \[0, 7, 3\]"),
        (np.full((5, 7, 3), 1.5), "values 1.5 to 1.5; expected whole numbers in 0..255 or floats in 0..1"),
        (np.full((5, 7, 3), -0.5), "not yet normalised"),
        (np.full((5, 7, 3), np.nan), "values nan"),
        (np.full((5, 7, 3), 256), "values 256 to 256"),
        (np.full((5, 7, 3), "a"), "expected numbers"),
        ([[1, 2], [3]], "not an array"),
        (Image.fromarray(PIXELS[..., 0].astype(np.int32)), "mode I has more than 8 bits"),
        ("absent.png", "absent.png: no such image file"),
        ("https://host/a.png", "an address, not a file; download it first"),
    ],
)
def test_what_is_no_image_is_refused(image, words):
    with pytest.raises(ProcessorError, match=words):
        read_image(image)


def test_broken_files_are_refused_by_name(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ProcessorError, match=r"text\.png: not a readable image"):
        read_image(tmp_path / "text.png")
    Image.fromarray(np.tile(PIXELS, (40, 40, 1))).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProcessorError, match=r"cut\.png: not a readable image"):
        read_image(tmp_path / "cut.png")
    with pytest.raises(ProcessorError, match="empty list"):
        read_images([])
    with pytest.raises(ProcessorError, match=r"images\[1\]"):
        read_images([PIXELS, np.zeros(3)])


def test_maps(tmp_path):
    labels = np.array([[0, 1, 300], [7, 255, 2]])
    np.testing.assert_array_equal(read_map(labels), labels)
    np.testing.assert_array_equal(read_map(labels[None]), labels)
    small = labels.astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "map.png")
    np.testing.assert_array_equal(read_map(tmp_path / "map.png"), small)
    for wrong in (labels * 0.5, np.zeros((2, 3, 3), int)):
        with pytest.raises(ProcessorError, match="one label per pixel"):
            read_map(wrong)
