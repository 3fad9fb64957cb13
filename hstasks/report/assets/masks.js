"use strict";

/** Masks at a threshold that moves: the score of all held-out tiles, and some of them as pictures. */
(async () => {
  const find = (id) => document.getElementById(id);
  const { steps, truth, pixels, presence, black, items, start } = JSON.parse(find("masks-about").textContent);
  const BARE = { threshold: steps / 2, gate: 0, least: 0, full: false, black: false };
  const HIT = [0, 158, 115], FALSE = [213, 94, 0], MISSED = [86, 180, 233];
  const [counts, planes] = await Promise.all([Report.inflate("masks-counts"), Report.inflate("masks-planes")]);

  // Of each tile and code: how many pixels have it, and how many of those are salt. A pixel is above threshold k
  // where its code is above k, so that a sum over the codes above k is what the scorer counts.
  const histogram = new Uint32Array(counts.buffer);
  const said = new Uint32Array(truth.length * steps), hits = new Uint32Array(truth.length * steps);
  for (let tile = 0; tile < truth.length; tile++) {
    let [all, salt] = [0, 0];
    for (let step = steps - 1; step >= 0; step--) {
      const place = 2 * (tile * (steps + 1) + step + 1);
      all += histogram[place];
      salt += histogram[place + 1];
      said[tile * steps + step] = all;
      hits[tile * steps + step] = salt;
    }
  }

  /** Pixels said to be salt, and those of them that are, of a tile by rules. */
  function found(tile, rules) {
    const place = tile * steps + rules.threshold;
    const emptied =
      presence[tile] <= rules.gate || said[place] < rules.least ||
      (rules.full && said[place] === pixels[tile]) || (rules.black && black[tile]);
    return emptied ? [0, 0] : [said[place], hits[place]];
  }

  /** The competition's metric and IoU of a tile. */
  function score(tile, rules) {
    const [area, hit] = found(tile, rules);
    const union = truth[tile] + area - hit;
    if (!union) return [1, 1];
    return [Math.min(Math.max(Math.ceil((20 * hit) / union) - 10, 0), 10) / 10, hit / union];
  }

  function mean(rules) {
    let [metric, iou, empty] = [0, 0, 0];
    for (let tile = 0; tile < truth.length; tile++) {
      const one = score(tile, rules);
      metric += one[0];
      iou += one[1];
      empty += found(tile, rules)[0] === 0;
    }
    return { metric: metric / truth.length, iou: iou / truth.length, empty };
  }

  const every = Array.from({ length: steps }, (_, threshold) => threshold);
  const curves = { rules: "", values: [] };

  /** The means at every threshold; made anew where the other rules changed. */
  function overThresholds(rules) {
    const others = JSON.stringify({ ...rules, threshold: 0 });
    if (curves.rules !== others) Object.assign(curves, { rules: others, values: every.map((threshold) => mean({ ...rules, threshold })) });
    return curves.values;
  }

  function current() {
    return {
      threshold: Number(find("threshold").value),
      gate: Number(find("gate").value),
      least: Number(find("least").value),
      full: find("full").checked,
      black: find("black").checked,
    };
  }

  function set(rules) {
    for (const name of ["threshold", "gate", "least"]) find(name).value = rules[name];
    for (const name of ["full", "black"]) find(name).checked = rules[name];
  }

  const share = (step) => (step / steps).toFixed(3);
  const grey = (value) => [value, value, value];
  let place = 0;
  await Promise.all(
    items.map(async (item) => {
      const size = item.size[0] * item.size[1];
      item.codes = planes.subarray(place, place + size);
      item.salt = planes.subarray(place + size, place + 2 * size);
      place += 2 * size;
      item.image = await Gallery.image(item.picture);
      item.light = Gallery.bytes(item.image);
    }),
  );

  /** A tile's picture, with what is found, wrong and missed in colours. */
  function overlay(item) {
    const rules = current();
    const empty = found(item.tile, rules)[0] === 0;
    return Gallery.painted(item.size, (pixel) => {
      const [is, told] = [item.salt[pixel], !empty && item.codes[pixel] > rules.threshold];
      const light = item.light[4 * pixel];
      if (!is && !told) return grey(light);
      const colour = is ? (told ? HIT : MISSED) : FALSE;
      return colour.map((value) => 0.6 * value + 0.4 * light);
    });
  }

  const gallery = new Gallery(find("masks"), items, {
    panels: [
      { title: "image", source: (item) => item.image },
      { title: "truth", source: (item) => Gallery.painted(item.size, (pixel) => grey(255 * item.salt[pixel])) },
      { title: "probability", source: (item) => Gallery.painted(item.size, (pixel) => grey((255 * item.codes[pixel]) / steps)) },
      { title: "prediction on image", source: overlay },
    ],
    thumb: overlay,
    caption: (item) => `${item.title}: ${score(item.tile, current())[0].toFixed(1)}`,
    say: (item, x, y) => {
      const pixel = y * item.size[1] + x;
      const code = item.codes[pixel];
      return `${item.title}, row ${y}, column ${x}: probability ${code ? share(code - 1) : "0"} to ${share(code)}; truth: ${item.salt[pixel] ? "salt" : "none"}`;
    },
  });

  function update() {
    const rules = current();
    const now = mean(rules);
    find("threshold-shown").textContent = share(rules.threshold);
    find("gate-shown").textContent = share(rules.gate);
    find("masks-metric").textContent = now.metric.toFixed(4);
    find("masks-iou").textContent = now.iou.toFixed(4);
    find("masks-empty").textContent = `${now.empty} of ${truth.length} masks are empty`;
    const values = overThresholds(rules);
    const line = (name, y) => ({ x: every.map((step) => step / steps), y, name, mode: "lines" });
    const at = rules.threshold / steps;
    Report.draw(find("masks-curve"), {
      data: [line("metric", values.map((one) => one.metric)), line("IoU", values.map((one) => one.iou))],
      layout: {
        xaxis: { title: { text: "threshold" } },
        yaxis: { range: [0, 1] },
        shapes: [{ type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1, line: { color: "#888", dash: "dot" } }],
      },
    });
    gallery.refresh();
  }

  for (const id of ["threshold", "gate", "least", "full", "black"]) find(id).addEventListener("input", update);
  for (const [id, rules] of [["bare", BARE], ["fitted", start]]) find(id).addEventListener("click", () => { set(rules); update(); });
  set(start);
  update();
  find("masks").dataset.ready = "true";
})();
