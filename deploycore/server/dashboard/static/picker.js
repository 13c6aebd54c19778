"use strict";

// Fields that suggest repositories, or branches and tags, while the user types: a combobox with a
// list, as the WAI-ARIA Authoring Practices describe it. Without this script, the page has a search
// form instead. What a git host has named is only ever set as text.

const DELAY = 200;
const LIMIT = 20;

class Picker {
  // `sources(text)` returns the addresses to ask; `optionOf(item)` what an item means.
  constructor(input, { label, sources, optionOf, onPick }) {
    Object.assign(this, { input, label, sources, optionOf, onPick });
    this.options = [];
    this.active = -1;
    this.following = [];
    this.asked = null;
    this.list = document.createElement("ul");
    this.list.id = `${input.id}-options`;
    this.list.hidden = true;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", label);
    this.status = document.createElement("p");
    this.status.className = "help";
    this.status.setAttribute("role", "status");
    const box = document.createElement("div");
    box.className = "picker";
    input.replaceWith(box);
    box.append(input, this.list);
    box.after(this.status);
    input.removeAttribute("list");
    for (const [name, value] of [
      ["role", "combobox"],
      ["aria-autocomplete", "list"],
      ["aria-expanded", "false"],
      ["aria-controls", this.list.id],
    ]) input.setAttribute(name, value);
    this.listen();
  }

  listen() {
    this.input.addEventListener("input", () => this.askSoon());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("click", () => this.isOpen || this.ask());
    this.settled = this.input.value;
    // The field keeps the focus while the pointer is on the list.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const found = event.target.closest("[role=option]");
      if (found) this.pick([...this.list.children].indexOf(found));
    });
    this.list.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = this.list;
      if (scrollTop + clientHeight > scrollHeight - 40) this.more();
    });
  }

  get isOpen() {
    return !this.list.hidden;
  }

  askSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), DELAY);
  }

  async ask() {
    clearTimeout(this.timer);
    // What was picked is no search: the list shows the others too.
    const isPicked = this.input.value === this.settled;
    const addresses = this.sources(isPicked ? "" : this.input.value.trim());
    if (!addresses.length) return;
    this.asked?.abort();
    this.show([], addresses);
    this.tell("Searching…");
    await this.more();
  }

  // Read the next page of each source, and add it to the list.
  async more() {
    if (!this.following.length || this.isReading) return;
    const asked = (this.asked = new AbortController());
    const addresses = this.following;
    this.isReading = true;
    try {
      const pages = await Promise.all(addresses.map((each) => read(each, asked.signal)));
      if (asked.signal.aborted) return;
      this.following = pages.map((page) => page.next).filter(Boolean);
      for (const item of pages.flatMap((page) => page.items)) this.add(this.optionOf(item));
      const hint = pages.map((page) => page.hint).find(Boolean);
      this.tell(this.describe(hint));
      this.open(this.options.length > 0 && document.activeElement === this.input);
      this.isReading = false;
      if (!this.options.length) await this.more(); // a slow host may need several requests
    } catch (error) {
      if (error.name === "AbortError") return;
      this.following = [];
      this.open(false);
      this.tell(error.message);
    } finally {
      if (this.asked === asked) this.isReading = false;
    }
  }

  describe(hint) {
    const count = this.options.length;
    if (!count) return hint || `${this.label}: nothing found.`;
    const more = this.following.length ? ", and more" : "";
    return `${this.label}: ${count} found${more}.`;
  }

  show(options, following) {
    this.isReading = false;
    this.following = following;
    this.options = [];
    this.list.replaceChildren();
    this.activate(-1);
    options.forEach((each) => this.add(each));
  }

  add(option) {
    const item = document.createElement("li");
    item.id = `${this.list.id}-${this.options.length}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    const name = document.createElement("bdi");
    name.textContent = visible(option.value);
    item.append(name);
    if (option.note) {
      const note = document.createElement("span");
      note.className = "muted small";
      note.textContent = visible(option.note);
      item.append(" ", note);
    }
    this.options.push(option);
    this.list.append(item);
  }

  open(isOpen) {
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) this.activate(-1);
  }

  close() {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.open(false);
    this.tell("");
  }

  activate(index) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = index;
    const item = this.list.children[index];
    if (!item) {
      this.input.removeAttribute("aria-activedescendant");
      return;
    }
    item.setAttribute("aria-selected", "true");
    this.input.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
    if (index === this.options.length - 1) this.more();
  }

  pick(index) {
    const option = this.options[index];
    if (!option) return;
    this.input.value = this.settled = option.value;
    this.close();
    this.onPick?.(option);
  }

  onKey(event) {
    const last = this.options.length - 1;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!this.isOpen) this.ask();
      else if (event.key === "ArrowDown") this.activate(this.active < last ? this.active + 1 : 0);
      else this.activate(this.active > 0 ? this.active - 1 : last);
    } else if (event.key === "Enter" && this.isOpen && this.active >= 0) {
      event.preventDefault();
      this.pick(this.active);
    } else if (event.key === "Escape" && this.isOpen) {
      event.preventDefault();
      this.close();
    }
  }

  tell(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }
}

async function read(address, signal) {
  const answer = await fetch(address, { signal, headers: { Accept: "application/json" } });
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  if (answer.status === 401) sayEnded();
  // Some providers list no tags; the branches are listed all the same.
  if (answer.status === 422 && address.includes("/tags?")) return { items: [], next: null };
  throw new Error([found.message, found.hint].filter(Boolean).join(" ") || "The server did not answer.");
}

// Control characters, and those that change the direction of text, as escapes.
function visible(text) {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return shown.replace(/[\p{Cc}\p{Cf}]/gu, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);
}

function address(provider, kind, query) {
  const parameters = new URLSearchParams({ ...query, limit: String(LIMIT) });
  return `/api/v1/providers/${encodeURIComponent(provider)}/${kind}?${parameters}`;
}

// The name and the directory of a new application, as the server suggests them. What a person has
// typed is never replaced: a field follows only while it is empty, or holds the last suggestion.
class Suggestions {
  constructor({ repository, ref, name, target }) {
    Object.assign(this, { repository, ref, name, target });
    for (const each of [repository, ref]) each.addEventListener("change", () => this.ask());
    name.addEventListener("input", () => this.follow());
  }

  async ask() {
    const [repository, ref] = [this.repository.value.trim(), this.ref.value.trim()];
    const query = String(new URLSearchParams({ repository, ref }));
    if (!repository || query === this.asked) return;
    this.asked = query;
    const found = await read(`/api/v1/suggestions/application?${query}`).catch(() => null);
    if (!found || query !== this.asked) return;
    this.fill(this.name, found.name);
    this.follow();
  }

  follow() {
    const name = this.name.value.trim();
    this.fill(this.target, name && `${this.target.dataset.directory.replace(/\/$/, "")}/${name}`);
  }

  fill(input, value) {
    if (input.value === "" || input.value === input.dataset.suggested) input.value = value;
    input.dataset.suggested = value;
  }
}

function start() {
  const [provider, repository, ref, name, target] = [
    "provider", "repository", "ref", "name", "target",
  ].map((id) => document.getElementById(id));
  if (!provider || !repository || !ref) return;
  const suggestions = name && new Suggestions({ repository, ref, name, target });
  for (const each of document.querySelectorAll("[data-without-script]")) each.hidden = true;
  repository.placeholder = "Type a part of its name";
  new Picker(repository, {
    label: "Repositories",
    sources: (search) => (provider.value ? [address(provider.value, "repositories", { search })] : []),
    optionOf: (item) => ({
      value: item.repository,
      branch: item.default_branch,
      note: [item.private ? "private" : "public", item.archived && "archived", item.empty && "empty"]
        .filter(Boolean)
        .join(", "),
    }),
    onPick: (option) => {
      if (option.branch && !ref.value) ref.value = option.branch;
      suggestions?.ask();
    },
  });
  new Picker(ref, {
    label: "Branches and tags",
    sources: (search) =>
      provider.value && repository.value.trim()
        ? ["branches", "tags"].map((kind) =>
            address(provider.value, kind, { repository: repository.value.trim(), search }),
          )
        : [],
    optionOf: (item) => ({ value: item.name, note: item.commit.slice(0, 10) }),
  });
}

start();
