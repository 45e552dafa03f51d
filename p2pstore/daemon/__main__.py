"""`python -m p2pstore.daemon --home DIR`: what `p2pstore up` starts."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from p2pstore.daemon.home import AlreadyRunning, Retired
from p2pstore.daemon.logs import JsonLines
from p2pstore.daemon.run import run_daemon
from p2pstore.errors import P2PStoreError


def main() -> int:
    """Run a daemon in this process."""
    parser = argparse.ArgumentParser(prog="p2pstore.daemon")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--listen")
    parser.add_argument("--metrics", type=int)
    parser.add_argument("--log-json", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    if arguments.log_json:
        logging.getLogger().handlers[0].setFormatter(JsonLines())
    try:
        return run_daemon(
            arguments.home,
            port=arguments.port,
            listen=arguments.listen,
            metrics_port=arguments.metrics,
            log_requests=arguments.log_json,
        )
    except AlreadyRunning as error:
        logging.getLogger("p2pstore").critical("%s", error)
        return 11
    except Retired as error:
        logging.getLogger("p2pstore").warning("%s", error)
        return 0  # a service manager has nothing to try again
    except P2PStoreError as error:
        logging.getLogger("p2pstore").critical("%s: %s", type(error).__name__, error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
