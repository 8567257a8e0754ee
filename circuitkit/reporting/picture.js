// A picture that Graphviz laid out: pan, zoom, and the paths through what is pointed at.

// Return the edges and nodes on all paths that come into `from` and go on from `to`.
function pathsThrough(edges, from, to) {
  const lit = new Set();
  const walk = (start, near, far) => {
    const seen = new Set([start]);
    const waiting = [start];
    while (waiting.length > 0) {
      const at = waiting.pop();
      for (const edge of edges) {
        if (edge[near] !== at) continue;
        lit.add(edge.name);
        if (!seen.has(edge[far])) waiting.push(edge[far]);
        seen.add(edge[far]);
      }
    }
    return seen;
  };
  const above = walk(from, "to", "from");
  const below = walk(to, "from", "to");
  return { edges: lit, nodes: new Set([...above, ...below]), above, below };
}

function makePicture(stage, { onLight = () => {}, onOpen = null, label = (name) => name }) {
  const svg = stage.querySelector("svg") ?? makeSvg("svg"); // a picture may be missing
  const nodes = new Map();
  const edges = [];
  for (const shape of svg.querySelectorAll("[data-node]")) nodes.set(shape.dataset.node, shape);
  for (const shape of svg.querySelectorAll("[data-edge]")) {
    const { edge: name, from, to } = shape.dataset;
    edges.push({ name, from, to, shape });
  }
  let chosen = null; // stays lit while nothing else is pointed at
  let found = null; // what a search left, lit if nothing is chosen

  const shownEdges = () => edges.filter((edge) => !edge.shape.classList.contains("off"));

  function litBy(target) {
    if (nodes.has(target)) return pathsThrough(shownEdges(), target, target);
    const edge = edges.find((each) => each.name === target);
    if (!edge) return null;
    const lit = pathsThrough(shownEdges(), edge.from, edge.to);
    lit.edges.add(edge.name);
    return lit;
  }

  function light(target = null) {
    const lit = target !== null ? litBy(target) : chosen !== null ? litBy(chosen) : found;
    svg.classList.toggle("lit", lit !== null);
    for (const [name, shape] of nodes) {
      shape.classList.toggle("dim", lit !== null && !lit.nodes.has(name));
      shape.classList.toggle("chosen", name === (target ?? chosen));
    }
    for (const { name, shape } of edges) {
      shape.classList.toggle("dim", lit !== null && !lit.edges.has(name));
      shape.classList.toggle("chosen", name === (target ?? chosen));
    }
    onLight(target ?? chosen, lit);
  }

  function follow(shape, name) {
    shape.addEventListener("pointerenter", () => light(name));
    shape.addEventListener("pointerleave", () => light());
    shape.addEventListener("focus", () => light(name));
    shape.addEventListener("blur", () => light());
    shape.setAttribute("tabindex", "0");
    shape.setAttribute("aria-label", label(name));
  }

  for (const [name, shape] of nodes) {
    follow(shape, name);
    shape.setAttribute("role", onOpen ? "button" : "img");
    if (!onOpen) continue;
    shape.addEventListener("click", () => onOpen(name, shape));
    shape.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      onOpen(name, shape);
    });
  }
  for (const { name, shape } of edges) {
    follow(shape, name);
    shape.setAttribute("role", "img");
    const line = shape.querySelector("path");
    if (line) line.after(makeSvg("path", { class: "hit", d: line.getAttribute("d") }));
  }

  return {
    nodes,
    edges,
    light,
    choose(target) {
      chosen = target;
      light();
    },
    find(lit) {
      found = lit;
      light();
    },
    show(names) {
      const touched = new Set();
      for (const { name, from, to, shape } of edges) {
        const isShown = names.has(name);
        shape.classList.toggle("off", !isShown);
        shape.setAttribute("tabindex", isShown ? "0" : "-1");
        if (isShown) touched.add(from).add(to);
      }
      for (const [name, shape] of nodes) shape.classList.toggle("ghost", !touched.has(name));
      light();
    },
  };
}

const MOST_ZOOM = 8; // screen pixels a point of the picture
const MOST_FIT = 1.6; // screen pixels a point, of a first view

// Let the stage show a part of its picture: the viewBox is what is seen, of the stage's own shape.
function makeZoomable(stage, { buttons, all }) {
  const svg = stage.querySelector("svg");
  if (!svg) {
    for (const button of buttons) button.hidden = true;
    return { reset() {}, reveal() {}, showWhole() {}, showAgain() {} };
  }
  const { x, y, width, height } = svg.viewBox.baseVal;
  const shift = svg.querySelector("g").transform.baseVal.consolidate().matrix;
  stage.classList.add("live");
  let centre = { x: x + width / 2, y: y + height / 2 };
  let scale = 1; // screen pixels a point of the picture
  let fitted = 1; // the scale that shows the circuit

  const fit = () => Math.min(stage.clientWidth / width, stage.clientHeight / height) || 1;
  const within = (at, start, size) => Math.min(start + size, Math.max(start, at));

  function show(at, wanted) {
    scale = Math.min(MOST_ZOOM, Math.max(0.6 * Math.min(fit(), fitted), wanted));
    const size = { width: stage.clientWidth / scale, height: stage.clientHeight / scale };
    const beyond = 0.4 * size.height; // a sheet may cover the lower part of the stage
    centre = { x: within(at.x, x, width), y: within(at.y, y, height + beyond) };
    const corner = { x: centre.x - size.width / 2, y: centre.y - size.height / 2 };
    svg.setAttribute("viewBox", `${corner.x} ${corner.y} ${size.width} ${size.height}`);
    stage.classList.toggle("zoomed", scale > 1.01 * fitted);
  }

  function zoom(factor, at = centre) {
    const before = scale;
    const next = Math.min(MOST_ZOOM, Math.max(0.6 * Math.min(fit(), fitted), factor * before));
    const rest = before / next; // what is under `at` stays there
    show({ x: at.x + (centre.x - at.x) * rest, y: at.y + (centre.y - at.y) * rest }, next);
  }

  function pan(right, down) {
    show({ x: centre.x + right / scale, y: centre.y + down / scale }, scale);
  }

  // Show all that is in the circuit, with the names of its rows moved beside it.
  function reset() {
    if (stage.clientWidth === 0) return;
    const seen = boxOf(all());
    if (!seen) {
      show({ x: x + width / 2, y: y + height / 2 }, fit());
      return;
    }
    const names = [...svg.querySelectorAll("g.node:not([data-node])")].filter((each) => each.textContent.trim());
    const own = names.map((each) => each.getBBox());
    const beside = Math.max(0, ...own.map((box) => box.width)) + 12;
    names.forEach((each, at) => {
      each.setAttribute("transform", `translate(${seen.x - shift.e - 6 - own[at].width - own[at].x} 0)`);
      const isThere = own[at].y + shift.f + own[at].height > seen.y && own[at].y + shift.f < seen.y + seen.height;
      each.classList.toggle("away", !isThere);
    });
    const whole = { x: seen.x - beside, width: seen.width + beside + 12, y: seen.y - 8, height: seen.height + 16 };
    fitted = Math.min(MOST_FIT, stage.clientWidth / whole.width, stage.clientHeight / whole.height);
    show({ x: whole.x + whole.width / 2, y: whole.y + whole.height / 2 }, fitted);
  }

  function boxOf(shapes) {
    if (shapes.length === 0) return null;
    const boxes = shapes.map((shape) => shape.getBBox());
    const left = Math.min(...boxes.map((box) => box.x));
    const top = Math.min(...boxes.map((box) => box.y));
    const right = Math.max(...boxes.map((box) => box.x + box.width));
    const bottom = Math.max(...boxes.map((box) => box.y + box.height));
    return { x: left + shift.e, y: top + shift.f, width: right - left, height: bottom - top };
  }

  function middleOf(shapes) {
    if (shapes.length === 0) return null;
    const boxes = shapes.map((shape) => shape.getBBox());
    const between = (start, size) => {
      const ends = boxes.flatMap((box) => [box[start], box[start] + box[size]]);
      return (Math.min(...ends) + Math.max(...ends)) / 2;
    };
    return { x: between("x", "width") + shift.e, y: between("y", "height") + shift.f };
  }

  // Bring a shape into what is seen above `covered`, if it is not.
  function reveal(shape, covered) {
    const box = shape.getBoundingClientRect();
    const { left, right, top, bottom } = stage.getBoundingClientRect();
    const end = Math.min(bottom, covered);
    if (box.left >= left && box.right <= right && box.top >= top && box.bottom <= end) return;
    const at = middleOf([shape]);
    show({ x: at.x, y: at.y + (bottom - end) / 2 / scale }, scale);
  }

  function pointAt(event) {
    const inverse = svg.getScreenCTM().inverse();
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse);
  }

  let onScreen = null; // the view that is put aside while paper shows everything

  function showWhole() {
    onScreen ??= svg.getAttribute("viewBox");
    svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  }

  function showAgain() {
    if (onScreen !== null) svg.setAttribute("viewBox", onScreen);
    onScreen = null;
  }

  const actions = { in: () => zoom(1.3), out: () => zoom(1 / 1.3), reset };
  const step = 80; // screen pixels
  const keys = {
    "+": actions.in,
    "=": actions.in,
    "-": actions.out,
    "0": reset,
    ArrowLeft: () => pan(-step, 0),
    ArrowRight: () => pan(step, 0),
    ArrowUp: () => pan(0, -step),
    ArrowDown: () => pan(0, step),
  };
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const button of buttons) {
    button.addEventListener("click", () => actions[button.dataset.zoom]());
  }
  stage.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), pointAt(event));
    },
    { passive: false },
  );
  followPointers(stage, { pan, zoom, pointAt });
  let isFirst = true;
  new ResizeObserver(() => {
    if (onScreen !== null) return; // paper has other sizes
    if (stage.clientWidth === 0) return; // the groups are shown
    if (isFirst || scale === fitted) reset();
    else show(centre, scale);
    isFirst = false;
  }).observe(stage);
  reset();
  return {
    reset,
    reveal,
    showWhole,
    showAgain,
  };
}

// One pointer drags, two pinch. A drag that ends on a component is not a click on it.
function followPointers(stage, { pan, zoom, pointAt }) {
  const held = new Map();
  let moved = 0;
  const apart = () => {
    const [one, other] = [...held.values()];
    return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button")) return;
    if (held.size === 0) moved = 0;
    held.set(event.pointerId, event);
  });
  stage.addEventListener("pointermove", (event) => {
    const last = held.get(event.pointerId);
    if (!last) return;
    const before = held.size === 2 ? apart() : 0;
    held.set(event.pointerId, event);
    if (held.size === 2) {
      zoom(apart() / Math.max(1, before), pointAt(event));
      moved = Infinity;
      return;
    }
    moved += Math.hypot(event.clientX - last.clientX, event.clientY - last.clientY);
    if (moved < 4) return;
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragged");
    pan(last.clientX - event.clientX, last.clientY - event.clientY);
  });
  const release = (event) => {
    held.delete(event.pointerId);
    stage.classList.remove("dragged");
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener(
    "click",
    (event) => {
      if (moved >= 4) event.stopPropagation();
      moved = 0;
    },
    true,
  );
}
