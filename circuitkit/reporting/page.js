// What all parts of the page use. Text from the run goes into the page by textContent only.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);

function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function makeSvg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Two inputs of one name (the search, the prompt) say the same everywhere on the page.
function bind(name, changed) {
  const inputs = () => document.querySelectorAll(`[data-bind="${name}"]`);
  const set = (value) => {
    for (const input of inputs()) if (input.value !== value) input.value = value;
    changed(value);
  };
  document.addEventListener("input", (event) => {
    if (event.target.dataset?.bind === name) set(event.target.value);
  });
  return set;
}

function isTyping(target) {
  return target instanceof Element && target.closest("input, select, textarea") !== null;
}

function setUpTheme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shown = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  const label = () => {
    const other = shown() === "dark" ? "light" : "dark";
    button.textContent = other === "dark" ? "☾ Dark" : "☀ Light";
    button.setAttribute("aria-label", `Switch to ${other} colours`);
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = shown() === "dark" ? "light" : "dark";
    label();
  });
  dark.addEventListener("change", label);
  label();
}
