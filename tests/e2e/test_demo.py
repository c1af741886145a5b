"""The demo is the first thing a stranger runs, so it is run here too: both programs, as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demo_tells_its_story_to_the_end_and_cleans_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "klaviyo_bridge", "demo", "--customers", "120", "--orders", "60"]

    played = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert played.returncode == 0, played.stdout + played.stderr
    assert "117 customers are at Klaviyo" in played.stdout
    assert "Everything above was read back from both sides." in played.stdout
    assert list(tmp_path.iterdir()) == []
