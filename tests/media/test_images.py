"""Stills: every way in which a picture can be strange or bad."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin
from tests.media.samples import moving_disc, noise, provenance

from stillmotion.errors import InputError, OutputError
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import load_image, read_png_text, save_image
from stillmotion.media.provenance import Provenance


def still_provenance() -> Provenance:
    return provenance().model_copy(update={"kind": "still"})


@pytest.mark.parametrize("name", ["still.png", "still.webp", "STILL.PNG"])
def test_stills_come_back_with_their_provenance(name: str, tmp_path: Path) -> None:
    image = noise(13, 9, 3)
    save_image(image, tmp_path / name, provenance=still_provenance())
    assert np.array_equal(load_image(tmp_path / name), image)
    beside = Provenance.from_json((tmp_path / f"{name}.json").read_text())
    (tmp_path / f"{name}.json").unlink()
    inside = read_provenance(tmp_path / name)
    assert inside == beside
    assert inside.model_copy(update={"output": None}) == still_provenance()


def test_stills_are_written_like_clips(tmp_path: Path) -> None:
    image = noise(5, 5, 3)
    save_image(image, tmp_path / "a.png", provenance=still_provenance(), side_car=False)
    assert os.listdir(tmp_path) == ["a.png"]
    with pytest.raises(OutputError, match="exists already"):
        save_image(image, tmp_path / "a.png", provenance=still_provenance())
    with pytest.raises(OutputError, match=r"\.png or \.webp"):
        save_image(image, tmp_path / "a.jpg", provenance=still_provenance())
    with pytest.raises(InputError, match=r"\(h w 3\)"):
        save_image(image[..., 0], tmp_path / "b.png", provenance=still_provenance())
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
def test_formats_are_known_by_content(name: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 4), (200, 100, 50)).save(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "picture.dat")
    image = load_image(tmp_path / "picture.dat")
    assert image.shape == (4, 8, 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert np.abs(image.astype(int) - (200, 100, 50)).max() <= 2


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.transpose(1, 0, 2)),
        (6, lambda image: np.rot90(image, -1)),
        (7, lambda image: np.rot90(image.transpose(1, 0, 2), 2)),
        (8, lambda image: np.rot90(image)),
    ],
)
def test_camera_rotation_is_applied(
    name: str, orientation: int, turn: object, tmp_path: Path
) -> None:
    assert callable(turn)
    image = moving_disc(1, 32, 48)[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / name, exif=exif, quality=95)
    loaded = load_image(tmp_path / name)
    assert loaded.shape == turn(image).shape
    assert np.abs(loaded.astype(int) - turn(image)).mean() < 4


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode: str, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    if mode == "P":
        picture = picture.quantize(4)
    picture.convert(mode).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").tolist() == [[[0] * 3, [255] * 3, [0] * 3]]


def test_half_transparency_is_mixed(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert np.abs(load_image(tmp_path / "a.png").astype(int) - (255, 127, 127)).max() <= 1


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0x7FFF, 0xFFFF]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").tolist() == [[[0] * 3, [127] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_colour_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    name = "a.png" if mode in ("1", "L") else "a.jpg"
    Image.new("RGB", (8, 8), "white").convert(mode).save(tmp_path / name)
    image = load_image(tmp_path / name)
    assert image.shape == (8, 8, 3)
    assert image.min() >= 253


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_an_animation_gives_its_first_frame(name: str, tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    red.save(tmp_path / name, save_all=True, append_images=[blue], lossless=True)
    assert (load_image(tmp_path / name) == (255, 0, 0)).all()


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims to be of this size, and no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((8000, 5001), "8000 x 5001 pixels; at most 40000000"),
        ((10_000, 10_000), "10000 x 10000"),
        ((60_000, 60_000), "too many pixels"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_huge_picture_is_refused_before_decoding(
    size: tuple[int, int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png_header(*size) + struct.pack(">I", 99) + b"IDAT")

    def decode(self: ImageFile.ImageFile) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    with pytest.raises(InputError, match=said):
        load_image(tmp_path / "a.png")


def test_the_limit_can_be_set(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", max_pixels=32).shape == (4, 8, 3)
    with pytest.raises(InputError, match="8 x 4 pixels; at most 31"):
        load_image(tmp_path / "a.png", max_pixels=31)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.6, 0.9])
def test_a_cut_picture_is_told(name: str, kept: float, tmp_path: Path) -> None:
    Image.fromarray(noise(60, 60, 3)).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=name):
        load_image(tmp_path / name)


@pytest.mark.parametrize("extension", ["gif", "bmp", "tiff", "ppm", "ico"])
def test_other_formats_are_not_tried(extension: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16)).save(tmp_path / f"a.{extension}")
    (tmp_path / f"a.{extension}").rename(path)
    with pytest.raises(InputError, match="is not a PNG or JPEG or WEBP picture"):
        load_image(path)


def test_missing_pictures_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        load_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="is a folder"):
        load_image(tmp_path)


def test_png_text_is_read(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("one", "雪", zip=True)
    text.add_text("two", "2")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=text)
    assert read_png_text(tmp_path / "a.png") == {"one": "雪", "two": "2"}
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="is not a PNG picture"):
        read_png_text(tmp_path / "a.jpg")


def test_text_that_unpacks_to_a_flood_is_refused(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("stillmotion", "x" * 50_000_000, zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=text)
    with pytest.raises(InputError, match="damaged"):
        load_image(tmp_path / "a.png")
