"use strict";
// Chips in an embedding: their pictures, and which are nearest to which.

class Explorer {
  constructor(root) {
    const data = JSON.parse(document.getElementById("explorer-data").textContent);
    Object.assign(this, { root, data, sheets: new Map(), picked: -1 });
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    for (const c of Object.values(data.collections)) {
      for (const axis of ["lon", "lat"]) if (c[axis]) c[axis] = unpack(c[axis], Float32Array);
      for (const one of [...Object.values(c.classes), c.blocks, c.shows]) one.codes = unpack(one.codes, Uint16Array);
      for (const one of Object.values(c.numbers)) one.values = unpack(one.values, Float32Array);
    }
    for (const view of data.views) {
      for (const name of ["chips", "x", "y", "near"]) view[name] = unpack(view[name], Uint16Array);
      view.cosines = unpack(view.cosines, Int16Array);
    }
    this.scatter = new Plot(this.part("scatter"), { point: (k) => this.point(k), pick: (k) => this.pick(k) });
    this.map = new Plot(this.part("map"), {
      point: (k) => this.point(k < 0 ? k : this.rowOf[k]), pick: (k) => this.pick(this.rowOf[k]),
    }, true);
    this.tip = make("div", { className: "tip", hidden: true });
    this.part("scatter").append(this.tip);
    this.chooseView();
    this.part("body").hidden = false;
    const labelled = (v) => Object.keys(this.data.collections[v.collection].numbers).length;
    this.open(data.views.find(labelled) ?? data.views[0]);
  }

  get about() { return this.data.collections[this.view.collection]; }

  chooseView() {
    const views = this.data.views, bar = this.part("choices");
    const of = (v) => `${v.name} on ${this.data.collections[v.collection].title}`;
    const names = [...new Set(views.map(of))];
    const first = choice("encoder and chips", names.map((name) => [name, name]), (name) => {
      this.open(views.find((v) => of(v) === name));
    });
    this.names = { select: first.select, of };
    this.features = choice("features", [], (modality) => {
      this.open(views.find((v) => of(v) === first.select.value && v.modality === modality));
    });
    this.fillFeatures = () => {
      const modalities = views.filter((v) => of(v) === first.select.value).map((v) => v.modality);
      this.features.select.replaceChildren(...modalities.map((m) => new Option(m === "concat" ? "all together" : m, m)));
      this.features.select.value = this.view.modality;
    };
    this.own = make("div", { className: "filters" });
    bar.append(first.label, this.features.label);
    bar.after(this.own);
  }

  open(view) {
    const other = this.view?.collection !== view.collection;
    const chip = this.view && !other && this.picked >= 0 ? this.view.chips[this.picked] : -1;
    this.view = view;
    this.names.select.value = this.names.of(view);
    this.fillFeatures();
    if (other) this.chooseWithin();
    const up = Float32Array.from(view.y, (v) => v);
    this.places = { x: Float32Array.from(view.x, (v) => v), y: up };
    const about = this.about;
    this.lay(about, view);
    this.marks = [];
    this.rowOf = Uint16Array.from(view.chips, (_, k) => k);
    this.recolour();
    const test = about.classes.split.names.indexOf("test");
    const again = view.chips.indexOf(chip);
    const begin = view.chips.findIndex((c) => about.classes.split.codes[c] === test);
    this.pick(again >= 0 ? again : Math.max(begin, 0));
  }

  // What colours the chips, and which of them are shown: as the labels of the collection allow.
  chooseWithin() {
    const { classes, numbers } = this.about;
    const all = [...Object.entries(classes), ...Object.entries(numbers)];
    const best = Object.keys(numbers)[0] ?? Object.keys(classes).find((name) => name !== "split") ?? "split";
    this.colour = best;
    this.wanted = new Map();
    const colour = choice("colour", all.map(([name, one]) => [name, one.title]), (name) => {
      this.colour = name;
      this.recolour();
    });
    colour.select.value = best;
    const filters = Object.entries(classes).filter(([, one]) => one.names.length > 1).map(([name, one]) => {
      const entries = [["", "all"], ...one.names.map((value, k) => [k, value || "not known"])];
      return choice(`only ${one.title}`, entries, (value) => {
        this.wanted.set(name, value);
        this.recolour();
      }).label;
    });
    this.count = make("output");
    this.own.replaceChildren(colour.label, ...filters, this.count);
  }

  // Chips of images without a place on Earth have no map.
  lay(about, view) {
    this.part("ground").hidden = !about.lat;
    this.ground = null;
    if (!about.lat) return;
    const narrow = Math.cos((about.lat.reduce((a, b) => a + b, 0) / about.lat.length) * (Math.PI / 180));
    this.ground = {
      x: Float32Array.from(view.chips, (c) => about.lon[c] * narrow), y: Float32Array.from(view.chips, (c) => about.lat[c]),
    };
    this.map.narrow = narrow;
  }

  recolour() {
    const { view, about } = this, n = view.chips.length, one = about.classes[this.colour];
    const shown = new Uint8Array(n).fill(1);
    for (const [name, value] of this.wanted) {
      if (value === "") continue;
      const codes = about.classes[name].codes;
      for (let k = 0; k < n; k++) if (codes[view.chips[k]] !== +value) shown[k] = 0;
    }
    const code = new Uint8Array(n);
    const key = this.part("key");
    if (one) {
      for (let k = 0; k < n; k++) code[k] = one.codes[view.chips[k]];
      this.colours = () => classInk(one.names);
      const paintKey = () => key.replaceChildren(...one.names.map((name, k) => make("span", {},
        make("i", { style: `background:${this.colours()[k]}` }), name || "not known")));
      paintKey();
      this.rekey = paintKey;
    } else {
      const { values, title } = about.numbers[this.colour];
      const known = Float32Array.from(view.chips, (c) => values[c]).filter((v) => !Number.isNaN(v)).sort();
      const [low, high] = known.length ? [known[0], known[Math.floor((known.length - 1) * 0.98)]] : [0, 1];
      for (let k = 0; k < n; k++) {
        const v = values[view.chips[k]];
        code[k] = Number.isNaN(v) ? STEPS : Math.max(0, Math.min(STEPS - 1, Math.floor(((v - low) / Math.max(high - low, 1e-9)) * STEPS)));
      }
      this.colours = () => [...valueColours(), ink("rule")];
      this.rekey = () => key.replaceChildren(ramp(low, high, title));
      this.rekey();
    }
    this.count.textContent = `${shown.reduce((a, b) => a + b, 0).toLocaleString("en")} of ${n.toLocaleString("en")} chips`;
    const half = n > 4000 ? 1.5 : n > 800 ? 2 : 3;
    this.scatter.half = half;
    this.map.half = 2;
    const common = { code, shown, colours: () => this.colours(), marks: this.marks };
    this.scatter.show({ ...this.places, ...common });
    if (this.ground) this.map.show({ ...this.ground, ...common });
  }

  sheet(name, k) {
    const id = `sheet-${name}-${k}`;
    if (!this.sheets.has(id)) {
      const image = new Image();
      image.src = document.getElementById(id).textContent.trim();
      this.sheets.set(id, image.decode().then(() => image));
    }
    return this.sheets.get(id);
  }

  // A chip's picture; where the sheet is not decoded yet it comes a moment later.
  picture(chip, className) {
    const { side } = this.about, across = this.data.across;
    const canvas = make("canvas", { width: side, height: side, className });
    canvas.setAttribute("aria-hidden", "true");
    const at = chip % across ** 2;
    this.sheet(this.view.collection, Math.floor(chip / across ** 2)).then((sheet) => {
      const left = (at % across) * side, top = Math.floor(at / across) * side;
      canvas.getContext("2d").drawImage(sheet, left, top, side, side, 0, 0, side, side);
      canvas.dataset.drawn = "";
    });
    return canvas;
  }

  facts(chip) {
    const { classes, numbers, blocks, shows } = this.about;
    const named = Object.values(classes).map((one) => [one.title, one.names[one.codes[chip]]]);
    const counted = Object.values(numbers).map((one) => [one.title, one.values[chip]])
      .filter(([, v]) => !Number.isNaN(v)).map(([title, v]) => [title, +v.toPrecision(3)]);
    const picture = shows.names[shows.codes[chip]];
    return [...named, ["block", blocks.names[blocks.codes[chip]]], ...counted, ["picture", picture]].filter(([, v]) => v !== "");
  }

  point(k) {
    this.scatter.at = k;
    this.scatter.ring();
    const tip = this.tip;
    tip.hidden = k < 0;
    if (k < 0) return;
    const chip = this.view.chips[k], one = this.about.classes[this.colour] ?? this.about.numbers[this.colour];
    const value = one.codes ? one.names[one.codes[chip]] || "not known" : +one.values[chip].toPrecision(3);
    tip.replaceChildren(this.picture(chip, "shot"), make("span", {}, `${one.title}: ${Number.isNaN(value) ? "not known" : value}`));
    const x = this.scatter.toX(this.places.x[k]), y = this.scatter.toY(this.places.y[k]);
    const { clientWidth, clientHeight } = this.part("scatter");
    tip.style.left = `${Math.max(0, Math.min(x + 14, clientWidth - 124))}px`;
    tip.style.top = `${y + 14 + 150 > clientHeight ? Math.max(0, y - 160) : y + 14}px`;
    this.say(`${this.about.ids[chip]}: ${this.facts(chip).map(([a, b]) => `${a} ${b}`).join(", ")}. Enter shows its neighbours.`);
  }

  say(text) { this.part("said").textContent = text; }

  pick(k) {
    const { view, about } = this;
    if (!(k >= 0 && k < view.chips.length)) return;
    this.picked = k;
    const chip = view.chips[k];
    const near = [...view.near.subarray(k * view.k, (k + 1) * view.k)];
    const found = near.map((row, order) => ({ row, order, cosine: view.cosines[k * view.k + order] / 1e4 }))
      .filter(({ row }) => row < view.chips.length);
    this.marks = [k, ...found.map(({ row }) => row)];
    for (const plot of this.ground ? [this.scatter, this.map] : [this.scatter]) {
      plot.marks = this.marks;
      plot.ring();
    }
    const list = make("p", {}, ...this.facts(chip).map(([name, value]) => make("span", {}, `${name}: `, make("b", {}, String(value)))));
    const title = make("h3", {}, "Chip ", make("code", {}, about.ids[chip]));
    this.part("chip").replaceChildren(this.picture(chip, "shot large"), make("div", {}, title, list));
    this.part("near").replaceChildren(...found.map(({ row, cosine }) => {
      const other = view.chips[row];
      const away = about.lat ? ` ${ground(about, chip, other)} away,` : "";
      const words = `cosine ${cosine.toFixed(3)},${away} ${about.classes.split.names[about.classes.split.codes[other]]}`;
      const button = make("button", { type: "button", title: about.ids[other] }, this.picture(other, "shot"), make("span", {}, words));
      button.addEventListener("click", () => { this.pick(row); this.part("near").querySelector("button")?.focus(); });
      return make("li", {}, button);
    }));
    this.say(`${about.ids[chip]} and its ${found.length} nearest chips.`);
  }
}

function ground(about, a, b) {
  const rad = Math.PI / 180, [p, q] = [about.lat[a] * rad, about.lat[b] * rad];
  const h = Math.sin((p - q) / 2) ** 2 + Math.cos(p) * Math.cos(q) * Math.sin(((about.lon[a] - about.lon[b]) * rad) / 2) ** 2;
  const km = 12742 * Math.asin(Math.min(1, Math.sqrt(h)));
  return km < 10 ? `${km.toFixed(1)} km` : `${Math.round(km).toLocaleString("en")} km`;
}

function ramp(low, high, title) {
  const text = (v) => (v && Math.abs(v) < 1e-3 ? v.toExponential(0) : String(+v.toPrecision(2)));
  const bar = make("i", { className: "ramp", style: `background:linear-gradient(to right,${valueColours().join(",")})` });
  return make("span", {}, `${title}: ${text(low)}`, bar, `${text(high)} or more`);
}

{
  const root = document.getElementById("explorer");
  if (root) onSight(root, () => {
    const explorer = new Explorer(root);
    DARK.addEventListener("change", () => explorer.rekey());
  });
}
