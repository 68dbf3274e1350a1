// The status page, live: each event of the stream is everything that changes, already in words. Whatever it says is set as
// text or as an attribute, never as HTML.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const body = document.body;
  const byId = (id) => document.getElementById(id);
  const text = (node, value) => { if (node.textContent !== value) node.textContent = value; };
  const attribute = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
  const make = (name, attributes, ...children) => {
    const node = name === "svg" || name === "path" ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    node.append(...children);
    return node;
  };
  // fit makes node have as many children as there are values.
  const fit = (node, values, child) => {
    while (node.children.length > values.length) node.lastElementChild.remove();
    while (node.children.length < values.length) node.append(child(values[node.children.length]));
  };

  const newRow = (heads) => (cells) => make("tr", { role: "row" }, ...cells.map((cell, i) => {
    if (i === 0) return make("th", { role: "rowheader", scope: "row", class: "text" }, make("b"), make("small"));
    const about = { role: "cell", class: heads[i].className, "data-label": heads[i].textContent };
    if (!cell.p) return make("td", about, make("b"), make("small"));
    const picture = make("svg", { role: "img", viewBox: "0 0 179 100", preserveAspectRatio: "none" }, make("path", { class: "area" }));
    return make("td", about, picture, make("small"));
  }));

  const show = (node, cell) => {
    if (cell.p) {
      const picture = node.querySelector("svg");
      attribute(picture, "aria-label", cell.p.l);
      const lines = [cell.p.a || "", ...cell.p.d];
      fit(picture, lines, () => make("path"));
      lines.forEach((d, i) => attribute(picture.children[i], "d", d));
      text(node.querySelector("small"), cell.p.m);
      return;
    }
    const value = node.querySelector("b");
    text(value, cell.t);
    attribute(value, "class", cell.c || "");
    text(node.querySelector("small"), cell.n || "");
  };

  const showTable = (table) => {
    const section = byId(table.id);
    const heads = section.querySelectorAll("thead th");
    const rows = section.querySelector("tbody");
    fit(rows, table.rows, newRow(heads));
    table.rows.forEach((cells, i) => cells.forEach((cell, k) => show(rows.children[i].children[k], cell)));
    section.querySelector(".empty").hidden = table.rows.length > 0;
  };

  const showView = (view) => {
    text(byId("about"), view.about);
    text(byId("headline"), view.state.t);
    attribute(byId("headline"), "class", view.state.c);
    fit(byId("problems"), view.problems, () => make("li"));
    view.problems.forEach((problem, i) => text(byId("problems").children[i], problem));
    view.tiles.forEach((tile, i) => {
      const node = byId("tiles").children[i];
      text(node.querySelector("b"), tile.v.t);
      attribute(node.querySelector("b"), "class", tile.v.c || "");
      text(node.querySelector("small"), tile.n);
    });
    view.tables.forEach(showTable);
  };

  const lang = document.documentElement.lang;
  const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  let last = new Date(); // when something was heard
  let patience = 0;
  let stream = null;

  const lost = () => {
    if (body.className === "lost") return;
    body.className = "lost";
    text(byId("live"), body.dataset.lost.replace("{time}", clock.format(last)));
  };
  // A connection may hang without an error: silence counts too.
  const heard = () => {
    clearTimeout(patience);
    patience = setTimeout(() => { lost(); connect(); }, 5000);
  };
  const connect = () => {
    if (stream) stream.close();
    stream = new EventSource("events?lang=" + lang);
    stream.onmessage = (event) => {
      last = new Date();
      heard();
      body.className = "live";
      text(byId("live"), body.dataset.live);
      showView(JSON.parse(event.data));
    };
    stream.onerror = lost; // it tries again by itself, or else the silence does
    heard();
  };
  connect();
})();
