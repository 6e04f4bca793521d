"""The program ``harness``, also as ``python -m harness``."""

import atexit
import os
import signal
import sys
from typing import Any

from harness.system.interruption import INTERRUPTED, SIGNALS, deferred, end_now


def main() -> None:
    """Run the command line and exit; a signal gives exit code 130 and no traceback, also during imports."""
    # The function that is registered first runs last.
    atexit.register(_handle_signals, signal.SIG_IGN)
    code: Any = INTERRUPTED
    try:
        with deferred(end_now):
            from harness.cli import main as run

            run()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr or None)
    except SystemExit as end:
        code = end.code
    # A second signal ends the exit, which may take seconds, without a traceback; at the end, signals are ignored,
    # because ``Py_FinalizeEx`` restores the default handlers.
    _handle_signals(lambda *_: os._exit(code))
    sys.exit(code)


def _handle_signals(handler: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


if __name__ == "__main__":
    main()
