"use strict";

// Pages that follow what happens. An element with data-live says how:
//   cards  replaces the cards of the applications that changed
//   page   loads the page again and replaces the parts (data-part) that changed
// The server sends only events of the kinds in data-kinds and of data-application, if it is there.
// The server renders everything, so what is shown later looks as it would when loaded.

const NOTICE_AFTER = 1500;
const RETRY_MOST = 10000;
const LEAVING_MOST = 30000;
const ALL_KINDS = ["deployment", "request", "delivery", "position", "reset", "ready"];

// Follow a stream of server-sent events. It continues where it was: after a lost connection, and
// when a tab is shown again. Hidden tabs let go, because browsers allow few connections.
//
// address(position) gives the address to continue at; handlers has a function for each event.
function follow(address, position, kinds, handlers) {
  let source = null;
  let timer = 0;
  let noticeTimer = 0;
  let wait = 1000;
  let isOver = false;

  function found() {
    clearTimeout(noticeTimer);
    noticeTimer = 0;
    wait = 1000;
    notice("");
  }

  function lost() {
    if (!noticeTimer) noticeTimer = setTimeout(() => notice("Connection lost, trying again"), NOTICE_AFTER);
  }

  function close() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }

  function open() {
    close();
    if (isOver || document.hidden) return;
    source = new EventSource(address(position));
    source.onopen = found;
    for (const kind of kinds) {
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) position = event.lastEventId;
        handlers[kind]?.(JSON.parse(event.data), event);
      });
    }
    source.onerror = (event) => {
      if (isOver) return;
      const isRefused = typeof event.data === "string" && event.data.includes("authentication_failed");
      lost();
      close();
      if (isRefused) return void end();
      timer = setTimeout(retry, wait);
      wait = Math.min(wait * 2, RETRY_MOST);
    };
  }

  async function retry() {
    if (await isSignedIn()) open();
    else end();
  }

  function end() {
    isOver = true;
    found();
    sayEnded();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  open();
  return () => {
    isOver = true;
    close();
    found();
  };
}

function notice(text) {
  const element = document.getElementById("connection");
  if (element.textContent === text) return;
  element.textContent = text;
  element.hidden = !text;
}

async function isSignedIn() {
  try {
    return (await fetch("/api/v1/events?limit=1", { headers: BACKGROUND })).status !== 401;
  } catch {
    return true; // the server cannot be reached
  }
}

// A form or a link of the page is on its way: to load the page again would cancel that.
let leftAt = -LEAVING_MOST;
addEventListener("beforeunload", () => {
  leftAt = performance.now();
});
addEventListener("pageshow", () => {
  leftAt = -LEAVING_MOST;
});

function isLeaving() {
  return performance.now() - leftAt < LEAVING_MOST;
}

// Load a page of ours; null if it cannot be loaded now, or is another one.
async function load(address) {
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html", ...BACKGROUND } });
    if (answer.redirected && new URL(answer.url).pathname === "/sign-in") sayEnded();
    if (!answer.ok || answer.redirected) return null;
    const loaded = new DOMParser().parseFromString(await answer.text(), "text/html");
    refreshTimes(loaded);
    return loaded;
  } catch {
    return null;
  }
}

// Replace an element by a newer one, unless they are the same; keep the focus and what is open.
function replace(old, fresh) {
  refreshTimes(old);
  if (old.isEqualNode(fresh)) return;
  const made = document.importNode(fresh, true);
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  const place = active && [...old.querySelectorAll("a, button, input, summary")].indexOf(active);
  const opened = [...old.querySelectorAll("details")].map((each) => each.open);
  made.querySelectorAll("details").forEach((each, index) => {
    each.open = opened[index] ?? each.open;
  });
  for (const box of old.querySelectorAll("input[type=checkbox][id]")) {
    const same = made.querySelector(`#${CSS.escape(box.id)}`);
    if (same) same.checked = box.checked;
  }
  old.replaceWith(made);
  if (active) made.querySelectorAll("a, button, input, summary")[place]?.focus({ preventScroll: true });
}

// Call a function soon, and not again within a time.
function soon(milliseconds, work) {
  let timer = 0;
  let isRunning = false;
  let isWanted = false;
  async function run() {
    timer = 0;
    isRunning = true;
    isWanted = false;
    await work();
    isRunning = false;
    if (isWanted) ask();
  }
  function ask() {
    isWanted = true;
    if (!timer && !isRunning) timer = setTimeout(run, milliseconds * (0.5 + Math.random() / 2));
  }
  return ask;
}

const refreshParts = soon(1000, async () => {
  const address = new URL(location.href);
  address.searchParams.delete("done");
  const loaded = await load(address);
  if (!loaded) return;
  if (isLeaving()) return void refreshParts(); // in case that the page stays after all
  for (const old of document.querySelectorAll("[data-part]")) {
    const fresh = loaded.getElementById(old.id);
    if (old.matches(":active")) refreshParts(); // a button of it is being pressed
    else if (fresh) replace(old, fresh);
  }
  for (const fresh of loaded.querySelectorAll("[data-part]")) {
    if (!document.getElementById(fresh.id)) return void reloadInBackground(); // a part that is new
  }
});

const changedCards = new Set();

function changed(name) {
  changedCards.add(name);
  refreshCards();
}

const refreshCards = soon(400, async () => {
  const names = [...changedCards];
  changedCards.clear();
  for (const name of names) {
    const old = document.getElementById(`card-${name}`);
    const loaded = old && (await load(`/applications/${encodeURIComponent(name)}/card`));
    const fresh = loaded?.getElementById(old.id);
    if (fresh && old.matches(":active")) changed(name); // a link of it is being pressed
    else if (fresh) replace(old, fresh);
  }
});

function followEvents(root) {
  const isCards = root.dataset.live === "cards";
  const happened = ({ application }) => {
    if (!isCards) refreshParts();
    else if (document.getElementById(`card-${application}`)) changed(application);
  };
  const wanted = new URLSearchParams({ kind: root.dataset.kinds });
  if (root.dataset.application) wanted.set("application", root.dataset.application);
  follow(
    (position) => `/api/v1/events?${wanted}&after=${encodeURIComponent(position)}`,
    root.dataset.position,
    ALL_KINDS,
    {
      deployment: happened,
      request: happened,
      delivery: happened,
      reset: reloadInBackground,
    },
  );
}

for (const root of document.querySelectorAll("[data-live]")) followEvents(root);
