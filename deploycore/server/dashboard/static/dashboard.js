"use strict";

// Every page: keeps relative times fresh, shows local time when the pointer is over one, and says
// that the session has ended.

// What a page asks for by itself, not a person: it does not make the session last longer.
const BACKGROUND = { "X-Deploycore-Background": "1" };

function reloadInBackground() {
  document.cookie = "deploycore_background=1; Max-Age=5; Path=/; SameSite=Strict";
  location.reload();
}

function sayEnded() {
  const element = document.getElementById("connection");
  const link = document.createElement("a");
  link.href = `/sign-in?${new URLSearchParams({ next: location.pathname + location.search, ended: "yes" })}`;
  link.textContent = "Sign in again";
  element.replaceChildren("Your session has ended. ", link);
  element.hidden = false;
}

const UNITS = [[31536000, "y"], [2592000, "mo"], [86400, "d"], [3600, "h"], [60, "min"]];

function relative(at, now) {
  const distance = (now - at) / 1000;
  const size = Math.abs(distance);
  for (const [seconds, unit] of UNITS) {
    if (size >= seconds) {
      const text = `${Math.floor(size / seconds)} ${unit}`;
      return distance > 0 ? `${text} ago` : `in ${text}`;
    }
  }
  return distance >= 0 ? "just now" : "in a moment";
}

function refreshTimes(within = document) {
  const now = Date.now();
  for (const each of within.querySelectorAll("time[data-relative]")) {
    const text = relative(Date.parse(each.dateTime), now);
    if (each.textContent !== text) each.textContent = text;
  }
}

document.addEventListener("pointerover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (time && !time.dataset.local) {
    time.dataset.local = "yes";
    time.title = `${new Date(time.dateTime).toLocaleString()}\n${time.title}`;
  }
});

setInterval(() => document.hidden || refreshTimes(), 20000);
document.addEventListener("visibilitychange", () => document.hidden || refreshTimes());
