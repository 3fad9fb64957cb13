import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsdata.formats import image
from hsengine.base.errors import UserError


def pixels(height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def picture(mode: str) -> Image.Image:
    return Image.fromarray(np.moveaxis(pixels(), 0, 2)).convert(mode)


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (180, 200)])
def test_pillow_reads_what_was_written(tmp_path: Path, size: tuple[int, int]) -> None:
    levels = pixels(*size)
    image.write(tmp_path / "a.png", levels)
    with Image.open(tmp_path / "a.png") as found:
        assert (found.mode, found.size) == ("RGB", size[::-1])
        np.testing.assert_array_equal(np.moveaxis(np.asarray(found), 2, 0), levels)


def test_bytes_do_not_depend_on_a_compressor() -> None:
    content = image.encoded(pixels())
    start = content.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", content[start - 8 : start - 4])
    stream = content[start : start + length]
    assert stream[:3] == b"\x78\x01\x01"
    assert zlib.decompress(stream) in stream
    assert zlib.crc32(content) == 0x5BA211A0


def test_values_in_0_1_are_rounded_to_levels_and_clipped(tmp_path: Path) -> None:
    rgb = np.concatenate([np.array([0.0, 0.49 / 255, 0.51 / 255, 1.0, -1.0, 7.0]).reshape(1, 1, 6)] * 3)
    image.write(tmp_path / "a.png", rgb)
    assert np.rint(image.read(tmp_path / "a.png")[0, 0] * 255).tolist() == [0, 0, 1, 255, 0, 255]


def test_a_picture_comes_back_as_written(tmp_path: Path) -> None:
    image.write(tmp_path / "a.png", pixels())
    found = image.read(tmp_path / "a.png")
    assert found.dtype == np.float32
    assert image.size(tmp_path / "a.png") == (5, 7)
    np.testing.assert_array_equal(image.quantised(found), pixels())


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    found = image.read(saved(tmp_path / "a.jpg", picture("RGB"), quality=95))
    assert found.shape == (3, 5, 7)


def test_palettes_and_opaque_alpha_are_resolved(tmp_path: Path) -> None:
    opaque = image.read(saved(tmp_path / "alpha.png", picture("RGBA")))
    np.testing.assert_array_equal(image.quantised(opaque), pixels())
    palette = picture("RGB").quantize(256)
    found = image.read(saved(tmp_path / "palette.png", palette))
    np.testing.assert_array_equal(image.quantised(found), np.moveaxis(np.asarray(palette.convert("RGB")), 2, 0))


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "CMYK"])
def test_other_modes_are_refused_by_name(tmp_path: Path, mode: str) -> None:
    wrong = Image.fromarray(np.zeros((4, 4), np.uint16)) if mode == "I;16" else picture(mode)
    name = "wrong.jpg" if mode == "CMYK" else "wrong.png"
    with pytest.raises(UserError, match=r"wrong.*mode .*RGB with 8 bits"):
        image.read(saved(tmp_path / name, wrong))


def test_transparency_is_refused(tmp_path: Path) -> None:
    clear = picture("RGBA")
    clear.putalpha(100)
    with pytest.raises(UserError, match="transparent"):
        image.read(saved(tmp_path / "a.png", clear))


def test_16_bits_a_channel_are_refused_not_cut(tmp_path: Path) -> None:
    raw = b"".join(b"\x00" + bytes(4 * 6) for _ in range(4))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (tmp_path / "deep.png").write_bytes(content)
    with pytest.raises(UserError, match=r"deep\.png has 16 bits"):
        image.read(tmp_path / "deep.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_a_truncated_file_is_named(tmp_path: Path, kind: str, share: float) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels(60, 60), 0, 2)).save(stream, kind)
    content = stream.getvalue()
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cut\..* is truncated"):
        image.read(path)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    for function in (image.read, image.size):
        with pytest.raises(UserError, match="no picture at"):
            function(tmp_path / "none.png")


def test_what_is_no_picture_is_not_written(tmp_path: Path) -> None:
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3)), np.full((3, 2, 2), np.nan), np.zeros((3, 2, 2), np.int64)):
        with pytest.raises(ValueError, match="picture"):
            image.write(tmp_path / "a.png", wrong)
    assert not list(tmp_path.iterdir())
