// One whole job with openapi-fetch, typed by what openapi-typescript made of the description.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./generated/paths";

const { JOBCHUTE_URL = "", JOBCHUTE_KEY, JOBCHUTE_MINER_KEY, JOBCHUTE_CHUTE = "" } = process.env;
const by = (key = "") => createClient<paths>({ baseUrl: JOBCHUTE_URL, headers: { authorization: `Bearer ${key}` } });
const [user, miner] = [by(JOBCHUTE_KEY), by(JOBCHUTE_MINER_KEY)];

/** The data of an answer that is a success. */
function good<T>(answer: { data?: T; error?: unknown }): T {
  assert.ok(answer.data !== undefined, JSON.stringify(answer.error));
  return answer.data;
}

async function main() {
  const chute = { chute_id: JOBCHUTE_CHUTE, method: "run" };
  const body = { scene: "teapot" };
  const { job_id } = good(await user.POST("/jobs/{chute_id}/{method}", { params: { path: chute }, body }));
  const path = { job_id };
  const claimed = good(await miner.PUT("/jobs/{job_id}/claim", { params: { path }, body: { region: "eu" } }));
  const token = new URL(claimed.job_status_url).searchParams.get("token") ?? "";
  const params = { path, query: { token } };
  const lease = good(await miner.PUT("/jobs/{job_id}/heartbeat", { params, body: { progress: 0.5 } }));
  assert.equal(lease.cancelled, false);
  assert.ok(Date.parse(lease.next_heartbeat_at ?? "") > Date.now());
  const state = await user.GET("/jobs/{job_id}", { params: { path, query: { view: "status" } } });
  assert.deepEqual([good(state).progress, good(state).job_args], [0.5, null]);
  assert.equal(state.response.headers.get("retry-after"), "1");

  const report = { status: "complete" as const, result: { frames: 42 }, output_files: [{ filename: "a.txt", size: 5 }] };
  const finished = good(await miner.POST("/jobs/{job_id}", { params, body: report }));
  assert.equal(finished.status, "complete_pending_uploads");
  const form = new FormData();
  form.set("file", new Blob(["hello"], { type: "text/plain" }), "a.txt");
  form.set("path", "a.txt");
  // As openapi-fetch's documentation sends a form.
  const upload = { params, body: { file: "", path: "a.txt" }, bodySerializer: () => form };
  const stored = good(await miner.PUT("/jobs/{job_id}/upload", upload));
  assert.ok("uploaded" in stored && stored.uploaded);
  assert.equal(good(await miner.PUT("/jobs/{job_id}", { params })).status, "complete");

  const complete = good(await user.GET("/jobs/{job_id}", { params: { path } }));
  assert.deepEqual(complete.result, { frames: 42 });
  const [file_id = ""] = Object.keys(complete.output_files ?? {});
  const file = { params: { path: { job_id, file_id } }, headers: { accept: "application/json" } };
  const download = good(await user.GET("/jobs/{job_id}/download/{file_id}", file));
  assert.equal(await (await fetch(download.url)).text(), "hello");
  assert.equal(good(await user.DELETE("/jobs/{job_id}", { params: { path } })).deleted, true);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
