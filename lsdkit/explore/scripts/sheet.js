// Faces on a sheet, a page at a time. An album keeps the thumbnails that were asked for; a sheet draws those in sight.

const PAGE = 48; // faces on a page
const CHUNK = 48; // faces asked for at a time, ahead of their being looked at
const KEPT = 8000; // thumbnails kept, 17 KB each
const QUIET = 300; // milliseconds without a question before faces are fetched ahead

// Thumbnails and landmarks by row: `get(rows)` fetches what is missing, `ahead(rows)` does so while nothing else waits.
function album(page) {
  const kept = new Map();
  let waiting = []; // rows to fetch ahead
  let asking = 0;
  let asked = 0; // when someone last looked at faces that were not there
  let running = false;
  const fetchRows = async (rows) => {
    asking += 1;
    try {
      const { content, buffers } = await page.ask("thumbnails", { rows });
      const points = numbers(buffers[1]);
      const bytes = new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength);
      const each = content.size * content.size * 3;
      rows.forEach((row, place) => {
        const picture = new ImageData(content.size, content.size);
        for (let to = 0, from = place * each; to < picture.data.length; to += 4, from += 3) {
          picture.data[to] = bytes[from];
          picture.data[to + 1] = bytes[from + 1];
          picture.data[to + 2] = bytes[from + 2];
          picture.data[to + 3] = 255;
        }
        kept.set(row, { picture, points: points.subarray(136 * place, 136 * (place + 1)), parts: content.parts });
      });
      for (const row of kept.keys()) {
        if (kept.size <= KEPT) break;
        kept.delete(row); // the oldest first
      }
    } finally {
      asking -= 1;
    }
  };
  const run = async () => {
    running = true;
    while (waiting.length) {
      await new Promise((resolve) => setTimeout(resolve, 40));
      if (asking || performance.now() - asked < QUIET) continue; // someone is looking: let that come first
      waiting = waiting.filter((row) => !kept.has(row));
      if (waiting.length) await fetchRows(waiting.splice(0, CHUNK)).catch(() => (waiting = []));
    }
    running = false;
  };
  return {
    has: (row) => kept.has(row),
    at: (row) => kept.get(row),
    async get(rows) {
      const missing = [];
      for (const row of rows) {
        const found = kept.get(row);
        if (!found) missing.push(row);
        else if (kept.delete(row)) kept.set(row, found); // now the newest, the last to be forgotten
      }
      if (!missing.length) return;
      asked = performance.now();
      await fetchRows(missing);
    },
    ahead(rows) {
      waiting = [...rows, ...waiting].slice(0, KEPT);
      if (!running) run();
    },
  };
}

// A canvas with a thumbnail, and its landmarks where they are wanted.
function drawThumbnail(canvas, { picture, points, parts }, landmarks) {
  if (canvas.width !== picture.width) canvas.width = canvas.height = picture.width;
  const context = canvas.getContext("2d");
  context.putImageData(picture, 0, 0);
  if (landmarks) drawPoints(context, points, parts, picture.width);
}

// One face large, its landmarks and its record: `show(row)`; `extra` is an element below them.
function record(page, { landmarks = () => true, extra = "" } = {}) {
  const canvas = make("canvas", { width: 288, height: 288, style: { width: "288px" }, role: "img" });
  const table = make("table", { className: "lsdkit-record" });
  const pane = make("div", { className: "lsdkit-pane", hidden: true }, canvas, table, extra);
  let shown = null;
  const draw = () => {
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = true;
    context.drawImage(shown.picture, 0, 0, 288, 288);
    if (landmarks()) drawPoints(context, shown.points, shown.parts, 288);
  };
  pane.show = latest(async (row, parts) => {
    const { content, buffers } = await page.ask("face", { row });
    shown = { picture: unpack(buffers[0], 1, content.size)[0], points: numbers(buffers[1]), parts };
    const lines = content.record.map(([name, value]) => make("tr", {}, make("td", {}, name), make("td", {}, value)));
    table.replaceChildren(...lines);
    canvas.setAttribute("aria-label", content.record.map((pair) => pair.join(" ")).join(", "));
    pane.hidden = false;
    pane.dataset.row = row;
    draw();
    page.drawn();
  });
  pane.redraw = () => shown && draw();
  return pane;
}

// A sheet of faces with its pager. Arrow keys, Home, End, PageUp and PageDown move; Enter or a click opens a face; where
// faces can be chosen (`chosen`, a set of rows), Space or Ctrl-click marks one, and Shift marks all up to it.
// `caption(row)` gives {text, colour}. `show(rows)` shows other faces; `redraw()` the same ones.
function sheet(page, pictures, { caption, open, landmarks = () => false, chosen = null, changed = () => {} }) {
  let rows = new Int32Array(0);
  let start = 0; // first of the page
  let focus = 0; // place in `rows` of the one cell that Tab reaches
  let anchor = 0; // where a range begins
  let turn = 0;
  const cells = Array.from({ length: PAGE }, (_, place) => {
    const canvas = make("canvas", { width: 64, height: 64 });
    const bar = make("span", { className: "lsdkit-stripe" });
    const text = make("span");
    const cell = make("div", { className: "lsdkit-face", role: "option", tabIndex: -1 }, canvas, bar, text);
    cell.addEventListener("click", (event) => {
      move(start + place, event.shiftKey);
      if (chosen && (event.ctrlKey || event.metaKey)) mark([rows[focus]], !chosen.has(rows[focus]));
      else if (!event.shiftKey) open(rows[focus], pictures.at(rows[focus])?.parts);
    });
    return { cell, canvas, bar, text };
  });
  const grid = make("div", { className: "lsdkit-sheet", role: "listbox" }, ...cells.map((each) => each.cell));
  if (chosen) grid.setAttribute("aria-multiselectable", "true");
  const where = make("span", { className: "lsdkit-where" });
  const back = press("previous page", () => turnTo(start - PAGE));
  const on = press("next page", () => turnTo(start + PAGE));
  const all = make("div", { className: "lsdkit-sheets" }, make("div", { className: "lsdkit-controls" }, back, on, where), grid);

  const visible = () => rows.slice(start, start + PAGE);
  const draw = async () => {
    const mine = (turn += 1);
    const shown = visible();
    await pictures.get(shown);
    if (mine !== turn) return; // something else is wanted by now
    cells.forEach(({ cell, canvas, bar, text }, place) => {
      cell.hidden = place >= shown.length;
      if (cell.hidden) return;
      const row = shown[place];
      const said = caption(row);
      drawThumbnail(canvas, pictures.at(row), landmarks());
      text.textContent = said.text;
      bar.style.background = said.colour ?? "transparent";
      cell.setAttribute("aria-label", said.text);
      cell.title = said.title ?? said.text;
      cell.dataset.row = row;
      cell.setAttribute("aria-selected", String(Boolean(chosen?.has(row))));
      cell.tabIndex = start + place === focus ? 0 : -1;
    });
    where.textContent = rows.length ? `${start + 1} to ${start + shown.length} of ${rows.length.toLocaleString("en")}` : "no face";
    back.disabled = start === 0;
    on.disabled = start + PAGE >= rows.length;
    page.drawn();
    pictures.ahead([...rows.slice(start + PAGE, start + 2 * PAGE), ...rows.slice(Math.max(0, start - PAGE), start)]);
  };
  const turnTo = (to) => {
    start = Math.max(0, Math.min(to, PAGE * Math.floor(Math.max(0, rows.length - 1) / PAGE)));
    focus = Math.min(start, Math.max(0, rows.length - 1));
    return draw();
  };
  const mark = (which, whether) => {
    for (const row of which) whether ? chosen.add(row) : chosen.delete(row);
    for (const { cell } of cells) if (!cell.hidden) cell.setAttribute("aria-selected", String(chosen.has(Number(cell.dataset.row))));
    changed();
  };
  const move = async (to, extend) => {
    if (!rows.length) return;
    focus = Math.max(0, Math.min(to, rows.length - 1));
    if (extend && chosen) mark(rows.slice(Math.min(anchor, focus), Math.max(anchor, focus) + 1), true);
    else anchor = focus;
    const first = PAGE * Math.floor(focus / PAGE);
    if (first !== start) {
      start = first;
      await draw();
    }
    cells.forEach(({ cell }, place) => (cell.tabIndex = start + place === focus ? 0 : -1));
    cells[focus - start].cell.focus({ preventScroll: false });
  };
  const across = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const keys = {
    ArrowLeft: (extend) => move(focus - 1, extend),
    ArrowRight: (extend) => move(focus + 1, extend),
    ArrowUp: (extend) => move(focus - across(), extend),
    ArrowDown: (extend) => move(focus + across(), extend),
    Home: (extend) => move(0, extend),
    End: (extend) => move(rows.length - 1, extend),
    PageUp: (extend) => move(focus - PAGE, extend),
    PageDown: (extend) => move(focus + PAGE, extend),
    Enter: () => open(rows[focus], pictures.at(rows[focus])?.parts),
    " ": () => chosen && mark([rows[focus]], !chosen.has(rows[focus])),
  };
  grid.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || !rows.length) return;
    event.preventDefault();
    act(event.shiftKey);
  });
  return Object.assign(all, {
    show(given) {
      rows = given;
      focus = anchor = 0;
      return turnTo(0);
    },
    redraw: draw,
    mark,
    rows: () => rows,
  });
}
