"use strict";
// Asks the server once a second what the run has written, and changes what has changed: nothing jumps, nothing takes the focus.

const STATES = { running: "running", ended: "ended", interrupted: "interrupted", failed: "failed", lost: "lost" };
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 4", "10 4", "4 2"];
const SAME = 0.1; // E below which two results are the same object
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

let item = /^#pattern=(\d+)$/.exec(location.hash)?.[1] ?? "";
let curves = [], version = null, chosen = "", drawn = "", spoken = "", timer = 0, asked = new Set();

if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);

function text(node, value) {
  value = String(value);
  if (node.textContent !== value) node.textContent = value;
}

function made(tag, attributes = {}, content) {
  const node = tag === "svg" || tag === "path" || tag === "line" || tag === "text" || tag === "circle"
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (content !== undefined) node.textContent = content;
  return node;
}

// The children of a node, as many as there are values; each keeps its place and what it holds.
function each(parent, values, create, update) {
  while (parent.children.length > values.length) parent.lastElementChild.remove();
  values.forEach((value, i) => {
    if (!parent.children[i]) parent.append(create(value, i));
    update(parent.children[i], value, i);
  });
}

const number = (v) => (v === null || v === undefined || v === "" ? "–" : Number(v) === 0 ? "0" : Number(Number(v).toPrecision(3)).toString());
const count = (v) => Math.round(v).toLocaleString("en");

function clock(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.round(seconds), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h ? `${h}:${String(m).padStart(2, "0")}:${String(s % 60).padStart(2, "0")}` : `${m}:${String(s % 60).padStart(2, "0")}`;
}

function about(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toPrecision(2)} h`;
}

// one look

async function look() {
  clearTimeout(timer);
  let pause = 1000;
  try {
    const answer = await fetch(`state?item=${item}&curves=${encodeURIComponent(version ?? "none")}`, { cache: "no-store" });
    if (answer.status === 404 && item) { choose(""); return; }
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
    at("lost").hidden = true;
    if (at("state").dataset.state !== "running") pause = 5000;
  } catch (error) {
    text(at("lost"), error instanceof TypeError ? "The server does not answer; trying again. The run is not touched by this." : String(error.message));
    at("lost").hidden = false;
    pause = 3000;
  }
  if (document.hidden) pause = Math.max(pause, 5000);
  timer = setTimeout(look, pause);
}

function show(answer) {
  const run = answer.run ?? {};
  if (!run.state && answer.batch && item === "") run.state = overall(answer.batch.rows);
  if (answer.curves) { curves = answer.curves; version = answer.curves_version; }
  showBatch(answer.batch);
  showHead(run, answer.batch);
  showProgress(run);
  showObject(answer.panels, answer.caption, run);
  showCurves(run);
  showFamilies(run.families);
  showLog(run.log ?? []);
}

// Of a batch that says nothing of itself, what its rows say.
function overall(rows) {
  const states = new Set(rows.map((row) => row.status));
  return states.has("running") ? "running" : ["waiting", "interrupted", "lost"].some((s) => states.has(s)) ? "interrupted" : "ended";
}

function showHead(run, batch) {
  const state = STATES[run.state] ?? "", word = state === "running" && asked.has(`stop ${item}`) ? "stopping" : state || "waiting";
  const title = run.title || (batch && item !== "" ? batch.rows[item]?.name : "") || (batch ? "a batch" : "a run");
  text(at("command"), run.command ? `untwin ${run.command}` : "untwin");
  text(at("title"), title);
  const began = run.began ? new Date(run.began * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
  text(at("where"), run.host ? `process ${run.pid} on ${run.host}, since ${began}` : "");
  text(at("state"), word);
  at("state").dataset.state = state;
  document.title = `${word}: ${title}`;
  const sentence = `${word}${run.stage ? `, ${run.titles?.[run.stage_number] ?? run.stage}` : ""}${run.verdict ? `. ${trust(run.verdict)}` : ""}`;
  if (sentence !== spoken) text(at("spoken"), (spoken = sentence));
}

const trust = (verdict) => (verdict.trusted === true ? "Trust" : verdict.trusted === false ? "Do not trust" : "Cannot say");

function showProgress(run) {
  at("progress").hidden = run.seconds === undefined;
  const running = run.state === "running", unit = run.unit ?? "iterations";
  at("bar-part").hidden = !running;
  if (running && run.foreseen) { at("bar").max = Math.max(run.foreseen, run.steps); at("bar").value = run.steps; } else at("bar").removeAttribute("value");
  text(at("count-name"), unit);
  text(at("count"), run.steps === undefined ? "–" : count(run.steps));
  text(at("foreseen"), run.foreseen && running ? `of about ${count(Math.max(run.foreseen, run.steps))}` : "");
  text(at("lowest-name"), run.figure === "R-factor" ? "lowest R" : `lowest ${run.figure ?? ""}`);
  at("lowest").parentElement.hidden = run.lowest === null || run.lowest === undefined;
  text(at("lowest"), number(run.lowest));
  text(at("elapsed-name"), running ? "so far" : "took");
  text(at("elapsed"), clock(run.seconds));
  at("left").parentElement.hidden = !running;
  text(at("left"), about(run.left));
  const stages = run.titles?.length ? run.titles : run.stages ?? [];
  at("stages").hidden = !stages.length || !running;
  each(at("stages"), stages, () => made("li"), (li, name, i) => {
    text(li, name);
    li.classList.toggle("past", i < run.stage_number);
    if (i === run.stage_number) li.setAttribute("aria-current", "step"); else li.removeAttribute("aria-current");
  });
  const verdict = at("verdict");
  verdict.hidden = !run.verdict;
  if (run.verdict) {
    verdict.dataset.trusted = String(run.verdict.trusted);
    if (!verdict.children.length) verdict.append(made("strong"), made("span"));
    text(verdict.children[0], trust(run.verdict));
    text(verdict.children[1], run.verdict.text);
  }
  const ended = run.state === "lost" || run.state === "interrupted" || run.state === "failed";
  const resumable = ended && run.resume;
  at("message").hidden = !(ended && (run.message || !run.resume));
  text(at("message"), !ended ? "" : run.message ? `${run.message[0].toUpperCase()}${run.message.slice(1)}.` : "There is nothing to go on with; begin again.");
  text(at("resume-command"), run.resume ?? "");
  const focused = document.activeElement === at("stop");
  at("resume").hidden = !resumable;
  at("buttons").hidden = !running;
  if (focused && !running && resumable) at("resume").focus({ preventScroll: true });
  const wanted = asked.has(`stop ${item}`) || run.asked === "stop";
  if (wanted) at("stop").setAttribute("aria-disabled", "true"); else at("stop").removeAttribute("aria-disabled");
  text(at("stop"), wanted ? "Stopping…" : "Stop");
  if (!running) asked.delete(`stop ${item}`);
}

function showObject(panels, caption, run) {
  at("object").hidden = !panels.length;
  text(at("object-title"), run.state === "running" ? "So far" : run.state === "ended" ? "Result" : "As far as it came");
  each(at("panels"), panels, () => {
    const figure = made("figure");
    figure.append(made("img", { alt: "", decoding: "async" }), made("figcaption"));
    return figure;
  }, (figure, panel) => {
    const [image, name] = figure.children;
    const alt = `${panel.title} of what there is: ${caption || "so far"}`;
    if (image.alt !== alt) image.alt = alt;
    text(name, panel.title + (panel.kind === "phase" ? ", −π to π" : ""));
    if (image.dataset.source === panel.source) return;
    image.dataset.source = panel.source;
    const next = new Image();
    next.src = panel.source;
    next.decode().then(() => {
      if (image.dataset.source !== panel.source) return;
      image.width = panel.width; image.height = panel.height; image.src = panel.source;
    }, () => { image.dataset.source = ""; });
  });
  text(at("caption"), caption);
}

// curves

function showCurves(run) {
  const stages = [...new Set(curves.map((c) => c.stage))];
  at("curves").hidden = !curves.length;
  if (!curves.length) return;
  const stage = stages.includes(chosen) ? chosen : stages.includes(run.stage) ? run.stage : stages[stages.length - 1];
  at("stage-choice").hidden = stages.length < 2;
  each(at("stage"), stages, () => made("option"), (option, name) => { text(option, name || "all"); option.value = name; });
  if (at("stage").value !== stage && document.activeElement !== at("stage")) at("stage").value = stage;
  const shown = curves.filter((c) => c.stage === stage);
  const figure = run.figure ?? "R-factor", starts = figure === "R-factor";
  text(at("curves-title"), starts ? "R-factor of each start" : figure[0].toUpperCase() + figure.slice(1));
  const unit = starts ? "iteration" : figure === "objective" ? "start" : "step";
  text(at("x-name"), unit);
  const key = JSON.stringify([version, stage, at("chart").clientWidth, unit]);
  if (key === drawn) return;
  drawn = key;
  draw(shown, unit);
  const groups = [...new Set(shown.map((c) => c.group))].sort((a, b) => a - b);
  const name = (g) => (starts ? `family ${g}` : shown.find((c) => c.group === g).label);
  each(at("legend"), groups.length > 1 || !starts ? groups : [], () => {
    const part = made("span"), picture = made("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    picture.append(made("path", { d: "M0 5H26" }));
    part.append(picture, made("span"));
    return part;
  }, (part, g) => {
    part.firstChild.firstChild.setAttribute("class", `g${g % 7}`);
    part.firstChild.firstChild.setAttribute("stroke-dasharray", DASHES[g % 7]);
    text(part.lastChild, name(g));
  });
  const last = (c) => c.values[c.values.length - 1];
  const ranked = shown.filter((c) => last(c) !== null).sort((a, b) => last(a) - last(b));
  const best = ranked[0], worst = ranked[ranked.length - 1];
  const sentence = !best ? "" : ranked.length === 1 || !starts ? ranked.map((c) => `${c.label}: ${number(last(c))} at ${unit} ${count(c.steps[c.steps.length - 1])}`).join("; ")
    : `${ranked.length} starts; lowest ${number(last(best))} (${best.label}), highest ${number(last(worst))} (${worst.label})`;
  text(at("curves-text"), sentence);
  each(at("curve-rows"), ranked, () => {
    const row = made("tr");
    row.append(made("th", { scope: "row" }), made("td"), ...[0, 1, 2].map(() => made("td", { class: "number" })));
    return row;
  }, (row, c) => {
    const cells = [c.label, starts ? c.group : "", count(c.steps[c.steps.length - 1]), number(last(c)), number(Math.min(...c.values.filter((v) => v !== null)))];
    cells.forEach((value, i) => text(row.children[i], value));
  });
}

function ticks(low, high, log) {
  const values = [];
  if (log) {
    for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) for (const m of [1, 2, 5]) values.push(m * 10 ** k);
    const inside = values.filter((v) => v >= low * 0.999 && v <= high * 1.001);
    return inside.length > 7 ? inside.filter((v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9) : inside;
  }
  const raw = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) values.push(Number(v.toPrecision(12)));
  return values;
}

function draw(lines, unit) {
  const width = Math.max(200, at("chart").clientWidth), height = 256, left = 52, right = 8, top = 8, bottom = 38;
  const ys = lines.flatMap((c) => c.values).filter((v) => v !== null), xs = lines.flatMap((c) => c.steps);
  if (!ys.length) { at("chart").replaceChildren(); return; }
  let low = Math.min(...ys), high = Math.max(...ys);
  const log = low > 0 && high > 3 * low;
  if (log) { low /= 1.08; high *= 1.08; } else { const pad = 0.06 * (high - low) || Math.abs(high) * 0.1 || 1; low = low >= 0 ? Math.max(0, low - pad) : low - pad; high += pad; }
  const first = Math.min(...xs), end = Math.max(...xs, first + 1);
  const scale = log ? (v) => (Math.log(v / low) / Math.log(high / low)) : (v) => (v - low) / (high - low);
  const x = (v) => left + ((v - first) / (end - first)) * (width - left - right), y = (v) => top + (1 - scale(v)) * (height - top - bottom);
  const svg = made("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": "curves-title", "aria-describedby": "curves-text" });
  for (const v of ticks(low, high, log)) {
    svg.append(made("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
    svg.append(made("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, number(v)));
  }
  for (const v of ticks(first, end, false).filter(Number.isInteger)) svg.append(made("text", { x: x(v), y: height - bottom + 18, "text-anchor": "middle" }, count(v)));
  svg.append(made("text", { x: width - right, y: height - 4, "text-anchor": "end" }, unit));
  const last = (c) => c.values[c.values.length - 1] ?? Infinity;
  const sorted = [...lines].sort((a, b) => last(b) - last(a));
  sorted.forEach((c, i) => {
    const points = c.steps.map((s, k) => [s, c.values[k]]).filter(([, v]) => v !== null);
    const best = i === sorted.length - 1 ? " lowest" : "";
    if (points.length === 1) svg.append(made("circle", { class: `g${c.group % 7}`, cx: x(points[0][0]), cy: y(points[0][1]), r: 3 }));
    else svg.append(made("path", { class: `g${c.group % 7}${best}`, "stroke-dasharray": DASHES[c.group % 7], d: points.map(([s, v], k) => `${k ? "L" : "M"}${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("") }));
  });
  at("chart").replaceChildren(svg);
}

// families, log, batch

function showFamilies(families) {
  at("families").hidden = !families;
  if (!families) return;
  const short = families.labels.map((l) => l.replace("family ", ""));
  each(at("family-head"), [0], () => made("tr"), (row) => each(row, ["family", ...short], (v, i) => made("th", { scope: "col", class: i ? "number" : "" }), text));
  each(at("family-rows"), families.distances, () => made("tr"), (row, values, i) => {
    each(row, [short[i], ...values], (v, k) => made(k ? "td" : "th", k ? { class: "number" } : { scope: "row" }), (cell, v, k) => {
      text(cell, k && k - 1 === i ? "" : k ? number(v) : v);
      if (k) cell.classList.toggle("alike", k - 1 !== i && v !== null && v < SAME);
    });
  });
  const pairs = families.distances.flatMap((row, i) => row.slice(i + 1)).filter((v) => v !== null);
  const nearest = pairs.length ? Math.min(...pairs) : null;
  text(at("families-text"), nearest === null ? "" : `E between the best of each two, after alignment${families.stage ? ` (${families.stage})` : ""}; the nearest two ${nearest < SAME ? "are the same object" : "are not the same object yet"}: ${number(nearest)}, ${SAME} is the limit.`);
}

function showLog(lines) {
  at("log-part").hidden = !lines.length;
  const log = at("log"), end = log.scrollTop + log.clientHeight >= log.scrollHeight - 4, grown = log.children.length !== lines.length;
  each(log, lines, () => { const li = made("li"); li.append(made("time"), made("span")); return li; }, (li, [seconds, words]) => {
    text(li.children[0], clock(seconds));
    text(li.children[1], words);
  });
  if (end && grown) log.scrollTop = log.scrollHeight;
}

function showBatch(batch) {
  at("batch").hidden = !batch;
  if (!batch) return;
  const rows = batch.rows, tally = {};
  for (const row of rows) tally[row.status] = (tally[row.status] ?? 0) + 1;
  text(at("batch-count"), Object.entries(tally).map(([state, n]) => `${n} ${state}`).join(", "));
  each(at("rows"), rows, (row, i) => {
    const tr = made("tr"), name = made("button", { type: "button", class: "name" }), skip = made("button", { type: "button" });
    name.addEventListener("click", () => choose(item === String(i) ? "" : String(i)));
    skip.addEventListener("click", () => want("skip", String(i), skip));
    tr.append(made("th", { scope: "row" }), ...[0, 1, 2, 3, 4].map(() => made("td")));
    tr.children[0].append(name);
    tr.children[5].append(skip);
    return tr;
  }, (tr, row, i) => {
    const [name, skip] = tr.querySelectorAll("button");
    text(name, row.name);
    name.setAttribute("aria-current", String(item === String(i)));
    const verdict = row.status === "done" ? `, ${trust({ trusted: row.trusted }).toLowerCase()}` : row.message && row.status === "failed" ? `: ${row.message}` : "";
    text(tr.children[1], row.status + verdict);
    text(tr.children[2], number(row.r_factor));
    text(tr.children[3], typeof row.resolution === "number" ? `${number(row.resolution)} ${row.unit ?? ""}` : "–");
    text(tr.children[4], clock(row.seconds));
    const open = row.status === "waiting" || row.status === "running" || row.status === "interrupted";
    skip.hidden = !open && document.activeElement !== skip;
    skip.setAttribute("aria-label", `Skip ${row.name}`);
    const wanted = asked.has(`skip ${i}`);
    text(skip, wanted && open ? "Skipping…" : open ? "Skip" : "Skipped");
    if (wanted || !open) skip.setAttribute("aria-disabled", "true"); else skip.removeAttribute("aria-disabled");
    if (!open) asked.delete(`skip ${i}`);
  });
}

function choose(next) {
  item = next;
  version = null; curves = []; drawn = ""; chosen = "";
  history.replaceState(null, "", item === "" ? location.pathname : `#pattern=${item}`);
  look();
}

async function want(request, which, button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  asked.add(`${request} ${which}`);
  try {
    const answer = await fetch(request, { method: "POST", body: which });
    if (!answer.ok) throw new Error(await answer.text());
  } catch (error) {
    asked.delete(`${request} ${which}`);
    button.removeAttribute("aria-disabled");
    text(at("lost"), String(error.message));
    at("lost").hidden = false;
    return;
  }
  look();
}

at("stop").addEventListener("click", () => want("stop", item, at("stop")));
at("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(at("resume-command").textContent);
    text(at("copy"), "Copied");
  } catch {
    getSelection().selectAllChildren(at("resume-command"));
    text(at("copy"), "Selected");
  }
});
at("stage").addEventListener("change", () => { chosen = at("stage").value; look(); });
addEventListener("resize", () => { drawn = ""; look(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
