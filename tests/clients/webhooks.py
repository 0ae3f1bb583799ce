"""webhooks.py FOLDER: has two jobs' ends told to an HTTPS receiver, and verifies them with the reference libraries of Standard Webhooks, from
PyPI and from npm, as they come. Runs beside `.ci/with-stack`; FOLDER has what `authority.py` has made."""

import http.server
import json
import os
import pathlib
import queue
import ssl
import subprocess
import sys
import threading
import urllib.request

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

folder = pathlib.Path(sys.argv[1])
api, chute = os.environ["JOBCHUTE_URL"], os.environ["JOBCHUTE_CHUTE"]
user = os.environ["JOBCHUTE_KEY"]
received: "queue.Queue[tuple[dict[str, str], bytes]]" = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        received.put(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def call(method: str, path: str) -> dict:
    request = urllib.request.Request(api + path, method=method, headers={"authorization": f"Bearer {user}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def told(url: str) -> tuple[dict[str, str], bytes]:
    job = call("POST", f"/jobs/{chute}/run?webhook={url}")
    call("PUT", f"/jobs/{job['job_id']}/cancel")
    headers, body = received.get(timeout=60)
    assert json.loads(body)["data"]["job_id"] == job["job_id"]
    return headers, body


def by_node(secret: str, headers: dict[str, str], body: bytes) -> str:
    given = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
    done = subprocess.run(["node", "verify.mjs"], input=given, capture_output=True, text=True, check=True)
    return done.stdout.strip()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder / "server.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"https://localhost:{server.server_port}/hook"

first = call("GET", "/webhooks/secret")["secret"]
headers, body = told(url)
assert Webhook(first).verify(body, headers)["type"] == "job.cancelled"
assert by_node(first, headers, body) == "job.cancelled"

# One byte more, another secret: neither library takes it.
for secret, content in [(first, body + b" "), ("whsec_" + "A" * 32, body)]:
    try:
        Webhook(secret).verify(content, headers)
        raise SystemExit("the Python library took a forgery")
    except WebhookVerificationError:
        pass
    assert by_node(secret, headers, content) == "refused"

# After a change of the secret, both verify what comes.
second = call("PUT", "/webhooks/secret")["secret"]
headers, body = told(url)
for secret in [first, second]:
    assert Webhook(secret).verify(body, headers)["type"] == "job.cancelled"
    assert by_node(secret, headers, body) == "job.cancelled"
print("standardwebhooks, from PyPI and npm: verified")
