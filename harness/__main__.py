"""``python -m harness``."""

import sys

try:
    from harness.cli import main
except KeyboardInterrupt:
    # Ctrl-C while modules are still being loaded.
    print("harness: interrupted", file=sys.stderr)
    exec("")  # As harness.cli does before it leaves.
    sys.exit(130)

main()
