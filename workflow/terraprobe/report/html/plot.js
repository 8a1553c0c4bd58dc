"use strict";
// Numbers of the page, and a canvas whose marks can be pointed at, walked with arrow keys, zoomed and dragged.

function unpack(text, Kind) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return new Kind(bytes.buffer);
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const DARK = matchMedia("(prefers-color-scheme: dark)");

// Colours of classes: the house's six, then hues as far apart as the golden angle puts them.
function classColours(count) {
  const first = ["blue", "orange", "green", "purple", "red", "sky"].map(ink);
  const light = DARK.matches ? 68 : 42;
  return Array.from({ length: count }, (_, k) => first[k] ?? `hsl(${Math.round((k * 137.5) % 360)} 60% ${light}%)`);
}

// Splits have the colours that they have in every figure.
function classInk(names) {
  const split = { train: "blue", val: "orange", test: "red", buffer: "muted" };
  const colours = classColours(names.length);
  return names.map((name, k) => (name === "" ? ink("rule") : split[name] ? ink(split[name]) : colours[k]));
}

// Viridis (van der Walt and Smith, CC0), less the end that the ground would swallow; 32 steps.
const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129],
  [92, 200, 99], [170, 220, 50], [253, 231, 37]];
const STEPS = 32;
function valueColours() {
  const [low, high] = DARK.matches ? [0.22, 1] : [0, 0.9];
  return Array.from({ length: STEPS }, (_, k) => {
    const at = (low + ((high - low) * k) / (STEPS - 1)) * (VIRIDIS.length - 1);
    const a = VIRIDIS[Math.floor(at)], b = VIRIDIS[Math.min(VIRIDIS.length - 1, Math.floor(at) + 1)];
    return `rgb(${a.map((v, c) => Math.round(v + (b[c] - v) * (at % 1))).join(" ")})`;
  });
}

function onSight(element, begin) {
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    begin();
  }, { rootMargin: "800px" });
  watch.observe(element);
}

function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

function choice(title, entries, onchange) {
  const select = make("select");
  for (const [value, text] of entries) select.add(new Option(text, value));
  select.addEventListener("change", () => onchange(select.value));
  return { label: make("label", {}, title, select), select };
}

class Plot {
  // host: an element of class `plot`; act: `point(index)` where a mark is pointed at (-1: none), `pick(index)`.
  constructor(host, act, graticule = false) {
    Object.assign(this, { host, act, graticule, x: [], y: [], marks: [], at: -1, zoom: 1, dx: 0, dy: 0 });
    this.canvas = make("canvas");
    this.over = make("canvas");
    const tools = make("div", { className: "tools" });
    for (const [sign, words, run] of [["+", "zoom in", () => this.scale(1.6)], ["−", "zoom out", () => this.scale(1 / 1.6)],
      ["⤢", "show all", () => this.reset()]]) {
      const button = make("button", { type: "button", textContent: sign });
      button.setAttribute("aria-label", words);
      button.addEventListener("click", run);
      tools.append(button);
    }
    host.append(this.canvas, this.over);
    host.after(tools);
    new ResizeObserver(() => this.paint()).observe(host);
    DARK.addEventListener("change", () => this.paint());
    host.addEventListener("pointermove", (event) => this.moved(event));
    host.addEventListener("pointerleave", () => this.goTo(-1));
    host.addEventListener("pointerdown", (event) => { this.held = { x: event.offsetX, y: event.offsetY, far: false }; });
    host.addEventListener("pointerup", (event) => this.released(event));
    host.addEventListener("pointercancel", () => { this.held = null; });
    host.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // a wheel alone scrolls the page
      event.preventDefault();
      this.scale(Math.exp(-event.deltaY / 200), event.offsetX, event.offsetY);
    }, { passive: false });
    host.addEventListener("keydown", (event) => this.pressed(event));
  }

  // x, y: places, y upwards; code: colour of each; colours(): their colours now; shown: 0 leaves one out;
  // boxes: west, south, east, north of each, or nothing; marks: indices that are ringed and numbered.
  show(data) {
    const same = this.x === data.x && this.y === data.y;
    Object.assign(this, { boxes: null, marks: [], ...data });
    if (!same) {
      Object.assign(this, { zoom: 1, dx: 0, dy: 0, at: -1 });
      this.limits = [Infinity, Infinity, -Infinity, -Infinity];
      for (let k = 0; k < this.x.length; k++) {
        const [w, s, e, n] = this.box(k);
        this.limits = [Math.min(this.limits[0], w), Math.min(this.limits[1], s), Math.max(this.limits[2], e), Math.max(this.limits[3], n)];
      }
    }
    this.paint();
  }

  box(k) {
    return this.boxes ? this.boxes.subarray(4 * k, 4 * k + 4) : [this.x[k], this.y[k], this.x[k], this.y[k]];
  }

  fit() {
    const width = this.host.clientWidth, height = this.host.clientHeight, margin = this.graticule ? 30 : 14;
    const [w, s, e, n] = this.limits;
    const wide = Math.max(e - w, 1e-6), tall = Math.max(n - s, 1e-6);
    this.unit = Math.min((width - 2 * margin) / wide, (height - 2 * margin) / tall) * this.zoom;
    this.left = width / 2 - ((w + e) / 2) * this.unit + this.dx;
    this.top = height / 2 + ((s + n) / 2) * this.unit + this.dy;
  }

  toX(x) { return this.left + x * this.unit; }
  toY(y) { return this.top - y * this.unit; }

  sized(canvas) {
    const ratio = devicePixelRatio || 1, width = this.host.clientWidth, height = this.host.clientHeight;
    const wanted = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wanted[0] || canvas.height !== wanted[1]) [canvas.width, canvas.height] = wanted;
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return pen;
  }

  paint() {
    if (!this.x.length || !this.host.clientWidth) return;
    this.fit();
    const pen = this.sized(this.canvas), colours = this.colours(), half = this.half ?? 2;
    const words = this.graticule ? this.lines(pen) : [];
    colours.forEach((colour, code) => {
      pen.fillStyle = colour;
      for (let k = 0; k < this.x.length; k++) {
        if (this.code[k] !== code || !this.shown[k]) continue;
        const [left, top, wide, tall] = this.place(k, half);
        pen.fillRect(left, top, wide, tall);
      }
    });
    Object.assign(pen, { font: "12px system-ui, sans-serif", lineWidth: 3, strokeStyle: ink("wash"), fillStyle: ink("ink") });
    for (const [text, x, y] of words) {
      pen.strokeText(text, x, y);
      pen.fillText(text, x, y);
    }
    this.ring();
  }

  // Where a mark is drawn: a box at its own size, but never too small to be seen.
  place(k, half) {
    if (!this.boxes) return [this.toX(this.x[k]) - half, this.toY(this.y[k]) - half, 2 * half, 2 * half];
    const [w, s, e, n] = this.box(k);
    const wide = Math.max((e - w) * this.unit - 0.6, 2 * half), tall = Math.max((n - s) * this.unit - 0.6, 2 * half);
    return [this.toX((w + e) / 2) - wide / 2, this.toY((s + n) / 2) - tall / 2, wide, tall];
  }

  // Lines of longitude and latitude, and what is written at them; x is longitude times `narrow`.
  lines(pen) {
    const width = this.host.clientWidth, height = this.host.clientHeight, narrow = this.narrow ?? 1;
    const step = (unit) => [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005].findLast((s) => s * unit > 70) ?? 60;
    const words = (v, a, b) => `${+Math.abs(v).toFixed(3)}° ${v >= 0 ? a : b}`;
    const written = [];
    Object.assign(pen, { strokeStyle: ink("rule"), lineWidth: 1 });
    const across = step(this.unit * narrow), up = step(this.unit);
    for (let k = Math.ceil(-this.left / this.unit / narrow / across); k * across * narrow * this.unit + this.left < width; k++) {
      const x = Math.round(this.toX(k * across * narrow)) + 0.5;
      pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, height); pen.stroke();
      if (x < width - 60) written.push([words(k * across, "E", "W"), x + 3, height - 5]);
    }
    for (let k = Math.ceil((this.top - height) / this.unit / up); this.top - k * up * this.unit > 0; k++) {
      const y = Math.round(this.toY(k * up)) + 0.5;
      pen.beginPath(); pen.moveTo(0, y); pen.lineTo(width, y); pen.stroke();
      if (y < height - 20 && y > 12) written.push([words(k * up, "N", "S"), 4, y - 3]);
    }
    return written;
  }

  ring() {
    const pen = this.sized(this.over), half = (this.half ?? 2) + 3;
    const draw = (k, colour, wide) => {
      const [left, top, w, h] = this.place(k, half);
      pen.lineWidth = wide + 2; pen.strokeStyle = ink("paper"); pen.strokeRect(left, top, w, h);
      pen.lineWidth = wide; pen.strokeStyle = colour; pen.strokeRect(left, top, w, h);
    };
    pen.font = "600 12px system-ui, sans-serif";
    this.marks.forEach((k, order) => {
      if (k >= this.x.length) return;
      draw(k, ink(order ? "ink" : "red"), order ? 1.5 : 2.5);
      if (!order) return;
      const x = this.toX(this.x[k]) + half + 2, y = this.toY(this.y[k]) - half;
      pen.lineWidth = 3; pen.strokeStyle = ink("paper"); pen.strokeText(order, x, y);
      pen.fillStyle = ink("ink"); pen.fillText(order, x, y);
    });
    if (this.at >= 0) draw(this.at, ink("ink"), 2);
  }

  near(px, py) {
    let best = -1, least = 16 ** 2;
    for (let k = 0; k < this.x.length; k++) {
      if (!this.shown[k]) continue;
      const [left, top, wide, tall] = this.place(k, this.half ?? 2);
      const gx = Math.max(left - px, 0, px - left - wide), gy = Math.max(top - py, 0, py - top - tall);
      const gap = gx * gx + gy * gy;
      if (gap < least) [best, least] = [k, gap];
    }
    return best;
  }

  goTo(k) {
    if (k === this.at) return;
    this.at = k;
    this.ring();
    this.act.point(k);
  }

  moved(event) {
    if (this.held && event.buttons) {
      const far = Math.hypot(event.offsetX - this.held.x, event.offsetY - this.held.y) > 4;
      if (far || this.held.far) {
        this.dx += event.movementX;
        this.dy += event.movementY;
        this.held.far = true;
        this.paint();
      }
      return;
    }
    this.goTo(this.near(event.offsetX, event.offsetY));
  }

  released(event) {
    const held = this.held;
    this.held = null;
    if (!held || held.far) return;
    const k = this.near(event.offsetX, event.offsetY);
    this.goTo(k);
    if (k >= 0) this.act.pick(k);
  }

  scale(factor, px = this.host.clientWidth / 2, py = this.host.clientHeight / 2) {
    const zoom = Math.min(60, Math.max(1, this.zoom * factor)), f = zoom / this.zoom;
    const middle = [this.host.clientWidth / 2, this.host.clientHeight / 2];
    this.dx = zoom === 1 ? 0 : (px - middle[0]) * (1 - f) + this.dx * f;
    this.dy = zoom === 1 ? 0 : (py - middle[1]) * (1 - f) + this.dy * f;
    this.zoom = zoom;
    this.paint();
  }

  reset() {
    Object.assign(this, { zoom: 1, dx: 0, dy: 0 });
    this.paint();
  }

  pressed(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) this.goTo(this.next(way));
    else if ((event.key === "Enter" || event.key === " ") && this.at >= 0) this.act.pick(this.at);
    else if (event.key === "+") this.scale(1.6);
    else if (event.key === "-") this.scale(1 / 1.6);
    else if (event.key === "0") this.reset();
    else return;
    event.preventDefault();
  }

  // The nearest mark that lies more that way than across it; at first the one nearest to what is ringed.
  next([dx, dy]) {
    const from = this.at >= 0 ? this.at : this.marks[0] ?? this.shown.indexOf(1);
    if (this.at < 0 || !this.shown[from]) return from;
    let best = from, least = Infinity;
    for (let k = 0; k < this.x.length; k++) {
      if (!this.shown[k] || k === from) continue;
      const gx = (this.x[k] - this.x[from]) * this.unit, gy = (this.y[from] - this.y[k]) * this.unit;
      const along = gx * dx + gy * dy, off = Math.abs(gx * dy) + Math.abs(gy * dx);
      if (along > 0 && along >= off && along + off < least) [best, least] = [k, along + off];
    }
    return best;
  }
}
