// One question at a time; an answer counts as saved when the server has said so. Text of the data becomes text of the
// page by textContent alone.

const csrf = document.querySelector("meta[name=csrf]").content;
const element = (id) => document.getElementById(id);
const KEYS = {
  write: [["W", "write"], ["Ctrl + Enter", "save (also ⌘ + Enter)"], ["Esc", "leave the text field"],
    ["N", "nothing is missing, or not so after all"], ["1 … 9, 0", "rate 1 to 9, 10; – for no rating"]],
  choose: [["A", "A is better"], ["B", "B is better"], ["T", "no difference"]],
  both: [["S", "skip"], ["U", "undo the last answer"], ["K", "previous question"], ["J", "next question"],
    ["O", "first open question"], ["V", "what the judge said, once you have answered"], ["?", "this help"]],
};
const TASK = {
  write: "You see a prompt and a completion of it. Say in plain sentences what the completion lacks; if it lacks " +
    "nothing, say that. A rating is welcome, not required.",
  choose: "You see a prompt and two completions of it, in an order drawn at random. Choose the better one; nobody " +
    "tells you which one the judge preferred before you have answered.",
};

let setting;           // what the server says of the run and its annotators
let name = "";         // who annotates
let item = null;       // the question that is shown
let progress = null;
let busy = false;
let attempt = { said: "", key: "" };  // the last answer that was sent: sent again, it has the same key

// The server --------------------------------------------------------------------------------------------------------

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Nothing that you wrote is lost; try again when it runs.");
  }
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(told.error ?? `The server says ${response.status}.`);
  return told;
}

/** Does one thing at a time; what goes wrong is told, and false. */
async function during(work) {
  if (busy) return false;
  busy = true;
  tell("fault", "");
  try {
    await work();
    return true;
  } catch (error) {
    tell("status", "");
    tell("fault", error.message);
    return false;
  } finally {
    busy = false;
  }
}

const at = (place) => `/api/item?${new URLSearchParams({ annotator: name, place })}`;
const draw = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");

// What is shown -----------------------------------------------------------------------------------------------------

function tell(where, text) {
  element(where).textContent = text;
}

function make(tag, text = "", more = {}) {
  const made = Object.assign(document.createElement(tag), more);
  made.textContent = text;
  return made;
}

function only(section) {
  for (const id of ["welcome", "work", "done"]) element(id).hidden = id !== section;
  element("way").hidden = section === "welcome";
}

function welcome() {
  only("welcome");
  item = null;
  tell("status", "");
  const known = setting.annotators.map((each) => {
    const button = make("button", each.name, { type: "button" });
    button.append(make("small", `${each.done} of ${each.total} answered`));
    button.addEventListener("click", () => enter(each.name));
    const entry = make("li");
    entry.append(button);
    return entry;
  });
  element("names").replaceChildren(...known);
  element("known").hidden = known.length === 0;
  element("name").focus();
}

function show(told, note = "") {
  progress = told.progress;
  item = told.item;
  const { done, total, skipped } = progress;
  Object.assign(element("bar"), { max: total, value: done + skipped });
  tell("count", `${done} of ${total} answered` + (skipped ? `, ${skipped} skipped` : ""));
  tell("who", name);
  element("undo").disabled = element("undo-last").disabled = progress.last === null;
  if (item === null) return finish(note);
  only("work");
  tell("place", `${item.place + 1} of ${total}`);
  document.title = `${item.place + 1} of ${total} · What is missing?`;
  element("previous").disabled = item.place === 0;
  element("next").disabled = item.place + 1 === total;
  fillTexts();
  if (told.undone) {
    fillAnswer(item.answer ?? told.undone);
    keepDraft();
  } else {
    fillAnswer(draft() ?? item.answer);
  }
  tell("status", note);
  element("first").querySelector(".scroll").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function finish(note) {
  only("done");
  tell("place", "");
  document.title = "Done · What is missing?";
  element("previous").disabled = false;
  element("next").disabled = true;
  const { done, skipped } = progress;
  tell("summary", `${done} answered` + (skipped ? `, ${skipped} skipped. ` : ". ") +
    "Your answers are on the disk; you may close this page.");
  tell("status", note);
  element("done-title").focus();
}

function fillTexts() {
  const prompt = item.prompt.flatMap((turn) => [
    ...(item.prompt.length > 1 ? [make("h3", turn.role)] : []), make("p", turn.content)]);
  const unknown = make("p", "(The text of this prompt is not in the run.)", { className: "note" });
  fill("prompt", prompt.length ? prompt : [unknown]);
  fill("first", [make("p", item.completions[0])]);
  if (setting.mode === "choose") fill("second", [make("p", item.completions[1])]);
}

function fill(id, parts) {
  const box = element(id).querySelector(".scroll");
  box.replaceChildren(...parts);
  box.scrollTop = 0;
}

function fillAnswer(said) {
  element("feedback").value = said?.feedback ?? "";
  element("nothing").checked = said?.status === "nothing";
  rate(said?.rating ?? "");
  for (const button of document.querySelectorAll(".choice"))
    button.setAttribute("aria-pressed", String(item.answer?.choice === button.value));
  followNothing();
  const answered = item.answer !== null;
  const skipped = item.answer?.status === "skipped";
  element("answered").hidden = !answered;
  tell("answered", skipped ? "You have skipped this one. An answer takes the place of that."
    : "You have answered this one. Another answer takes the place of yours; Skip takes it back.");
  element("judge").hidden = !answered || skipped;
  element("reveal").hidden = false;
  element("said").replaceChildren();
}

function followNothing() {
  element("feedback").disabled = element("nothing").checked;
}

function rate(number) {
  const chosen = document.querySelector(`#scale input[value="${number}"]`);
  if (chosen) chosen.checked = true;
}

function figureOf(said, label) {
  const figure = make("figure");
  const rating = said.rating === null ? "" : `, rating ${Number(said.rating.toFixed(2))} of ${setting.scale[1]}`;
  figure.append(make("figcaption", `${label}${said.judge}${rating}`));
  if (said.feedback !== null) figure.append(make("p", said.feedback || "Nothing is missing."));
  return figure;
}

// Words that are not saved yet, for this tab: a reload does not lose them -------------------------------------------

const draftKey = () => `draft\n${name}\n${item.item_id}`;

function draft() {
  return JSON.parse(sessionStorage.getItem(draftKey()) ?? "null");
}

function keepDraft() {
  if (item && setting.mode === "write") sessionStorage.setItem(draftKey(), JSON.stringify(written()));
}

function written() {
  const nothing = element("nothing").checked;
  const rating = document.querySelector("#scale input:checked").value;
  return {
    status: nothing ? "nothing" : "missing", feedback: element("feedback").value,
    rating: rating === "" ? null : Number(rating),
  };
}

// What is done ------------------------------------------------------------------------------------------------------

const enter = (given) => during(async () => {
  const told = await ask("/api/annotator", { name: given });
  name = told.name;
  sessionStorage.setItem("annotator", name);
  show(await ask(at("next")));
});

const leave = () => during(async () => {
  setting = await ask("/api/start");
  sessionStorage.removeItem("annotator");
  welcome();
});

const go = (place) => during(async () => show(await ask(at(place))));

function step(by) {
  const place = item ? item.place + by : progress.total - 1;
  if (place >= 0 && place < progress.total) go(place);
}

/** Saves what was said of the question, and shows the next one when the server has it on the disk. */
const send = (said, done) => during(async () => {
  const whole = { annotator: name, item: item.item_id, ...said };
  const text = JSON.stringify(whole);
  if (attempt.said !== text) attempt = { said: text, key: draw() };
  tell("status", "Saving …");
  const next = await ask("/api/answer", { ...whole, key: attempt.key });
  attempt = { said: "", key: "" };
  sessionStorage.removeItem(draftKey());
  show(next, done);
});

function save() {
  if (setting.mode === "choose") return;
  const said = written();
  if (said.status === "missing" && !said.feedback.trim()) {
    tell("status", "");
    tell("fault", "Write what is missing, or say that nothing is.");
    element("feedback").focus();
    return;
  }
  send(said.status === "nothing" ? { ...said, feedback: "" } : said, "Saved.");
}

const choose = (choice) => send({ status: "chosen", choice }, "Saved.");
const skip = () => send({ status: "skipped" }, "Skipped.");
const undo = () => progress.last !== null && during(async () => {
  const told = await ask("/api/undo", { annotator: name, answer: progress.last });
  show(told, "Taken back.");
});

const reveal = () => during(async () => {
  const { said } = await ask("/api/reveal", { annotator: name, item: item.item_id });
  const labels = said.length > 1 ? ["A · ", "B · "] : [""];
  const figures = said.flatMap((each, place) => each.map((one) => figureOf(one, labels[place])));
  element("said").replaceChildren(...(figures.length ? figures : [make("p", "No judge has said anything.", { className: "note" })]));
  element("reveal").hidden = true;
  element("said").lastElementChild.scrollIntoView({ block: "nearest" });
});

// Keys --------------------------------------------------------------------------------------------------------------

function write() {
  element("nothing").checked = false;
  followNothing();
  element("feedback").focus();
}

function toggleNothing() {
  element("nothing").checked = !element("nothing").checked;
  followNothing();
  keepDraft();
}

function rateBy(key) {
  rate(key === "-" || key === "–" ? "" : Number(key) || 10);
  keepDraft();
}

const ALWAYS = { u: undo, k: () => step(-1), j: () => step(1), o: () => go("next") };
const ASKED = { s: skip, v: () => element("judge").hidden || element("reveal").hidden || reveal() };
const OF_MODE = {
  write: { w: write, n: toggleNothing, "-": rateBy, ...Object.fromEntries([..."0123456789"].map((key) => [key, rateBy])) },
  choose: { a: () => choose("first"), b: () => choose("second"), t: () => choose("tie") },
};

function pressed(event) {
  const help = element("help");
  if (event.isComposing || help.open || element("welcome").hidden === false) return;
  const typing = event.target.matches("textarea, input:not([type=checkbox], [type=radio])");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && item) {
    event.preventDefault();
    if (!event.repeat) save();
  } else if (event.key === "Escape" && typing) {
    element("first").querySelector(".scroll").focus();
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) {
    single(event);
  }
}

function single(event) {
  if (!element("single").checked) return;
  const key = event.key.toLowerCase();
  const keys = item ? { ...ALWAYS, ...ASKED, ...OF_MODE[setting.mode] } : ALWAYS;
  if (event.key === "?") return openHelp();
  if (!Object.hasOwn(keys, key)) return;
  event.preventDefault();
  keys[key](key);
}

function openHelp() {
  element("help").showModal();
}

function listKeys() {
  element("keys").replaceChildren(...[...KEYS[setting.mode], ...KEYS.both].flatMap(([key, does]) => {
    const term = make("dt");
    term.append(make("kbd", key));
    return [term, make("dd", does)];
  }));
}

// The beginning -----------------------------------------------------------------------------------------------------

function prepare() {
  const choosing = setting.mode === "choose";
  document.body.classList.add(choosing ? "choosing" : "writing");
  element("write").hidden = element("save").hidden = choosing;
  element("choose").hidden = element("second").hidden = !choosing;
  tell("first-title", choosing ? "A" : "Completion");
  for (const id of ["task", "help-task"]) tell(id, TASK[setting.mode]);
  element("name").maxLength = setting.name_letters;
  element("feedback").maxLength = setting.most_letters;
  element("who").hidden = setting.only !== null;
  element("single").checked = localStorage.getItem("single") !== "off";
  const [low, high] = setting.scale;
  const numbers = Array.from({ length: high - low + 1 }, (_, i) => String(low + i));
  element("scale").replaceChildren(...["", ...numbers].map((value) => {
    const label = make("label", value || "–");
    const options = { type: "radio", name: "rating", value, checked: value === "" };
    const radio = make("input", "", options);
    radio.setAttribute("aria-label", value || "no rating");
    label.prepend(radio);
    return label;
  }));
  listKeys();
}

function listen() {
  const on = (id, event, work) => element(id).addEventListener(event, work);
  on("enter", "submit", (event) => { event.preventDefault(); enter(element("name").value); });
  on("answer", "submit", (event) => { event.preventDefault(); save(); });
  on("answer", "input", () => { followNothing(); keepDraft(); tell("fault", ""); });
  for (const button of document.querySelectorAll(".choice")) button.addEventListener("click", () => choose(button.value));
  on("skip", "click", skip);
  for (const id of ["undo", "undo-last"]) on(id, "click", undo);
  on("reveal", "click", reveal);
  on("previous", "click", () => step(-1));
  on("next", "click", () => step(1));
  on("review", "click", () => go(0));
  on("who", "click", leave);
  on("ask-help", "click", openHelp);
  on("single", "change", () => localStorage.setItem("single", element("single").checked ? "on" : "off"));
  document.addEventListener("keydown", pressed);
}

history.replaceState(null, "", "/");  // the token has done its work
listen();
during(async () => {
  setting = await ask("/api/start");
  prepare();
}).then((ready) => {
  const known = setting?.only ?? sessionStorage.getItem("annotator");
  if (ready && known) enter(known).then((entered) => entered || welcome());
  else if (ready) welcome();
});
