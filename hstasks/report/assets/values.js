"use strict";

/** Predicted values by target, raw and repaired, with the pictures that they were predicted from. */
(async () => {
  const find = (id) => document.getElementById(id);
  const { targets, weights, unit, ids, groups, truth, raw, repaired, items } = JSON.parse(find("values-about").textContent);
  const predictions = { raw, repaired };
  const count = ids.length;
  let [highlighted, kept] = [null, items[0]?.row ?? 0];

  const which = () => document.querySelector("input[name=which]:checked").value;
  const target = () => Number(find("target").value);

  /** What the competition's measure loses by each image: its share of the weighted squared errors. */
  function losses(values) {
    const own = values.map((row, image) => row.reduce((sum, value, one) => sum + weights[one] * (value - truth[image][one]) ** 2, 0));
    const all = own.reduce((sum, value) => sum + value, 0);
    return { all, own };
  }

  /** Weighted R² over all images and targets at once. */
  function pooled(values) {
    let [sum, weight, spread] = [0, 0, 0];
    for (const row of truth) row.forEach((value, one) => { sum += weights[one] * value; weight += weights[one]; });
    for (const row of truth) row.forEach((value, one) => { spread += weights[one] * (value - sum / weight) ** 2; });
    return spread ? 1 - losses(values).all / spread : NaN;
  }

  const pictures = await Promise.all(items.map((item) => Gallery.image(item.picture)));
  items.forEach((item, place) => { item.image = pictures[place]; });
  const byRow = new Map(items.map((item) => [item.row, item]));
  let gallery = null;
  gallery = new Gallery(find("values-page"), items, {
    panels: [{ title: "image", source: (item) => item.image }],
    thumb: (item) => item.image,
    caption: (item) => `${ids[item.row]}: ${digits(predictions[which()][item.row][target()])} for ${digits(truth[item.row][target()])} ${unit}`,
    chosen: (item) => keep(item.row),
  });

  function digits(value) {
    return Number.isFinite(value) ? value.toFixed(1) : "–";
  }

  function describe(row) {
    const values = predictions[which()];
    const { all } = losses(values);
    find("values-title").textContent = `${ids[row]}, ${groups[row]}`;
    const body = targets.map((name, one) => {
      const off = values[row][one] - truth[row][one];
      return [name, truth[row][one], raw[row][one], repaired[row][one], off, `${((100 * weights[one] * off ** 2) / (all || 1)).toFixed(1)} %`];
    });
    find("of-image").tBodies[0].replaceChildren(...body.map((cells) => {
      const line = document.createElement("tr");
      cells.forEach((cell, place) => {
        line.insertCell().textContent = typeof cell === "number" ? cell.toFixed(2) : cell;
        if (place) line.lastChild.className = "number";
      });
      return line;
    }));
    const item = byRow.get(row);
    find("no-picture").hidden = Boolean(item);
    find("values-page").querySelector(".panels").hidden = !item;
  }

  /** Show an image until another one is chosen. */
  function keep(row) {
    kept = row;
    look(row);
    if (find("values-page").dataset.ready) update();
  }

  /** Show an image for the moment. */
  function look(row) {
    if (highlighted === row) return;
    highlighted = row;
    describe(row);
    if (byRow.has(row)) gallery?.peek(byRow.get(row));
  }

  function traces(values, y) {
    const names = [...new Set(groups)].sort();
    return names.map((name) => {
      const rows = ids.map((_, row) => row).filter((row) => groups[row] === name);
      return {
        x: rows.map((row) => truth[row][target()]), y: rows.map((row) => y(row)), customdata: rows,
        text: rows.map((row) => ids[row]), name, mode: "markers", marker: { size: 8, opacity: 0.8 },
      };
    });
  }

  async function chart(id, values, y, line, title) {
    const ring = { x: [truth[kept][target()]], y: [y(kept)], mode: "markers", marker: { size: 16, symbol: "circle-open", color: "#888", line: { width: 3 } }, showlegend: false, hoverinfo: "skip" };
    const element = find(id);
    await Report.draw(element, {
      data: [{ ...line, mode: "lines", line: { color: "#888", dash: "dot" }, showlegend: false, hoverinfo: "skip" }, ...traces(values, y), ring],
      layout: { xaxis: { title: { text: `truth (${unit})` } }, yaxis: { title: { text: title } }, hovermode: "closest" },
    });
    if (element.dataset.heard || !element.on) return;
    element.dataset.heard = "true";
    const row = (event) => event.points[0].customdata;
    element.on("plotly_hover", (event) => row(event) !== undefined && look(row(event)));
    element.on("plotly_click", (event) => row(event) !== undefined && pick(row(event)));
    element.on("plotly_unhover", () => look(kept));
  }

  function pick(row) {
    const item = byRow.get(row);
    if (item) gallery.choose(item);
    else keep(row);
  }

  function update() {
    const [values, one] = [predictions[which()], target()];
    const off = values.map((row, image) => row[one] - truth[image][one]);
    const mean = (numbers) => numbers.reduce((sum, value) => sum + value, 0) / count;
    find("pooled").textContent = pooled(values).toFixed(4);
    find("rmse").textContent = Math.sqrt(mean(off.map((value) => value ** 2))).toFixed(4);
    find("mae").textContent = mean(off.map(Math.abs)).toFixed(4);
    find("bias").textContent = mean(off).toFixed(4);
    const greatest = Math.max(...truth.map((row) => row[one]), 1);
    chart("scatter", values, (row) => values[row][one], { x: [0, greatest], y: [0, greatest] }, `prediction (${unit})`);
    chart("residuals", values, (row) => off[row], { x: [0, greatest], y: [0, 0] }, `residual (${unit})`);
    describe(kept);
    gallery.refresh();
  }

  find("target").addEventListener("change", update);
  for (const input of document.querySelectorAll("input[name=which]")) input.addEventListener("change", update);
  describe(kept);
  find("values-page").dataset.ready = "true";
  update();
})();
