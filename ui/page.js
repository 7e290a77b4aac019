// Sends images, drawings and tables to the service and shows the results. No libraries and no external resources.
"use strict";

const MOST_FILES = 64;
const MOST_COUNTS = 20; // classes listed after a table was scored
const REASONS = 5; // training images under an answer
const NONE_OF_THESE = "none of these"; // the service keeps such corrections for review
const PARQUET = /\.parquet$/i; // browsers report no media type for it
const $ = (id) => document.getElementById(id);

// --- requests ---

async function request(path, body, type) {
  const headers = {};
  if (type) headers["Content-Type"] = type;
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { method: body === undefined ? "GET" : "POST", body, headers });
  } catch {
    throw new Error("Cannot reach the service. Is it running?");
  }
  if (response.ok) return response;
  const content = await response.json().catch(() => null);
  const error = new Error(describeError(response.status, content && content.error));
  throw Object.assign(error, { field: content && content.error && content.error.field, status: response.status });
}

function describeError(status, error) {
  const reason = error ? error.reason : "no reason given";
  if (status === 401) return "The service requires a token. Enter it at the bottom of the page.";
  if (status === 413) return `Too large: ${reason}.`;
  if (status === 429) return "The service is busy. Try again in a moment.";
  if (status === 507) return "The inbox for corrections is full. Try again after an import.";
  if (status === 503) return `Temporarily unavailable: ${reason}.`;
  if (status >= 500) return "Internal error. See the service log.";
  return `Cannot read the input: ${reason}.`;
}

// --- results ---

function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

function addCard(title, ...children) {
  $("none").hidden = true;
  const card = make("li", { className: "answer" }, make("h3", { textContent: title }), ...children);
  $("answers").prepend(card);
  return card;
}

function announce(text) {
  $("said").textContent = text;
}

function showError(title, error) {
  addCard(title, make("p", { className: "error", textContent: error.message }));
  announce(`${title}: ${error.message}`);
}

function picture(source, alt, caption, className = "") {
  return make("figure", { className }, make("img", { src: source, alt }), make("figcaption", { textContent: caption }));
}

function percent(share) {
  return share > 0.9995 && share < 1 ? "99.9 %" : `${(share * 100).toFixed(1)} %`;
}

// Corrections: if enabled, the service saves the label that a person chooses for later import.
let classes = [];
let [height, width] = [0, 0]; // of the model's input, in pixels
let takesCorrections = false;
let hasReasons = false; // whether the training images of the live model are available

function offerCorrection(prediction, model, name) {
  const others = classes.filter((one) => one !== NONE_OF_THESE);
  const isUnknown = prediction.known === false;
  const offered = isUnknown ? [NONE_OF_THESE, ...others] : [...others, NONE_OF_THESE];
  const choice = make("select", {}, ...offered.map((one) => make("option", { value: one, textContent: one })));
  const second = prediction.top.find((one) => one.name !== prediction.name) || prediction;
  choice.value = isUnknown ? NONE_OF_THESE : second.name;
  const send = make("button", { type: "button", textContent: "Send" });
  const note = make("p", { className: "note" });
  const label = make("label", {}, "It is ", choice);
  const box = make("details", { className: "wrong" }, make("summary", { textContent: "Wrong?" }));
  box.append(make("p", { className: "buttons" }, label, send), note);
  send.addEventListener("click", async () => {
    send.disabled = true;
    const body = JSON.stringify({ label: choice.value, said: prediction.name, model, seen: prediction.seen });
    try {
      await request("corrections", body, "application/json");
      note.textContent =
        choice.value === NONE_OF_THESE && !classes.includes(NONE_OF_THESE)
          ? "Saved for review. The model learns nothing from it."
          : "Saved. It affects the model only after an import and a new training.";
      announce(`${name}: corrected to ${choice.value}`);
    } catch (error) {
      note.textContent = error.message;
      announce(error.message);
    }
    send.disabled = false;
  });
  return box;
}

function warningLines(warnings) {
  return warnings.map(({ reason }) => make("p", { className: "warning", textContent: `Warning: ${reason}.` }));
}

// A list of names with bars: [name, share of the bar, text].
function drawBars(rows) {
  const bars = make("dl");
  for (const [name, share, text] of rows) {
    const bar = make("progress", { max: 1, value: share });
    bar.setAttribute("aria-label", `${name}: ${text}`);
    bars.append(
      make("dt", { textContent: name }),
      make("dd", {}, bar),
      make("dd", { className: "share", textContent: text }),
    );
  }
  return bars;
}

// The class; for an input unlike the training images, first that it is unknown. `known` is null if the model cannot tell.
function describeVerdict({ name, sure, known, familiarity }) {
  const lines = [];
  if (known === false) {
    const reason = ": unlike everything this model was trained on.";
    const likeliest = make("b", { className: "name", textContent: name });
    lines.push(
      make("p", { className: "unknown" }, make("strong", { textContent: "Unknown" }), reason),
      make("p", { className: "likeliest" }, "Likeliest of its classes: ", likeliest),
    );
  } else lines.push(make("p", { className: "name", textContent: name }));
  if (!sure) lines.push(make("p", { className: "unsure", textContent: "Low confidence: needs human review." }));
  if (typeof familiarity === "number") {
    const meaning = known ? "" : " of the validation images are less familiar";
    const title = "Share of the validation images that are less like the training images";
    const textContent = `Familiarity: ${percent(familiarity)}${meaning}`;
    lines.push(make("p", { className: "familiarity", textContent, title }));
  }
  return lines;
}

// The training images nearest to the input, each with its label and distance.
function describeReasons(near) {
  if (!near || !near.length) return [];
  const items = near.map(({ name, distance, image, id }) => {
    const shown = make("img", { src: image, alt: name, title: `${id}, distance ${distance.toFixed(2)}` });
    const label = make("span", { textContent: name });
    const far = make("span", { className: "far", textContent: distance.toFixed(2) });
    return make("li", {}, shown, label, far);
  });
  const title = "The nearest training images in the network's last hidden layer, with their labels and distances";
  const heading = make("p", { textContent: "It looks most like these training images:", title });
  return [make("div", { className: "because" }, heading, make("ol", {}, ...items))];
}

function showResult(file, prediction, model, warnings) {
  const bars = drawBars(prediction.top.map(({ name, probability }) => [name, probability, percent(probability)]));
  const shown = URL.createObjectURL(file);
  const inputFigure = picture(shown, file.name, "input file");
  const seenFigure = picture(prediction.seen, `${height} by ${width} pixels`, "model input", "seen");
  inputFigure.firstChild.addEventListener("error", () => inputFigure.firstChild.remove(), { once: true });
  addCard(
    file.name,
    make("div", { className: "pictures" }, inputFigure, seenFigure),
    ...describeVerdict(prediction),
    ...warningLines(warnings),
    bars,
    ...describeReasons(prediction.because),
    ...(takesCorrections ? [offerCorrection(prediction, model, file.name)] : []),
  );
  const said = prediction.known === false ? `unknown; likeliest of its classes: ${prediction.name}` : prediction.name;
  const notes = [prediction.sure ? "" : ", low confidence", ...warnings.map(({ reason }) => `; ${reason}`)];
  announce(`${file.name}: ${said}${notes.join("")}`);
}

// --- input ---

async function classify(file) {
  const form = new FormData();
  form.append("files", file, file.name);
  try {
    const result = await (await requestWithReasons("classify?top=3&seen=true", form)).json();
    showResult(file, result.predictions[0], result.model, result.warnings);
  } catch (error) {
    showError(file.name, error);
  }
}

// Asks for reasons too, and again without them if there are none (409) or none yet (503).
async function requestWithReasons(path, form) {
  if (!hasReasons) return request(path, form);
  try {
    return await request(`${path}&because=${REASONS}`, form);
  } catch (error) {
    if (error.field !== "because") throw error;
    hasReasons = error.status === 503;
    return request(path, form);
  }
}

async function score(file) {
  const isParquet = PARQUET.test(file.name);
  const [suffix, type] = isParquet ? [".parquet", "application/vnd.apache.parquet"] : [".csv", "text/csv"];
  announce(`Scoring ${file.name}`);
  try {
    const response = await request("score", file, type);
    const warnings = JSON.parse(response.headers.get("X-Warnings") || "[]");
    const blob = await readAll(response);
    const link = make("a", {
      href: URL.createObjectURL(blob),
      download: file.name.replace(/\.(csv|parquet)$/i, "") + "-scored" + suffix,
      textContent: "Download the result",
    });
    const counts = isParquet ? await countInFooter(blob) : await countLines(blob, file);
    const { scored, rejected, unknown } = counts;
    addCard(
      file.name,
      make("p", { textContent: `${scored} ${scored === 1 ? "row" : "rows"} scored, ${rejected} rejected.` }),
      ...(unknown ? [describeUnknown(unknown)] : []),
      ...warningLines(warnings),
      ...(isParquet ? [] : describeCounts(counts)),
      make("p", {}, link),
    );
    const notes = warnings.map(({ reason }) => `; ${reason}`).join("");
    const left = unknown ? `, ${unknown} unknown` : "";
    announce(`${file.name}: ${scored} rows scored, ${rejected} rejected${left}${notes}`);
  } catch (error) {
    showError(file.name, error);
  }
}

async function readAll(response) {
  try {
    return await response.blob();
  } catch {
    throw new Error("The response ended early: a later part of the table cannot be read. See the service log.");
  }
}

// One row per line, with the columns of the header. The reason, the last one, is empty unless the row was rejected.
async function countLines(blob, file) {
  const [header, ...lines] = (await blob.text()).split("\n").slice(0, -1);
  const columns = splitCells(header, ",");
  const labels = await readLabels(file, lines.length);
  const counts = { scored: 0, rejected: 0, unsure: 0, unknown: 0, names: new Map(), right: 0, labelled: 0, unread: 0 };
  for (const [place, line] of lines.entries()) {
    if (!line.endsWith(",")) {
      counts.rejected += 1;
      continue;
    }
    const cells = splitCells(line, ",");
    const { label, name, sure, known } = Object.fromEntries(columns.map((column, at) => [column, cells[at]]));
    counts.scored += 1;
    counts.unsure += sure === "no" ? 1 : 0;
    counts.unknown += known === "no" ? 1 : 0;
    counts.names.set(name, (counts.names.get(name) || 0) + 1);
    if (!labels) continue;
    const given = findClass(labels[place]);
    if (given === -1) counts.unread += 1;
    else {
      counts.labelled += 1;
      counts.right += given === Number(label) ? 1 : 0;
    }
  }
  return counts;
}

// The cells of the input's column `label`, one per row; null without that column, or if lines are not rows.
async function readLabels(file, rows) {
  const lines = (await file.text()).replace(/^\ufeff/, "").split(/\r?\n/);
  const mark = [",", ";", "\t", "|"].find((one) => lines[0].includes(one));
  const place = mark ? splitCells(lines[0], mark).findIndex((cell) => cell.trim() === "label") : -1;
  if (lines[lines.length - 1] === "") lines.pop();
  if (place < 0 || lines.length !== rows + 1) return null;
  return lines.slice(1).map((line) => splitCells(line, mark, place + 1)[place] || "");
}

// The number of a class given by number or name; -1 if it is neither.
function findClass(cell) {
  const text = cell.trim();
  const named = classes.findIndex((one) => one.toLowerCase() === text.toLowerCase());
  return named < 0 && /^\d+$/.test(text) && Number(text) < classes.length ? Number(text) : named;
}

// The cells of one line of CSV, or the first of them; quotes as in RFC 4180.
function splitCells(line, mark, most = Infinity) {
  const cells = [];
  let place = 0;
  while (cells.length < most && place <= line.length) {
    let cell = "";
    if (line[place] === '"') {
      for (place += 1; place < line.length && (line[place] !== '"' || line[place + 1] === '"'); place += 1) {
        if (line[place] === '"') place += 1;
        cell += line[place];
      }
      place += 2;
    } else {
      const end = line.indexOf(mark, place);
      cell = line.slice(place, end < 0 ? line.length : end);
      place = end < 0 ? line.length + 1 : end + 1;
    }
    cells.push(cell);
  }
  return cells;
}

function describeUnknown(count) {
  const found = `${count} ${count === 1 ? "row is" : "rows are"} unknown`;
  const reason = ": unlike everything this model was trained on.";
  return make("p", { className: "unknown" }, make("strong", { textContent: found }), reason);
}

function describeCounts({ scored, unsure, names, right, labelled, unread }) {
  if (!scored) return [];
  const ranked = [...names].sort((one, other) => other[1] - one[1]);
  const bars = drawBars(
    ranked.slice(0, MOST_COUNTS).map(([name, count]) => [name, count / ranked[0][1], String(count)]),
  );
  const lines = [];
  if (labelled) {
    const left = unread ? `; ${unread} labels are not classes of the model` : "";
    lines.push(`Accuracy: ${percent(right / labelled)} (${right} of ${labelled} labelled rows${left}).`);
  }
  if (unsure) lines.push(`${unsure} ${unsure === 1 ? "prediction has" : "predictions have"} low confidence.`);
  const more = ranked.length - MOST_COUNTS;
  if (more > 0) lines.push(`${more} more classes are in the result.`);
  return [...lines.map((textContent) => make("p", { textContent })), bars];
}

// The Parquet footer holds names and values as strings: 0x18, the length, the bytes.
async function countInFooter(blob) {
  const footer = await blob.slice(-65536).text();
  const count = (name) => Number(footer.match(new RegExp(`${name}\\x18[^]([0-9]+)`))[1]);
  return { scored: count("scored"), rejected: count("rejected"), unknown: count("unknown") };
}

async function handleFiles(files) {
  const list = [...files];
  if (list.length > MOST_FILES) {
    showError(`${list.length} files`, new Error(`Send at most ${MOST_FILES} files at a time.`));
    return;
  }
  for (const file of list) {
    const isTable = file.type === "text/csv" || /\.csv$/i.test(file.name) || PARQUET.test(file.name);
    await (isTable ? score(file) : classify(file)); // one at a time, to keep the order and limit the load
  }
}

for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", async (event) => {
    await handleFiles(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  });
}

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") handleFiles(event.dataTransfer.files);
  });
}

document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) handleFiles(files);
  else if (event.target.tagName !== "INPUT") announce("The clipboard contains no image.");
});

// --- drawing ---

const canvas = $("canvas");
const ink = canvas.getContext("2d");

function clearBoard() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, canvas.width, canvas.height);
}

let last = null; // last pen position, in canvas pixels

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

// --- model and token ---

async function showModel() {
  try {
    const model = await (await request("model")).json();
    classes = model.classes;
    [height, width] = model.image;
    canvas.height = Math.round((canvas.width * height) / width);
    clearBoard();
    takesCorrections = model.takes_corrections;
    hasReasons = model.gives_reasons;
    $("draw").hidden = !model.takes_drawings;
    $("board").hidden = $("board").hidden || !model.takes_drawings;
    $("known").hidden = false;
    $("count").textContent = `${classes.length} classes`;
    $("classes").replaceChildren(...classes.map((one) => make("li", { textContent: one })));
    await showExamples(model.source === "sample");
    const live = model.live_since || model.created_at;
    const date = new Date(live).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    const accuracy = percent(model.test_accuracy);
    const sample = model.source === "sample" ? " Trained on synthetic samples, not on photos." : "";
    $("model").textContent = `${model.model} (${model.preset}), test accuracy ${accuracy}, live since ${date}.${sample}`;
  } catch (error) {
    $("model").textContent = error.message;
  }
}

async function showExamples(isSynthetic) {
  const { examples } = await (await request("examples")).json();
  $("tryout").hidden = !examples.length;
  $("origin").textContent = `Or try ${isSynthetic ? "a synthetic example" : "an example from the test images"}:`;
  $("examples").replaceChildren(
    ...examples.map(({ name, image }) => {
      const button = make("button", { type: "button", title: name }, make("img", { src: image, alt: "" }));
      button.setAttribute("aria-label", `Classify the example: ${name}`);
      button.addEventListener("click", () => classify(toFile(image, `example: ${name}`)));
      return make("li", {}, button);
    }),
  );
}

// The page's policy forbids fetching data URLs.
function toFile(url, name) {
  const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (one) => one.charCodeAt(0));
  return new File([bytes], name, { type: "image/png" });
}

$("token").value = sessionStorage.getItem("token") || "";
$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  showModel();
});
showModel();
