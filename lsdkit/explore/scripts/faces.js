// The faces of a store. All columns are here, so that filters and orders are the browser's own; the kernel is asked for
// the thumbnails in sight, for a face's record, and for the list that is saved.

export default explorer(async (page) => {
  const { content, buffers } = await page.ask("start");
  const { classes, splits, states, subjects, found, sure } = content;
  const [label, split, state, subject, how] = [Int8Array, Int8Array, Int8Array, Int32Array, Int32Array].map((Kind, place) => numbers(buffers[place], Kind));
  const count = label.length;
  const distance = numbers(buffers[5]);
  const certain = numbers(buffers[6]);
  const wanted = { label: -2, split: -1, state: -1, subject: -1, how: -1 }; // the smallest number of each is "all"
  const columns = { label, split, state, subject, how };
  const orders = {
    store: { text: "order of the store" },
    distance: { text: "distance to the mean shape, far first", values: distance, down: true },
    ...(sure && {
      own: { text: "probability of its class, small first", values: certain.subarray(0, count) },
      answer: { text: "confidence, low first", values: certain.subarray(count) },
    }),
    ...(content.originals && { original: { text: "size of the original, small first" } }),
  };
  let order = "store";
  let reverse = false;
  let landmarks = true;
  const chosen = new Set();

  const nameOf = (row) => classes[label[row]] ?? "Unknown";
  const value = (row) => orders[order].values?.[row];
  const caption = (row) => {
    const figure = value(row);
    const text = figure === undefined ? nameOf(row) : `${nameOf(row)} ${Number.isFinite(figure) ? figure.toPrecision(2) : "–"}`;
    return { text, colour: COLOURS[label[row]], title: [nameOf(row), subjects[subject[row]], splits[split[row]], found[how[row]]].filter(Boolean).join(", ") };
  };

  const pictures = album(page);
  const mark = tick(false, (whether) => faces.mark([Number(one.dataset.row)], whether));
  const one = record(page, { landmarks: () => landmarks, extra: labelled("leave out", mark) });
  const open = (row, parts) => {
    mark.checked = chosen.has(row);
    one.show(row, parts);
  };
  const changed = () => {
    mark.checked = chosen.has(Number(one.dataset.row));
    keep.textContent = `save a list of ${chosen.size.toLocaleString("en")}`;
    keep.disabled = none.disabled = !chosen.size;
  };
  const faces = sheet(page, pictures, { caption, open, landmarks: () => landmarks, chosen, changed });

  const filter = () => {
    const fits = new Int32Array(count);
    let number = 0;
    for (let row = 0; row < count; row++) {
      let good = true;
      for (const name in columns) {
        const want = wanted[name];
        if (want > (name === "label" ? -2 : -1) && columns[name][row] !== want) good = false;
      }
      if (good) fits[number++] = row;
    }
    const rows = fits.subarray(0, number);
    const { values, down } = orders[order];
    if (values) {
      const sign = Boolean(down) !== reverse ? -1 : 1;
      const last = (row) => (Number.isFinite(values[row]) ? sign * values[row] : Infinity); // unknown ones at the end
      const keys = Float64Array.from(rows, last);
      const places = Uint32Array.from(rows, (_, place) => place).sort((one, two) => keys[one] - keys[two] || one - two);
      return Int32Array.from(places, (place) => rows[place]);
    }
    return reverse ? rows.slice().reverse() : rows.slice();
  };
  const update = () => {
    const rows = filter();
    every.textContent = `select all ${rows.length.toLocaleString("en")} shown`;
    page.root.dataset.shown = rows.length;
    return faces.show(rows);
  };

  // Sizes come from files' headers, some thousands a second: they are read when first asked for.
  const readOriginals = async () => {
    const sides = new Float32Array(count);
    for (let start = 0; start < count; start += 1000) {
      page.say(`reading sizes: ${start.toLocaleString("en")} of ${count.toLocaleString("en")}`);
      const { buffers: part } = await page.ask("originals", { start, count: 1000 });
      sides.set(numbers(part[0]), start);
    }
    orders.original.values = sides;
    page.say("Shorter sides of the pictures that the faces were read from, in pixels.");
  };
  const sort = async (name) => {
    if (name === "original" && !orders.original.values) await readOriginals();
    order = name;
    update();
  };
  const save_ = async () => {
    const rows = [...chosen].sort((one, two) => one - two);
    const { content: list } = await page.ask("list", { rows, reason: reason.value });
    save("leave_out.csv", list.text);
    page.say(`leave_out.csv lists ${rows.length} faces: give it to the same lsdkit prepare command with --leave-out leave_out.csv`);
  };

  // A list of what occurs, with "all" before it; a column in which there is one thing has none.
  const choice = (text, name, names, all = -1) => {
    const numbersOf = [...new Set(columns[name])].sort((one, two) => one - two);
    const options = [[all, "all"], ...numbersOf.map((number) => [number, names[number] || "unknown"])];
    const list = choose(options, all, (given) => {
      wanted[name] = Number(given);
      update();
    });
    list.disabled = numbersOf.length < 2;
    return labelled(text, list);
  };
  const every = press("select all", () => faces.mark(faces.rows(), true));
  const none = press("select none", () => faces.mark([...chosen], false));
  const reason = make("input", { type: "text", placeholder: "such as blurred" });
  const keep = press("save a list", save_);
  page.root.append(
    make("div", { className: "lsdkit-controls" },
      choice("class", "label", classes, -2), choice("subject", "subject", subjects), choice("split", "split", splits),
      choice("found", "how", found), choice("landmarks", "state", states),
      labelled("sort by", choose(Object.entries(orders).map(([name, { text }]) => [name, text]), order, sort)),
      labelled("reversed", tick(false, (whether) => { reverse = whether; update(); })),
      labelled("draw landmarks", tick(true, (whether) => { landmarks = whether; faces.redraw(); one.redraw(); }))),
    make("div", { className: "lsdkit-controls" }, every, none, labelled("reason", reason), keep),
    make("div", { className: "lsdkit-side" }, faces, one),
  );
  changed();
  await update();
  if (content.ahead) pictures.ahead(Array.from({ length: count }, (_, row) => row));
});
