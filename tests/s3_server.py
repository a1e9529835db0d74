"""An S3 server on loopback, moto's, in a process of its own: where flask is loaded vLLM cannot start.

It prints its port, then ``done`` for each line that it reads: stop, start. What it holds it keeps.
"""

import logging
import sys

from moto.server import ThreadedMotoServer


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    print(port, flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            server.stop()
            server._server.server_close()  # or else it takes connections, and never answers
        else:
            server._port = port
            server.start()
        print("done", flush=True)


if __name__ == "__main__":
    main()
