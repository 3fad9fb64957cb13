"use strict";

/** Maps of classes: what was taken for what, errors near and away from seams, and tiles to look at. */
(async () => {
  const find = (id) => document.getElementById(id);
  const { classes, colours, steps, near, items, seam } = JSON.parse(find("maps-about").textContent);
  const NEAR = [240, 228, 66], FAR = [213, 94, 0], CHOSEN = [255, 0, 255], UNSCORED = 255;
  const palette = colours.map((colour) => [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16)));
  const planes = await Report.inflate("maps-planes");
  let cell = null;
  let place = 0;
  await Promise.all(
    items.map(async (item) => {
      const size = item.size[0] * item.size[1];
      [item.truth, item.said, item.distance] = [0, 1, 2].map((number) => planes.subarray(place + number * size, place + (number + 1) * size));
      place += 3 * size;
      item.image = await Gallery.image(item.picture);
      item.light = Gallery.bytes(item.image);
    }),
  );

  const isScored = (item, pixel) => item.distance[pixel] !== UNSCORED;
  const isChosen = (item, pixel) => isScored(item, pixel) && item.truth[pixel] === cell.truth && item.said[pixel] === cell.said;
  const isWrong = (item, pixel) => isScored(item, pixel) && item.truth[pixel] !== item.said[pixel];

  /** How many pixels of a tile are in the chosen cell; without one, how many are wrong. */
  function count(item) {
    let found = 0;
    for (let pixel = 0; pixel < item.truth.length; pixel++) found += cell ? isChosen(item, pixel) : isWrong(item, pixel);
    return found;
  }

  /** The tile's picture, dimmed, with the wrong pixels in colours, or those of the chosen cell. */
  function errors(item) {
    const step = Number(find("seam").value);
    return Gallery.painted(item.size, (pixel) => {
      if (cell ? isChosen(item, pixel) : isWrong(item, pixel)) return cell ? CHOSEN : item.distance[pixel] <= step ? NEAR : FAR;
      return [0, 1, 2].map((channel) => (isScored(item, pixel) ? 0.6 : 0.25) * item.light[4 * pixel + channel]);
    });
  }

  const map = (name) => (item) => Gallery.painted(item.size, (pixel) => palette[item[name][pixel]]);
  const gallery = new Gallery(find("maps"), items, {
    panels: [
      { title: "image", source: (item) => item.image },
      { title: "truth", source: map("truth") },
      { title: "prediction", source: map("said") },
      { title: "errors", source: errors },
    ],
    thumb: errors,
    caption: (item) => (cell ? `${item.title}: ${count(item)} pixels` : `${item.title}: ${(100 * item.right).toFixed(1)} % right`),
    say: (item, x, y) => {
      const pixel = y * item.size[1] + x;
      const counts = isScored(item, pixel) ? "" : "; not counted here";
      return `${item.title}, row ${y * item.stride}, column ${x * item.stride}: truth ${classes[item.truth[pixel]]}, prediction ${classes[item.said[pixel]]}${counts}`;
    },
  });

  function choose(button) {
    const same = button.getAttribute("aria-pressed") === "true";
    for (const other of document.querySelectorAll(".confusion button")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(!same));
    cell = same ? null : { truth: Number(button.dataset.truth), said: Number(button.dataset.said) };
    gallery.show(cell ? items.toSorted((one, other) => count(other) - count(one)) : items);
    update();
  }

  function update() {
    const step = Number(find("seam").value);
    const sum = (from, to, kind) => near.slice(from, to).reduce((total, pair) => total + pair[kind], 0);
    const share = (from, to) => {
      const pixels = sum(from, to, 0);
      return pixels ? (sum(from, to, 1) / pixels).toFixed(4) : "–";
    };
    find("seam-shown").textContent = `${(step + 1) / 2} pixels`;
    find("seam-near").textContent = share(0, step + 1);
    find("seam-far").textContent = share(step + 1, near.length);
    find("maps-what").textContent = cell
      ? cell.truth === cell.said ? `${classes[cell.truth]}, found` : `${classes[cell.truth]} that was taken for ${classes[cell.said]}`
      : "All errors";
    const known = near.map(([pixels], number) => [number, pixels]).filter(([, pixels]) => pixels).map(([number]) => number);
    const at = (step + 1) / 2;
    Report.draw(find("seam-chart"), {
      data: [{ x: known.map((number) => number / 2), y: known.map((number) => near[number][1] / near[number][0]), mode: "lines+markers", name: "wrong" }],
      layout: {
        xaxis: { title: { text: "pixels from the nearest seam" } },
        yaxis: { title: { text: "share wrong" }, rangemode: "tozero" },
        shapes: [{ type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1, line: { color: "#888", dash: "dot" } }],
      },
    });
    gallery.refresh();
  }

  for (const button of document.querySelectorAll(".confusion button")) button.addEventListener("click", () => choose(button));
  find("seam").addEventListener("input", update);
  find("seam").value = Math.min(Math.max(Math.round(2 * seam) - 1, 0), steps - 1);
  update();
  find("maps").dataset.ready = "true";
})();
