"""Models that several jobs have in common, loaded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from stillmotion.runtime.compiling import OFF

_KEPT_MODELS = 2
"""Models in memory at a time: work often changes between two, one of each method."""
Loaded = TypeVar("Loaded")


class SharedModels:
    """Models that jobs have in common are loaded once; of those in memory the oldest goes.

    All are loaded to be compiled as `compiling` says, one of `CHOICES` in `runtime/compiling.py`.
    """

    def __init__(self, kept: int = _KEPT_MODELS, *, compiling: str = OFF) -> None:
        self._kept: dict[str, Any] = {}
        self._num_kept = kept
        self._common = {} if compiling == OFF else {"compiling": compiling}

    def sharing(self, load: Callable[..., Loaded]) -> Callable[..., Loaded]:
        """`load`, but for what is in memory already."""

        def loading(reference: str, **options: Any) -> Loaded:
            key = repr((load.__name__, reference, sorted(options.items())))
            model = self._kept.pop(key, None)
            if model is None:
                while len(self._kept) >= self._num_kept:
                    del self._kept[next(iter(self._kept))]
                model = load(reference, **options, **self._common)
            self._kept[key] = model
            found: Loaded = model
            return found

        return loading

    def forget(self, model: object) -> None:
        """Load it anew when it is needed again."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept is not model}
