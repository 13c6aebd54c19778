"""``python -m deploycore`` is the ``deploycore`` command."""

from deploycore.cli import main

if __name__ == "__main__":
    main()
