"""The program ``harness``, also as ``python -m harness``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C gives a message without a traceback, even while modules are still being imported."""
    try:
        from harness.cli import main as run

        run()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr or None)
        sys.exit(130)


if __name__ == "__main__":
    main()
