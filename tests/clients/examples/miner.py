import json, os, pathlib, subprocess, sys, tempfile, threading, time, uuid
from datetime import datetime
import requests
from requests.adapters import HTTPAdapter, Retry

API, KEY, CHUTE = (os.environ[f"JOBCHUTE_{name}"] for name in ("URL", "MINER_KEY", "CHUTE"))
ME = {"headers": {"Authorization": f"Bearer {KEY}"}, "params": {"chute_id": CHUTE}, "json": {"worker": uuid.uuid4().hex}}
RETRY = Retry(10, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504], allowed_methods=None)  # as `Retry-After` says

def ask(method, url, **more):
    with requests.Session() as session:
        session.mount(url.split("/")[0] + "//", HTTPAdapter(max_retries=RETRY))
        return session.request(method, url, timeout=60, **more)

def beat(url, command, over):  # the server says how often; without the lease, the command has nothing to run for
    pause = 0
    while not over.wait(pause):
        lease = ask("PUT", url.replace("?token=", "/heartbeat?token="), json={})
        if lease.status_code != 200 or lease.json()["cancelled"]:
            return command.kill()
        then = datetime.fromisoformat(lease.json()["next_heartbeat_at"].replace("Z", "+00:00"))
        pause = max(1, then.timestamp() - time.time())

def work(job, folder):  # the command reads arguments.json, and leaves files in output/
    url, output, over = job["job_status_url"], folder / "output", threading.Event()
    output.mkdir()
    (folder / "arguments.json").write_text(json.dumps(job["job_data"]))
    command = subprocess.Popen(sys.argv[1:], cwd=folder)
    threading.Thread(target=beat, args=(url, command, over), daemon=True).start()
    status = "error" if command.wait() else "complete"
    files = {path.relative_to(output).as_posix(): path for path in output.rglob("*") if path.is_file()}
    declared = [{"filename": name, "size": path.stat().st_size} for name, path in files.items()]
    report = ask("POST", url, json={"status": status, "result": {"code": command.returncode}, "output_files": declared})
    for target in report.json()["uploads"] if report.ok else []:
        with files[target["filename"]].open("rb") as file:  # straight to S3, in parts where it is large
            for part in target["parts"] or [target]:
                content = file.read(part.get("size", -1))
                ask("PUT", part["url"], data=content, headers=None if target["parts"] else target["headers"])
    print(job["job_id"], ask("PUT", url).json().get("status", "is no longer this miner's"), flush=True)
    over.set()

while True:
    claim = ask("PUT", f"{API}/jobs/claim", **ME)
    claim.raise_for_status()
    if claim.status_code == 204:
        time.sleep(int(claim.headers["Retry-After"]))
        continue
    with tempfile.TemporaryDirectory() as folder:
        work(claim.json(), pathlib.Path(folder))
