// The browser of pairs: reads one block of JSON and writes text by textContent only, never as HTML.
const AT_ONCE = 40;
const LONG = 1500;
const NEAR = 0.75;
const SIDES = ["Chosen", "Rejected"];
const NAMES = { rating: "Number", R: "Number, as R", wim: "WIM, the cosine", wim_10: "WIM, 0 to 10",
  missingness: "Missingness", reward: "Reward" };
const DIGITS = { rating: 2, wim_10: 2 };

const data = JSON.parse(document.getElementById("pairs-data")?.textContent ?? "null");
if (data) start();

function start() {
  const form = document.getElementById("pairs-form");
  const list = document.getElementById("pairs-list");
  const more = document.getElementById("pairs-more");
  const words = data.pairs.map((pair) => searched(pair));
  let found = [];

  function show() {
    const wanted = values(form);
    found = data.pairs.filter((pair, place) => matches(pair, words[place], wanted)).sort(order(wanted.order));
    list.replaceChildren();
    grow();
  }

  function grow() {
    const next = found.slice(list.children.length, list.children.length + AT_ONCE);
    list.append(...next.map(item));
    more.hidden = list.children.length === found.length;
    const shown = list.children.length < found.length ? `, the first ${list.children.length} are listed` : "";
    document.getElementById("pairs-count").textContent =
      `${found.length.toLocaleString("en")} of ${data.pairs.length.toLocaleString("en")} match${shown}.`;
  }

  form.addEventListener("input", show);
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const before = list.children.length;
    grow();
    list.children[before]?.querySelector("summary").focus();
  });
  const themes = new Set(data.pairs.flatMap((pair) => pair.sides.flatMap((side) => side.judged.map((one) => one.theme))));
  for (const button of document.querySelectorAll("button[data-theme]")) {
    button.hidden = !themes.has(Number(button.dataset.theme));
    button.addEventListener("click", () => {
      form.reset();
      form.elements.theme.value = button.dataset.theme;
      show();
      form.scrollIntoView();
      form.elements.theme.focus({ preventScroll: true });
    });
  }
  show();
  performance.mark("pairs-ready");
}

// Which pairs, in which order ---------------------------------------------------------------------------------------

function values(form) {
  const wanted = Object.fromEntries(new FormData(form));
  wanted.text = wanted.text.trim().toLowerCase();
  return wanted;
}

function searched(pair) {
  const said = pair.sides.flatMap((side) => [side.id, side.text, ...side.judged.map(whole)]);
  return [pair.id, pair.promptId, ...pair.prompt.map((message) => message.content), ...said].join("\n").toLowerCase();
}

function whole(judged) {
  return judged.parts ? judged.parts.map(([piece]) => piece).join("") : judged.text;
}

function matches(pair, words, wanted) {
  const judged = pair.sides.flatMap((side) => side.judged);
  return (!wanted.text || words.includes(wanted.text))
    && (!wanted.run || pair.run === Number(wanted.run))
    && (!wanted.status || judged.some((one) => one.status === wanted.status))
    && (!wanted.theme || judged.some((one) => one.theme === Number(wanted.theme)))
    && (!wanted.said || pair.said === wanted.said)
    && (!wanted.why || pair.why === wanted.why)
    && (!wanted.low || pair.delta >= Number(wanted.low))
    && (!wanted.high || pair.delta <= Number(wanted.high));
}

function order(name) {
  if (name === "drawn") return () => 0;
  const sign = name === "smallest" ? 1 : -1;
  return (a, b) => sign * (a.delta - b.delta);
}

// A pair, closed and open -------------------------------------------------------------------------------------------

function item(pair) {
  const details = make("details", "pair");
  const prompt = pair.prompt.at(-1)?.content ?? pair.sides[0].text ?? pair.promptId;
  const summary = make("summary");
  const words = make("span", "words", prompt.slice(0, 240));
  if (data.runs.length > 1) words.prepend(make("span", "run", `${data.runs[pair.run].label} · `));
  summary.append(
    make("span", "delta", figure(pair.delta, 3)),
    make("span", "scores", pair.sides.map((side) => figure(side.score, 2)).join(" over ")),
    words,
  );
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(...inside(pair));
  });
  const entry = make("li");
  entry.append(details);
  return entry;
}

function inside(pair) {
  const run = data.runs[pair.run];
  const about = [run.label, data.why[pair.why], pair.id ? `pair ${pair.id}` : null,
    run.method ? `rated by ${run.method}` : null, number(pair.said)];
  const prompt = make("div", "prompt");
  prompt.append(make("h3", "", "Prompt"));
  for (const message of pair.prompt) {
    if (pair.prompt.length > 1) prompt.append(make("div", "role", message.role));
    prompt.append(passage(message.content));
  }
  if (!pair.prompt.length) prompt.append(make("p", "note", `Its text is not known; its id is ${pair.promptId}.`));
  const sides = make("div", "sides");
  sides.append(...pair.sides.map((side, place) => sideOf(side, pair.id ? SIDES[place] : `Completion ${"AB"[place]}`)));
  return [make("p", "small", about.filter(Boolean).join(" · ")), prompt, sides];
}

function number(said) {
  return { agrees: "the judge's number agrees", ties: "the judge's number ties them",
    opposite: "the judge's number says the opposite" }[said] ?? null;
}

function sideOf(side, name) {
  const box = make("div", "side");
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", name);
  const head = make("h3", "", name);
  head.append(make("span", "score", `score ${figure(side.score, 4)}`));
  const completion = make("div");
  completion.append(head, side.text === null ? make("p", "note", "Its text is not in the run.") : passage(side.text));
  if (side.refined) completion.append(...origin(side.refined));
  const said = make("div");
  for (const judged of side.judged) said.append(...judgement(judged, side.judged.length > 1));
  box.append(completion, said, numbers(side));
  return box;
}

function origin(refined) {
  const title = make("h4", "", `Refined from ${refined.from}, where ${refined.judge} said was missing`);
  return [title, passage(refined.feedback, "said")];
}

function judgement(judged, several) {
  const said = [make("h4", "", several ? `What is missing, says ${judged.judge}` : "What is missing")];
  if (judged.parts) said.push(marked(judged.parts), nearest(judged.parts));
  else if (judged.text) said.push(passage(judged.text, "said"));
  else said.push(make("p", "note", `${capital(data.status[judged.status] ?? judged.status)}.`));
  const about = [judged.theme === null ? null : `Theme: ${data.themes[judged.theme]}`,
    judged.reason ? `not ratable: ${judged.reason}` : null].filter(Boolean);
  if (about.length) said.push(make("p", "small", about.join(" · ")));
  if (judged.text || judged.parts) said.push(drawing(judged.numbers));
  return said.filter(Boolean);
}

function marked(parts) {
  const top = Math.max(...parts.map(([, near]) => near));
  const text = make("div", "passage said");
  text.dir = "auto";
  for (const [piece, near] of parts) {
    const close = top > 0 && near >= NEAR * top;
    text.append(close ? make("mark", near === top ? "nearest" : "", piece) : piece);
  }
  return text;
}

function nearest(parts) {
  const top = Math.max(...parts.map(([, near]) => near));
  const how = document.getElementById("pairs-list").dataset.near;
  const told = top > 0
    ? `Marked: what is nearest to the completion ${how}: ${figure(top, 2)}.`
    : `No part is near to the completion ${how}.`;
  return make("p", "small", told);
}

function passage(text, kind = "") {
  const box = make("div", `passage ${kind}`);
  box.dir = "auto";
  box.textContent = text.slice(0, LONG);
  if (text.length <= LONG) return box;
  const rest = make("button", "rest", `Show all ${text.length.toLocaleString("en")} characters`);
  rest.type = "button";
  rest.addEventListener("click", () => { box.textContent = text; box.tabIndex = -1; box.focus(); });
  box.append(" … ", rest);
  return box;
}

function numbers(side) {
  const table = make("table", "numbers");
  const columns = [...new Set(side.judged.flatMap((judged) => Object.keys(judged.numbers)))];
  if (side.judged.length > 1) {
    const head = make("tr");
    head.append(make("td"), ...side.judged.map((judged) => cell("th", judged.judge, "col")));
    table.append(head);
  }
  for (const column of columns) {
    const row = make("tr");
    row.append(cell("th", NAMES[column] ?? column, "row"),
      ...side.judged.map((judged) => make("td", "", figure(judged.numbers[column], DIGITS[column] ?? 4))));
    table.append(row);
  }
  const length = make("tr");
  length.append(cell("th", "Characters", "row"), make("td", "", figure(side.length, 0)));
  if (side.length !== null) table.append(length);
  const box = make("div", "scroll");
  box.append(table);
  if (side.judged.length > 1) {
    box.tabIndex = 0; // it may be wider than a phone
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Numbers of each judge");
  }
  return box;
}

// The feedback's vector, taken apart along the completion's ---------------------------------------------------------

function drawing({ wim, missingness }) {
  if (wim === null || missingness === null || Math.abs(wim) >= 1) return null;
  const sine = Math.sqrt(1 - wim * wim);
  const length = missingness / sine;
  const parallel = length * wim;
  const unit = 100 / Math.max(length, 1);
  const [left, ground] = [wim < 0 ? 112 : 12, 112];
  const foot = left + parallel * unit;
  const tip = ground - missingness * unit;
  const top = Math.min(tip, ground - 30) - 12;
  const svg = shape("svg", { viewBox: `0 ${top} 232 ${132 - top}`, role: "img", class: "vectors" });
  svg.setAttribute("aria-label", `The feedback's vector is ${figure(length, 3)} long: ${figure(parallel, 3)} along the `
    + `completion's, ${figure(missingness, 3)} orthogonal to it, which is the missingness.`);
  svg.append(
    shape("path", { class: "axis", d: `M ${left} ${ground} h 112` }),
    shape("path", { class: "head", d: `M ${left + 112} ${ground} l -7 -4 v 8 z` }),
    shape("path", { class: "parallel", d: `M ${left} ${ground} H ${foot}` }),
    shape("path", { class: "orthogonal", d: `M ${foot} ${ground} V ${tip}` }),
    shape("path", { class: "feedback", d: `M ${left} ${ground} L ${foot} ${tip}` }),
    shape("circle", { class: "tip", cx: foot, cy: tip, r: 3 }),
    label(left + 117, ground + 3, "completion"),
    label(foot + 7, Math.min(tip, ground - 30) + 2, `feedback, length ${figure(length, 3)}`),
    label(foot + 7, Math.min((ground + tip) / 2, ground - 12) + 4, `orthogonal ${figure(missingness, 3)}`, "start", "orthogonal"),
    label(left, ground + 15, `parallel ${figure(parallel, 3)}`, "start", "parallel"),
  );
  return svg;
}

function shape(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}

function label(x, y, text, anchor = "start", kind = "") {
  const node = shape("text", { x, y, "text-anchor": anchor, class: kind });
  node.textContent = text;
  return node;
}

// Small things ------------------------------------------------------------------------------------------------------

function make(tag, kind = "", text = "") {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text) node.textContent = text;
  return node;
}

function cell(tag, text, scope) {
  const node = make(tag, "", text);
  node.scope = scope;
  return node;
}

function figure(value, digits) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
