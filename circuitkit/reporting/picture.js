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
  const svg = stage.querySelector("svg");
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

const MOST_ZOOM = 10;
const LEAST_SCALE = 0.8; // screen pixels a point of the picture: below it, names cannot be read

// Let the stage show a part of its picture: the viewBox is what is seen.
function makeZoomable(stage, { buttons, centreOn }) {
  const svg = stage.querySelector("svg");
  const { x, y, width, height } = svg.viewBox.baseVal;
  const whole = { x, y, width, height };
  let view = { ...whole };
  stage.classList.add("live");

  function show(next) {
    const width = Math.min(whole.width * 1.5, Math.max(whole.width / MOST_ZOOM, next.width));
    const height = (width / next.width) * next.height;
    const keep = (at, size, start, all) => {
      const middle = Math.min(start + all, Math.max(start, at + size / 2));
      return middle - size / 2; // the middle of what is seen stays on the picture
    };
    view = {
      x: keep(next.x + (next.width - width) / 2, width, whole.x, whole.width),
      y: keep(next.y + (next.height - height) / 2, height, whole.y, whole.height),
      width,
      height,
    };
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    stage.classList.toggle("zoomed", view.width < whole.width * 0.99);
  }

  const scale = () =>
    Math.min(stage.clientWidth / view.width, stage.clientHeight / view.height) || 1;

  function zoom(factor, at = null) {
    const middle = at ?? { x: view.x + view.width / 2, y: view.y + view.height / 2 };
    const bounded = Math.min(MOST_ZOOM, Math.max(0.6, (factor * whole.width) / view.width));
    const by = (bounded * view.width) / whole.width;
    const next = { width: view.width / by, height: view.height / by };
    show({ x: middle.x - (middle.x - view.x) / by, y: middle.y - (middle.y - view.y) / by, ...next });
  }

  function pan(right, down) {
    show({ ...view, x: view.x + right, y: view.y + down });
  }

  // Show everything if it can be read, else the part around the circuit at a size that can.
  function reset() {
    show(whole);
    if (scale() >= LEAST_SCALE) return;
    const boxes = centreOn().map((shape) => shape.getBBox());
    const middle = (start, size) => {
      const ends = boxes.flatMap((box) => [box[start], box[start] + box[size]]);
      return (Math.min(...ends) + Math.max(...ends)) / 2;
    };
    const shift = svg.querySelector("g").transform.baseVal.consolidate().matrix;
    const at = boxes.length
      ? { x: middle("x", "width") + shift.e, y: middle("y", "height") + shift.f }
      : { x: whole.x + whole.width / 2, y: whole.y + whole.height / 2 };
    const needed = LEAST_SCALE / scale();
    const size = { width: whole.width / needed, height: whole.height / needed };
    show({ x: at.x - size.width / 2, y: at.y - size.height / 2, ...size });
  }

  function pointAt(event) {
    const inverse = svg.getScreenCTM().inverse();
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse);
  }

  const actions = { in: () => zoom(1.3), out: () => zoom(1 / 1.3), reset };
  const step = 0.12;
  const keys = {
    "+": actions.in,
    "=": actions.in,
    "-": actions.out,
    "0": reset,
    ArrowLeft: () => pan(-step * view.width, 0),
    ArrowRight: () => pan(step * view.width, 0),
    ArrowUp: () => pan(0, -step * view.height),
    ArrowDown: () => pan(0, step * view.height),
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
  followPointers(stage, { pan: (x, y) => pan(x / scale(), y / scale()), zoom, pointAt });
  reset();
  return { reset, view: () => view };
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
