"""`python -m p2pstore.cli`: the command line."""

import sys

from p2pstore.cli.main import main

sys.exit(main())
