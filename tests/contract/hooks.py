"""What a description in OpenAPI can't say: routes that end a job need one of their own, and values that depend on each other."""

import itertools
import os
import re

import requests
import schemathesis

URL = os.environ["JOBCHUTE_URL"]
ACCOUNT = {"Authorization": f"Bearer {os.environ['JOBCHUTE_KEY']}"}
# What the configuration fills in. A case without it is about a job or a token that is none.
JOB, TOKEN = os.environ["JOBCHUTE_JOB"], os.environ["JOBCHUTE_TOKEN"]
MOST_FILES = 1000
MOST_PARTS = 10_000
MOST_LABELS = 10
LONGEST_URL = 2048
counter = itertools.count()


@schemathesis.hook
def map_body(context, body):
    """A form ignores other fields, but their names have to be ones that a form can carry."""
    if context.operation.definition.raw["operationId"] != "upload-job-file" or not isinstance(body, dict):
        return body
    return {name: value for name, value in body.items() if re.fullmatch(r"[\w-]+", name, re.ASCII)}


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw["operationId"]
    if operation == "create-job":
        fresh_key(case)
        fitting_options(case)
        without_inputs(case)
    elif operation in ("finish-job", "heartbeat-job", "upload-job-file", "complete-job"):
        if (case.path_parameters or {}).get("job_id") == JOB and (case.query or {}).get("token") == TOKEN:
            own_job(case, operation)
    if isinstance(case.body, dict):
        for names in ("output_filenames", "output_files"):
            unique_names(case.body.get(names))
        if full(case.body.get("output_filenames")):
            case.body["output_files"] = None
        files = case.body.get("output_files")
        for declared in [case.body, *(files if isinstance(files, list) else [])]:
            fewer_parts(declared)


def fresh_key(case):
    """The same Idempotency-Key with another body is refused, and every case has another body."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[ -~]{1,240}", key):
        case.headers["Idempotency-Key"] = f"{key}{next(counter)}"


def fitting_options(case):
    """A pattern says how a time is spelt, and not that it is from 10 seconds to 30 days; nor is a label of what can't be printed one."""
    query = case.query or {}
    if re.fullmatch("[0-9]+[smhd]?", str(query.get("cancel_after"))):
        query["cancel_after"] = "60"
    # Nor does one say which servers are public, and which ports are taken.
    webhook = query.get("webhook")
    if isinstance(webhook, str) and len(webhook) <= LONGEST_URL and re.fullmatch("https://[!-~]+", webhook):
        query["webhook"] = "https://a.example/"
    if isinstance(query.get("label"), list) and len(query["label"]) <= MOST_LABELS:
        query["label"] = [label if isinstance(label, str) and re.fullmatch("[ -~]{1,64}", label) else "label" for label in query["label"]]


def without_inputs(case):
    """What the example names is nobody's input here."""
    if isinstance(case.body, dict):
        for name, value in case.body.items():
            if isinstance(value, str) and value.startswith("jobchute://inputs/"):
                case.body[name] = "an image"


def own_job(case, operation):
    """A claimed job; for its files, one that has reported them."""
    job = requests.post(f"{URL}/jobs/{os.environ['JOBCHUTE_CHUTE']}/run", headers=ACCOUNT).json()
    claim = requests.put(f"{URL}/jobs/{job['job_id']}/claim", headers=ACCOUNT).json()
    url = claim["job_status_url"]
    if operation in ("upload-job-file", "complete-job"):
        path = case.body.get("path") if isinstance(case.body, dict) else None
        for name in (path, "model.bin"):
            if requests.post(url, json={"status": "complete", "output_filenames": [name]}).ok:
                break
    case.path_parameters["job_id"] = job["job_id"]
    case.query["token"] = url.split("token=")[1]


def unique_names(files):
    """No file is announced twice in one list."""
    seen = set()
    for at, file in enumerate(files if isinstance(files, list) else []):
        name = file.get("filename") if isinstance(file, dict) else file
        if not isinstance(name, str):
            continue
        if name in seen:
            name = f"{name}-{at}"
            if isinstance(file, dict):
                file["filename"] = name
            else:
                files[at] = name
        seen.add(name)


def full(files):
    """Both lists together have at most 1,000 names."""
    return isinstance(files, list) and len(files) == MOST_FILES


def fewer_parts(declared):
    """A file has at most 10,000 parts."""
    if not isinstance(declared, dict):
        return
    size, part_size = declared.get("size"), declared.get("part_size")
    numbers = all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in (size, part_size))
    if numbers and part_size > 0 and size / part_size > MOST_PARTS:
        declared["part_size"] = None
