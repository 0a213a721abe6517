"""Lets `python -m pincite.qa` stand for `pincite`."""

from pincite.qa.cli import main

if __name__ == "__main__":
    main()
