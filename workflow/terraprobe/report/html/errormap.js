"use strict";
// Blocks of a collection on the map, by split, by region or by the share of wrong calls.

class ErrorMap {
  constructor(root) {
    const data = JSON.parse(document.getElementById("errors-data").textContent);
    Object.assign(this, { root, data });
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    for (const c of Object.values(data.collections)) {
      c.bounds = unpack(c.bounds, Float32Array);
      c.counts = unpack(c.counts, Uint32Array);
      for (const one of [c.split, c.region]) one.codes = unpack(one.codes, Uint16Array);
    }
    for (const call of data.calls) {
      call.block = unpack(call.block, Uint16Array);
      call.wrong = unpack(call.wrong, Float32Array);
      call.judged = unpack(call.judged, Float32Array);
    }
    this.plot = new Plot(this.part("blocks"), { point: (k) => this.tell(k), pick: (k) => this.tell(k) }, true);
    this.plot.half = 3;
    const titles = data.order.map((name) => [name, `${data.collections[name].title} (${data.collections[name].kind})`]);
    this.where = choice("collection", titles, () => this.open());
    const judged = data.order.find((name) => data.calls.some((call) => call.collection === name));
    this.where.select.value = judged ?? data.order[0];
    this.own = make("div", { className: "filters" });
    this.part("choices").append(this.where.label, this.own);
    this.part("body").hidden = false;
    this.open();
  }

  get about() { return this.data.collections[this.where.select.value]; }

  open() {
    const about = this.about, calls = this.data.calls.filter((call) => call.collection === this.where.select.value);
    const asked = [...new Set(calls.map((call) => call.asked))];
    const ways = [...(asked.length ? [["errors", "errors of an encoder"]] : []), ["split", "split"],
      ...(about.region.names.length > 1 ? [["region", "region"]] : [])];
    this.colour = choice("colour", ways, () => this.paint());
    this.asked = choice("evaluation", asked.map((a) => [a, a]), () => this.fill(calls));
    this.by = choice("called by", [], () => this.paint());
    this.own.replaceChildren(this.colour.label, ...(asked.length ? [this.asked.label, this.by.label] : []));
    const b = about.bounds, n = about.blocks.length;
    let middle = 0;
    for (let k = 0; k < n; k++) middle += (b[4 * k + 1] + b[4 * k + 3]) / 2 / n;
    const narrow = Math.cos((middle * Math.PI) / 180);
    this.plot.narrow = narrow;
    const boxes = Float32Array.from(b, (v, k) => (k % 2 ? v : v * narrow));
    const mid = (side) => Float32Array.from({ length: n }, (_, k) => (boxes[4 * k + side] + boxes[4 * k + side + 2]) / 2);
    this.places = { x: mid(0), y: mid(1), boxes };
    this.fill(calls);
  }

  fill(calls) {
    const own = calls.filter((call) => call.asked === this.asked.select.value);
    this.by.select.replaceChildren(...own.map((call, k) => new Option(call.by, k)));
    const again = own.findIndex((call) => call.by === this.named);
    this.by.select.value = String(Math.max(again, 0));
    this.calls = own;
    this.paint();
  }

  get call() {
    return this.colour.select.value === "errors" ? this.calls[+this.by.select.value] : undefined;
  }

  paint() {
    const about = this.about, n = about.blocks.length, call = this.call, key = this.part("key");
    for (const one of [this.asked, this.by]) one.select.disabled = this.colour.select.value !== "errors";
    const code = new Uint8Array(n), shown = new Uint8Array(n).fill(1);
    let colours, top = 1;
    if (call) {
      this.named = call.by;
      top = Math.max(0.1, Math.ceil(Math.max(...call.wrong) * 10) / 10);
      call.block.forEach((k, i) => { code[k] = 1 + Math.min(STEPS - 1, Math.floor((call.wrong[i] / top) * STEPS)); });
      colours = () => [ink("rule"), ...valueColours()];
    } else {
      const one = about[this.colour.select.value];
      one.codes.forEach((value, k) => { code[k] = value; });
      colours = () => classInk(one.names);
    }
    this.rekey = () => {
      const swatch = (colour, name) => make("span", {}, make("i", { style: `background:${colour}` }), name);
      const one = about[this.colour.select.value];
      key.replaceChildren(...(call
        ? [percent(top), swatch(ink("rule"), "no test chips")]
        : one.names.map((name, k) => swatch(colours()[k], name || "not known"))));
    };
    this.rekey();
    this.plot.show({ ...this.places, code, shown, colours, marks: [] });
    this.list();
    this.tell(-1);
  }

  // The blocks with the most wrong calls, to go to without a pointer.
  list() {
    const call = this.call, worst = this.part("worst"), about = this.about;
    worst.hidden = !call;
    if (!call) return;
    const order = [...call.wrong.keys()].sort((a, b) => call.wrong[b] - call.wrong[a] || a - b).slice(0, 6);
    this.part("list").replaceChildren(...order.map((i) => {
      const words = `${about.blocks[call.block[i]]}: ${(100 * call.wrong[i]).toFixed(0)} % wrong`;
      const button = make("button", { type: "button" }, words);
      button.addEventListener("click", () => {
        this.plot.marks = [call.block[i]];
        this.plot.ring();
        this.tell(call.block[i]);
      });
      return make("li", {}, button);
    }));
  }

  tell(k) {
    const about = this.about, call = this.call, said = this.part("said");
    if (k < 0) {
      said.textContent = call
        ? `${call.by}: ${(100 * call.share).toFixed(1)} % of its calls on test chips are wrong, over ${call.block.length} blocks.`
        : `${about.blocks.length} blocks.`;
      return;
    }
    const counts = about.splits.map((name, s) => [about.counts[k * about.splits.length + s], name]).filter(([count]) => count);
    const region = about.region.names[about.region.codes[k]];
    const at = call ? call.block.indexOf(k) : -1;
    const wrong = at < 0 ? "" : `; ${(100 * call.wrong[at]).toFixed(0)} % of ${call.judged[at].toLocaleString("en")} calls are wrong`;
    said.textContent = `${about.blocks[k]}${region ? `, ${region}` : ""}: ${counts.map(([c, name]) => `${c} ${name}`).join(", ")} chips${wrong}.`;
  }
}

function percent(top) {
  const bar = make("i", { className: "ramp", style: `background:linear-gradient(to right,${valueColours().join(",")})` });
  return make("span", {}, "wrong: 0 %", bar, `${Math.round(100 * top)} %`);
}

{
  const root = document.getElementById("errormap");
  if (root) onSight(root, () => {
    const map = new ErrorMap(root);
    DARK.addEventListener("change", () => map.rekey());
  });
}
