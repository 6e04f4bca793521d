"""The program ``harness``, also as ``python -m harness``."""

import signal
import sys


def main() -> None:
    """Run the command line and exit; Ctrl-C and SIGTERM give exit code 130 and no traceback, also during imports."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from harness.cli import main as run

        run()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr or None)
        sys.exit(130)
    finally:
        # The exit code is settled. A second Ctrl-C would otherwise end Python during the exit, which may take seconds,
        # with a traceback or with the exit code of the signal (``Py_FinalizeEx`` restores the default handlers).
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
