import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { Webhook } from "standardwebhooks";
import * as api from "./jobchute";
import { createClient } from "./jobchute/client";

const { JOBCHUTE_URL = "", JOBCHUTE_KEY = "", JOBCHUTE_CHUTE = "", RECEIVER_URL = "", RECEIVER_PEM = "" } = process.env;
const client = createClient({ baseUrl: JOBCHUTE_URL, auth: JOBCHUTE_KEY, throwOnError: true });
const user = { client, throwOnError: true as const };

/** Fetches what a job has left. */
async function download(job_id: string) {
  const { data: job } = await api.getJob({ ...user, path: { job_id } });
  console.log(job.status, JSON.stringify(job.result));
  for (const [file_id, { filename }] of Object.entries(job.output_files ?? {})) {
    const path = { job_id, file_id };
    const { data } = await api.downloadOutputFile({ ...user, path, headers: { accept: "application/json" } });
    // A miner has named it: here, nowhere else.
    const name = `${job_id}-${filename.replace(/[^\w.-]/g, "_")}`;
    writeFileSync(name, Buffer.from(await (await fetch(data.url)).arrayBuffer()));
    console.log(name);
  }
}

async function main() {
  const { data: hook } = await api.getWebhookSecret(user);
  const pem = readFileSync(RECEIVER_PEM);
  const server = createServer({ cert: pem, key: pem }, async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    let event;
    try {
      event = new Webhook(hook.secret).verify(Buffer.concat(chunks), request.headers as Record<string, string>);
    } catch {
      return response.writeHead(401).end();
    }
    // Answered at once: it may come again, and a receiver that is slow is tried again.
    response.writeHead(204).end();
    await download((event as { data: { job_id: string } }).data.job_id);
    server.close();
  });
  server.listen(new URL(RECEIVER_URL).port);

  const path = { chute_id: JOBCHUTE_CHUTE, method: "run" };
  const { data: job } = await api.createJob({ ...user, path, query: { webhook: RECEIVER_URL }, body: { frames: 3 } });
  console.log("created", job.job_id);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
