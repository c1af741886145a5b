"""`klaviyo-simulator` and `python -m klaviyo_simulator`."""

from __future__ import annotations

from klaviyo_simulator.cli import run


def main() -> None:
    run()


if __name__ == "__main__":
    main()
