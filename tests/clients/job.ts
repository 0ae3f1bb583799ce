// One whole job with the client that hey-api made of the description.

import assert from "node:assert/strict";
import { createClient } from "./generated/hey/client";
import * as api from "./generated/hey";

const { JOBCHUTE_URL = "", JOBCHUTE_KEY, JOBCHUTE_MINER_KEY, JOBCHUTE_CHUTE = "" } = process.env;
const user = createClient({ baseUrl: JOBCHUTE_URL, auth: JOBCHUTE_KEY, throwOnError: true });
const miner = createClient({ baseUrl: JOBCHUTE_URL, auth: JOBCHUTE_MINER_KEY, throwOnError: true });
const as = <C>(client: C) => ({ client, throwOnError: true as const });

async function main() {
  const path = { chute_id: JOBCHUTE_CHUTE, method: "run" };
  const created = await api.createJob({ ...as(user), path, body: { scene: "teapot" } });
  const job = { job_id: created.data.job_id };
  const claimed = await api.claimJob({ ...as(miner), path: job, body: { region: "eu" } });
  const query = { token: new URL(claimed.data.job_status_url).searchParams.get("token") ?? "" };
  const mine = { ...as(miner), path: job, query };
  const lease = await api.heartbeatJob({ ...mine, body: { progress: 0.5 } });
  assert.equal(lease.data.cancelled, false);
  assert.ok(Date.parse(lease.data.next_heartbeat_at ?? "") > Date.now());
  const state = await api.getJob({ ...as(user), path: job, query: { view: "status" } });
  assert.deepEqual([state.data.progress, state.data.job_args], [0.5, null]);
  assert.equal(state.response.headers.get("retry-after"), "1");

  const report: api.Report = { status: "complete", result: { frames: 42 }, output_files: [{ filename: "a.txt", size: 5 }] };
  const finished = await api.finishJob({ ...mine, body: report });
  assert.equal(finished.data.status, "complete_pending_uploads");
  const renewed = await api.uploadJobFile({ ...mine, body: { path: "a.txt" } });
  assert.ok("method" in renewed.data && renewed.data.url);
  const { method, url, headers } = renewed.data;
  const put = await fetch(url, { method, headers, body: "hello" });
  assert.equal(put.status, 200);
  assert.equal((await api.completeJob(mine)).data.status, "complete");

  const complete = await api.getJob({ ...as(user), path: job });
  assert.deepEqual(complete.data.result, { frames: 42 });
  const [file_id = ""] = Object.keys(complete.data.output_files ?? {});
  const asksForJson = { headers: { accept: "application/json" } };
  const download = await api.downloadOutputFile({ ...as(user), path: { ...job, file_id }, ...asksForJson });
  assert.equal(await (await fetch(download.data.url)).text(), "hello");
  assert.equal((await api.deleteJob({ ...as(user), path: job })).data.deleted, true);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
