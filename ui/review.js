// Labels the images of the review queue, one key a class. No libraries and no external resources.
"use strict";

const NONE_OF_THESE = "none of these"; // the service keeps such images for review
const KEYS = [..."1234567890abcdefghijklmopqrtvwxyz"]; // without n (none of these), s (skip) and u (undo)
const SUGGESTED = 10; // classes with a key, if there are too many for all to have one
const REFRESH = 5000; // milliseconds between two looks at the state of the queue
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

const random = crypto.getRandomValues(new Uint32Array(4));
const reviewer = sessionStorage.getItem("reviewer") || [...random].map((one) => one.toString(36)).join("");
sessionStorage.setItem("reviewer", reviewer);

let classes = [];
let image = null; // that is shown
let keys = new Map(); // key -> class
let isBusy = false;
let statusAt = 0; // time of the last look, milliseconds
let nextLook = 0; // timer
const decided = []; // ids of the images that this tab decided about, for undo

// --- requests ---

async function request(path, fields) {
  const headers = fields ? { "Content-Type": "application/json" } : {};
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = fields && JSON.stringify({ reviewer, ...fields });
  let response;
  try {
    response = await fetch(path, { method: fields ? "POST" : "GET", body, headers });
  } catch {
    throw new Error("Cannot reach the service. Is it running?");
  }
  if (response.ok) return response.json();
  const content = await response.json().catch(() => null);
  throw describeError(response.status, content && content.error);
}

function describeError(status, error) {
  const reason = error ? error.reason : "no reason given";
  const texts = {
    401: "The service requires a token. Enter it at the bottom of the page.",
    410: "Someone else has this image, or its time is over. Here is another one.",
    507: "The inbox for corrections is full. Import the labels, then go on.",
  };
  const found = new Error(texts[status] || `${reason[0].toUpperCase()}${reason.slice(1)}.`);
  found.isGone = status === 410;
  return found;
}

// --- one image after the other ---

async function act(work) {
  if (isBusy) return;
  isBusy = true;
  try {
    await work();
    $("problem").hidden = true;
  } catch (error) {
    if (error.isGone) await recover(error);
    else showProblem(error);
  }
  isBusy = false;
  await showStatus().catch(showProblem);
}

// After another person took the image.
async function recover(error) {
  try {
    show((await request("review/next", {})).image);
    showProblem(error);
  } catch (other) {
    showProblem(other);
  }
}

function showProblem(error) {
  $("problem").hidden = false;
  $("problem").textContent = error.message;
}

const look = () =>
  act(async () => {
    await showStatus(true);
    show((await request("review/next", {})).image);
  });

function decide(path, fields, what) {
  if (!image) return;
  const { id } = image;
  act(async () => {
    const turn = await request(path, { id, ...fields });
    decided.push(id);
    announce(what);
    show(turn.image);
  });
}

const label = (name) => decide("review/label", { label: name }, `Labelled ${name}`);
const skip = () => decide("review/skip", {}, "Skipped");

function undo() {
  if (!decided.length) return;
  act(async () => {
    const id = decided.pop();
    show((await request("review/undo", { id })).image);
    announce("Undone");
  });
}

function announce(text) {
  $("said").textContent = text;
}

// --- the picture and the keys ---

function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

function percent(share) {
  return share > 0.9995 && share < 1 ? "99.9 %" : `${(share * 100).toFixed(1)} %`;
}

function show(next) {
  image = next;
  $("work").hidden = !next;
  $("empty").hidden = Boolean(next);
  $("skip").disabled = !next;
  $("undo").disabled = !decided.length;
  if (!next) return;
  $("seen").src = next.seen;
  const notes = [next.sure ? "sure" : "not sure", ...(next.known === false ? ["unlike everything it was trained on"] : [])];
  const when = new Date(next.time * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  $("caption").textContent = `As ${next.model} saw it, ${when}. The model was ${notes.join(", and the image is ")}.`;
  $("suggestions").replaceChildren(...next.top.slice(0, 3).flatMap(drawSuggestion));
  showKeys(next.top);
}

function drawSuggestion({ name, probability }) {
  const bar = make("progress", { max: 1, value: probability });
  bar.setAttribute("aria-label", `${name}: ${percent(probability)}`);
  return [
    make("dt", { textContent: name }),
    make("dd", {}, bar),
    make("dd", { className: "share", textContent: percent(probability) }),
  ];
}

function showKeys(top) {
  const isEvery = classes.length <= KEYS.length;
  const offered = isEvery ? classes : top.slice(0, SUGGESTED).map(({ name }) => name);
  keys = new Map(offered.map((name, place) => [KEYS[place], name]));
  if (!classes.includes(NONE_OF_THESE)) keys.set("n", NONE_OF_THESE);
  $("keys").replaceChildren(
    ...[...keys].map(([key, name]) => {
      const button = make("button", { type: "button" }, make("kbd", { textContent: key.toUpperCase() }), name);
      button.setAttribute("aria-keyshortcuts", key);
      button.addEventListener("click", () => label(name));
      return button;
    }),
  );
  $("others").hidden = isEvery;
  if (!isEvery && $("every").options.length !== classes.length) {
    $("every").replaceChildren(...classes.map((name) => make("option", { value: name, textContent: name })));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
  const key = event.key.toLowerCase();
  if (key === "u") undo();
  else if (key === "s") skip();
  else if (image && keys.has(key)) label(keys.get(key));
});
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
$("again").addEventListener("click", look);
$("take").addEventListener("click", () => label($("every").value));

// --- the state of the queue, and the accuracy over time ---

async function showStatus(isWanted = false) {
  const rest = REFRESH - (Date.now() - statusAt);
  if (!isWanted && rest > 0) {
    nextLook ||= setTimeout(() => showStatus(true).catch(showProblem), rest);
    return;
  }
  clearTimeout(nextLook);
  nextLook = 0;
  statusAt = Date.now();
  const status = await request("review/status");
  classes = status.classes;
  const { random, uncertain } = status.waiting;
  const counts = `${random + uncertain} wait (${uncertain} uncertain, ${random} random)`;
  $("progress").textContent = `${counts}; ${status.labelled} labelled, ${status.skipped} skipped.`;
  showAccuracy(status.live_accuracy);
  showDays(status.days.filter(({ accuracy }) => accuracy !== null));
}

function showAccuracy({ labelled, skipped, accuracy, interval }) {
  if (accuracy === null) return;
  const ends = `95 % interval ${percent(interval[0])} to ${percent(interval[1])}`;
  const left = skipped ? `, ${skipped} skipped` : "";
  $("accuracy").textContent = `${percent(accuracy)} (${ends}), from ${labelled} random ${labelled === 1 ? "image" : "images"}${left}.`;
}

function draw(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function showDays(days) {
  for (const id of ["chart", "table"]) $(id).toggleAttribute("hidden", !days.length); // an SVG has no property for it
  if (!days.length) return;
  $("days").replaceChildren(
    ...days.map(({ day, accuracy, interval, labelled }) => {
      const cells = [day, percent(accuracy), interval.map(percent).join(" to "), String(labelled)];
      return make("tr", {}, ...cells.map((textContent) => make("td", { textContent })));
    }),
  );
  drawChart(days);
}

function drawChart(days) {
  const [left, right, top, bottom] = [72, 585, 12, 185];
  const least = Math.min(0.9, Math.floor(Math.min(...days.map(({ interval }) => interval[0])) * 10) / 10);
  const x = (place) => left + ((place + 0.5) * (right - left)) / days.length;
  const y = (share) => bottom - ((share - least) / (1 - least)) * (bottom - top);
  const drawn = [];
  for (const share of [least, (least + 1) / 2, 1]) {
    drawn.push(draw("line", { class: "grid", x1: left, x2: right, y1: y(share), y2: y(share) }));
    drawn.push(draw("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, `${(share * 100).toFixed(0)} %`));
  }
  const line = days.map(({ accuracy }, place) => `${x(place)},${y(accuracy)}`).join(" ");
  drawn.push(draw("polyline", { class: "line", points: line }));
  for (const [place, { accuracy, interval }] of days.entries()) {
    const ends = { y1: y(interval[0]), y2: y(interval[1]) };
    drawn.push(draw("line", { class: "interval", x1: x(place), x2: x(place), ...ends }));
    drawn.push(draw("circle", { class: "dot", cx: x(place), cy: y(accuracy), r: 4 }));
  }
  const first = days[0].day;
  const last = days[days.length - 1].day;
  drawn.push(draw("text", { x: days.length > 1 ? left : x(0), y: 208, "text-anchor": days.length > 1 ? "start" : "middle" }, first));
  if (days.length > 1) drawn.push(draw("text", { x: right, y: 208, "text-anchor": "end" }, last));
  $("chart").replaceChildren(...drawn);
  const newest = days[days.length - 1];
  const text = `Accuracy by day from ${first} to ${last}; on the last day ${percent(newest.accuracy)}`;
  $("chart").setAttribute("aria-label", text);
}

$("token").value = sessionStorage.getItem("token") || "";
$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  look();
});
look();
