// The page: the first view and then each event of the stream contain everything to show, already as text.
(() => {
  const show = (node, cell) => {
    if (cell.p) { plots.show(node.firstElementChild, cell.p); return; }
    const value = node.querySelector("b");
    setText(value, cell.t);
    setAttribute(value, "class", cell.c || "");
    setText(node.querySelector("small"), cell.n || "");
  };

  const newRow = (columns) => (cells) => make("tr", { role: "row" }, ...cells.map((cell, i) => {
    const content = cell.p ? [plots.newFigure()] : [make("b"), make("small")];
    if (i === 0) return make("th", { role: "rowheader", scope: "row", class: "text" }, ...content);
    return make("td", { role: "cell", class: columns[i].k, "data-label": columns[i].l }, ...content);
  }));

  const newSection = (table) => {
    const title = table.id + "-title";
    const heads = table.columns.map((c) => make("th", { role: "columnheader", scope: "col", class: c.k }, c.l));
    const section = make("section", { id: table.id, "aria-labelledby": title },
      make("h2", { id: title }, table.title),
      ...(table.legend ? [plots.legend()] : []),
      make("table", { role: "table", "aria-labelledby": title },
        make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), make("tbody", { role: "rowgroup" })),
      make("p", { class: "empty" }, table.empty), make("p", { class: "hint" }));
    document.querySelector("main").append(section);
    return section;
  };

  const showTable = (table) => {
    const section = byId(table.id) || newSection(table);
    const rows = section.querySelector("tbody");
    fit(rows, table.rows, newRow(table.columns));
    table.rows.forEach((cells, i) => cells.forEach((cell, k) => show(rows.children[i].children[k], cell)));
    section.querySelector("table").hidden = table.rows.length === 0;
    section.querySelector(".empty").hidden = table.rows.length > 0;
    setText(section.querySelector(".hint"), table.hint);
  };

  const newTile = (tile) => make("div", {}, make("dt", {}, tile.l), make("dd", {}, make("b"), make("small")));

  const showView = (view) => {
    setText(byId("about"), view.about);
    setText(byId("headline"), view.state.t);
    setAttribute(byId("headline"), "class", view.state.c);
    fit(byId("problems"), view.problems, () => make("li"));
    byId("problems").hidden = view.problems.length === 0;
    view.problems.forEach((problem, i) => setText(byId("problems").children[i], problem));
    fit(byId("tiles"), view.tiles, newTile);
    view.tiles.forEach((tile, i) => show(byId("tiles").children[i], { t: tile.v.t, c: tile.v.c, n: tile.n }));
    view.tables.forEach(showTable);
    plots.update(view);
  };

  const first = JSON.parse(byId("first").textContent);
  const words = first.words, lang = document.documentElement.lang;
  plots.begin(words, lang);
  for (const id of ["language", "overview", "more"]) byId(id).setAttribute("aria-label", words[id]);
  document.querySelector(`#language a[lang=${lang}]`).setAttribute("aria-current", "true");
  showView(first);

  const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const body = document.body;
  let last = new Date(); // when the last event came
  let patience = 0;
  let stream = null;

  const lost = () => {
    if (body.className === "lost") return;
    body.className = "lost";
    setText(byId("live"), words.lost.replace("{time}", clock.format(last)));
  };
  // A connection may hang without an error, so silence counts as a loss too.
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
      setText(byId("live"), words.live);
      showView(JSON.parse(event.data));
    };
    stream.onerror = lost; // the browser reconnects; if it gives up, the silence check does
    heard();
  };
  connect();
})();
