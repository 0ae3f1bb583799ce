import datetime, json, os, pathlib, subprocess, sys, tempfile, threading, time, uuid
import requests

API, KEY, CHUTE = (os.environ[f"JOBCHUTE_{name}"] for name in ("URL", "MINER_KEY", "CHUTE"))
ME = {"headers": {"Authorization": f"Bearer {KEY}"}, "params": {"chute_id": CHUTE}, "json": {"worker": uuid.uuid4().hex}}

def ask(method, url, **more):  # until there is an answer that no other try would change
    for tries in range(10):
        try:
            answer = requests.request(method, url, timeout=60, **more)
            if answer.status_code < 500 and answer.status_code != 429:
                return answer
            time.sleep(int(answer.headers.get("Retry-After", 2)))
        except requests.RequestException:
            time.sleep(2**tries)
    sys.exit(f"{API} can't be reached")

def beat(url, command, over):  # the server says how often; without the lease, the command has nothing to run for
    pause = 0.0
    while not over.wait(pause):
        lease = ask("PUT", url.replace("?token=", "/heartbeat?token="), json={})
        if lease.status_code != 200 or lease.json()["cancelled"]:
            return command.kill()
        then = datetime.datetime.fromisoformat(lease.json()["next_heartbeat_at"].replace("Z", "+00:00"))
        pause = max(1.0, (then - datetime.datetime.now(datetime.timezone.utc)).total_seconds())

def work(job, folder):  # the command reads arguments.json, and leaves files in output/
    url, output = job["job_status_url"], folder / "output"
    output.mkdir()
    (folder / "arguments.json").write_text(json.dumps(job["job_data"]))
    command, over = subprocess.Popen(sys.argv[1:], cwd=folder), threading.Event()
    threading.Thread(target=beat, args=(url, command, over), daemon=True).start()
    status = "error" if command.wait() else "complete"
    files = {str(path.relative_to(output)): path for path in output.rglob("*") if path.is_file()}
    declared = [{"filename": name, "size": path.stat().st_size} for name, path in files.items()]
    report = ask("POST", url, json={"status": status, "result": {"code": command.returncode}, "output_files": declared})
    for target in report.json()["uploads"] if report.ok else []:
        whole = {"url": target["url"], "offset": 0, "size": files[target["filename"]].stat().st_size}
        with files[target["filename"]].open("rb") as file:  # straight to S3, in parts where it is large
            for part in target["parts"] or [whole]:
                file.seek(part["offset"])
                ask("PUT", part["url"], data=file.read(part["size"]), headers=None if target["parts"] else target["headers"])
    print(job["job_id"], ask("PUT", url).json().get("status", "is no longer this miner's"), flush=True)
    over.set()

while True:
    claim = ask("PUT", f"{API}/jobs/claim", **ME)
    if claim.status_code == 200:
        with tempfile.TemporaryDirectory() as folder:
            work(claim.json(), pathlib.Path(folder))
    else:
        time.sleep(int(claim.headers["Retry-After"]) if claim.status_code == 204 else sys.exit(claim.text))
