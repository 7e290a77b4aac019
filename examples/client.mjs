// Classify photos with a running service. From a page, pass the files of an <input type="file">; from Node.js 20 or
// later: node examples/client.mjs PHOTO... FASHION_URL and FASHION_TOKEN are read as in client.py.

/**
 * Send photos to POST /classify as one form.
 *
 * @param {File[]} files 1 to 64 pictures.
 * @param {{url?: string, token?: string, top?: number}} options Address of the service, its token, number of classes.
 * @returns {Promise<{model: string, predictions: object[], warnings: object[]}>}
 * @throws {Error} The service refuses the request; the message says why.
 */
export async function classify(files, { url = "http://127.0.0.1:3000", token = "", top = 3 } = {}) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(`${url}/classify?top=${top}`, { method: "POST", body: form, headers });
  const answer = await response.json();
  if (!response.ok) throw new Error(`refused with ${response.status}: ${answer.error.reason}`);
  return answer;
}

/** One line of text for each photo of an answer. */
export function describe(answer) {
  return answer.predictions.map((found) => {
    const likely = found.top.map((one) => `${one.name} ${(100 * one.probability).toFixed(1)}%`).join(", ");
    const notes = found.known === false ? ["unknown"] : []; // null if the model cannot tell
    if (!found.sure) notes.push("the model abstains");
    return `${found.file}: ${likely}${notes.length ? ` (${notes.join(", ")})` : ""}`;
  });
}

async function main(names) {
  const { readFile } = await import("node:fs/promises");
  const { basename } = await import("node:path");
  const files = await Promise.all(names.map(async (name) => new File([await readFile(name)], basename(name))));
  const answer = await classify(files, { url: process.env.FASHION_URL, token: process.env.FASHION_TOKEN });
  console.log(describe(answer).join("\n"));
}

// Only as a program, not when a page or another module imports it.
if (globalThis.process?.argv?.[1]?.endsWith("client.mjs")) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.cause?.message ?? error.message);
    process.exitCode = 1;
  });
}
