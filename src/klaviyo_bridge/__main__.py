"""`python -m klaviyo_bridge`, and the console script `klaviyo-bridge`."""

from __future__ import annotations

import sys

from klaviyo_bridge.cli import app
from klaviyo_bridge.errors import BridgeError, ConfigError


def main() -> None:
    """Run the command line. Settings that do not fit end with exit code 2, other errors of ours with 1."""
    try:
        app()
    except ConfigError as error:
        print("The settings do not allow a start:", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    except BridgeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
