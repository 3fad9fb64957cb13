import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hsengine.base import png
from hsengine.base.errors import UserError
from hstasks.images import readers


def random_pixels(channels, dtype, height=5, width=7):
    top = 255 if dtype == np.uint8 else 65535
    return np.random.default_rng(0).integers(0, top + 1, (channels, height, width)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_keeps_bit_depth_and_channels(tmp_path, channels, dtype):
    pixels = random_pixels(channels, dtype)
    (tmp_path / "a.png").write_bytes(png.encoded(pixels))
    found = readers.read(tmp_path / "a.png")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


def test_a_palette_is_colours_to_read_and_numbers_as_labels(tmp_path):
    picture = Image.new("P", (3, 2))
    picture.putpalette([0, 0, 0, 250, 62, 119, 168, 232, 84])
    picture.putdata([0, 1, 2, 2, 1, 0])
    picture.save(tmp_path / "a.png")
    assert readers.read(tmp_path / "a.png")[:, 0, 1].tolist() == [250, 62, 119]
    np.testing.assert_array_equal(readers.read_labels(tmp_path / "a.png"), [[0, 1, 2], [2, 1, 0]])


def test_black_and_white_is_boolean(tmp_path):
    Image.fromarray(np.eye(4, dtype=bool)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(readers.read(tmp_path / "a.png"), np.eye(4, dtype=bool)[None])


def test_a_jpeg_has_three_channels_and_cmyk_is_resolved(tmp_path):
    for mode in ("RGB", "CMYK"):
        Image.new(mode, (9, 6), (10, 20, 30, 0)[: len(mode)]).save(tmp_path / "a.jpg")
        found = readers.read(tmp_path / "a.jpg")
        assert (found.shape, found.dtype) == ((3, 6, 9), np.uint8)


def test_masks_of_both_depths_are_what_is_above_zero(tmp_path):
    mask = np.array([[0, 1], [1, 0]])
    for dtype, value in ((np.uint8, 1), (np.uint8, 255), (np.uint16, 65535)):
        (tmp_path / "a.png").write_bytes(png.encoded((mask * value).astype(dtype)[None]))
        np.testing.assert_array_equal(readers.read_mask(tmp_path / "a.png"), mask.astype(bool))


def test_labels_with_colours_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png.encoded(random_pixels(3, np.uint8)))
    with pytest.raises(UserError, match=r"a\.png cannot be read as PNG: it has 3 channels that differ"):
        readers.read_labels(tmp_path / "a.png")


def test_white_is_one_at_every_depth():
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535), (bool, True), (np.float64, 1.0)):
        scaled = readers.to_float(np.array([0, white], dtype=dtype))
        assert scaled.dtype == np.float32
        assert scaled.tolist() == [0.0, 1.0]
    with pytest.raises(UserError, match="int32"):
        readers.to_float(np.zeros(2, dtype=np.int32))


@given(kept=st.floats(0.0, 0.999), suffix=st.sampled_from([".png", ".jpg"]))
def test_a_truncated_file_is_named(tmp_path_factory, kept, suffix):
    path = tmp_path_factory.mktemp("cut") / f"a{suffix}"
    Image.fromarray(np.moveaxis(random_pixels(3, np.uint8, 40, 40), 0, 2)).save(path)
    content = path.read_bytes()
    # The last two bytes of a JPEG are only its end mark.
    path.write_bytes(content[: int(kept * (len(content) - 2))])
    with pytest.raises(UserError, match=rf"a\{suffix} cannot be read as (PNG|JPEG): "):
        readers.read(path)


@given(place=st.integers(0, 400), value=st.integers(0, 255))
def test_a_damaged_png_is_refused_or_read_as_it_was(tmp_path_factory, place, value):
    path = tmp_path_factory.mktemp("bent") / "a.png"
    pixels = random_pixels(3, np.uint8, 8, 8)
    content = bytearray(png.encoded(pixels))
    content[place % len(content)] = value
    path.write_bytes(content)
    try:
        np.testing.assert_array_equal(readers.read(path), pixels)
    except UserError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(("width", "cause"), [(60_000, "at most"), (9000, "can hold"), (0, "declares 0 x")])
def test_a_declared_size_is_checked_before_memory_is_taken(tmp_path, width, cause):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, 9000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(png.SIGNATURE + b"".join(parts))
    with pytest.raises(UserError, match=cause):
        readers.read(tmp_path / "a.png")


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    causes = {
        "folder": "it is a folder",
        "pipe": "a named pipe",
        "empty": "the file is empty",
        "text": "",
        "no": "no such",
    }
    for name, cause in causes.items():
        with pytest.raises(UserError, match=rf"{name}\.png cannot be read as PNG: .*{cause}"):
            readers.read(tmp_path / f"{name}.png")
    with pytest.raises(UserError, match=r"\.jpg, \.png"):
        readers.read(tmp_path / "a.bmp")
