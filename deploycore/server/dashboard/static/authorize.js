"use strict";

// A sign-in with a code: asks as often as the git host allows whether it was entered.

function show(text) {
  const waiting = document.getElementById("waiting");
  if (waiting) waiting.textContent = text;
}

for (const form of document.querySelectorAll("form[data-poll]")) {
  const seconds = Math.min(Math.max(Number(form.dataset.poll) || 5, 1), 300) + 1;

  async function poll() {
    try {
      const response = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        credentials: "same-origin",
        headers: BACKGROUND,
      });
      const at = new URL(response.url);
      if (response.ok && at.pathname.endsWith("/authorize")) {
        setTimeout(poll, seconds * 1000);
      } else if (response.ok) {
        location.assign(at);
      } else {
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        show(page.querySelector(".notice.bad")?.textContent.trim() || "The sign-in failed.");
      }
    } catch {
      setTimeout(poll, seconds * 2000); // the server restarts, or the network is away
    }
  }

  setTimeout(poll, seconds * 1000);
  show("Waiting until the code is entered. This page then goes on.");
}
