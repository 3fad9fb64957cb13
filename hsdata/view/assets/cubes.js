"use strict";

/** Cubes of a scene side by side: pictures, bands, maps, and the spectra of what is pointed at. */
(() => {
  const find = (id) => document.getElementById(id);
  const scenes = JSON.parse(find("scenes").textContent);
  const RAMP = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
  const state = { scene: null, selection: null, swipe: 0.5, started: 0 };
  let panels = [];

  const digits = (value) => (Number.isFinite(value) ? Number(value.toPrecision(4)).toString() : "–");
  const axisName = (scene, band) => (scene.unit === "nm" ? `${digits(scene.axis[band])} nm` : `band ${digits(scene.axis[band])}`);
  const mode = () => document.querySelector("input[name=show]:checked").value;

  /** The colour of a share of the map's range, dark to bright. */
  function ramp(share) {
    const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
    const first = Math.min(Math.floor(place), RAMP.length - 2);
    return RAMP[first].map((value, channel) => value + (place - first) * (RAMP[first + 1][channel] - value));
  }

  /** Decode what the scene holds, once: pictures at once, numbers as soon as the file is read. */
  function load(scene) {
    scene.images ??= new Map();
    const pictures = [["photo", scene.photo], ...scene.cubes.map((cube) => [cube.name, cube.picture])];
    scene.pictured ??= Promise.all(
      pictures.filter(([, url]) => url).map(async ([name, url]) => {
        const image = new Image();
        image.src = url;
        await image.decode();
        scene.images.set(name, image);
      }),
    );
    scene.decoded ??= (async () => {
      scene.planes = await Promise.all(scene.cubes.map((cube) => Planes.of(cube)));
      if (scene.maps) scene.mapped = await Planes.of(scene.maps);
      scene.bright = brightness(scene);
    })();
    Report.first(scene.decoded);
    return scene;
  }

  /** The value that is shown white: the greatest of the first cube's middle bands. */
  function brightness(scene) {
    const { high } = scene.planes[0];
    return [...high].sort((a, b) => a - b)[Math.floor(high.length / 2)] || 1;
  }

  /** The pixels of a cube in the chosen bands; null while they are not there or the picture shall be shown. */
  function bandsOf(scene, number) {
    if (mode() === "colour" || !scene.planes) return null;
    const planes = scene.planes[number];
    const data = new ImageData(planes.width, planes.height);
    data.data.fill(255);
    const white = scene.bright / 2 ** Number(find("brightness").value);
    const tone = (value) => 255 * Math.max(value / white, 0) ** (1 / 2.2);
    if (mode() === "band") planes.paint(Number(find("band").value), data.data, [0, 1, 2], tone);
    else ["red", "green", "blue"].forEach((id, channel) => planes.paint(Number(find(id).value), data.data, [channel], tone));
    return drawable(data);
  }

  function mapOf(scene) {
    if (!scene.mapped) return null;
    const planes = scene.mapped;
    const [plane, bottom] = [Number(find("map").value), 0];
    const top = scene.maps.about[plane].shown || 1;
    const data = new ImageData(planes.width, planes.height);
    const tones = [0, 1, 2].map((channel) => (value) => ramp(Math.sqrt(Math.max((value - bottom) / (top - bottom), 0)))[channel]);
    data.data.fill(255);
    tones.forEach((tone, channel) => planes.paint(plane, data.data, [channel], tone));
    return drawable(data);
  }

  function drawable(data) {
    const canvas = new OffscreenCanvas(data.width, data.height);
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  /** A panel: a heading, a canvas that can be pointed at, and what stands under it. */
  function panel(title, source) {
    const figure = document.createElement("figure");
    const heading = document.createElement("h3");
    heading.textContent = title;
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    figure.append(heading, canvas);
    pointed(canvas);
    const made = { title, figure, canvas, source, base: null };
    panels.push(made);
    find("panels").append(figure);
    return made;
  }

  function build() {
    const { scene } = state;
    panels = [];
    find("panels").replaceChildren();
    if (scene.photo) panel("photo", () => scene.images.get("photo"));
    const cubes = scene.cubes.map((cube, number) => () => panel(cube.name, () => bandsOf(scene, number) ?? scene.images.get(cube.name)));
    // What is compared and how it differs come first, side by side.
    for (const make of cubes.slice(0, 2)) make();
    if (scene.maps) legend(panel("map", () => mapOf(scene)));
    for (const make of cubes.slice(2)) make();
    if (scene.cubes.length > 1) swipe(scene);
    const options = scene.axis.map((_, band) => new Option(axisName(scene, band), band));
    const near = (wanted) => scene.axis.reduce((best, value, band) => (Math.abs(value - wanted) < Math.abs(scene.axis[best] - wanted) ? band : best), 0);
    const [first, last] = [scene.axis[0], scene.axis.at(-1)];
    for (const [id, share] of [["red", 0.75], ["green", 0.5], ["blue", 0.25]]) {
      find(id).replaceChildren(...options.map((option) => option.cloneNode(true)));
      find(id).value = near(first + share * (last - first));
    }
    find("band").max = scene.axis.length - 1;
    find("band").value = Math.floor(scene.axis.length / 2);
    find("map-choice").hidden = !scene.maps;
    find("map").replaceChildren(...(scene.maps?.about ?? []).map((one, number) => new Option(one.name, number)));
    find("stored").textContent = scene.stored;
    for (const known of document.querySelectorAll(".known")) known.hidden = scenes[known.dataset.scene] !== scene;
  }

  function swipe(scene) {
    const [left, right] = scene.cubes;
    const made = panel(`${left.name} | ${right.name}`, () => {
      const parts = [0, 1].map((number) => bandsOf(scene, number) ?? scene.images.get(scene.cubes[number].name));
      if (!parts[0] || !parts[1]) return null;
      const both = new OffscreenCanvas(parts[0].width, parts[0].height);
      const context = both.getContext("2d");
      const edge = Math.round(state.swipe * both.width);
      context.drawImage(parts[1], 0, 0, both.width, both.height);
      if (edge) context.drawImage(parts[0], 0, 0, edge, both.height, 0, 0, edge, both.height);
      return both;
    });
    const handle = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: 0.005, value: state.swipe });
    handle.id = "swipe";
    handle.setAttribute("aria-label", `how much is ${left.name}, how much ${right.name}`);
    handle.addEventListener("input", () => { state.swipe = Number(handle.value); paint([made]); });
    made.figure.append(handle);
  }

  function legend(made) {
    const bar = Object.assign(document.createElement("div"), { className: "legend" });
    bar.style.background = `linear-gradient(to right, ${RAMP.map((colour) => `rgb(${colour})`).join(",")})`;
    const ends = Object.assign(document.createElement("div"), { className: "ends soft" });
    made.figure.append(bar, ends);
    made.after = () => {
      const about = state.scene.maps.about[Number(find("map").value)];
      made.figure.querySelector("h3").textContent = about.name;
      ends.replaceChildren(...["0", "square-root scale", `${digits(about.shown)} ${about.unit}`].map((text) => {
        const end = document.createElement("span");
        end.textContent = text;
        return end;
      }));
    };
  }

  /** Make the pictures of some panels anew. */
  function paint(some = panels) {
    find("band-name").textContent = axisName(state.scene, Number(find("band").value));
    for (const one of some) {
      one.base = one.source();
      one.after?.();
    }
    mark(some);
  }

  /** Draw the panels with what is selected. */
  function mark(some = panels) {
    const { scene, selection } = state;
    const [height, width] = scene.size;
    for (const { base, canvas } of some) {
      const scale = Math.max(1, Math.ceil(512 / Math.max(width, height)), Math.ceil((base?.width ?? 0) / width));
      if (canvas.width !== width * scale || canvas.height !== height * scale) Object.assign(canvas, { width: width * scale, height: height * scale });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.clearRect(0, 0, canvas.width, canvas.height);
      if (base) context.drawImage(base, 0, 0, canvas.width, canvas.height);
      if (base && !state.started) state.started = performance.mark("first picture").startTime;
      if (!selection) continue;
      const box = [selection.left - 0.5, selection.top - 0.5, selection.right - selection.left + 2, selection.bottom - selection.top + 2];
      for (const [style, thickness] of [["#000", 5], ["#fff", 2]]) {
        Object.assign(context, { strokeStyle: style, lineWidth: (thickness * canvas.width) / 512 });
        context.strokeRect(...box.map((side) => side * scale));
      }
    }
  }

  /** Select a box of stored pixels, and show its spectra and values. */
  function select(box) {
    const { scene } = state;
    if (!scene.planes) return;
    const { width, height } = scene.planes[0];
    const inside = (value, size) => Math.min(Math.max(value, 0), size - 1);
    const [x, y] = [[box.left, box.right], [box.top, box.bottom]].map((pair) => pair.toSorted((a, b) => a - b));
    state.selection = { left: inside(x[0], width), right: inside(x[1], width), top: inside(y[0], height), bottom: inside(y[1], height) };
    mark();
    describe();
  }

  function describe() {
    const { scene, selection } = state;
    const { step } = scene;
    const span = (low, high) => (low === high ? `${low * step}` : `${low * step} to ${high * step}`);
    const single = selection.left === selection.right && selection.top === selection.bottom;
    find("where").textContent = `Row ${span(selection.top, selection.bottom)}, column ${span(selection.left, selection.right)}${single ? "" : ", mean"}`;
    const spectra = scene.planes.map((planes) => planes.means(selection));
    const x = { title: { text: scene.unit === "nm" ? "wavelength (nm)" : "band" } };
    const trace = (values, name, number) => ({ x: scene.axis, y: values, name, mode: "lines", line: { color: Report.PALETTE[number] } });
    Report.draw(find("spectra"), {
      data: spectra.map((values, number) => trace(values, scene.cubes[number].name, number)),
      layout: { xaxis: x, yaxis: { title: { text: scene.quantity } } },
    });
    find("difference").parentElement.hidden = spectra.length < 2;
    if (spectra.length > 1) {
      find("difference-title").textContent = `Difference from ${scene.cubes[0].name}`;
      Report.draw(find("difference"), {
        data: spectra.slice(1).map((values, number) => trace(values.map((value, band) => value - spectra[0][band]), scene.cubes[number + 1].name, number + 1)),
        layout: { xaxis: x, yaxis: { title: { text: scene.quantity } } },
      });
    }
    const band = Number(find("band").value);
    const rows = scene.cubes.map((cube, number) => [`${cube.name} at ${axisName(scene, band)}`, digits(spectra[number][band]), ""]);
    const mapped = scene.mapped?.means(selection) ?? [];
    mapped.forEach((value, number) => {
      const about = scene.maps.about[number];
      rows.push([about.name, `${digits(value)} ${about.unit}`, about.note]);
    });
    find("values").tBodies[0].replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      for (const text of cells) row.insertCell().textContent = text;
      return row;
    }));
  }

  /** Let a canvas be pointed at, by mouse, finger and keyboard. */
  function pointed(canvas) {
    let start = null;
    const place = (event) => {
      const edges = canvas.getBoundingClientRect();
      const { width, height } = state.scene.planes[0];
      return [Math.floor(((event.clientX - edges.left) / edges.width) * width), Math.floor(((event.clientY - edges.top) / edges.height) * height)];
    };
    const reach = (event) => {
      const [x, y] = place(event);
      select({ left: start[0], top: start[1], right: x, bottom: y });
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!state.scene.planes || event.button) return;
      start = place(event);
      canvas.setPointerCapture(event.pointerId);
      reach(event);
    });
    canvas.addEventListener("pointermove", (event) => start && reach(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { start = null; });
    canvas.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!move || !state.selection) return;
      event.preventDefault();
      const { left, top, right, bottom } = state.selection;
      if (event.shiftKey) select({ left, top, right: Math.max(right + move[0], left), bottom: Math.max(bottom + move[1], top) });
      else select({ left: left + move[0], top: top + move[1], right: left + move[0], bottom: top + move[1] });
    });
  }

  async function show(number) {
    const scene = load(scenes[number]);
    Object.assign(state, { scene, selection: null });
    build();
    await scene.pictured;
    if (state.scene !== scene) return;
    paint();
    await scene.decoded;
    if (state.scene !== scene) return;
    paint();
    const { width, height } = scene.planes[0];
    select({ left: width >> 1, right: width >> 1, top: height >> 1, bottom: height >> 1 });
    find("cubes").dataset.ready = String(number);
  }

  find("scene").addEventListener("change", () => { delete find("cubes").dataset.ready; show(Number(find("scene").value)); });
  for (const input of document.querySelectorAll("input[name=show]")) input.addEventListener("change", () => paint());
  const choose = (value) => { document.querySelector(`input[name=show][value=${value}]`).checked = true; };
  find("band").addEventListener("input", () => {
    if (mode() === "colour") choose("band");
    paint();
    if (state.selection) describe();
  });
  for (const id of ["red", "green", "blue"]) find(id).addEventListener("change", () => { choose("false"); paint(); });
  find("brightness").addEventListener("input", () => paint());
  find("map").addEventListener("change", () => paint(panels.filter((one) => one.after)));
  show(0);
})();
