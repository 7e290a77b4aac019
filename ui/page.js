// The page: pictures, drawings and tables to the service, its answers back. No library, nothing from elsewhere.
"use strict";

const MOST_FILES = 64;
const PARQUET = /\.parquet$/i; // browsers know no type for it
const $ = (id) => document.getElementById(id);

// --- talking to the service ---

async function ask(path, body, type) {
  const headers = {};
  if (type) headers["Content-Type"] = type;
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { method: body === undefined ? "GET" : "POST", body, headers });
  } catch {
    throw new Error("The service cannot be reached. Is it still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Error(inPlainWords(answer.status, told && told.error));
}

function inPlainWords(status, error) {
  const reason = error ? error.reason : "no reason was given";
  if (status === 401) return "The service asks for a token. Enter it at the foot of the page.";
  if (status === 413) return `Too large: ${reason}.`;
  if (status === 429) return "The service is busy. Try again in a moment.";
  if (status === 507) return "The service keeps no more corrections until some were imported.";
  if (status === 503) return `Not possible at the moment: ${reason}.`;
  if (status >= 500) return "Something went wrong in the service. Its log has the reason.";
  return `This cannot be read: ${reason}.`;
}

// --- showing ---

function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

function place(title, ...children) {
  $("none").hidden = true;
  const card = make("li", { className: "answer" }, make("h3", { textContent: title }), ...children);
  $("answers").prepend(card);
  return card;
}

function say(text) {
  $("said").textContent = text;
}

function showError(title, error) {
  place(title, make("p", { className: "error", textContent: error.message }));
  say(`${title}: ${error.message}`);
}

function picture(source, alt, caption, className = "") {
  return make("figure", { className }, make("img", { src: source, alt }), make("figcaption", { textContent: caption }));
}

function percent(share) {
  return share > 0.9995 && share < 1 ? "99.9 %" : `${(share * 100).toFixed(1)} %`;
}

// What a person says against the model: kept by the service for somebody to import, where it takes corrections.
let classes = [];
let [height, width] = [0, 0]; // of what the model sees, in pixels
let takesCorrections = false;

function offerCorrection(answer, model, name) {
  const choice = make("select", {}, ...classes.map((one) => make("option", { value: one, textContent: one })));
  choice.value = (answer.top.find((one) => one.name !== answer.name) || answer).name;
  const send = make("button", { type: "button", textContent: "Send" });
  const told = make("p", { className: "note" });
  const label = make("label", {}, "It is ", choice);
  const box = make("details", { className: "wrong" }, make("summary", { textContent: "Wrong?" }));
  box.append(make("p", { className: "buttons" }, label, send), told);
  send.addEventListener("click", async () => {
    send.disabled = true;
    const body = JSON.stringify({ label: choice.value, said: answer.name, model, seen: answer.seen });
    try {
      await ask("corrections", body, "application/json");
      told.textContent = "Thank you. It is kept; no model learns from it by itself.";
      say(`${name}: corrected to ${choice.value}`);
    } catch (error) {
      told.textContent = error.message;
      say(error.message);
    }
    send.disabled = false;
  });
  return box;
}

function warningLines(warnings) {
  return warnings.map(({ reason }) => make("p", { className: "warning", textContent: `Warning: ${reason}.` }));
}

function showAnswer(file, answer, model, warnings) {
  const bars = make("dl");
  for (const { name, probability } of answer.top) {
    const label = `${name}: ${percent(probability)}`;
    const bar = make("progress", { max: 1, value: probability });
    bar.setAttribute("aria-label", label);
    bars.append(
      make("dt", { textContent: name }),
      make("dd", {}, bar),
      make("dd", { className: "share", textContent: percent(probability) }),
    );
  }
  const name = make("p", { className: "name", textContent: answer.name });
  const verdict = answer.sure
    ? [name]
    : [name, make("p", { className: "unsure", textContent: "Not sure: a person should look." })];
  const shown = URL.createObjectURL(file);
  const given = picture(shown, file.name, "the picture");
  given.firstChild.addEventListener("error", () => given.firstChild.remove(), { once: true });
  place(
    file.name,
    make("div", { className: "pictures" }, given, picture(answer.seen, `${height} by ${width} pixels`, "what the model saw", "seen")),
    ...verdict,
    ...warningLines(warnings),
    bars,
    ...(takesCorrections ? [offerCorrection(answer, model, file.name)] : []),
  );
  const notes = [answer.sure ? "" : ", not sure", ...warnings.map(({ reason }) => `; ${reason}`)];
  say(`${file.name}: ${answer.name}${notes.join("")}`);
}

// --- what a person gives ---

async function classify(file) {
  const form = new FormData();
  form.append("files", file, file.name);
  try {
    const answer = await (await ask("classify?top=3&seen=true", form)).json();
    showAnswer(file, answer.predictions[0], answer.model, answer.warnings);
  } catch (error) {
    showError(file.name, error);
  }
}

async function score(file) {
  const isParquet = PARQUET.test(file.name);
  const [suffix, type] = isParquet ? [".parquet", "application/vnd.apache.parquet"] : [".csv", "text/csv"];
  say(`Scoring ${file.name}`);
  try {
    const response = await ask("score", file, type);
    const warnings = JSON.parse(response.headers.get("X-Warnings") || "[]");
    const answer = await whole(response);
    const link = make("a", {
      href: URL.createObjectURL(answer),
      download: file.name.replace(/\.(csv|parquet)$/i, "") + "-scored" + suffix,
      textContent: "Download the result",
    });
    const { scored, rejected } = isParquet ? await countInFooter(answer) : await countLines(answer);
    place(
      file.name,
      make("p", { textContent: `${scored} ${scored === 1 ? "row" : "rows"} scored, ${rejected} could not be read.` }),
      ...warningLines(warnings),
      make("p", {}, link),
    );
    const notes = warnings.map(({ reason }) => `; ${reason}`).join("");
    say(`${file.name}: ${scored} rows scored, ${rejected} rejected${notes}`);
  } catch (error) {
    showError(file.name, error);
  }
}

async function whole(answer) {
  try {
    return await answer.blob();
  } catch {
    throw new Error("The answer broke off: a later part of the table cannot be read. The service's log has the reason.");
  }
}

// A row a line. The last cell is the reason, which only rows that could not be read have.
async function countLines(blob) {
  const lines = (await blob.text()).split("\n").slice(1, -1);
  const scored = lines.filter((line) => line.endsWith(",")).length;
  return { scored, rejected: lines.length - scored };
}

// The footer, at the end, holds names and values as texts: 0x18, the length, the bytes.
async function countInFooter(blob) {
  const footer = await blob.slice(-65536).text();
  const count = (name) => Number(footer.match(new RegExp(`${name}\\x18[^]([0-9]+)`))[1]);
  return { scored: count("scored"), rejected: count("rejected") };
}

async function take(files) {
  const list = [...files];
  if (list.length > MOST_FILES) {
    showError(`${list.length} files`, new Error(`At most ${MOST_FILES} at a time.`));
    return;
  }
  for (const file of list) {
    const isTable = file.type === "text/csv" || /\.csv$/i.test(file.name) || PARQUET.test(file.name);
    await (isTable ? score(file) : classify(file)); // one after the other: the order stays, and so does the service
  }
}

for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", async (event) => {
    await take(event.target.files);
    event.target.value = ""; // so that the same file can be given again
  });
}

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}

document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) take(files);
  else if (event.target.tagName !== "INPUT") say("There is no picture in the clipboard.");
});

// --- drawing ---

const canvas = $("canvas");
const ink = canvas.getContext("2d");

function clearBoard() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, canvas.width, canvas.height);
}

let last = null; // where the pen was, in pixels of the board

function draw(event) {
  const scale = canvas.width / canvas.clientWidth;
  const now = { x: event.offsetX * scale, y: event.offsetY * scale };
  ink.lineWidth = 22;
  ink.lineCap = "round";
  ink.strokeStyle = "#ddd";
  ink.beginPath();
  ink.moveTo((last || now).x, (last || now).y);
  ink.lineTo(now.x, now.y);
  ink.stroke();
  last = now;
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  draw(event);
});
canvas.addEventListener("pointermove", (event) => {
  if (last) draw(event);
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, () => {
    last = null;
  });
}
$("clear").addEventListener("click", clearBoard);
$("draw").addEventListener("click", () => {
  const opens = $("board").hidden;
  $("board").hidden = !opens;
  $("draw").setAttribute("aria-expanded", String(opens));
});
$("classify").addEventListener("click", () => {
  const small = make("canvas", { width, height });
  small.getContext("2d").drawImage(canvas, 0, 0, width, height);
  small.toBlob((blob) => classify(new File([blob], "your drawing", { type: "image/png" })), "image/png");
});
clearBoard();

// --- the model, and the token ---

async function showModel() {
  try {
    const model = await (await ask("model")).json();
    classes = model.classes;
    [height, width] = model.image;
    canvas.height = Math.round((canvas.width * height) / width);
    clearBoard();
    takesCorrections = model.takes_corrections;
    const live = model.live_since || model.created_at;
    const date = new Date(live).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    const right = percent(model.test_accuracy);
    const sample = model.source === "sample" ? " Trained on drawn samples, not on photos." : "";
    $("model").textContent = `${model.model} (${model.preset}), right on ${right} of the test images, live since ${date}.${sample}`;
  } catch (error) {
    $("model").textContent = error.message;
  }
}

$("token").value = sessionStorage.getItem("token") || "";
$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  showModel();
});
showModel();
