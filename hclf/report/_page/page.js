"use strict";
(() => {
  // -- small pieces ---------------------------------------------------------------------------------------------

  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const SERIES = ["--s1", "--s2", "--s3", "--s4", "--s5", "--s6", "--s7"];
  const DASHES = ["", "7 3", "2 3"];

  /** Make an element; text is always text, never markup. */
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  function draw(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  const count = (n) => n.toLocaleString("en");
  const figure = (x) => (x === null || Number.isNaN(x) ? "–" : x.toFixed(3));
  const percent = (x) => `${(100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0)} %`;
  const some = (n, what) => `${count(n)} ${what}${n === 1 ? "" : "s"}`;

  /** Return what a data element holds; long ones are zlib streams in base64. */
  async function read(id) {
    const { dataset, textContent } = $(id);
    if (dataset.kind === "json") return JSON.parse(textContent);
    const bytes = Uint8Array.from(atob(textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  const pen = document.createElement("canvas").getContext("2d");

  /** Return the text cut to a width in pixels. */
  function fit(text, width, size = 12) {
    pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    if (pen.measureText(text).width <= width) return text;
    let low = 0, high = text.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (pen.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
      else high = middle - 1;
    }
    return low > 1 ? `${text.slice(0, low).trimEnd()}…` : "";
  }

  // -- theme ----------------------------------------------------------------------------------------------------

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";

  function themeSwitch() {
    const button = $("theme");
    const say = () => { button.textContent = isDark() ? "Light" : "Dark"; };
    button.hidden = false;
    button.title = "Switch between light and dark";
    button.addEventListener("click", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      say();
    });
    dark.addEventListener("change", say);
    say();
  }

  // -- tooltip --------------------------------------------------------------------------------------------------

  const tip = $("tip");

  /** Show a heading and rows of (name, value) beside a point of the window. */
  function showTip(x, y, heading, rows, more = []) {
    const table = make("table");
    for (const cells of rows) table.append(make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
    tip.replaceChildren(make("b", {}, heading), ...more.map((line) => make("div", { class: "dim" }, line)), table);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - height - 8))}px`;
  }

  const hideTip = () => { tip.hidden = true; };

  // -- colours of F1: red to blue through yellow, which colour-blind readers tell apart --------------------------

  const STOPS = [[158, 42, 43], [214, 96, 55], [240, 164, 88], [249, 222, 152], [150, 198, 208], [75, 145, 186], [29, 84, 140]];

  function colour(share) {
    const at = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
    const i = Math.min(Math.floor(at), STOPS.length - 2);
    return STOPS[i].map((c, k) => Math.round(c + (at - i) * (STOPS[i + 1][k] - c)));
  }

  const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
  const inkOn = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#14181d" : "#ffffff");

  // -- the nodes ------------------------------------------------------------------------------------------------

  /** Turn columns into arrays by place; places come parents first, so one pass either way serves all below. */
  function asNodes(columns) {
    const n = columns.id.length;
    const ints = (fill) => new Int32Array(n).fill(fill);
    const nodes = {
      n, id: columns.id, depth: columns.depth, parent: ints(-1), level: ints(0), also: new Map(),
      support: ints(0), predicted: ints(0), hits: ints(0), train: ints(-1), ap: ints(-1),
      name: (i) => columns.name[i] || columns.id[i],
    };
    const path = [];
    for (let i = 0; i < n; i++) {
      const depth = columns.depth[i];
      if (depth) nodes.parent[i] = path[depth - 1];
      path[depth] = i;
      nodes.level[i] = depth + 1;
    }
    for (const [i, level] of columns.levels) nodes.level[i] = level;
    for (const [i, parent] of columns.also) nodes.also.set(i, [...(nodes.also.get(i) || []), parent]);
    let at = 0;
    columns.seen.forEach((step, k) => {
      at += step;
      for (const key of ["support", "predicted", "hits", "train", "ap"]) nodes[key][at] = columns[key][k];
    });
    nodes.precision = (i) => (nodes.predicted[i] ? nodes.hits[i] / nodes.predicted[i] : 0);
    nodes.recall = (i) => (nodes.support[i] ? nodes.hits[i] / nodes.support[i] : 0);
    nodes.f1 = (i) => (nodes.support[i] + nodes.predicted[i] ? (2 * nodes.hits[i]) / (nodes.support[i] + nodes.predicted[i]) : 0);
    nodes.path = (i) => { const up = []; for (; i >= 0; i = nodes.parent[i]) up.unshift(i); return up; };
    return nodes;
  }

  function facts(nodes, i) {
    if (!nodes.support[i] && !nodes.predicted[i]) return [["not in the test data", ""]];
    return [
      ["F1", nodes.support[i] ? figure(nodes.f1(i)) : "– (never true)"],
      ["precision", nodes.predicted[i] ? figure(nodes.precision(i)) : "– (never predicted)"],
      ["recall", nodes.support[i] ? figure(nodes.recall(i)) : "–"],
      ["true", some(nodes.support[i], "document")],
      ["predicted", some(nodes.predicted[i], "document")],
      ...(nodes.train[i] >= 0 ? [["in training", some(nodes.train[i], "document")]] : []),
    ];
  }

  // -- the map: an icicle or a sunburst, drawn only as deep and as fine as can be seen ----------------------------

  function taxonomyMap(nodes) {
    const host = $("map");
    const view = { focus: -1, shape: "icicle", size: "documents" };
    const cells = new Map(); // place -> its element, for the keyboard
    let layout = null, active = -1;

    /** Give each node an interval of weight inside its parent's, heavy children first. */
    function arrange() {
      const { n, parent, support } = nodes;
      const weight = new Float64Array(n), inner = new Float64Array(n), leaf = new Uint8Array(n).fill(1);
      for (let i = 0; i < n; i++) if (parent[i] >= 0) leaf[parent[i]] = 0;
      let tested = 0, grey = 0;
      for (let i = 0; i < n; i++) if (leaf[i]) { if (support[i]) tested += support[i]; else grey += 1; }
      // What is not in the test data gets a sliver, together about a sixth of what is.
      const sliver = Math.min(0.5, Math.max(tested, 1) / 6 / Math.max(grey, 1));
      for (let i = n - 1; i >= 0; i--) {
        const own = view.size === "nodes" ? (leaf[i] ? 1 : 0) : support[i] || (leaf[i] ? sliver : 0);
        weight[i] = Math.max(own, inner[i]);
        if (parent[i] >= 0) inner[parent[i]] += weight[i];
      }
      const children = new Map();
      for (let i = 0; i < n; i++) {
        if (!children.has(parent[i])) children.set(parent[i], []);
        children.get(parent[i]).push(i);
      }
      const from = new Float64Array(n), to = new Float64Array(n);
      const place = (list, start) => {
        list.sort((a, b) => (support[b] > 0) - (support[a] > 0) || weight[b] - weight[a] || a - b);
        for (const i of list) { from[i] = start; to[i] = start += weight[i]; }
        return start;
      };
      const total = place(children.get(-1) || [], 0);
      for (let i = 0; i < n; i++) if (children.has(i)) place(children.get(i), from[i]);
      layout = { from, to, total, children, below: (i) => children.get(i) || [] };
    }

    function look(i) {
      const seen = nodes.support[i] > 0;
      const fill = seen ? colour(nodes.f1(i)) : null;
      return { cls: seen ? "cell" : "cell unseen", fill: fill && css(fill), ink: fill && inkOn(fill) };
    }

    function cell(i, shape, said) {
      const { cls, fill } = look(i);
      if (fill) shape.style.fill = fill;
      const group = draw("g", { class: cls, "data-node": i, tabindex: -1, role: "treeitem", "aria-label": said || spoken(i) }, shape);
      cells.set(i, group);
      return group;
    }

    const spoken = (i) => `${nodes.name(i)}: ${facts(nodes, i).slice(0, 4).map(([k, v]) => `${k} ${v}`).join(", ")}`;

    /** A bundle of children too small to be drawn one by one, coloured by their pooled F1. */
    function bundle(list, shape) {
      const tested = nodes.support[list[0]] > 0;
      let hits = 0, both = 0;
      for (const i of list) { hits += nodes.hits[i]; both += nodes.support[i] + nodes.predicted[i]; }
      const group = draw("g", { class: tested ? "cell" : "cell unseen", "data-parent": nodes.parent[list[0]], "data-more": list.length }, shape);
      if (tested) {
        const shade = colour((2 * hits) / both);
        shape.style.fill = css(shade);
        group.style.setProperty("--on", inkOn(shade));
        group.dataset.f1 = (2 * hits) / both;
      }
      return group;
    }

    /** Call `cellAt(i, from, to, ring)` for what is big enough and `restAt(list, from, to, ring)` for the rest. */
    function visit(rings, least, cellAt, restAt) {
      const { focus } = view;
      const [low, high] = focus < 0 ? [0, layout.total] : [layout.from[focus], layout.to[focus]];
      const scale = 1 / Math.max(high - low, 1e-9);
      const at = (x) => (x - low) * scale;
      const step = (list, ring) => {
        const small = [[], []]; // of those in the test data, and of the others; each lies in one piece
        for (const i of list) {
          if (at(layout.to[i]) - at(layout.from[i]) < least(ring)) { small[nodes.support[i] ? 0 : 1].push(i); continue; }
          cellAt(i, at(layout.from[i]), at(layout.to[i]), ring);
          if (ring + 1 < rings) step(layout.below(i), ring + 1);
        }
        for (const part of small) {
          if (part.length) restAt(part, at(layout.from[part[0]]), at(layout.to[part[part.length - 1]]), ring);
        }
      };
      if (focus >= 0 && view.shape === "icicle") {
        cellAt(focus, 0, 1, 0);
        step(layout.below(focus), 1);
      } else step(layout.below(focus), 0);
    }

    function ringsBelow(most) {
      const { focus } = view;
      let deepest = 0;
      const base = focus < 0 ? 0 : nodes.depth[focus];
      for (let i = focus < 0 ? 0 : focus; i < nodes.n; i++) {
        if (focus >= 0 && i > focus && nodes.depth[i] <= base) break;
        deepest = Math.max(deepest, nodes.depth[i] - base + 1);
      }
      return Math.max(1, Math.min(most, deepest));
    }

    function icicle(width) {
      const rings = ringsBelow(width < 560 ? 3 : 5), height = width < 560 ? 480 : 600, column = width / rings;
      const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "tree", "aria-label": "The taxonomy" });
      const box = (from, to, ring) =>
        draw("rect", { x: ring * column, y: from * height, width: column, height: Math.max((to - from) * height, 0.5) });
      visit(rings, () => 3 / height, (i, from, to, ring) => {
        const group = cell(i, box(from, to, ring)), tall = (to - from) * height, { ink } = look(i);
        if (tall >= 14) {
          const two = tall >= 32 && nodes.support[i] > 0;
          const text = draw("text", { x: ring * column + 6, y: ((from + to) / 2) * height + (two ? -2 : 4) });
          if (ink) text.style.fill = ink;
          text.append(fit(nodes.name(i), column - 12));
          if (two) text.append(draw("tspan", { class: "second", x: ring * column + 6, dy: 15 },
            fit(`F1 ${nodes.f1(i).toFixed(2)} · ${count(nodes.support[i])}`, column - 12, 10.5)));
          group.append(text);
        }
        svg.append(group);
      }, (list, from, to, ring) => {
        if ((to - from) * height < 0.7) return;
        const group = bundle(list, box(from, to, ring));
        if ((to - from) * height >= 14) group.append(draw("text", { x: ring * column + 6, y: ((from + to) / 2) * height + 4, class: "more" },
          fit(nodes.support[list[0]] ? some(list.length, "small node") : `${count(list.length)} not in the test data`, column - 12)));
        svg.append(group);
      });
      return svg;
    }

    function sunburst(width) {
      const side = Math.min(width, 640), middle = side / 2, rings = view.focus < 0 ? ringsBelow(4) : Math.max(1, ringsBelow(5) - 1);
      const hub = middle * (rings > 2 ? 0.2 : 0.28), thick = (middle - hub - 2) / rings;
      const svg = draw("svg", { viewBox: `0 0 ${side} ${side}`, role: "tree", "aria-label": "The taxonomy", style: `max-width:${side}px` });
      const point = (angle, radius) => [middle + radius * Math.sin(angle), middle - radius * Math.cos(angle)].map((v) => v.toFixed(2)).join(" ");
      const arc = (from, to, ring) => {
        const inner = hub + ring * thick, outer = inner + thick;
        const a = from * 2 * Math.PI, b = Math.min(to, from + 0.99999) * 2 * Math.PI, large = b - a > Math.PI ? 1 : 0;
        return draw("path", { d: `M${point(a, outer)}A${outer} ${outer} 0 ${large} 1 ${point(b, outer)}L${point(b, inner)}A${inner} ${inner} 0 ${large} 0 ${point(a, inner)}Z` });
      };
      const length = (ring) => 2 * Math.PI * (hub + (ring + 0.5) * thick);
      visit(rings, (ring) => 3 / length(ring), (i, from, to, ring) => {
        const group = cell(i, arc(from, to, ring)), { ink } = look(i);
        if ((to - from) * length(ring) >= 14) {
          const turn = ((from + to) / 2) * 360 - 90, flip = turn > 90;
          const radius = hub + ring * thick + (flip ? thick - 6 : 6);
          const text = draw("text", { transform: `translate(${middle} ${middle}) rotate(${turn}) translate(${radius} 0)${flip ? " rotate(180)" : ""}`, dy: 4 });
          if (ink) text.style.fill = ink;
          text.append(fit(nodes.name(i), thick - 12));
          group.append(text);
        }
        svg.append(group);
      }, (list, from, to, ring) => {
        if ((to - from) * length(ring) >= 0.7) svg.append(bundle(list, arc(from, to, ring)));
      });
      const centre = draw("g", { class: "cell", "data-parent": view.focus < 0 ? -1 : nodes.parent[view.focus], "data-hub": 1 },
        draw("circle", { class: "hub", cx: middle, cy: middle, r: Math.max(hub - 3, 4) }));
      const words = view.focus < 0 ? ["All nodes", count(nodes.n)] : [nodes.name(view.focus), nodes.support[view.focus] ? `F1 ${nodes.f1(view.focus).toFixed(2)}` : ""];
      words.forEach((word, k) => centre.append(draw("text", { class: "hub-text", x: middle, y: middle + 18 * k - 2, "text-anchor": "middle" }, fit(word, 1.7 * hub, 13))));
      svg.append(centre);
      return svg;
    }

    function crumbs() {
      const trail = view.focus < 0 ? [] : nodes.path(view.focus);
      const parts = [[-1, "All nodes"], ...trail.map((i) => [i, nodes.name(i)])];
      $("crumbs").replaceChildren(...parts.flatMap(([i, name], k) => {
        const button = make("button", { type: "button" }, name);
        if (i === view.focus) button.setAttribute("aria-current", "true");
        button.addEventListener("click", () => zoom(i));
        return k ? [make("span", { class: "dim" }, "›"), button] : [button];
      }));
    }

    function say(i) {
      const also = (nodes.also.get(i) || []).map((p) => nodes.name(p));
      $("said").textContent = `${spoken(i)}${also.length ? `; also under ${also.join(", ")}` : ""}`;
    }

    function activate(i, move) {
      if (!cells.has(i)) return;
      cells.get(active)?.setAttribute("tabindex", -1);
      active = i;
      cells.get(i).setAttribute("tabindex", 0);
      if (move) { cells.get(i).focus(); say(i); }
    }

    function redraw() {
      const width = Math.max(280, Math.round(host.clientWidth));
      cells.clear();
      host.replaceChildren((view.shape === "icicle" ? icicle : sunburst)(width));
      crumbs();
      activate(cells.has(active) ? active : [...cells.keys()][0], false);
    }

    /** Show what lies below a node (-1: everything). A leaf shows itself inside its parent. */
    function zoom(i, focusCell = false) {
      hideTip();
      view.focus = i >= 0 && !layout.below(i).length ? nodes.parent[i] : i;
      active = i;
      redraw();
      if (i >= 0) say(i); else $("said").textContent = "";
      if (focusCell) activate(cells.has(i) ? i : active, true);
    }

    const hit = (event) => event.target.closest?.(".cell");

    host.addEventListener("click", (event) => {
      const group = hit(event);
      if (!group) return;
      if (group.dataset.node === undefined) zoom(Number(group.dataset.parent));
      else {
        const i = Number(group.dataset.node);
        zoom(i === view.focus ? nodes.parent[i] : i, true);
      }
    });
    host.addEventListener("pointermove", (event) => {
      const group = hit(event);
      if (!group) return hideTip();
      const { node, more, f1, hub } = group.dataset;
      if (hub) return showTip(event.clientX, event.clientY, view.focus < 0 ? "All nodes" : "Back", []);
      if (more) {
        return showTip(event.clientX, event.clientY, some(Number(more), "small node"),
          [f1 ? ["F1 together", figure(Number(f1))] : ["not in the test data", ""]]);
      }
      const i = Number(node), also = (nodes.also.get(i) || []).map((p) => `also under ${nodes.name(p)}`);
      const id = nodes.id[i] === nodes.name(i) ? [] : [nodes.id[i]];
      return showTip(event.clientX, event.clientY, nodes.name(i), facts(nodes, i), [...id, ...also]);
    });
    host.addEventListener("pointerleave", hideTip);
    host.addEventListener("focusin", (event) => { const group = hit(event); if (group?.dataset.node) say(Number(group.dataset.node)); });
    host.addEventListener("keydown", (event) => {
      if (active < 0) return;
      const siblings = layout.below(nodes.parent[active]), k = siblings.indexOf(active);
      const to = {
        ArrowDown: () => activate(siblings[k + 1], true), ArrowUp: () => activate(siblings[k - 1], true),
        ArrowRight: () => activate(layout.below(active)[0], true), ArrowLeft: () => activate(nodes.parent[active], true),
        Enter: () => zoom(active, true), " ": () => zoom(active, true),
        Escape: () => zoom(view.focus < 0 ? -1 : nodes.parent[view.focus], true), Backspace: () => zoom(view.focus < 0 ? -1 : nodes.parent[view.focus], true),
      }[event.key];
      if (to) { event.preventDefault(); to(); }
    });
    for (const button of document.querySelectorAll("[data-shape]")) {
      button.addEventListener("click", () => { view.shape = button.dataset.shape; pressed("shape", view.shape); redraw(); });
    }
    for (const button of document.querySelectorAll("[data-size]")) {
      button.addEventListener("click", () => { view.size = button.dataset.size; pressed("size", view.size); arrange(); redraw(); });
    }
    arrange();
    redraw();
    onResize(host, redraw);
    return zoom;
  }

  function pressed(key, value) {
    for (const button of document.querySelectorAll(`[data-${key}]`)) button.setAttribute("aria-pressed", button.dataset[key] === value);
  }

  /** Call back when an element's width has changed. */
  function onResize(element, callback) {
    let width = element.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(element.clientWidth - width) > 2 && element.clientWidth) { width = element.clientWidth; callback(); }
    }).observe(element);
  }

  function paintScale() {
    const canvas = $("scale"), brush = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x++) {
      brush.fillStyle = css(colour(x / (canvas.width - 1)));
      brush.fillRect(x, 0, 1, canvas.height);
    }
  }

  // -- charts: lines over two linear axes from 0 ------------------------------------------------------------------

  const stroke = (k) => ({ stroke: `var(${SERIES[k % SERIES.length]})`, "stroke-dasharray": DASHES[Math.floor(k / SERIES.length) % DASHES.length] });

  /**
   * Draw lines. `series`: {name, points: [[x, y, note]], style}; `marks`: {x, label}; `top`: where the y axis ends.
   */
  function lines(host, { series, marks = [], xName, yName, top = 1, diagonal = false, dots = false, small = false, heading }) {
    const paint = () => {
      const width = Math.max(small ? 150 : 280, host.clientWidth), height = small ? Math.min(190, width) : Math.min(380, Math.max(260, width * 0.45));
      const pad = small ? { l: 30, r: 6, t: 6, b: 24 } : { l: 46, r: 14, t: marks.length ? 40 : 10, b: 44 };
      const X = (x) => pad.l + x * (width - pad.l - pad.r), Y = (y) => height - pad.b - (y / top) * (height - pad.t - pad.b);
      const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${yName} against ${xName}` });
      const grid = draw("g", { class: "grid" }), axis = draw("g", { class: "axis" });
      const steps = small ? [0, 0.5, 1] : [0, 0.2, 0.4, 0.6, 0.8, 1];
      for (const s of steps) {
        grid.append(draw("line", { x1: X(0), x2: X(1), y1: Y(s * top), y2: Y(s * top) }));
        axis.append(draw("text", { x: pad.l - 6, y: Y(s * top) + 4, "text-anchor": "end" }, String(Math.round(s * top * 1000) / 1000)));
        axis.append(draw("text", { x: X(s), y: height - pad.b + 16, "text-anchor": small && s === 1 ? "end" : "middle" }, String(s)));
      }
      if (!small) {
        axis.append(draw("text", { class: "label", x: X(0.5), y: height - 6, "text-anchor": "middle" }, xName));
        axis.append(draw("text", { class: "label", x: 12, y: Y(top / 2), "text-anchor": "middle", transform: `rotate(-90 12 ${Y(top / 2)})` }, yName));
      }
      svg.append(grid, axis);
      if (diagonal) svg.append(draw("line", { class: "guide", x1: X(0), y1: Y(0), x2: X(1), y2: Y(1) }));
      labelled(svg, marks, X, pad.t, height - pad.b);
      series.forEach((one, k) => {
        const style = one.style || stroke(k), path = one.points.map(([x, y], i) => `${i ? "L" : "M"}${X(x).toFixed(1)} ${Y(Math.min(y, top)).toFixed(1)}`).join("");
        svg.append(draw("path", { class: "line", "data-series": k, d: path, ...style }));
        if (dots || one.points.length === 1) {
          for (const [x, y, , r, low, high] of one.points) {
            if (high !== undefined) svg.append(draw("line", { class: "whisker", x1: X(x), x2: X(x), y1: Y(low), y2: Y(high), stroke: style.stroke }));
            svg.append(draw("circle", { class: "dot", "data-series": k, cx: X(x), cy: Y(Math.min(y, top)), r: r || 3, fill: style.stroke }));
          }
        }
      });
      const hair = draw("line", { class: "hair", y1: pad.t, y2: height - pad.b, visibility: "hidden" });
      svg.append(hair);
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect(), x = (((event.clientX - box.left) / box.width) * width - pad.l) / (width - pad.l - pad.r);
        if (x < -0.02 || x > 1.02) return;
        const near = series.map(({ points }) => points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a), points[0]));
        const lead = near.reduce((a, b) => (b && (!a || Math.abs(b[0] - x) < Math.abs(a[0] - x)) ? b : a), null);
        if (!lead) return;
        hair.setAttribute("x1", X(lead[0]));
        hair.setAttribute("x2", X(lead[0]));
        hair.setAttribute("visibility", "visible");
        const rows = near.flatMap((p, k) => (p && Math.abs(p[0] - lead[0]) < 0.03 ? [[series[k].name, figure(p[1]), p[2] || ""]] : []));
        showTip(event.clientX, event.clientY, heading(lead), rows);
      });
      svg.addEventListener("pointerleave", () => { hideTip(); hair.setAttribute("visibility", "hidden"); });
      host.replaceChildren(...(series.length > 1 ? [legend(series, svg)] : []), svg);
    };
    paint();
    onResize(host, paint);
  }

  /** Vertical marks with labels above, on two rows where they would touch. */
  function labelled(svg, marks, X, top, bottom) {
    const ends = [-Infinity, -Infinity];
    for (const { x, label } of [...marks].sort((a, b) => a.x - b.x)) {
      const at = X(Math.min(x, 1)), wide = label.length * 6.4;
      const row = at - wide / 2 > ends[0] + 4 ? 0 : at - wide / 2 > ends[1] + 4 ? 1 : -1;
      const group = draw("g", { class: "mark" }, draw("line", { x1: at, x2: at, y1: top - 4, y2: bottom }));
      if (row >= 0) {
        ends[row] = at + wide / 2;
        group.append(draw("text", { x: at, y: top - 10 - 15 * row, "text-anchor": "middle" }, label));
      }
      svg.append(group);
    }
  }

  function legend(series, svg) {
    const list = make("ul", { class: "legend" });
    series.forEach((one, k) => {
      const style = one.style || stroke(k);
      const item = make("li", { tabindex: 0 }, draw("svg", { viewBox: "0 0 26 10" }, draw("line", { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": 2.5, ...style })), one.name);
      const fade = (on) => { for (const line of svg.querySelectorAll("[data-series]")) line.classList.toggle("faded", on && Number(line.dataset.series) !== k); };
      for (const [event, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) item.addEventListener(event, () => fade(on));
      list.append(item);
    });
    return list;
  }

  const levelName = ({ level, name }) => (name === `level ${level}` ? `Level ${level}` : `${level} ${name}`);

  function riskCoverage(data) {
    const { documents, few } = $("risk-chart").dataset;
    const series = data.risk_coverage.flatMap((row) => {
      const points = row.coverage.map((c, i) => [c, row.risk[i], `${percent(c)} covered, score ≥ ${row.threshold[i].toFixed(2)}`]);
      const enough = points.filter(([c]) => c * documents >= few - 0.5);
      const whole = row.level === 0;
      const style = whole ? { stroke: "var(--ink)", "stroke-width": 3 } : stroke(row.level - 1);
      return enough.length > 1 ? [{ name: whole ? "Whole answers" : levelName(row), points: enough, style }] : [];
    });
    lines($("risk-chart"), { series, xName: "Coverage: share of documents answered", yName: "Risk: share of wrong nodes among the answers",
      top: roundUp(Math.max(0.05, ...series.flatMap(({ points }) => points.map((p) => p[1])))), heading: (p) => `Coverage ${percent(p[0])}` });
  }

  const roundUp = (x) => [0.05, 0.1, 0.2, 0.25, 0.5, 1].find((t) => x <= t) || 1;

  function reliability(data) {
    for (const row of data.reliability) {
      const host = $(`reliability-${row.level}`);
      if (!host) continue;
      const points = row.score.map((s, i) => [s, row.share[i], some(row.count[i], "label"), 1.5 + 1.1 * Math.log10(row.count[i]), row.low[i], row.high[i]]);
      lines(host, { series: [{ name: "true", points }], xName: "score", yName: "share true", diagonal: true, dots: true, small: true, heading: (p) => `Score ${p[0].toFixed(2)}` });
    }
  }

  function sweep(data) {
    const { threshold, hP, hR, hF, answered } = data.sweep;
    const line = (name, values, style) => ({ name, style, points: threshold.map((t, i) => [t, values[i]]) });
    const series = [
      line("hF", hF, { stroke: "var(--s1)", "stroke-width": 3 }),
      line("hP", hP, { stroke: "var(--s2)", "stroke-dasharray": "7 3" }),
      line("hR", hR, { stroke: "var(--s3)", "stroke-dasharray": "2 3" }),
      line("documents answered", answered, { stroke: "var(--s7)", "stroke-dasharray": "1 4" }),
    ];
    const levels = new Map();
    data.thresholds.forEach((t, i) => levels.set(t, [...(levels.get(t) || []), i + 1]));
    const run = (list) => (list.length > 1 ? `levels ${list[0]}–${list[list.length - 1]}` : `level ${list[0]}`);
    const marks = [...levels].filter(([t]) => t > 0 && t <= 1).map(([x, list]) => ({ x, label: run(list) }));
    lines($("sweep-chart"), { series, marks, xName: "One threshold for all levels", yName: "", heading: (p) => `Threshold ${p[0].toFixed(2)}` });
  }

  // -- the table of nodes: sorted and searched whole, rendered a screenful at a time ------------------------------

  function nodeTable(nodes, thresholds, zoom) {
    const PAGE = 40;
    const all = Array.from({ length: nodes.n }, (_, i) => i);
    const shown = { rows: [], drawn: 0 };
    const state = { key: "f1", down: false, query: "", scope: "tested", least: 5 };
    const value = {
      name: (i) => nodes.name(i).toLocaleLowerCase(), level: (i) => nodes.level[i], f1: nodes.f1, precision: nodes.precision, recall: nodes.recall,
      ap: (i) => nodes.ap[i], support: (i) => nodes.support[i], predicted: (i) => nodes.predicted[i], train: (i) => nodes.train[i],
      threshold: (i) => thresholds[nodes.level[i] - 1] ?? -1,
    };
    const scopes = {
      tested: (i) => nodes.support[i] >= Math.max(1, state.least), missed: (i) => nodes.support[i] >= Math.max(1, state.least) && !nodes.hits[i],
      untrue: (i) => nodes.predicted[i] > 0 && !nodes.support[i], cold: (i) => nodes.support[i] > 0 && nodes.train[i] === 0, all: () => true,
    };
    let haystack = null;

    function search() {
      const words = state.query.toLocaleLowerCase().split(/\s+/).filter(Boolean);
      haystack ||= all.map((i) => `${nodes.name(i)}\n${nodes.id[i]}`.toLocaleLowerCase());
      // Whoever looks for a node wants it whether it was tested or not.
      const inside = words.length ? (i) => words.every((word) => haystack[i].includes(word)) : scopes[state.scope];
      const of = value[state.key], sign = state.down ? -1 : 1;
      const keyed = all.filter(inside).map((i) => [of(i), i]);
      keyed.sort(([a, i], [b, j]) => (a < b ? -sign : a > b ? sign : nodes.support[j] - nodes.support[i] || i - j));
      shown.rows = keyed.map(([, i]) => i);
      shown.drawn = 0;
      $("nodes-body").replaceChildren();
      more();
      $("nodes-count").textContent = some(shown.rows.length, "node");
      for (const head of document.querySelectorAll("#nodes-table [data-key]")) {
        const own = head.dataset.key === state.key;
        head.closest("th").setAttribute("aria-sort", own ? (state.down ? "descending" : "ascending") : "none");
        head.querySelector("span").textContent = own ? (state.down ? " ▾" : " ▴") : "";
      }
    }

    function row(i) {
      const name = make("td", {}, nodes.name(i));
      if (nodes.id[i] !== nodes.name(i)) name.append(make("span", { class: "id" }, nodes.id[i]));
      const seen = nodes.support[i] + nodes.predicted[i] > 0, known = (x) => (x >= 0 ? count(x) : "–");
      const bar = make("span", { class: "bar" }, make("i", { style: `width:${(100 * nodes.f1(i)).toFixed(0)}%` }));
      const f1 = nodes.support[i] ? make("td", {}, figure(nodes.f1(i)), bar) : make("td", {}, "–");
      const cells = [
        String(nodes.level[i]), nodes.predicted[i] ? figure(nodes.precision(i)) : "–", nodes.support[i] ? figure(nodes.recall(i)) : "–", f1,
        nodes.ap[i] >= 0 ? figure(nodes.ap[i] / 1000) : "–", seen ? count(nodes.support[i]) : "0", seen ? count(nodes.predicted[i]) : "0", known(nodes.train[i]),
        thresholds.length ? (thresholds[nodes.level[i] - 1] ?? NaN).toFixed(2) : "–",
      ];
      return make("tr", { "data-row": i }, name, ...cells.map((cell) => (cell instanceof Node ? cell : make("td", {}, cell))));
    }

    function more() {
      const next = shown.rows.slice(shown.drawn, shown.drawn + PAGE);
      $("nodes-body").append(...next.map(row));
      shown.drawn += next.length;
      $("nodes-more").hidden = shown.drawn >= shown.rows.length;
    }

    $("nodes-table").addEventListener("click", (event) => {
      const head = event.target.closest("[data-key]"), line = event.target.closest("[data-row]");
      if (head) {
        state.down = head.dataset.key === state.key ? !state.down : head.dataset.key !== "name";
        state.key = head.dataset.key;
        search();
      } else if (line && !getSelection().toString()) {
        zoom(Number(line.dataset.row));
        $("taxonomy").scrollIntoView();
      }
    });
    for (const button of document.querySelectorAll("[data-order]")) {
      button.addEventListener("click", () => { state.key = "f1"; state.down = button.dataset.order === "best"; search(); });
    }
    let waiting = 0;
    $("find").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { state.query = $("find").value; search(); }, 120);
    });
    $("scope").addEventListener("change", () => { state.scope = $("scope").value; search(); });
    $("least").addEventListener("change", () => { state.least = Number($("least").value) || 0; search(); });
    $("nodes-more").addEventListener("click", more);
    if (!all.some(scopes.tested)) { state.least = 1; $("least").value = 1; }
    new IntersectionObserver((seen) => { if (seen.some((entry) => entry.isIntersecting)) more(); }, { root: $("nodes-frame"), rootMargin: "200px" }).observe($("nodes-more"));
    search();
  }

  // -- everything -------------------------------------------------------------------------------------------------

  async function start() {
    themeSwitch();
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.hidden = !navigator.clipboard;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText($(button.dataset.copy).textContent);
        button.textContent = "Copied";
      });
    }
    const data = await read("charts");
    if ($("risk-chart")) riskCoverage(data);
    if (data.reliability.length) reliability(data);
    if ($("sweep-chart")) sweep(data);
    const nodes = asNodes(await read("nodes-data"));
    paintScale();
    const zoom = taxonomyMap(nodes);
    nodeTable(nodes, data.thresholds, zoom);
    document.documentElement.dataset.ready = Math.round(performance.now());
  }

  start().catch((error) => {
    console.error(error);
    const advice = "DecompressionStream" in window ? "" : " This browser is too old to unpack a large taxonomy: open the page in a current one.";
    document.querySelector("main").prepend(make("p", { class: "note" }, `The map and the table of nodes could not be drawn.${advice}`));
  });
})();
