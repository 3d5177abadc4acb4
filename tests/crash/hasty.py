"""`posthouse`, which takes other machines for dead after seconds, not a minute."""

import sys

from posthouse.billing import drain_thread
from posthouse.cli import main

SILENT_SECONDS = 3.0

if __name__ == "__main__":
    vars(drain_thread).update(SILENT_SECONDS=SILENT_SECONDS, RENEW_SECONDS=0.5)
    sys.argv[0] = "posthouse"
    main()
