"use strict";

/** Pictures to choose from, and the chosen one large, in panels that are pointed at together. */
class Gallery {
  /**
   * @param root holds elements of the classes panels, said and thumbs.
   * @param items what is shown, each with its `size`, [height, width].
   * @param how `panels`, each a `title` and `source(item)`, an image or canvas; `thumb(item)`, the same, drawn small;
   *   `caption(item)`, the text below that; `say(item, x, y)`, the text for a pixel; `chosen(item)`, called for another.
   */
  constructor(root, items, how) {
    Object.assign(this, { root, how, item: null, point: null, waiting: false });
    this.panels = how.panels.map((panel) => this.#panel(panel));
    this.show(items);
  }

  /** An image of a data URL, decoded. */
  static async image(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  }

  /** The bytes of the pixels of an image, four each. */
  static bytes(image) {
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, image.width, image.height).data;
  }

  /** A canvas whose pixels `colour(pixel)` gives, as [red, green, blue]. */
  static painted([height, width], colour) {
    const data = new ImageData(width, height);
    for (let pixel = 0; pixel < width * height; pixel++) {
      const [red, green, blue] = colour(pixel);
      data.data.set([red, green, blue, 255], 4 * pixel);
    }
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  /** Offer other items, or the same in another order, and choose the first. */
  show(items) {
    this.thumbs = items.map((item) => this.#thumb(item));
    this.root.querySelector(".thumbs").replaceChildren(...this.thumbs.map(({ button }) => button));
    this.choose(items[0] ?? null);
  }

  choose(item) {
    if (item !== this.item) this.point = null;
    this.item = item;
    for (const one of this.thumbs) one.button.setAttribute("aria-pressed", String(one.item === item));
    if (item) this.how.chosen?.(item);
    this.refresh();
  }

  /** Show an item in the panels, and leave the chosen one chosen. */
  peek(item) {
    if (item === this.item) return;
    Object.assign(this, { item, point: null });
    this.refresh();
  }

  /** Draw anew, before the next frame. */
  refresh() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
      for (const one of this.thumbs) {
        Gallery.#put(one.canvas, this.how.thumb(one.item), one.item.size, 1);
        one.caption.textContent = this.how.caption(one.item);
      }
    });
  }

  #draw() {
    for (const { canvas, source } of this.panels) {
      if (!this.item) continue;
      const scale = Math.max(1, Math.ceil(256 / Math.max(...this.item.size)));
      const context = Gallery.#put(canvas, source(this.item), this.item.size, scale);
      if (!this.point) continue;
      for (const [style, thickness] of [["#000", 3], ["#fff", 1]]) {
        Object.assign(context, { strokeStyle: style, lineWidth: (thickness * canvas.width) / 256 });
        context.strokeRect((this.point[0] - 1) * scale, (this.point[1] - 1) * scale, 3 * scale, 3 * scale);
      }
    }
    const said = this.root.querySelector(".said");
    if (said && this.item) said.textContent = this.point ? this.how.say(this.item, ...this.point) : "";
  }

  static #put(canvas, drawable, [height, width], scale) {
    if (canvas.width !== width * scale || canvas.height !== height * scale) Object.assign(canvas, { width: width * scale, height: height * scale });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (drawable) context.drawImage(drawable, 0, 0, canvas.width, canvas.height);
    return context;
  }

  #panel({ title, source }) {
    const [figure, heading, canvas] = ["figure", "h3", "canvas"].map((name) => document.createElement(name));
    heading.textContent = title;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    figure.append(heading, canvas);
    this.root.querySelector(".panels").append(figure);
    if (this.how.say) this.#pointed(canvas);
    return { canvas, source };
  }

  #thumb(item) {
    const [button, canvas, caption] = ["button", "canvas", "span"].map((name) => document.createElement(name));
    button.type = "button";
    button.append(canvas, caption);
    button.addEventListener("click", () => this.choose(item));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const next = step && this.thumbs[this.thumbs.findIndex((one) => one.item === item) + step];
      if (!next) return;
      event.preventDefault();
      next.button.focus();
      this.choose(next.item);
    });
    return { item, button, canvas, caption };
  }

  #pointed(canvas) {
    canvas.tabIndex = 0;
    const move = (x, y) => {
      const [height, width] = this.item.size;
      this.point = [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(y, 0), height - 1)];
      this.#draw();
    };
    const follow = (event) => {
      if (!this.item) return;
      const [edges, [height, width]] = [canvas.getBoundingClientRect(), this.item.size];
      move(Math.floor(((event.clientX - edges.left) / edges.width) * width), Math.floor(((event.clientY - edges.top) / edges.height) * height));
    };
    for (const kind of ["pointermove", "pointerdown"]) canvas.addEventListener(kind, follow);
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step || !this.item) return;
      event.preventDefault();
      const [x, y] = this.point ?? this.item.size.map((side) => side >> 1).reverse();
      move(x + step[0], y + step[1]);
    });
  }
}
