"use strict";
const file = JSON.parse(document.getElementById("snapshot").textContent);
const PAGE = file.snapshot.heap.page_bytes, HUGE = 2 << 20;
const byId = id => document.getElementById(id);
const make = (name, attributes = {}, text) => {
  const svg = ["svg", "rect", "text", "title", "g"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const amount = bytes => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0, scaled = bytes;
  while (Math.abs(scaled) >= 1023.95 && unit < 4) { scaled /= 1024; unit++; }
  return (unit ? scaled.toFixed(1) : scaled) + " " + units[unit];
};
// Tables are written as pairs of index and entry.
const classes = file.snapshot.classes.classes.map(([index, figures]) => ({ index, ...figures }));
const sizes = new Map(classes.map(c => [c.index, c.object_bytes]));
// As people name them.
const sizeName = bytes => bytes >= 4096 && bytes % 1024 === 0 ? bytes / 1024 + " KiB" : bytes + " B";
const inUse = c => Math.max(0, c.objects_out - c.per_cpu_objects - c.thread_objects - c.transfer_objects);

// ---- The ledger as areas ----
const COLOURS = { in_use: "#6fae6f", free: "#e0b45c", metadata: "#b58fd0", released: "#9db7cf", never_used: "#c9ccd1" };
const PARTS = { in_use: "in use by the program", free: "free", metadata: "metadata", released: "released",
  never_used: "never used" };
function tree() {
  const byClass = (part, count) => classes.map(c => ({ name: sizeName(c.object_bytes), part,
    bytes: count(c) * c.object_bytes, note: count(c) + " objects" })).filter(leaf => leaf.bytes > 0);
  const rest = (name, part, bytes, parts) => {
    const left = bytes - parts.reduce((sum, leaf) => sum + leaf.bytes, 0);
    return left > 0 ? [...parts, { name, part, bytes: left }] : parts;
  };
  const details = {
    "in use by the application": line => rest("large blocks", line.part, line.bytes, byClass(line.part, inUse)),
    "central free lists": line => rest("ends of spans", line.part, line.bytes, byClass(line.part, c => c.central_objects)),
    "per-CPU caches": line => byClass(line.part, c => c.per_cpu_objects),
    "thread caches": line => byClass(line.part, c => c.thread_objects),
    "transfer caches": line => byClass(line.part, c => c.transfer_objects),
  };
  const parts = Object.keys(PARTS).map(part => {
    const children = file.ledger.filter(line => line.part === part && line.bytes > 0).map(line => ({
      name: line.category, part, bytes: line.bytes, children: details[line.category]?.(line) }));
    return { name: PARTS[part], part, bytes: children.reduce((sum, child) => sum + child.bytes, 0), children };
  });
  return { name: "mapped", bytes: parts.reduce((sum, part) => sum + part.bytes, 0), children: parts };
}
// Squarified treemaps (Bruls, Huizing, van Wijk 2000): rows along the shorter side, as long as aspects get better.
function squarify(items, x, y, width, height, place) {
  let rest = items.filter(item => item.bytes > 0).sort((a, b) => b.bytes - a.bytes);
  let sum = rest.reduce((all, item) => all + item.bytes, 0);
  while (rest.length && sum > 0 && width > 0 && height > 0) {
    const side = Math.min(width, height), scale = width * height / sum;
    let row = [], area = 0, worst = Infinity;
    for (const item of rest) {
      const next = area + item.bytes * scale, thick = next / side;
      const aspects = [...row, item].map(it => { const long = it.bytes * scale / thick;
        return Math.max(long / thick, thick / long); });
      const now = Math.max(...aspects);
      if (row.length && now > worst) break;
      row.push(item); area = next; worst = now;
    }
    const thick = area / side;
    let at = 0;
    for (const item of row) {
      const long = item.bytes * scale / thick;
      if (width >= height) place(item, x, y + at, thick, long); else place(item, x + at, y, long, thick);
      at += long; sum -= item.bytes;
    }
    if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
    rest = rest.slice(row.length);
  }
}
// Nested as deep as there is room: parts, categories, classes. What lies in an area belongs to it.
const SMALLEST = 22, DEEPEST = 3;
function drawAreas(path) {
  const node = path[path.length - 1], svg = byId("areas"), nav = byId("area-path"), wide = 1040, high = 480;
  nav.replaceChildren(...path.map((step, depth) => {
    const button = make("button", {}, step.name + ": " + amount(step.bytes));
    button.onclick = () => drawAreas(path.slice(0, depth + 1));
    return button;
  }));
  if (path.length === 1) for (const [name, whole] of Object.entries(trees)) if (whole !== node) {
    const other = make("button", { class: "other" }, "show " + name + ": " + amount(whole.bytes));
    other.onclick = () => drawAreas([whole]); nav.append(other);
  }
  svg.replaceChildren(); svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  const say = text => { byId("area-figures").textContent = text; };
  say("");
  const box = (item, way, x, y, width, height, depth) => {
    const has = item.children?.length, group = make("g");
    const rect = make("rect", { x, y, width: Math.max(0, width - 1), height: Math.max(0, height - 1),
      fill: COLOURS[item.part] || "#aaa", "fill-opacity": [.35, .6, .95, 1][Math.min(3, depth + (has ? 0 : 1))],
      class: has ? "parent" : "leaf" });
    const share = (100 * item.bytes / node.bytes).toFixed(1) + " % of " + node.name;
    rect.append(make("title", {}, item.name + ": " + amount(item.bytes) + (item.note ? ", " + item.note : "")));
    rect.onmouseenter = () => say([...way.slice(1), item].map(step => step.name).join(" › ") + ": " + amount(item.bytes) +
      (item.note ? ", " + item.note : "") + ", " + share);
    rect.onclick = () => drawAreas(has ? [...way, item] : way);
    group.append(rect); svg.append(group);
    const nests = has && depth < DEEPEST && height > 2 * SMALLEST && width > 2 * SMALLEST;
    const fits = Math.floor((width - 8) / 6.4), whole = item.name + " " + amount(item.bytes);
    if (height > 15 && (nests ? fits > 3 : fits >= Math.min(12, whole.length, item.name.length)))
      group.append(make("text", { x: x + 4, y: y + 12.5 }, whole.length <= fits ? whole : item.name.length <= fits ? item.name :
        item.name.slice(0, fits - 1) + "…"));
    if (nests) squarify(item.children, x + 3, y + 17, width - 7, height - 21,
      (child, cx, cy, w, h) => box(child, [...way, item], cx, cy, w, h, depth + 1));
  };
  squarify(node.children || [], 0, 0, wide, high, (item, x, y, w, h) => box(item, path, x, y, w, h, path.length > 1 ? 1 : 0));
}
// What has memory first: address space is large, and costs nothing.
const trees = (() => {
  const all = tree(), has = all.children.filter(part => ["in_use", "free", "metadata"].includes(part.part));
  const memory = { name: "memory", bytes: has.reduce((sum, part) => sum + part.bytes, 0), children: has };
  return { memory, "address space": { ...all, name: "address space" } };
})();
drawAreas([trees.memory]);

// ---- The heap map ----
const POPULATIONS = { whole: "#7f8c99", sparse: "#4a7bd0", dense: "#3f9b6c", donated: "#d08a3f", region: "#9a6fc4" };
const mix = (share, from, to) => "rgb(" + from.map((c, i) => Math.round(c + (to[i] - c) * share)).join() + ")";
function drawMap() {
  if (!file.map) { byId("map-section").append(make("p", {}, "This snapshot has no map (snapshot_detail:figures).")); return; }
  const cells = [];
  for (const run of file.map) {
    const many = run.hugepages;
    for (let i = 0; i < many; i++) cells.push({ address: run.address + i * HUGE, shared: run.shared_by, run,
      used: run.used_pages / many, unbacked: run.unbacked_pages / many, resident: run.resident_bytes / many,
      huge: run.huge_bytes / many, swapped: run.swapped_bytes / many, spans: run.spans });
  }
  const perHuge = HUGE / PAGE, isVoid = cell => !cell.used && !cell.resident && !cell.swapped;
  const views = {
    fullness: { legend: [["#f3e3b3", "few pages in spans"], ["#1f6f43", "all pages in spans"], ["#d9dbdf", "nothing there"]],
      colour: cell => isVoid(cell) ? "#d9dbdf" : mix(cell.used / perHuge, [243, 227, 179], [31, 111, 67]) },
    population: { legend: Object.entries(POPULATIONS).map(([name, colour]) => [colour, name === "whole" ?
      "whole: large blocks, or free" : name]).concat([["#d9dbdf", "nothing there"]]),
      colour: cell => isVoid(cell) ? "#d9dbdf" : POPULATIONS[cell.shared] || "#000" },
    backing: { legend: [["#b03a48", "on a hugepage"], ["#e9b9a0", "on small pages, all of it"],
      ["#f7efe9", "on small pages, little"], ["#5b4b8a", "swapped"], ["#d9dbdf", "nothing there"]],
      colour: cell => cell.swapped ? "#5b4b8a" : cell.huge ? "#b03a48" : cell.resident ?
        mix(cell.resident / HUGE, [247, 239, 233], [233, 185, 160]) : "#d9dbdf" },
  };
  // Whole pixels a cell, as large as they fit on half a screen.
  const canvas = byId("map"), wide = Math.max(320, Math.min(1040, byId("map-section").clientWidth || 1040));
  let size = 24;
  while (size > 4 && Math.ceil(cells.length / Math.floor(wide / size)) * size > 420) size--;
  const columns = Math.floor(wide / size);
  canvas.width = columns * size; canvas.height = Math.max(1, Math.ceil(cells.length / columns)) * size;
  let shown = "fullness", chosen;
  const paint = name => {
    shown = name;
    const view = views[name], context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    cells.forEach((cell, i) => { context.fillStyle = view.colour(cell);
      context.fillRect(i % columns * size, Math.floor(i / columns) * size, size - 1, size - 1); });
    const at = cells.indexOf(chosen);
    if (at >= 0) { context.strokeStyle = "#d03a3a"; context.lineWidth = 2;
      context.strokeRect(at % columns * size, Math.floor(at / columns) * size, size - 1, size - 1); }
    byId("map-legend").replaceChildren(...view.legend.map(([colour, text]) => {
      const entry = make("span"); entry.append(make("i", { style: "background:" + colour }), text); return entry; }));
    for (const button of byId("map-choice").children) button.className = button.textContent === name ? "on" : "";
  };
  const total = (what, of) => { const count = cells.filter(of).length; return count ? count + " " + what : ""; };
  byId("map-sums").textContent = [cells.length + " hugepages reserved", total("with pages in spans", cell => cell.used > 0),
    total("with memory", cell => cell.resident > 0), total("backed by a hugepage", cell => cell.huge > 0),
    total("given back in part", cell => cell.unbacked > 0 && cell.used > 0), total("swapped", cell => cell.swapped > 0)]
    .filter(Boolean).join(", ");
  byId("map-choice").replaceChildren(...Object.keys(views).map(name => {
    const button = make("button", {}, name); button.onclick = () => paint(name); return button; }));
  paint("fullness");
  const cellAt = event => { const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
    const x = Math.floor((event.clientX - box.left) * scale / size), y = Math.floor((event.clientY - box.top) * scale / size);
    return x < columns ? cells[y * columns + x] : undefined; };
  const describe = cell => "0x" + cell.address.toString(16) + ": " + cell.shared + ", " + Math.round(cell.used) + " of " +
    perHuge + " pages in spans, " + cell.spans.length + " spans; in memory " + amount(cell.resident) +
    (cell.huge ? ", on a hugepage" : "") + (cell.unbacked ? ", " + Math.round(cell.unbacked) + " pages given back" : "") +
    (cell.swapped ? ", swapped " + amount(cell.swapped) : "");
  canvas.onmousemove = event => { const cell = cellAt(event); byId("map-figures").textContent = cell ? describe(cell) : ""; };
  const choose = cell => { chosen = cell; paint(shown); zoom(cell, describe(cell)); };
  canvas.onclick = event => { const cell = cellAt(event); if (cell) choose(cell); };
  const richest = cells.reduce((best, cell) => cell.spans.length > (best?.spans.length ?? 0) ? cell : best, undefined);
  if (richest) choose(richest);
}
const hue = index => index ? "hsl(" + index * 47 % 360 + " 55% 62%)" : "#8b97a3";
function zoom(cell, words) {
  const columns = 64, perHuge = HUGE / PAGE, width = 1024, side = width / columns, rows = Math.ceil(perHuge / columns);
  const svg = make("svg", { viewBox: `0 0 ${width} ${rows * side}`, role: "img", "aria-label": "Pages of a hugepage" });
  const said = make("p", { class: "hint figures" }, "Point at a span for its figures.");
  for (let page = 0; page < perHuge; page++) svg.append(make("rect", { x: page % columns * side, y:
    Math.floor(page / columns) * side, width: side - 1, height: side - 1, fill: cell.spans.length || cell.used < 1 ?
      "#8882" : "#8b97a3" }));
  for (const [first, pages, index, objects] of cell.spans) {
    const object = sizes.get(index), room = object ? Math.floor(pages * PAGE / object) : 1;
    const text = object ? `span of ${pages} pages, objects of ${object} bytes: ${objects} of ${room} out`
      : `large block: ${pages} pages here`;
    for (let page = first; page < first + pages && page < perHuge; page++) {
      const rect = make("rect", { x: page % columns * side, y: Math.floor(page / columns) * side,
        width: side - (page + 1 < first + pages ? 0 : 1), height: side - 1, fill: hue(index),
        "fill-opacity": object ? .3 + .7 * Math.min(1, objects / Math.max(1, room)) : 1 });
      rect.onmouseenter = () => { said.textContent = text; };
      rect.append(make("title", {}, text)); svg.append(rect);
    }
  }
  const seen = [...new Set(cell.spans.map(span => span[2]))].sort((a, b) => a - b);
  const legend = make("p", { class: "hint" });
  for (const index of seen) { const entry = make("span"); entry.append(make("i", { style: "background:" + hue(index) +
    ";display:inline-block;width:11px;height:11px;margin:0 4px 0 10px" }), sizes.get(index) ? sizeName(sizes.get(index)) :
    "large"); legend.append(entry); }
  byId("zoom").replaceChildren(make("h3", {}, "Pages of " + words), svg, said, legend,
    make("p", { class: "hint" }, "A cell is a page. Paler: fewer objects of the span are out. Grey: free."));
}
drawMap();

// ---- Size classes ----
(function () {
  const table = make("table"), head = make("tr");
  for (const name of ["objects of", "in use", "", "free in caches", "free in spans", "spans", "filled"]) head.append(make("th", {}, name));
  const thead = make("thead"); thead.append(head); table.append(thead);
  const rows = classes.filter(c => c.objects_out || c.spans);
  const most = Math.max(1, ...rows.map(c => inUse(c) * c.object_bytes));
  for (const c of rows) {
    const row = make("tr"), held = inUse(c) * c.object_bytes, bar = make("td", { style: "text-align:left;width:140px" });
    bar.append(make("span", { class: "bar", style: `width:${Math.round(130 * held / most)}px` }));
    const cached = (c.per_cpu_objects + c.thread_objects + c.transfer_objects) * c.object_bytes;
    const room = c.live_pages * PAGE;
    row.append(make("td", {}, sizeName(c.object_bytes)), make("td", {}, amount(held)), bar, make("td", {}, amount(cached)),
      make("td", {}, amount(c.central_objects * c.object_bytes)), make("td", {}, c.spans),
      make("td", {}, room ? (100 * held / room).toFixed(1) + " %" : ""));
    table.append(row);
  }
  byId("classes").append(table);
})();

// ---- Histograms ----
function chart(title, bars) {
  const shown = bars.filter(([, count]) => count > 0);
  if (!shown.length) return null;
  const box = make("div", { class: "chart" }), svg = make("svg", { viewBox: "0 0 320 130" });
  const most = Math.max(...bars.map(([, count]) => count)), wide = 310 / bars.length;
  bars.forEach(([label, count], i) => {
    const height = 88 * count / most;
    const rect = make("rect", { x: 5 + i * wide, y: 105 - height, width: Math.max(1, wide - 1), height, fill: "#4a7bd0" });
    rect.append(make("title", {}, label + ": " + count)); svg.append(rect);
    if (i % Math.ceil(bars.length / 8) === 0) svg.append(make("text", { x: 5 + i * wide, y: 120 }, label));
  });
  svg.append(make("text", { x: 5, y: 10 }, "most: " + most));
  box.append(make("b", {}, title), svg);
  return box;
}
(function () {
  const charts = [], temeraire = file.page_heap?.temeraire, legacy = file.page_heap?.legacy;
  if (temeraire) {
    const pages = HUGE / PAGE, names = ["sparse", "dense", "donated", "sparse, partly given back", "dense, partly given back",
      "sparse, given back", "dense, given back"];
    // The bounds of the page heap's buckets: 0 to 8, sixteenths of a hugepage, the last eight numbers.
    const bounds = []; let bound = 0;
    for (let i = 0; i < 32; i++) {
      const wanted = i < 9 ? i : i < 24 ? Math.floor((i - 8) * pages / 16) : Math.max(0, pages - (32 - i));
      bound = Math.min(Math.max(bound, wanted), Math.max(0, pages - 1)); bounds.push(bound);
    }
    temeraire.filler.fullness.forEach((fullness, i) => {
      charts.push(chart(names[i] + " hugepages by free pages", fullness.free_pages.counts.map((n, b) => ["≥" + bounds[b], n])));
      charts.push(chart(names[i] + " hugepages by longest free range",
        fullness.longest_free_range.counts.map((n, b) => ["≥" + bounds[b], n])));
    });
  }
  const lengths = (temeraire?.spans ?? legacy)?.by_length;
  if (lengths) charts.push(chart("free runs by pages", lengths.map(([length, n]) => [length, n.backed + n.unmapped])));
  const ages = (temeraire ?? legacy)?.ages;
  const columns = ["<1s", "1s", "30s", "1m", "30m", "1h", "8+h"];
  if (ages) for (const [name, kind] of [["live", "backed"], ["unmapped", "given back"]])
    charts.push(chart("free pages, " + kind + ", by how long", ages[name].total.pages.map((n, i) => [columns[i], n])));
  const drawn = charts.filter(Boolean);
  if (drawn.length) byId("histograms").append(...drawn);
  else byId("histograms").append(make("p", { class: "hint" }, "This page heap has none."));
})();
// Figures with their units, where scripts run.
for (const cell of document.querySelectorAll("#ledger td")) {
  cell.title = cell.textContent + " bytes"; cell.textContent = amount(Number(cell.textContent));
}
