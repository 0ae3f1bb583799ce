"""Every function under AWS's Lambda Runtime Interface Emulator, which speaks the Runtime API as Lambda does.

    .ci/with-stack python tests/engines/rie.py RIE ENV_FILE

Inside a local stack, which has the tables and the bucket; ENV_FILE is what it wrote for `--env-file`. Each function answers its events of
`events/`, first as they stand there and then as steps of one job's life, with the account, the job and the token that came of the
steps before; and both once more as a REST API and as function URLs would send them. Then one dies in a request, one hangs, one is sent
too much and one answers too much.
"""

import base64
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from fronts import FRONTS, STAGE, function_url, http_api, rest_api

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
EVENTS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "events").glob("*.json"))}
# What the events name, to be replaced by what there is.
KEY = "cpk_0123456789abcdef0123456789abcdef.3f0a1f6e00004000800000000000000a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
USER = "3f0a1f6e-0000-4000-8000-00000000000a"
CHUTE = "3f0a1f6e-0000-4000-8000-000000000001"
JOB = "7c1d0a52-0000-4000-8000-000000000002"
ADMINISTRATORS_JOB = "3f0a1f6e-0000-4000-8000-000000000002"
TOKEN = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.e30.c2lnbmF0dXJl"
INPUT = "9b0c8a52-0000-5000-8000-000000000001"
FILE = "da122f8b-5b07-565b-9351-be35d3830511"
# "Lambda quotas": "Invocation payload (request and response): 6 MB each for request and response (synchronous)".
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LIMIT = 6 << 20


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Emulated:
    """A program under the emulator."""

    def __init__(self, rie, command, environment, timeout=29):
        self.name, self.port = Path(command[-1]).name, free_port()
        addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{self.port}", "--runtime-api-address", f"127.0.0.1:{free_port()}"]
        variables = {**environment, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024"}
        self.log = open(Path(sys.argv[2]).with_name("rie.log"), "ab")
        self.process = subprocess.Popen(
            [rie, "--log-level", "warn", *addresses, *command],
            env=variables, stdout=self.log, stderr=self.log, start_new_session=True,
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, "the emulator has ended"
                time.sleep(0.01)

    def send(self, body):
        """The status and the bytes of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request("POST", "/2015-03-31/functions/function/invocations", body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def invoke(self, event):
        """The answer of the function, which has to be JSON."""
        status, body = self.send(json.dumps(event))
        assert status == 200, f"{self.name}: {status} {body}"
        return json.loads(body)

    def child(self):
        """The function's own process."""
        tasks = f"/proc/{self.process.pid}/task"
        children = [Path(tasks, task, "children").read_text().split() for task in os.listdir(tasks)]
        (child,) = [int(pid) for pids in children for pid in pids]
        return child

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


@contextmanager
def emulated(*arguments, **options):
    function = Emulated(*arguments, **options)
    try:
        yield function
    finally:
        function.end()


class Hole:
    """A DynamoDB that takes calls and never answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.held = []
        self.called = threading.Event()
        threading.Thread(target=self.hold, daemon=True).start()

    def hold(self):
        while True:
            self.held.append(self.listener.accept()[0])
            self.called.set()


def headers_of(answer):
    """Payload 1.0 has them with all their values, and 2.0 knows nothing of those."""
    assert not (answer["headers"] and answer["multiValueHeaders"]), answer
    return answer["headers"] or {name: value for name, values in answer["multiValueHeaders"].items() for value in values}


def is_answer(event, answer, status):
    """Asserts an answer that API Gateway takes for payload 2.0 and 1.0, with this status."""
    told = f"{event}: {json.dumps(answer)[:600]}"
    assert isinstance(answer, dict) and answer.get("statusCode") == status, f"{status} expected of {told}"
    assert isinstance(answer["headers"], dict) and isinstance(answer["isBase64Encoded"], bool), told
    assert all(isinstance(value, str) for value in headers_of(answer).values()), told
    body = answer.get("body")
    if body is None:
        return None
    if answer["isBase64Encoded"]:
        body = base64.b64decode(body, validate=True)
        compressed = headers_of(answer).get("content-encoding") == "gzip"
        body = (gzip.decompress(body) if compressed else body).decode()
    if headers_of(answer).get("content-type") != "application/json":
        return body
    document = json.loads(body)
    if status >= 400:
        assert list(document) == ["detail"], told
    return document


def as_they_stand(run, events):
    """Events on an empty stack, where nobody they name is known."""
    for event, content in events.items():
        answer = run(event, content)
        if event == "docs":
            assert "<html" in is_answer(event, answer, 200)
        elif "requestContext" in content:
            assert isinstance(is_answer(event, answer, 401)["detail"], str)
        else:
            expect_plain(event, answer)


# What the events that API Gateway does not send are answered on an empty stack, in the order of their names: a refusal's status, or None.
REFUSED = {
    "admin-cancel-job": 404,
    "admin-create-key": 404,
    "admin-delete-job": 404,
    "admin-revoke-key": 404,
    "admin-update-key": 404,
}


def expect_plain(event, answer):
    """A document of the function, or a refusal as Lambda tells a function's error."""
    status, told = REFUSED.get(event), f"{event}: {json.dumps(answer)[:600]}"
    if status is None:
        assert isinstance(answer, dict) and "errorType" not in answer, told
        return
    assert sorted(answer) == ["errorMessage", "errorType"], told
    assert answer["errorType"].startswith(f"{status} "), told
    assert list(json.loads(answer["errorMessage"])) == ["detail"], told


def whole_life(run, prefix):
    """The same events as steps that succeed, of a user and a chute of their own, each with what came of those before. Links have the prefix
    before their path."""
    names = {USER: str(uuid.uuid4()), CHUTE: str(uuid.uuid4())}

    def step(event, status=200, body=None):
        text = json.dumps(EVENTS[event])
        for name, now in names.items():
            text = text.replace(name, now)
        content = json.loads(text)
        if body is not None:
            content["body"] = json.dumps(body)
            content["headers"]["content-length"] = str(len(content["body"]))
        answer = run(event, content)
        if "requestContext" in content:
            return is_answer(event, answer, status), headers_of(answer)
        assert "errorType" not in answer, f"{event}: {answer}"
        return answer, {}

    def token(assignment):
        url, names[TOKEN] = assignment["job_status_url"].split("?token=")
        assert urlsplit(url).path == f"{prefix}/jobs/{names[JOB]}", url

    for event in ["admin-create-user", "admin-enable-user", "admin-set-roles", "admin-set-quotas", "admin-put-chute"]:
        if event == "admin-set-roles":
            answer = run(event, {**EVENTS[event], "roles": ["miner"]})
            assert "errorType" not in answer, answer
        else:
            step(event)
    names[KEY] = step("admin-create-key")[0]["key"]

    made, _ = step("create-input")
    names[INPUT] = made["input_id"]
    upload = made["upload"]
    put = urllib.request.Request(upload["url"], b"hello", upload["headers"], method="PUT")
    with urllib.request.urlopen(put) as answer:
        assert answer.status == 200
    assert step("renew-input")[0]["uri"] == made["uri"]

    def create(**arguments):
        job, _ = step("create-job", body={"epochs": 3, **arguments})
        assert job["status"] == "pending", job
        names[JOB] = names[ADMINISTRATORS_JOB] = job["job_id"]

    create()
    assert step("get-job")[0]["status"] == "pending"
    assert [job["job_id"] for job in step("list-claimable-jobs")[0]["jobs"]] == [names[JOB]]
    assert step("list-jobs")[0]["jobs"] == []
    assert step("get-usage")[0]["global"]["used"] == 1
    assert step("cancel-job")[0]["status"] == "cancelled"
    assert step("retry-job")[0]["status"] == "pending"
    assert step("delete-job")[0]["deleted"] is True
    step("get-job", 404)

    ports = [{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]
    create()
    token(step("claim-next-job", body={"worker": "gpu-7", "port_mappings": ports})[0])
    assert step("heartbeat-job")[0]["cancelled"] is False
    assert step("release-job")[0]["released"] is True
    assert step("delete-job")[0]["deleted"] is True

    create(data=made["uri"])
    step("claim-job", 422)
    token(step("claim-job", body={"port_mappings": ports})[0])
    fetched = step("download-input", 307)[1]["location"]
    with urllib.request.urlopen(fetched) as answer:
        assert answer.read() == b"hello"
    assert step("list-logs")[0]["chunks"] == []
    assert step("finish-job")[0]["status"] == "complete_pending_uploads"
    assert step("upload-job-file")[0]["uploaded"] is True
    job, _ = step("complete-job")
    assert job["status"] == "complete" and job["result"] == {"loss": 0.5}, job
    (names[FILE],) = job["output_files"]
    with urllib.request.urlopen(step("download-output-file", 307)[1]["location"]) as answer:
        assert answer.read() == b"hello"
    first = step("get-webhook-secret")[0]["secret"]
    assert step("replace-webhook-secret")[0]["secret"] != first
    step("get-webhook")
    step("redeliver-webhook", 409)
    for event in ["queue-webhooks", "deliver-webhooks", "publish-events", "reap-jobs", "admin-list-jobs", "admin-delete-job"]:
        step(event)
    return names[KEY]


def without_credentials(event="get-job"):
    """A request that is refused without a call to any engine."""
    content = json.loads(json.dumps(EVENTS[event]))
    del content["headers"]["authorization"]
    return content


def well(function):
    is_answer("get-job", function.invoke(without_credentials()), 401)


def dies(rie, environment):
    """A process that is killed in a request fails that request only."""
    hole = Hole()
    with emulated(rie, [str(TARGET / "get-job")], {**environment, "AWS_ENDPOINT_URL_DYNAMODB": hole.url}) as function:
        well(function)
        answers = []
        request = threading.Thread(target=lambda: answers.append(function.send(json.dumps(EVENTS["get-job"]))))
        request.start()
        hole.called.wait()
        os.kill(function.child(), signal.SIGKILL)
        request.join()
        assert json.loads(answers[0][1])["errorType"] == "Runtime.ExitError", answers
        well(function)


def hangs(rie, environment):
    """A function gives up before Lambda would end it; one that cannot is ended, and the next request is well."""
    hole = Hole()
    with emulated(rie, [str(TARGET / "get-job")], {**environment, "AWS_ENDPOINT_URL_DYNAMODB": hole.url}, timeout=2) as function:
        answer = function.invoke(EVENTS["get-job"])
        is_answer("get-job", answer, 503)
        assert int(answer["headers"]["retry-after"]) > 0
        os.kill(function.child(), signal.SIGSTOP)
        _, body = function.send(json.dumps(without_credentials()))
        assert b"Task timed out after 2.00 seconds" in body, body
        well(function)


def is_sent_too_much(rie, environment, key):
    """What is more than a job may carry the function refuses. More than Lambda takes does not make it unwell, however it comes."""
    with emulated(rie, [str(TARGET / "create-job")], environment) as function:
        event = json.loads(json.dumps(EVENTS["create-job"]))
        event["headers"]["authorization"] = f"Bearer {key}"
        event["body"] = json.dumps({"x": "x" * (LIMIT - 4096)})
        is_answer("create-job", function.invoke(event), 413)
        event["body"] = "x" * LIMIT
        # Lambda answers 413 (deviations.py).
        answer = function.invoke(event)
        assert "EOF while parsing a string" in answer["errorMessage"], f"the emulator is mended: {answer}"
        is_answer("create-job", function.invoke(without_credentials("create-job")), 401)


def answers_too_much(rie, environment):
    """No function of ours can: each bounds what it answers. So here is one that does, to see where the limit is."""
    with emulated(rie, [sys.executable, __file__, "--answers"], environment) as function:
        status, body = function.send(str(LIMIT))
        assert (status, len(body)) == (200, LIMIT), (status, body[:300])
        status, body = function.send(str(LIMIT + 1024))
        assert json.loads(body)["errorType"] == "Function.ResponseSizeTooLarge", (status, body[:300])


def answering():
    """A function that answers as many bytes as its event says."""
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", "/2018-06-01/runtime/invocation/next")
        event = connection.getresponse()
        size = int(event.read())
        path = f"/2018-06-01/runtime/invocation/{event.headers['Lambda-Runtime-Aws-Request-Id']}/response"
        connection.request("POST", path, b'"' + b"x" * (size - 2) + b'"')
        connection.getresponse().read()


def main():
    rie, env_file = sys.argv[1:]
    environment = {}
    for line in Path(env_file).read_text().splitlines():
        name, value = line.split("=", 1)
        environment[name] = value[1:-1]
    functions = {}

    def behind(front):
        def run(event, content):
            package = "admin" if event.startswith("admin-") else event
            if package not in functions:
                functions[package] = Emulated(rie, [str(TARGET / package)], environment)
            return functions[package].invoke(front(content) if "requestContext" in content else content)

        return run

    try:
        requests = {event: content for event, content in EVENTS.items() if "requestContext" in content}
        as_they_stand(behind(rest_api), requests)
        as_they_stand(behind(function_url), requests)
        as_they_stand(behind(http_api), EVENTS)
        for front in FRONTS:
            key = whole_life(behind(front), f"/{STAGE}" if front is rest_api else "")
    finally:
        for function in functions.values():
            function.end()
    for fault in [dies, hangs, answers_too_much]:
        fault(rie, environment)
    is_sent_too_much(rie, environment, key)
    print(f"{len(functions)} functions, {len(EVENTS)} events, {len(FRONTS)} fronts, under the Runtime Interface Emulator")


if sys.argv[1:] == ["--answers"]:
    answering()
else:
    main()
