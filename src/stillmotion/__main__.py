"""``python -m stillmotion`` is the ``stillmotion`` command."""

from __future__ import annotations

from stillmotion.apps.cli import main

if __name__ == "__main__":
    main()
