"""``python -m deploycore`` that repeats a request at once: ``python -m tests.cli.unwaiting``."""

from __future__ import annotations

from deploycore.cli import main
from deploycore.http import client

if __name__ == "__main__":
    client.seconds_before_retry = lambda *arguments, **named: 0.0
    main()
