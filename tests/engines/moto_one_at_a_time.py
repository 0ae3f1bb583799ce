"""moto's server, one request at a time: its conditional writes are not atomic between threads, as DynamoDB's are.

    python tests/engines/moto_one_at_a_time.py PORT
"""

import sys
from threading import Lock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

application = DomainDispatcherApplication(create_backend_app)
lock = Lock()


def one_at_a_time(environ, start_response):
    with lock:
        return list(application(environ, start_response))


# A thread for each connection, since clients keep connections open that they do not use.
run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
