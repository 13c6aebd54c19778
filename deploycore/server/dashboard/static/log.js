"use strict";

// The log of a deployment: follows new lines, shows colors, finds text in what is shown.

const LINES_MOST = 3000;
const LINES_A_FRAME = 500;

// As deploycore/text/ansi.py: only colors and styles are kept, every other sequence is dropped.
const SEQUENCE = /\x1b\[([0-?]*)[ -\/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -\/]*[0-~]?/g;
const DROPPED = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;
const SIXTEEN = [
  [0, 0, 0], [205, 0, 0], [0, 205, 0], [205, 205, 0],
  [0, 0, 238], [205, 0, 205], [0, 205, 205], [229, 229, 229],
  [127, 127, 127], [255, 0, 0], [0, 255, 0], [255, 255, 0],
  [92, 92, 255], [255, 0, 255], [0, 255, 255], [255, 255, 255],
];
const STYLES = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const ENDS = {
  21: ["bold"], 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"],
};

function nearest([red, green, blue]) {
  let best = 0;
  let least = Infinity;
  SIXTEEN.forEach(([r, g, b], number) => {
    const distance = (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
    if (distance < least) [best, least] = [number, distance];
  });
  return best;
}

function rgb(number) {
  if (number < 16) return SIXTEEN[number];
  if (number >= 232) return Array(3).fill(8 + 10 * (number - 232));
  const levels = [0, 95, 135, 175, 215, 255];
  const rest = number - 16;
  return [levels[Math.floor(rest / 36)], levels[Math.floor(rest / 6) % 6], levels[rest % 6]];
}

function applyCodes(style, parameters) {
  const codes = parameters.split(/[;:]/).slice(0, 64).map((each) => (/^\d{1,5}$/.test(each) ? Number(each) : 0));
  for (let place = 0; place < codes.length; place += 1) {
    const code = codes[place];
    if (code === 38 || code === 48) {
      const ground = code === 38 ? "fg" : "bg";
      if (codes[place + 1] === 5 && place + 2 < codes.length) {
        style[ground] = nearest(rgb(Math.min(codes[place + 2], 255)));
        place += 2;
      } else if (codes[place + 1] === 2 && place + 4 < codes.length) {
        style[ground] = nearest(codes.slice(place + 2, place + 5).map((each) => Math.min(each, 255)));
        place += 4;
      } else return;
    } else if (code === 0) {
      style.fg = style.bg = undefined;
      style.names.clear();
    } else if (STYLES[code]) style.names.add(STYLES[code]);
    else if (ENDS[code]) ENDS[code].forEach((each) => style.names.delete(each));
    else if (code === 39) style.fg = undefined;
    else if (code === 49) style.bg = undefined;
    else if (code >= 30 && code <= 37) style.fg = code - 30;
    else if (code >= 90 && code <= 97) style.fg = code - 82;
    else if (code >= 40 && code <= 47) style.bg = code - 40;
    else if (code >= 100 && code <= 107) style.bg = code - 92;
  }
}

function classesOf({ fg, bg, names }) {
  if (names.has("inverse")) [fg, bg] = [bg ?? 0, fg ?? 7];
  const found = Object.values(STYLES).filter((each) => each !== "inverse" && names.has(each));
  if (bg !== undefined) found.unshift(`bg-${bg}`);
  if (fg !== undefined) found.unshift(`fg-${fg}`);
  return found.join(" ");
}

function appendColored(element, text) {
  const style = { fg: undefined, bg: undefined, names: new Set() };
  let start = 0;
  const add = (part) => {
    const shown = part.replace(DROPPED, "");
    if (!shown) return;
    const classes = classesOf(style);
    if (!classes) return void element.append(shown);
    const span = document.createElement("span");
    span.className = classes;
    span.textContent = shown;
    element.append(span);
  };
  for (const sequence of text.matchAll(SEQUENCE)) {
    add(text.slice(start, sequence.index));
    start = sequence.index + sequence[0].length;
    if (sequence[2] === "m") applyCodes(style, sequence[1]);
  }
  add(text.slice(start));
}

function lineOf({ at, kind, phase, text }) {
  const line = document.createElement("div");
  line.className = `line kind-${kind.replace(/[^a-z]/g, "")}`;
  const time = document.createElement("span");
  time.textContent = at.slice(11, 19);
  const content = document.createElement("span");
  content.className = "text";
  if (kind === "state") {
    const name = phase.replace("cancelled", "canceled").replaceAll("_", " ");
    content.append(name.charAt(0).toUpperCase() + name.slice(1) + (text ? ": " : ""));
  } else if (kind === "hint") {
    content.append("Next: ");
  }
  appendColored(content, text);
  line.append(time, content);
  return line;
}

function startLog(log) {
  const search = document.getElementById("log-search");
  const button = document.getElementById("follow");
  const waiting = [];
  let isFollowing = "running" in log.dataset;
  let isScheduled = false;
  let wanted = "";

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  const setFollowing = (value) => {
    isFollowing = value;
    button.setAttribute("aria-pressed", String(value));
    if (value) log.scrollTop = log.scrollHeight;
  };
  const sift = (line) => {
    line.hidden = wanted !== "" && !line.lastElementChild.textContent.toLowerCase().includes(wanted);
  };

  function dropOld() {
    const surplus = log.querySelectorAll(":scope > .line").length - LINES_MOST;
    if (surplus <= 0) return;
    let rest = log.querySelector(":scope > .rest");
    if (!rest) {
      rest = document.createElement("p");
      rest.className = "rest";
      const link = document.createElement("a");
      link.href = `/api/v1/deployments/${log.dataset.deployment}/log/text`;
      link.textContent = "Open the whole log";
      rest.append("Earlier lines are not shown. ", link);
      log.prepend(rest);
    }
    for (let count = 0; count < surplus; count += 1) rest.nextElementSibling.remove();
  }

  function flush() {
    isScheduled = false;
    if (waiting.length > LINES_MOST) waiting.splice(0, waiting.length - LINES_MOST);
    const some = document.createDocumentFragment();
    for (const each of waiting.splice(0, LINES_A_FRAME)) {
      const line = lineOf(each);
      sift(line);
      some.append(line);
    }
    document.getElementById("no-lines")?.remove();
    log.append(some);
    dropOld();
    if (isFollowing) log.scrollTop = log.scrollHeight;
    if (waiting.length) schedule();
  }

  function schedule() {
    if (isScheduled) return;
    isScheduled = true;
    if (document.hidden) setTimeout(flush, 500);
    else requestAnimationFrame(flush);
  }

  search.addEventListener("input", () => {
    wanted = search.value.trim().toLowerCase();
    log.querySelectorAll(":scope > .line").forEach(sift);
  });

  if (!("running" in log.dataset)) return;
  button.hidden = false;
  button.addEventListener("click", () => setFollowing(!isFollowing));
  log.addEventListener("wheel", () => requestAnimationFrame(() => setFollowing(isAtEnd())), { passive: true });
  log.addEventListener("keydown", (event) => {
    if (["ArrowUp", "PageUp", "Home"].includes(event.key)) setFollowing(false);
    if (event.key === "End") setFollowing(true);
  });
  log.addEventListener("touchmove", () => setFollowing(isAtEnd()), { passive: true });
  setFollowing(true);

  const stop = follow(
    (position) => `/api/v1/deployments/${log.dataset.deployment}/log?after=${position}`,
    log.dataset.position,
    ["line", "end"],
    {
      line: (data) => {
        waiting.push(data);
        schedule();
        if (data.kind === "state") refreshParts();
      },
      end: () => {
        stop();
        button.hidden = true;
        delete log.dataset.running;
        refreshParts();
      },
    },
  );
}

const log = document.getElementById("log");
if (log) startLog(log);
