"use strict";

/** Quantised planes of numbers, as hsdata/view/packing.py writes them. */
class Planes {
  constructor(about, bytes) {
    const [count, height, width] = about.shape;
    Object.assign(this, { count, height, width, size: height * width, low: about.low, high: about.high });
    this.top = 2 ** about.bits - 1;
    this.codes = about.bits === 8 ? bytes : Planes.joined(bytes);
    // Each plane holds its difference from the one before it; typed arrays wrap around by themselves.
    for (let i = this.size; i < this.codes.length; i++) this.codes[i] += this.codes[i - this.size];
  }

  static joined(bytes) {
    const half = bytes.length / 2;
    const codes = new Uint16Array(half);
    for (let i = 0; i < half; i++) codes[i] = (bytes[i] << 8) | bytes[half + i];
    return codes;
  }

  static async of(about) {
    return new Planes(about, await Report.inflate(about.id));
  }

  /** The value of a plane at a pixel, by its number in the plane. */
  at(plane, pixel) {
    const share = this.codes[plane * this.size + pixel] / this.top;
    return this.low[plane] + (this.high[plane] - this.low[plane]) * share * share;
  }

  /** The mean of each plane over a box of pixels; a box of one pixel is that pixel. */
  means(box) {
    const count = (box.right - box.left + 1) * (box.bottom - box.top + 1);
    return Array.from({ length: this.count }, (_, plane) => {
      let sum = 0;
      for (let y = box.top; y <= box.bottom; y++) {
        for (let x = box.left; x <= box.right; x++) sum += this.at(plane, y * this.width + x);
      }
      return sum / count;
    });
  }

  /** Write a plane into a channel of pixels: `tone` takes a value to 0 to 255. */
  paint(plane, pixels, channels, tone) {
    const shades = new Uint8ClampedArray(this.top + 1);
    const [low, span] = [this.low[plane], this.high[plane] - this.low[plane]];
    for (let code = 0; code <= this.top; code++) shades[code] = tone(low + span * (code / this.top) ** 2);
    const start = plane * this.size;
    for (let i = 0; i < this.size; i++) {
      const shade = shades[this.codes[start + i]];
      for (const channel of channels) pixels[4 * i + channel] = shade;
    }
  }
}
