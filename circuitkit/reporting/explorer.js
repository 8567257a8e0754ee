// The explorer: the sizes, the cards, the prompts, the search, and the keys that reach them.

const cards = new Map([...document.querySelectorAll("article.card")].map((card) => [card.dataset.card, card]));
const stage = byId("stage");
const panel = byId("panel");
const isNarrow = matchMedia("(max-width: 899px)"); // the card covers the lower part of the page
let opener = null; // where the focus returns to when the card closes
let prompt = data.prompts[0] ?? null;
let refit = () => {}; // shows all of another size

const circuit = makePicture(stage, { onLight: sayLit, onOpen: openCard, label: nameOf });
for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
setUpTheme();
setUpSizes();
setUpDiagrams();
for (const table of document.querySelectorAll("main .scroll:not(.card .scroll) > table:not(.facts)")) makeSortable(table);
linkNames(document.querySelector("main"));
const pickPrompt = bind("prompt", promptPicked);
const search = bind("query", searchFor);
if (prompt) pickPrompt("0");
const zoomable = makeZoomable(stage, {
  buttons: document.querySelectorAll("[data-zoom]"),
  all: () => [...circuit.nodes.values(), ...circuit.edges.map(({ shape }) => shape)].filter((shape) => !shape.classList.contains("ghost") && !shape.classList.contains("off")),
});
refit = zoomable.reset;
setUpKeys();
setUpViews();
setUpFolds();

function nameOf(name) {
  const place = cards.get(name)?.dataset.place;
  return place ? `${name}, ${place}` : (circuitEdge(name)?.says ?? name);
}

function circuitEdge(name) {
  return data.edges.find((edge) => edge.name === name);
}

function sayLit(target, lit) {
  const says = byId("lit-says");
  if (target === null || !lit?.above) {
    says.textContent = "Point at a component or an edge to light up the paths through it.";
    return;
  }
  const n = lit.edges.size;
  const before = lit.above.size - 1;
  const after = lit.below.size - 1;
  says.textContent = `${circuitEdge(target)?.says ?? target}: ${n} ${n === 1 ? "edge" : "edges"} on paths through it, ${before} ${before === 1 ? "component" : "components"} before, ${after} after.`;
}

// ---- sizes

function setUpSizes() {
  const slider = byId("size");
  const bars = slider ? sizeBars(byId("size-bars"), (at) => show(at)) : [];
  const show = (at) => {
    const size = data.sizes[at];
    circuit.show(new Set(size.edges.map((number) => data.edges[number].name)));
    refit();
    byId("size-says").textContent = `${size.title}: ${size.worth}.${size.undrawn}`;
    bars.forEach((bar, number) => bar.classList.toggle("chosen", number === at));
    if (!slider) return;
    slider.value = at;
    slider.setAttribute("aria-valuetext", `${size.title}, ${size.worth}`);
  };
  slider?.addEventListener("input", () => show(Number(slider.value)));
  byId("own-size")?.addEventListener("click", () => show(data.own));
  show(data.own);
}

// A bar for each size, as high as its faithfulness: the slider below moves along them.
function sizeBars(place, choose) {
  const values = data.sizes.map((size) => size.value);
  const top = Math.max(1, ...values);
  const bars = data.sizes.map((size, at) => {
    const bar = make("span", { class: at === data.own ? "size-bar own" : "size-bar", title: `${size.title}: ${size.worth}` });
    const level = make("span");
    level.style.height = `${(100 * Math.max(0, size.value ?? 0)) / top}%`;
    bar.append(level);
    bar.addEventListener("click", () => choose(at));
    return bar;
  });
  const limit = make("span", { class: "limit", title: `threshold ${data.threshold}` });
  limit.style.bottom = `${(100 * data.threshold) / top}%`;
  place.replaceChildren(...bars, limit);
  byId("size").style.marginInline = `calc(${50 / bars.length}% - 8px)`; // half a bar: 8px is half a thumb
  return bars;
}

// ---- cards

function openCard(name, from = document.activeElement) {
  const card = cards.get(name);
  if (!card) return;
  if (panel.hidden || !panel.contains(from)) opener = from;
  const copy = card.cloneNode(true);
  copy.removeAttribute("id");
  copy.hidden = false;
  for (const details of copy.querySelectorAll("details.of-component")) details.open = true;
  const title = copy.querySelector("h3");
  title.id = "panel-title";
  title.tabIndex = -1;
  byId("panel-card").replaceChildren(copy);
  linkNames(copy);
  if (prompt) showPrompt(copy, prompt);
  panel.hidden = false;
  byId("split").classList.add("open");
  panel.scrollTop = 0;
  circuit.choose(name);
  title.focus({ preventScroll: true });
  if (isNarrow.matches) stage.scrollIntoView({ block: "start" });
  requestAnimationFrame(() => {
    const covered = isNarrow.matches ? panel.getBoundingClientRect().top : Infinity;
    zoomable.reveal(circuit.nodes.get(name), covered);
  });
}

function closeCard() {
  panel.hidden = true;
  byId("split").classList.remove("open");
  byId("panel-card").replaceChildren();
  circuit.choose(null);
  opener?.focus({ preventScroll: true });
  opener = null;
}

byId("panel-close").addEventListener("click", closeCard);

// Make the names of components and edges in a text do something.
function linkNames(root) {
  for (const code of root.querySelectorAll("code")) {
    const name = code.textContent;
    if (code.closest("button, svg, .token, pre") && !code.closest("button.name")) continue;
    if (!cards.has(name) && !circuitEdge(name)) continue;
    let button = code.closest("button.name");
    if (!button) {
      button = make("button", { type: "button", class: "name" });
      code.replaceWith(button);
      button.append(code);
    }
    button.addEventListener("pointerenter", () => circuit.light(name));
    button.addEventListener("pointerleave", () => circuit.light());
    button.addEventListener("focus", () => circuit.light(name));
    button.addEventListener("blur", () => circuit.light());
    button.addEventListener("click", () => reach(name, button));
  }
}

// Show a component or an edge in the picture.
function reach(name, from) {
  showView("parts");
  if (cards.has(name)) openCard(name, from);
  else circuit.choose(name);
  if (!panel.contains(from) && !isNarrow.matches) stage.scrollIntoView({ block: "nearest" });
}

// ---- prompts

function promptPicked(value) {
  prompt = data.prompts[Number(value)];
  showPromptLine(byId("prompt-line"), prompt);
  showPrompt(document.querySelector("main"), prompt);
}

// ---- diagrams

function setUpDiagrams() {
  for (const stage of document.querySelectorAll("section[id^=finding-] .diagram, #grouped .diagram")) makePicture(stage, {});
}

// ---- the circuit by groups or by its parts

function showView(name) {
  byId("grouped").hidden = name !== "grouped";
  byId("split").hidden = name === "grouped";
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === name));
  }
  if (name !== "grouped") refit();
}

function setUpViews() {
  const buttons = [...document.querySelectorAll("[data-view]")];
  for (const button of buttons) button.addEventListener("click", () => showView(button.dataset.view));
  showView(buttons.find((button) => button.getAttribute("aria-pressed") === "true").dataset.view);
}

// ---- folds: a link to what is inside one opens it

function setUpFolds() {
  const unfold = () => {
    const target = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    const own = target.querySelector(":scope > details.fold");
    if (own) own.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  for (const link of document.querySelectorAll('nav a[href^="#"]')) link.addEventListener("click", () => setTimeout(unfold));
  unfold();
}

// ---- search

function matches(query) {
  const wanted = query.trim().toLowerCase();
  const holds = (text) => text.toLowerCase().includes(wanted);
  const found = [];
  for (const [name, card] of cards) {
    if (holds(name)) found.push({ kind: "component", text: name, act: () => reach(name, byId("search")), name });
    else if (holds(card.dataset.says)) found.push({ kind: "card", text: `${name}: ${card.dataset.says}`, act: () => reach(name, byId("search")), name });
    for (const code of card.querySelectorAll("code.raised")) {
      if (!holds(code.textContent)) continue;
      found.push({ kind: "token", text: `${name} writes ${code.textContent}`, act: () => reach(name, byId("search")), name });
    }
  }
  for (const { name, says } of data.edges) {
    if (holds(name)) found.push({ kind: "edge", text: says, act: () => reach(name, byId("search")), edge: name });
  }
  data.prompts.forEach((each, at) => {
    if (each.tokens.some(holds)) found.push({ kind: "prompt", text: each.title, act: () => pickPrompt(String(at)) });
  });
  return found;
}

const MOST_FOUND = 12;

function searchFor(query) {
  const list = byId("found");
  const tables = document.querySelectorAll("#tables table");
  const n = filterRows(tables, query);
  const found = query.trim() ? matches(query) : [];
  const buttons = found.slice(0, MOST_FOUND).map(({ kind, text, act }) => {
    const button = make("button", { type: "button" }, make("span", { class: "kind" }, kind), " ", text);
    button.addEventListener("click", act);
    return make("li", {}, button);
  });
  list.replaceChildren(...buttons);
  const more = found.length > MOST_FOUND ? ` The first ${MOST_FOUND} are listed.` : "";
  const says = query.trim() ? `${found.length} found.${more} ${n} rows in the tables below.` : "";
  for (const place of document.querySelectorAll("[data-says=query]")) place.textContent = says;
  for (const [name, card] of cards) {
    card.classList.toggle("unfound", query.trim() !== "" && !found.some((each) => each.name === name));
  }
  circuit.find(query.trim() ? litByFound(found) : null);
}

function litByFound(found) {
  const edges = new Set(found.map((each) => each.edge).filter(Boolean));
  const nodes = new Set(found.map((each) => each.name).filter(Boolean));
  for (const { name, from, to } of circuit.edges) {
    if (edges.has(name)) nodes.add(from).add(to);
  }
  return { edges, nodes };
}

// ---- keys

function setUpKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !isTyping(event.target)) {
      event.preventDefault();
      byId("search").focus();
    } else if (event.key === "Escape") {
      if (event.target.dataset?.bind === "query" && event.target.value) search("");
      else if (!panel.hidden) closeCard();
      else circuit.choose(null);
    } else if (event.key === "Enter" && event.target.id === "search") {
      byId("found").querySelector("button")?.click();
    }
  });
  // the checks are printed, and all that is inside of what was opened; what is folded stays so
  const closed = () =>
    [...document.querySelectorAll("main details:not([open]):not(.values):not(.fold)")].filter(
      (each) => each.matches(".asked, .sizes") || each.closest("details.fold[open]"),
    );
  let opened = [];
  addEventListener("beforeprint", () => {
    for (const details of closed()) {
      details.open = true;
      opened.push(details);
    }
    zoomable.showWhole();
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    opened = [];
    zoomable.showAgain();
  });
}
