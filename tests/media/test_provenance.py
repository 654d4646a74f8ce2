"""The record: canonical, complete, and strict about what it accepts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.media.samples import noise, provenance

import stillmotion
from stillmotion.errors import InputError
from stillmotion.media.provenance import (
    MAX_JSON_CHARS,
    InputIdentity,
    ModelIdentity,
    Provenance,
    fingerprint_pixels,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(), JSON, max_size=4))
def test_json_round_trip(prompt: str, settings: dict[str, object]) -> None:
    record = Provenance(
        kind="still",
        method="text_to_image",
        prompt=prompt,
        seed=1,
        model=ModelIdentity(name="m", fingerprint="f"),
        settings=settings,
    )
    text = record.to_json()
    assert Provenance.from_json(text) == record
    assert Provenance.from_json(text).to_json() == text
    assert text.isascii()
    assert "\n" not in text


def test_json_is_canonical() -> None:
    text = provenance("x").to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert json.loads(text)["ai_generated"] is True
    assert json.loads(text)["schema_version"] == 1
    assert json.loads(text)["stillmotion_version"] == stillmotion.__version__


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"ai_generated": False}, "ai_generated"),
        ({"seed": "7"}, "seed"),
        ({"seed": None}, "seed"),
        ({"extra": 1}, "extra"),
        ({"kind": "song"}, "kind"),
        ({"model": {"name": "m"}}, r"model\.fingerprint"),
        ({"output": {"format": "gif", "lossless": False, "width": 0, "height": 1}}, "width"),
    ],
)
def test_other_records_are_refused_in_one_sentence(change: dict[str, object], said: str) -> None:
    data = {**json.loads(provenance("x").to_json()), **change}
    with pytest.raises(InputError, match=said) as caught:
        Provenance.from_json(json.dumps(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "Lavf62", "x" * (MAX_JSON_CHARS + 1)])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="provenance record"):
        Provenance.from_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, {"deep": float("-inf")}]])
def test_settings_are_finite(value: object) -> None:
    data = provenance("x").model_dump()
    with pytest.raises(ValidationError, match="JSON compliant"):
        Provenance(**{**data, "settings": {"scale": value}})
    with pytest.raises(ValidationError, match="JSON compliant"):
        Provenance(**{**data, "still": {"prompt": "", "seed": 0, "settings": {"scale": value}}})


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        provenance().seed = 3  # type: ignore[misc]


def test_inputs_keep_no_folders() -> None:
    identity = InputIdentity(role="still", sha256="ab", name="/home/someone/cat.png")
    assert identity.name == "cat.png"


def test_fingerprints_tell_pixels_and_shapes_apart() -> None:
    pixels = noise(4, 6, 3)
    changed = pixels.copy()
    changed[3, 5, 2] ^= 1
    different = [pixels, changed, pixels.reshape(6, 4, 3), pixels[::-1]]
    assert len({fingerprint_pixels(each) for each in different}) == 4
    assert fingerprint_pixels(np.asfortranarray(pixels)) == fingerprint_pixels(pixels)
    # printf 'uint8 (1, 2, 3)\0\0\0\0\0\0' | sha256sum
    known = "2567296309d6abd8dda48fe5e45257551361eda385cf48c681dff60e59c079da"
    assert fingerprint_pixels(np.zeros((1, 2, 3), dtype=np.uint8)) == known
    with pytest.raises(InputError, match="float32"):
        fingerprint_pixels(pixels.astype(np.float32))  # type: ignore[arg-type]
