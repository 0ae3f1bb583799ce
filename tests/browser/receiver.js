// A receiver of webhooks: an HTTPS server at `localhost`, and the certificate that a stack has to trust.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Starts it. `replies` are taken in turn, then it answers 204; `received` has the headers and the JSON of what came. */
export async function startReceiver() {
  const folder = mkdtempSync(join(tmpdir(), "jobchute-"));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"];
  const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", key, "-out", certificate];
  execFileSync("openssl", ["req", "-x509", ...made, ...names], { stdio: "pipe" });
  const [replies, received] = [[], []];
  const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, async (request, response) => {
    const body = [];
    for await (const chunk of request) body.push(chunk);
    received.push({ headers: request.headers, json: JSON.parse(Buffer.concat(body)) });
    const { status, text } = replies.shift() ?? { status: 204, text: "" };
    response.writeHead(status, { "content-type": "text/html" }).end(text);
  });
  server.listen(0, "localhost");
  await once(server, "listening");
  const stop = () => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  };
  return { url: `https://localhost:${server.address().port}/hook`, certificate, replies, received, stop };
}
