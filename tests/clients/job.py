"""One whole job with the client that openapi-python-client made of the description."""

import io
import os
from urllib.parse import parse_qs, urlsplit

import httpx
from jobchute_client import AuthenticatedClient
from jobchute_client.api.miner import claim_job, complete_job, finish_job, heartbeat_job, upload_job_file
from jobchute_client.api.user import create_job, delete_job, download_output_file, get_job
from jobchute_client.models import Arguments, Claim, DeclaredFile, Heartbeat, Renewal, Report, Reported, Status, UploadForm
from jobchute_client.types import File

URL = os.environ["JOBCHUTE_URL"]
user = AuthenticatedClient(URL, os.environ["JOBCHUTE_KEY"])
miner = AuthenticatedClient(URL, os.environ["JOBCHUTE_MINER_KEY"])

job = create_job.sync(os.environ["JOBCHUTE_CHUTE"], "run", client=user, body=Arguments.from_dict({"scene": "teapot"}))
assert job.status is Status.PENDING and job.job_args["scene"] == "teapot", job
assignment = claim_job.sync(job.job_id, client=miner, body=Claim(region="eu"))
token = parse_qs(urlsplit(assignment.job_status_url).query)["token"][0]
mine = {"job_id": assignment.job_id, "token": token, "client": miner}
lease = heartbeat_job.sync(**mine, body=Heartbeat(progress=0.5))
assert lease.cancelled is False and lease.next_heartbeat_at < lease.lease_expires_at, lease
state = get_job.sync_detailed(job.job_id, client=user, view="status")
assert state.parsed.progress == 0.5 and state.parsed.job_args is None, state
assert state.headers["retry-after"] == "1", state

report = Report(
    status=Reported.COMPLETE,
    result={"frames": 42},
    output_filenames=["small.txt"],
    output_files=[DeclaredFile(filename="large.txt", size=5)],
)
finished = finish_job.sync(**mine, body=report)
assert finished.status is Status.COMPLETE_PENDING_UPLOADS and len(finished.uploads) == 2, finished
form = UploadForm(file=File(io.BytesIO(b"hello"), "small.txt", "text/plain"), path="small.txt")
assert upload_job_file.sync(**mine, body=form).uploaded is True
target = upload_job_file.sync(**mine, body=Renewal(path="large.txt"))
httpx.request(target.method, target.url, content=b"hello", headers=target.headers.additional_properties).raise_for_status()
assert complete_job.sync(**mine).status is Status.COMPLETE

job = get_job.sync(job.job_id, client=user)
assert job.terminal and job.result == {"frames": 42}, job
for file_id, file in job.output_files.additional_properties.items():
    asks_for_json = user.with_headers({"Accept": "application/json"})
    download = download_output_file.sync(job.job_id, file_id, client=asks_for_json)
    assert httpx.get(download.url).content == b"hello", file
assert delete_job.sync(job.job_id, client=user).deleted is True
assert "not found" in get_job.sync(job.job_id, client=user).detail
