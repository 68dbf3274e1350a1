"use strict";
// Helpers of both parts of the script. Text from the server is set as text or as an attribute, never as HTML.
const byId = (id) => document.getElementById(id);
const setText = (node, value) => { if (node.textContent !== value) node.textContent = value; };
const setAttribute = (node, name, value) => { if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value); };
const make = (name, attributes, ...children) => {
  const drawn = ["svg", "path", "line"].includes(name);
  const node = drawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
};
// fit gives node one child for each value.
const fit = (node, values, child) => {
  while (node.children.length > values.length) node.lastElementChild.remove();
  while (node.children.length < values.length) node.append(child(values[node.children.length]));
};

// The plots: 15 minutes, a point every 5 s, now at the right. Pointing at one, or moving through it with the arrow keys, shows the
// values of that moment, and marks the moment in all plots.
const plots = (() => {
  const STEP = 5000, LAST = 179, SPAN = LAST * STEP;
  const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -12, PageUp: 12, Home: -LAST, End: LAST };
  const shown = new Map(); // figure → what it shows
  let end = 0; // time of the last points
  let marks = [];
  let words = {};
  let moment = 0; // whose values are shown; 0: none
  let active = null; // the figure that the user points at
  let numbers = null;

  const clock = (at, length) => new Date(at).toISOString().slice(11, 11 + length);
  const place = (at) => Math.min(LAST, LAST - (end - at) / STEP);
  const valueOf = (line, i) => { const v = line.v[i - LAST - 1 + line.v.length]; return v === undefined ? null : v; };
  const write = (unit, n) => {
    if (n === null) return "–";
    const digits = unit === "percent" && n === 0 || n >= (unit === "rate" ? 100 : 9.95) ? 0 : 1;
    return words["unit " + unit].replace("{n}", numbers[digits].format(n));
  };
  const index = (at) => Math.max(0, Math.min(LAST, Math.round(place(at))));
  // reading returns the values of a moment of a plot, as lines of text.
  const reading = (plot, at) => {
    const i = index(at), then = end - (LAST - i) * STEP;
    const near = marks.filter((m) => Math.abs(m.at - then) <= STEP / 2 || i === LAST && m.at > then);
    return [clock(then, 8) + " UTC", ...plot.d.map((line) => line.n + " " + write(plot.u, valueOf(line, i))), ...near.map((m) => m.t)];
  };

  const outline = (line, top) => {
    let d = "", pen = false;
    line.v.forEach((v, i) => {
      if (v === null) { pen = false; return; }
      const at = (LAST + 1 - line.v.length + i) + " " + Math.round(100 - 100 * Math.min(1, v / top));
      d += pen ? " " + at : "M" + at + " " + at; // a line to itself shows a lone point as a dot
      pen = true;
    });
    return d;
  };

  const drawMark = (node, mark) => {
    setAttribute(node, "class", "mark " + mark.c);
    for (const name of ["x1", "x2"]) setAttribute(node, name, place(mark.at).toFixed(1));
  };
  const drawGlyph = (node, mark) => {
    setAttribute(node, "class", "glyph " + mark.c);
    setText(node, mark.t.slice(0, 1));
    node.style.left = (100 * place(mark.at) / LAST).toFixed(1) + "%";
  };
  const newMark = () => make("line", { y1: 0, y2: 100 });

  const draw = (figure, plot) => {
    const top = Math.max(0, ...plot.d.flatMap((line) => line.v));
    const d = plot.d.map((line) => top > 0 ? outline(line, top) : ""); // for zeros alone the axis is enough
    const [svg, axis] = [figure.querySelector("svg"), figure.querySelector(".axis").children];
    const [area, cursor] = [svg.querySelector(".area"), svg.querySelector(".cursor")];
    const gaps = plot.d.length > 1 || plot.d[0].v.includes(null);
    setAttribute(area, "d", gaps || d[0] === "" ? "" : d[0] + "V100H" + (LAST + 1 - plot.d[0].v.length) + "Z");
    const [lines, strokes] = [figure.querySelector(".lines"), figure.querySelector(".strokes")];
    fit(strokes, plot.d, () => make("path"));
    plot.d.forEach((line, i) => { setAttribute(strokes.children[i], "d", d[i]); setAttribute(strokes.children[i], "class", plot.u + " " + line.n); });
    const there = marks.filter((m) => place(m.at) >= 0);
    fit(lines, there, newMark);
    fit(figure.querySelector(".glyphs"), there, () => make("i"));
    there.forEach((m, i) => { drawMark(lines.children[i], m); drawGlyph(figure.querySelector(".glyphs").children[i], m); });
    [end ? clock(end - SPAN, 5) : "", plot.m, end ? clock(end, 5) : ""].forEach((said, i) => setText(axis[i], said));
    const x = moment ? place(moment) : -1;
    setAttribute(cursor, "visibility", x >= 0 ? "visible" : "hidden");
    for (const name of ["x1", "x2"]) setAttribute(cursor, name, Math.max(0, x).toFixed(1));
    setAttribute(figure, "aria-label", plot.l);
    const at = moment && figure === active ? moment : end;
    setAttribute(figure, "aria-valuenow", Math.round((at - end) / 1000));
    setAttribute(figure, "aria-valuetext", reading(plot, at).join(", "));
  };

  const readOut = () => {
    const box = byId("readout");
    if (!active || !moment || !shown.has(active)) { box.hidden = true; return; }
    const lines = reading(shown.get(active), moment);
    fit(box, lines, () => make("span"));
    lines.forEach((line, i) => setText(box.children[i], line));
    box.hidden = false;
    const at = active.querySelector("svg").getBoundingClientRect();
    const x = at.left + at.width * Math.max(0, place(moment)) / LAST, most = document.documentElement.clientWidth - box.offsetWidth - 4;
    const above = at.top - box.offsetHeight - 6;
    box.style.left = Math.max(4, Math.min(most, x - box.offsetWidth / 2)) + "px";
    box.style.top = (above >= 0 ? above : at.bottom + 20) + "px";
  };
  const drawAll = () => {
    for (const [figure, plot] of shown) figure.isConnected ? draw(figure, plot) : shown.delete(figure);
    if (moment && moment < end - SPAN) moment = end - SPAN;
    readOut();
  };
  const read = (figure, at) => { active = figure; moment = at; drawAll(); };
  const quit = () => { active = null; moment = 0; drawAll(); };
  // leave ends the reading, unless another figure has or gets the focus. That one goes on at the same moment.
  const leave = (next) => shown.has(next) ? read(next, moment) : quit();

  const newFigure = () => {
    const svg = make("svg", { viewBox: "0 0 179 100", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("path", { class: "area" }), makeGroup("lines"), makeGroup("strokes"), make("line", { class: "cursor", y1: 0, y2: 100 }));
    const figure = make("div", { class: "figure", tabindex: 0, role: "slider", "aria-valuemin": -SPAN / 1000, "aria-valuemax": 0 },
      make("div", { class: "draw" }, svg, make("div", { class: "glyphs" }), make("div", { class: "axis" }, make("span"), make("b"), make("span"))));
    const point = (event) => {
      const at = svg.getBoundingClientRect();
      const share = Math.max(0, Math.min(1, (event.clientX - at.left) / at.width));
      read(figure, end - Math.round((1 - share) * LAST) * STEP);
    };
    figure.addEventListener("pointerdown", point);
    figure.addEventListener("pointermove", point);
    figure.addEventListener("pointerleave", () => leave(document.activeElement));
    figure.addEventListener("focus", () => read(figure, moment || end));
    figure.addEventListener("blur", (event) => leave(event.relatedTarget));
    figure.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { quit(); return; }
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      read(figure, end - (LAST - Math.max(0, Math.min(LAST, index(moment || end) + KEYS[event.key]))) * STEP);
    });
    return figure;
  };
  const makeGroup = (name) => {
    const group = document.createElementNS("http://www.w3.org/2000/svg", "g");
    group.setAttribute("class", name);
    return group;
  };
  // sample draws a line for the legend.
  const sample = (name) => make("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" }, make("path", { class: "ms " + name, d: "M0 4H24" }));

  return {
    newFigure,
    show: (figure, plot) => shown.set(figure, plot),
    legend: () => make("p", { class: "legend" },
      ...["p99", "p95", "p50"].map((name) => make("span", {}, sample(name), name)),
      make("span", {}, ["change down", "change risk", "change well"].map((key) => words[key]).join(" ") + ": " + words["changes of state"]),
      make("span", {}, words.utc)),
    begin: (said, lang) => {
      words = said;
      numbers = [0, 1].map((n) => new Intl.NumberFormat(lang, { minimumFractionDigits: n, maximumFractionDigits: n }));
    },
    update: (view) => { end = view.end; marks = view.marks; drawAll(); },
  };
})();
