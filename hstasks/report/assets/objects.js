"use strict";

/** Objects at a threshold that moves: rates, ROC, calibration, and the bands of those that went most wrong. */
(async () => {
  const find = (id) => document.getElementById(id);
  const { count, domains, bands, items, threshold: fitted } = JSON.parse(find("objects-about").textContent);
  const bytes = await Report.inflate("objects-scores");
  const scores = new Float64Array(bytes.buffer, 0, count);
  const labels = bytes.subarray(8 * count, 9 * count), domain = bytes.subarray(9 * count, 10 * count);
  const LINES = 1000, BINS = 10, BARS = 40;
  let threshold = fitted;
  let wanted = -1;

  const every = Array.from({ length: count }, (_, number) => number);
  const of = (chosen) => (chosen < 0 ? every : every.filter((number) => domain[number] === chosen));
  const name = (chosen) => (chosen < 0 ? "all" : domains[chosen]);

  function counted(numbers) {
    const found = { hits: 0, missed: 0, alarms: 0, rejected: 0 };
    for (const number of numbers) {
      const said = scores[number] >= threshold;
      if (labels[number]) said ? found.hits++ : found.missed++;
      else said ? found.alarms++ : found.rejected++;
    }
    return found;
  }

  /** False and true positive rates over falling thresholds, thinned to what a chart can show. */
  function roc(numbers) {
    const order = [...numbers].sort((one, other) => scores[other] - scores[one]);
    const lenses = order.filter((number) => labels[number]).length;
    const points = [[0, 0]];
    let [hits, alarms] = [0, 0];
    order.forEach((number, place) => {
      if (labels[number]) hits++;
      else alarms++;
      if (place + 1 === order.length || scores[order[place + 1]] !== scores[number]) points.push([alarms, hits]);
    });
    const step = Math.ceil(points.length / LINES);
    const kept = points.filter((_, place) => place % step === 0 || place === points.length - 1);
    return { x: kept.map(([x]) => x / (order.length - lenses)), y: kept.map(([, y]) => y / lenses) };
  }

  function histogram(numbers, label) {
    const bars = new Array(BARS).fill(0);
    for (const number of numbers) if (labels[number] === label) bars[Math.min(Math.floor(scores[number] * BARS), BARS - 1)]++;
    return { type: "bar", x: bars.map((_, bar) => (bar + 0.5) / BARS), y: bars, width: 1 / BARS, opacity: 0.65, name: label ? "lenses" : "non-lenses" };
  }

  function calibration(numbers) {
    const bins = Array.from({ length: BINS }, () => [0, 0, 0]);
    for (const number of numbers) {
      const bin = bins[Math.min(Math.floor(scores[number] * BINS), BINS - 1)];
      bin[0]++;
      bin[1] += scores[number];
      bin[2] += labels[number];
    }
    const filled = bins.filter(([all]) => all);
    return {
      x: filled.map(([all, sum]) => sum / all),
      y: filled.map(([all, , lenses]) => lenses / all),
      text: filled.map(([all]) => `${all} objects`),
      mode: "lines+markers",
      marker: { size: filled.map(([all]) => 6 + 24 * Math.sqrt(all / numbers.length)) },
      name: name(wanted),
    };
  }

  const share = (part, whole) => (whole ? (part / whole).toFixed(4) : "–");
  const rates = (title) => ({ title: { text: title }, range: [-0.02, 1.02] });
  const diagonal = { x: [0, 1], y: [0, 1], mode: "lines", line: { color: "#888", dash: "dot" }, showlegend: false, hoverinfo: "skip" };
  const curves = [-1, ...domains.keys()].map((chosen) => ({ ...roc(of(chosen)), name: name(chosen), mode: "lines" }));

  const verdict = (item) => {
    const said = item.probability >= threshold;
    return item.lens ? (said ? "found" : "missed") : said ? "false alarm" : "rejected";
  };

  await Promise.all(
    items.map(async (item) => {
      const pictures = await Promise.all(item.pictures.map((url) => url && Gallery.image(url)));
      [item.colour, ...item.bands] = pictures;
    }),
  );
  const gallery = new Gallery(find("objects"), items, {
    panels: [
      { title: "colour", source: (item) => item.colour },
      ...bands.map((band, number) => ({ title: band, source: (item) => item.bands[number] })),
    ],
    thumb: (item) => item.colour,
    caption: (item) => `${item.lens ? "lens" : "no lens"}, ${item.probability.toFixed(3)}: ${verdict(item)}`,
    chosen: describe,
  });

  function describe(item) {
    const facts = [item.title, `${item.lens ? "a lens" : "no lens"}, said ${item.probability.toFixed(4)}: ${verdict(item)}`, ...item.facts];
    find("object-facts").replaceChildren(...facts.map((fact) => Object.assign(document.createElement("span"), { textContent: fact })));
  }

  function update() {
    const numbers = of(wanted);
    const { hits, missed, alarms, rejected } = counted(numbers);
    find("threshold-shown").textContent = threshold.toFixed(4);
    find("tpr").textContent = share(hits, hits + missed);
    find("fpr").textContent = share(alarms, alarms + rejected);
    find("accuracy").textContent = share(hits + rejected, numbers.length);
    find("precision").textContent = share(hits, hits + alarms);
    find("counts").textContent = `Of ${hits + missed} lenses ${hits} are found and ${missed} missed; of ${alarms + rejected} others ${alarms} are false alarms.`;
    const dot = { x: [alarms / (alarms + rejected)], y: [hits / (hits + missed)], mode: "markers", marker: { size: 12, color: "#d55e00" }, name: "threshold", showlegend: false };
    Report.draw(find("roc"), {
      data: [...curves, diagonal, dot],
      layout: { xaxis: rates("false positive rate"), yaxis: rates("true positive rate") },
    });
    const line = { type: "line", x0: threshold, x1: threshold, yref: "paper", y0: 0, y1: 1, line: { color: "#888", dash: "dot" } };
    Report.draw(find("histogram"), {
      data: [histogram(numbers, 0), histogram(numbers, 1)],
      layout: { barmode: "overlay", xaxis: { title: { text: "probability of a lens" }, range: [0, 1] }, yaxis: { title: { text: "objects" } }, shapes: [line] },
    });
    Report.draw(find("calibration"), {
      data: [calibration(numbers), diagonal],
      layout: { xaxis: rates("mean probability"), yaxis: rates("share of lenses") },
    });
    if (gallery.item) describe(gallery.item);
    gallery.refresh();
  }

  find("threshold").addEventListener("input", () => { threshold = Number(find("threshold").value); update(); });
  find("fitted").addEventListener("click", () => { threshold = fitted; find("threshold").value = fitted; update(); });
  find("domain").addEventListener("change", () => { wanted = Number(find("domain").value); update(); });
  find("kind").addEventListener("change", () => gallery.show(items.filter((item) => !find("kind").value || item.kind === find("kind").value)));
  find("threshold").value = fitted;
  update();
  find("objects").dataset.ready = "true";
})();
