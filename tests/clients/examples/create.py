import hashlib
import os
import pathlib
import sys
import time

import httpx
from jobchute_client import AuthenticatedClient
from jobchute_client.api.user import create_input, create_job, download_output_file, get_job
from jobchute_client.models import Arguments, DeclaredInput, Status

user = AuthenticatedClient(os.environ["JOBCHUTE_URL"], os.environ["JOBCHUTE_KEY"])

# The input. The same file gets the same place, and goes there once.
file = pathlib.Path(sys.argv[1])
content = file.read_bytes()
declared = DeclaredInput(file.name, len(content), sha256=hashlib.sha256(content).hexdigest())
place = create_input.sync(client=user, body=declared)
if place.upload:
    headers = place.upload.headers.additional_properties
    httpx.put(place.upload.url, content=content, headers=headers).raise_for_status()

# The job. Whoever runs it sees a URL in the input's place.
arguments = Arguments.from_dict({"scene": place.uri, "frames": 3})
job = create_job.sync(os.environ["JOBCHUTE_CHUTE"], "run", client=user, body=arguments)

# Its end, asked for as often as the server wants it.
while True:
    answer = get_job.sync_detailed(job.job_id, client=user, view="status")
    if answer.parsed.terminal:
        break
    time.sleep(int(answer.headers["retry-after"]))

# Its result and its files.
job = get_job.sync(job.job_id, client=user)
if job.status is not Status.COMPLETE:
    sys.exit(f"{job.status}: {job.error_detail}")
print(job.result)
by_json = user.with_headers({"Accept": "application/json"})
for file_id, output in job.output_files.additional_properties.items():
    download = download_output_file.sync(job.job_id, file_id, client=by_json)
    path = pathlib.Path(str(job.job_id), output.filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(httpx.get(download.url).content)
    print(path)
