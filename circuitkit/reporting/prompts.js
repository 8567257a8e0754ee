// Attention patterns and attributions of the prompt that is picked.

const CELL = 17;
const LONGEST = 9; // letters of a token on an axis

const short = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);

// Return what a position is called: its token, and its role where it has one.
function positionName(prompt, at) {
  const label = prompt.labels[at];
  return label && label !== prompt.tokens[at] ? `${prompt.tokens[at]} (${label})` : prompt.tokens[at];
}

const weight = (thousandths) => (thousandths / 1000).toFixed(3);

// Draw a head's attention: a row is a destination, a column the source that it attends to.
function patternFigure(prompt, component) {
  const pattern = prompt.patterns[component];
  const margin = 12 + 6.6 * Math.max(...prompt.tokens.map((token) => short(token).length));
  const size = margin + CELL * pattern.length;
  const says = make("p", { class: "readout", role: "status" }, "Point at a cell, or use the arrow keys on the picture.");
  const cursor = makeSvg("rect", { class: "cursor", width: CELL, height: CELL, visibility: "hidden" });
  const picture = makeSvg("svg", {
    class: "pattern",
    viewBox: `0 0 ${size} ${size}`,
    width: size,
    height: size,
    tabindex: "0",
    role: "img",
    "aria-label": `Attention of ${component}: rows are destinations, columns the sources they attend to. The table below has the values.`,
  });
  prompt.tokens.forEach((token, at) => {
    const middle = margin + CELL * (at + 0.5);
    const name = makeSvg("title", {}, positionName(prompt, at));
    const down = makeSvg("text", { x: margin - 4, y: middle, "text-anchor": "end" }, short(token));
    const across = makeSvg("text", { transform: `translate(${middle} ${margin - 4}) rotate(-90)` }, short(token));
    down.append(name);
    across.append(name.cloneNode(true));
    picture.append(down, across);
  });
  pattern.forEach((row, destination) => {
    row.forEach((value, source) => {
      if (source > destination && value === 0) return;
      const cell = makeSvg("rect", {
        class: "cell",
        x: margin + CELL * source,
        y: margin + CELL * destination,
        width: CELL - 1,
        height: CELL - 1,
        "fill-opacity": (0.06 + 0.94 * Math.min(1, Math.max(0, value / 1000))).toFixed(3),
      });
      cell.append(makeSvg("title", {}, describe(destination, source)));
      picture.append(cell);
    });
  });
  picture.append(cursor);

  function describe(destination, source) {
    const from = positionName(prompt, destination);
    return `${from} attends to ${positionName(prompt, source)}: ${weight(pattern[destination][source])}`;
  }
  let at = [pattern.length - 1, 0];
  function point(destination, source) {
    const last = pattern.length - 1;
    at = [Math.min(last, Math.max(0, destination)), Math.min(last, Math.max(0, source))];
    cursor.setAttribute("x", margin + CELL * at[1] - 0.5);
    cursor.setAttribute("y", margin + CELL * at[0] - 0.5);
    cursor.setAttribute("visibility", "visible");
    says.textContent = describe(...at);
  }
  picture.addEventListener("pointermove", (event) => {
    const inverse = picture.getScreenCTM().inverse();
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse);
    if (x > margin && y > margin) point(Math.floor((y - margin) / CELL), Math.floor((x - margin) / CELL));
  });
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    point(at[0] + step[0], at[1] + step[1]);
  });
  return [picture, says, tableOnDemand(() => patternTable(prompt, pattern))];
}

function tableOnDemand(makeTable) {
  const details = make("details", { class: "values" }, make("summary", {}, "The values as a table"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      details.append(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "values" }, makeTable()));
    }
  });
  return details;
}

function patternTable(prompt, pattern) {
  const names = prompt.tokens.map((_, at) => positionName(prompt, at));
  const head = make("tr", {}, make("th", { scope: "col" }, "destination"));
  head.append(...names.map((name) => make("th", { scope: "col", class: "num" }, name)));
  const rows = pattern.map((row, at) => {
    const cells = row.map((value) => make("td", { class: "num" }, weight(value)));
    return make("tr", {}, make("th", { scope: "row" }, names[at]), ...cells);
  });
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

// A row for each position: what the component adds there, as a number and as a bar.
function attributionTable(prompt, component) {
  const values = prompt.attributions[component];
  const sizes = values.map((text) => Math.abs(Number(text.replaceAll(",", ""))));
  const largest = Math.max(...sizes) || 1;
  const rows = values.map((text, at) => {
    const sign = text.startsWith("-") ? "below" : "above";
    const bar = make("span", { class: `bar ${sign}` });
    bar.style.width = `${((100 * sizes[at]) / largest).toFixed(1)}%`;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", { class: "token" }, prompt.tokens[at])),
      make("td", {}, prompt.labels[at]),
      make("td", { class: "num" }, text),
      make("td", { class: "bars" }, bar),
    );
  });
  const head = ["token", "role", "adds (logits)", ""].map((name) => make("th", { scope: "col" }, name));
  return make("table", { class: "attributions" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

// Fill every place under `root` that shows something of the picked prompt.
function showPrompt(root, prompt) {
  for (const place of root.querySelectorAll("[data-prompt-of]")) {
    const component = place.dataset.promptOf;
    const shown = [];
    if (prompt.patterns[component]) {
      shown.push(make("h4", {}, "Attention"), ...patternFigure(prompt, component));
    }
    if (prompt.attributions[component]) {
      shown.push(make("h4", {}, "Adds to the answers over the wrong ones, by position"));
      shown.push(attributionTable(prompt, component));
    }
    const name = make("p", { class: "of-prompt" }, prompt.title);
    place.replaceChildren(...(shown.length ? [name, ...shown] : []));
    place.closest("details").hidden = shown.length === 0;
  }
}

function showPromptLine(place, prompt) {
  const tokens = prompt.tokens.map((token, at) => {
    const label = prompt.labels[at];
    const parts = [make("code", { class: "token" }, token)];
    if (label && label !== token) parts.push(make("span", { class: "role" }, label));
    return make("span", { class: "position" }, ...parts);
  });
  const facts = prompt.facts.map(([name, text]) => make("span", { class: "fact" }, `${name} `, make("code", { class: "token" }, text)));
  place.replaceChildren(make("div", { class: "tokens" }, ...tokens), make("div", { class: "facts-line" }, ...facts));
}
