"use strict";

/** What every page can do: unpack data, draw charts in the colours of its theme, switch between light and dark. */
const Report = (() => {
  const root = document.documentElement;
  const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
  const drawn = new Set();

  const pause = (wait) => new Promise((resolve) => setTimeout(resolve, wait));

  /** An element of data, as soon as all of it is there: the file may still be read behind it. */
  async function whole(id) {
    for (;;) {
      const isRead = document.readyState !== "loading";
      const element = document.getElementById(id);
      if (element && (isRead || element.nextElementSibling)) return element;
      if (isRead) throw new Error(`The page has no data '${id}'.`);
      await pause(20);
    }
  }

  /** The bytes that an element holds, deflated and in base64; the text is let go. */
  async function inflate(id) {
    const element = await whole(id);
    const binary = atob(element.textContent.trim());
    element.remove();
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  let urgent = Promise.resolve();
  /** Let charts wait until some work is done: what is looked at first. */
  function first(work) {
    urgent = Promise.all([urgent, work]);
  }

  let library = null;
  /** Plotly, once it is unpacked; after all that is urgent, since that takes a moment. */
  function plotly() {
    library ??= urgent.then(() => inflate("plotly")).then((bytes) => {
      const script = document.createElement("script");
      script.text = new TextDecoder().decode(bytes);
      document.head.append(script);
      return window.Plotly;
    });
    return library;
  }

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function themed(layout) {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
    return {
      margin: { t: 10, r: 10, b: 45, l: 55 },
      colorway: PALETTE,
      legend: { orientation: "h", yanchor: "bottom", y: 1.02 },
      ...layout,
      font: { color: colour("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    };
  }

  /** Draw or redraw a chart. */
  async function draw(element, figure) {
    element.figure = figure;
    const library = await plotly();
    // A later call may have overtaken this one while the library was unpacked.
    if (element.figure !== figure) return;
    drawn.add(element);
    await library.react(element, figure.data, themed(figure.layout), { responsive: true, displaylogo: false });
  }

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function setTheme(dark) {
    root.dataset.theme = dark ? "dark" : "light";
    for (const element of drawn) draw(element, element.figure);
  }

  setTheme(isDark());
  document.getElementById("theme").addEventListener("click", () => setTheme(!isDark()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => setTheme(event.matches));

  for (const cell of document.querySelectorAll("td")) {
    if (/^[-+−]?[\d.,]+(e[-+]?\d+)?( ?%)?$/.test(cell.textContent.trim())) cell.classList.add("number");
  }
  // Those that are far below wait until they are looked at.
  const watch = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        watch.unobserve(entry.target);
        const script = entry.target.querySelector("script");
        const figure = JSON.parse(script.textContent);
        script.remove();
        draw(entry.target, figure);
      }
    },
    { rootMargin: "600px" },
  );
  for (const element of document.querySelectorAll(".chart:has(> script)")) watch.observe(element);

  return { inflate, first, draw, PALETTE };
})();
