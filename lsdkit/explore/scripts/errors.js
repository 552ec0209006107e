// What members take for what: a matrix whose cells open their faces, likely wrong labels, and a map of the features.
// All probabilities are here, so that the matrix and the sheets are the browser's own work.

const SHAPES = [ // of markers, by class: a path around (0, 0), about 2 wide
  (c) => c.arc(0, 0, 1, 0, 7),
  (c) => c.rect(-0.9, -0.9, 1.8, 1.8),
  (c) => [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]].forEach(([x, y], n) => (n ? c.lineTo(x, y) : c.moveTo(x, y))),
  (c) => [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]].forEach(([x, y], n) => (n ? c.lineTo(x, y) : c.moveTo(x, y))),
  (c) => [[0, 1.2], [1.1, -0.8], [-1.1, -0.8]].forEach(([x, y], n) => (n ? c.lineTo(x, y) : c.moveTo(x, y))),
  (c) => [[-1.1, -0.35], [1.1, -0.35], [1.1, 0.35], [-1.1, 0.35]].forEach(([x, y], n) => (n ? c.lineTo(x, y) : c.moveTo(x, y))),
];

function drawMarker(context, x, y, radius, shape, colour) {
  context.save();
  context.translate(x, y);
  context.scale(radius, radius);
  context.beginPath();
  SHAPES[shape % SHAPES.length](context);
  context.closePath();
  context.restore();
  context.fillStyle = colour;
  context.fill();
}

// A table of counts, rows the truth and columns the answer, each a button; arrow keys go from one to another.
function matrix(names, open) {
  const count = names.length;
  const buttons = Array.from({ length: count * count }, (_, place) => {
    const button = make("button", { type: "button", className: "lsdkit-count", tabIndex: place ? -1 : 0 });
    button.addEventListener("click", () => open(Math.floor(place / count), place % count));
    button.addEventListener("focus", () => buttons.forEach((each) => (each.tabIndex = each === button ? 0 : -1)));
    return button;
  });
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const heads = names.map((name) => make("th", { scope: "col" }, name));
  const sums = names.map(() => make("td", { className: "lsdkit-value" }));
  const lines = names.map((name, row) => make("tr", {}, make("th", { scope: "row" }, name), ...buttons.slice(row * count, (row + 1) * count).map((each) => make("td", {}, each)), sums[row]));
  const table = make("table", { className: "lsdkit-matrix" }, make("caption", {}, "rows: the label, columns: the answer, last: faces"), make("tr", {}, make("td"), ...heads, make("td")), ...lines);
  table.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const [row, column] = [Math.floor(at / count) + step[0], (at % count) + step[1]];
    if (row >= 0 && row < count && column >= 0 && column < count) buttons[row * count + column].focus();
  });
  table.update = (counts) => {
    for (let row = 0; row < count; row++) {
      const sum = counts.slice(row * count, (row + 1) * count).reduce((one, two) => one + two, 0);
      sums[row].textContent = sum;
      for (let column = 0; column < count; column++) {
        const number = counts[row * count + column];
        const share = sum ? number / sum : 0;
        const button = buttons[row * count + column];
        button.replaceChildren(make("b", {}, String(number)), make("span", {}, number ? `${Math.round(100 * share)}%` : ""));
        button.style.background = `rgba(0, 114, 178, ${share.toFixed(3)})`;
        button.style.color = share > 0.5 ? "#ffffff" : "";
        button.setAttribute("aria-label", `${names[row]} taken for ${names[column]}: ${number} faces, ${Math.round(100 * share)} percent`);
      }
    }
  };
  table.mark = (row, column) => buttons.forEach((each, place) => each.setAttribute("aria-pressed", String(place === row * count + column)));
  return table;
}

// Points on a canvas: hovering or arrow keys show a face's thumbnail, a click or Enter opens it.
function scatter(page, pictures, { describe, open }) {
  const [width, height] = [900, 480];
  const canvas = make("canvas", { width: 2 * width, height: 2 * height, tabIndex: 0, style: { width: `${width}px`, height: `${height}px`, maxWidth: "100%" } });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "map of the features: arrow keys go from face to face, Enter opens one");
  const small = make("canvas", { width: 64, height: 64 });
  const words = make("div");
  const tip = make("div", { className: "lsdkit-tip", hidden: true }, small, words);
  const legend = make("div", { className: "lsdkit-controls" });
  const all = make("div", { className: "lsdkit-map" }, legend, canvas, tip);
  let points = []; // {row, place, x, y} in [0, 1]
  let look = null; // place -> {colour, shape}
  let at = -1;
  const spot = (point) => [20 + point.x * (width - 40), 20 + point.y * (height - 40)];
  const draw = () => {
    const context = canvas.getContext("2d");
    context.setTransform(2, 0, 0, 2, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const point of points) {
      const { colour, shape } = look(point.place);
      drawMarker(context, ...spot(point), 4, shape, colour);
    }
    if (at >= 0) {
      context.beginPath();
      context.arc(...spot(points[at]), 9, 0, 7);
      context.lineWidth = 2;
      context.strokeStyle = getComputedStyle(all).color;
      context.stroke();
    }
  };
  const point = async (to) => {
    if (to === at) return;
    at = to;
    draw();
    tip.hidden = at < 0;
    if (at < 0) return;
    const { row, place } = points[at];
    await pictures.get([row]);
    if (at < 0 || points[at].row !== row) return;
    drawThumbnail(small, pictures.at(row), false);
    words.textContent = describe(place);
    const scale = canvas.clientWidth / width;
    const [x, y] = spot(points[at]);
    tip.style.left = `${Math.min(x * scale + 14, canvas.clientWidth - 130)}px`;
    tip.style.top = `${canvas.offsetTop + y * scale + 10}px`;
    canvas.dataset.row = row;
    page.say(describe(place));
    page.drawn();
  };
  const nearest = (x, y, most, fits = () => true) => {
    let best = -1;
    let least = most;
    points.forEach((each, number) => {
      const [px, py] = spot(each);
      const apart = fits(px - x, py - y) ? Math.hypot(px - x, py - y) : Infinity;
      if (apart < least) [best, least] = [number, apart];
    });
    return best;
  };
  const sides = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const openHere = () => at >= 0 && open(points[at].row, pictures.at(points[at].row)?.parts);
  canvas.addEventListener("mousemove", (event) => {
    const scale = width / canvas.clientWidth;
    point(nearest(event.offsetX * scale, event.offsetY * scale, 14));
  });
  canvas.addEventListener("mouseleave", () => document.activeElement !== canvas && point(-1));
  canvas.addEventListener("click", openHere);
  canvas.addEventListener("focus", () => at < 0 && points.length && point(nearest(width / 2, height / 2, Infinity)));
  canvas.addEventListener("blur", () => point(-1));
  canvas.addEventListener("keydown", (event) => {
    const side = sides[event.key];
    if (event.key === "Enter") openHere();
    else if (event.key === "Escape") point(-1);
    else if (side && points.length) {
      const [x, y] = at < 0 ? [width / 2, height / 2] : spot(points[at]);
      const ahead = (dx, dy) => dx * side[0] + dy * side[1] > Math.abs(dx * side[1] + dy * side[0]);
      const next = nearest(x, y, Infinity, (dx, dy) => (dx || dy) && ahead(dx, dy));
      if (next >= 0) point(next);
    } else return;
    event.preventDefault();
  });
  return Object.assign(all, {
    show(given) {
      points = given;
      at = -1;
      tip.hidden = true;
      draw();
    },
    paint(by, names) {
      look = by;
      legend.replaceChildren(...names.map(({ text, colour, shape }) => {
        const sign = make("canvas", { width: 24, height: 24, style: { width: "12px" } });
        drawMarker(sign.getContext("2d"), 12, 12, 8, shape, colour);
        return make("span", { className: "lsdkit-control" }, sign, text);
      }));
      draw();
    },
  });
}

export default explorer(async (page) => {
  const { content, buffers } = await page.ask("start");
  const { classes, splits, names } = content;
  const rows = numbers(buffers[0], Int32Array);
  const labels = numbers(buffers[1], Int8Array);
  const parts = numbers(buffers[2], Int8Array);
  const stack = numbers(buffers[3]); // (M, B, 6)
  const count = rows.length;
  const placeOf = new Map(Array.from(rows, (row, place) => [row, place]));
  let voter = content.first;
  let split = 0;
  let cell = null; // [label, answer]; null is all mistakes
  let show = "faces";
  let down = true; // the most confident first
  let by = "class";
  const answers = new Int8Array(count);
  const certain = new Float32Array(count);

  const said = (place) => stack.subarray((voter * count + place) * 6, (voter * count + place) * 6 + 6);
  const decide = () => {
    for (let place = 0; place < count; place++) {
      const values = said(place);
      let best = 0;
      for (let k = 1; k < 6; k++) if (values[k] > values[best]) best = k;
      answers[place] = best;
      certain[place] = values[best];
    }
  };
  const describe = (place) => {
    const what = labels[place] === answers[place] ? "recognised" : `taken for ${classes[answers[place]]}`;
    return `${classes[labels[place]]} ${what}, ${certain[place].toFixed(2)}`;
  };
  const caption = (row) => {
    const place = placeOf.get(row);
    const short = labels[place] === answers[place] ? classes[labels[place]] : `${classes[labels[place]]} → ${classes[answers[place]]}`;
    return { text: `${short} ${certain[place].toFixed(2)}`, colour: COLOURS[labels[place]], title: describe(place) };
  };

  const pictures = album(page);
  const says = bars(classes);
  const one = record(page, { extra: says });
  one.classList.add("lsdkit-across");
  const open = (row, parts_) => {
    says.update(Array.from(said(placeOf.get(row))));
    one.show(row, parts_);
  };
  const faces = sheet(page, pictures, { caption, open });
  const map = scatter(page, pictures, { describe, open });
  map.hidden = true;
  const table = matrix(classes, (label, answer) => {
    cell = [label, answer];
    shows.value = show = "faces";
    update();
  });
  const heading = make("p", { className: "lsdkit-title" });
  const score = make("p", { className: "lsdkit-title" });

  const looks = {
    class: [(place) => ({ colour: COLOURS[labels[place]], shape: labels[place] }), () => classes.map((text, k) => ({ text, colour: COLOURS[k], shape: k }))],
    answer: [(place) => ({ colour: COLOURS[answers[place]], shape: answers[place] }), () => classes.map((text, k) => ({ text: `answer ${text}`, colour: COLOURS[k], shape: k }))],
    split: [(place) => ({ colour: COLOURS[4 - 4 * parts[place]], shape: 2 * parts[place] }), () => splits.map((text, k) => ({ text, colour: COLOURS[4 - 4 * k], shape: 2 * k }))],
    correctness: [(place) => (labels[place] === answers[place] ? { colour: "#56B4E9", shape: 0 } : { colour: "#D55E00", shape: 3 }), () => [{ text: "right", colour: "#56B4E9", shape: 0 }, { text: "wrong", colour: "#D55E00", shape: 3 }]],
  };
  const paint = () => map.paint(looks[by][0], looks[by][1]());

  // The features are read bit by bit, so that the page can say how far it is; once read they stay with the kernel.
  const drawMap = async () => {
    const mine = voter;
    for (;;) {
      const { content: state, buffers: found } = await page.ask("map", { voter });
      if (mine !== voter || show !== "map") return;
      page.say(`reading features: ${state.done} of ${state.of} faces`);
      if (!found.length) continue;
      const chosen = numbers(found[0], Int32Array);
      const places = numbers(found[1]);
      heading.textContent = `Features of ${state.name}, placed by t-SNE: neighbours are alike to it; distances between groups mean little`;
      paint();
      map.show(Array.from(chosen, (place, number) => ({ row: rows[place], place, x: (places[2 * number] + 1) / 2, y: (places[2 * number + 1] + 1) / 2 })));
      page.say(`${chosen.length} faces`);
      page.root.dataset.mapped = chosen.length;
      pictures.ahead(Array.from(chosen, (place) => rows[place]));
      page.drawn();
      return;
    }
  };
  const list = async () => {
    let places = Array.from({ length: count }, (_, place) => place).filter((place) => parts[place] === split);
    if (show === "labels") {
      const { buffers: found } = await page.ask("doubts", { voter, split: splits[split] });
      places = Array.from(numbers(found[0], Int32Array));
      heading.textContent = `${places.length} labels in doubt, likeliest wrong first (confident learning): look before you change any`;
      return places;
    }
    const fits = cell ? (place) => labels[place] === cell[0] && answers[place] === cell[1] : (place) => labels[place] !== answers[place];
    places = places.filter(fits).sort((one, two) => (down ? -1 : 1) * (certain[one] - certain[two]) || one - two);
    const what = !cell ? "mistakes" : cell[0] === cell[1] ? `${classes[cell[0]]}, recognised` : `${classes[cell[0]]} taken for ${classes[cell[1]]}`;
    heading.textContent = `${places.length} faces: ${what}, ${down ? "most" : "least"} confident first`;
    return places;
  };
  const update = async () => {
    decide();
    const counts = new Array(36).fill(0);
    for (let place = 0; place < count; place++) if (parts[place] === split) counts[6 * labels[place] + answers[place]] += 1;
    table.update(counts);
    table.mark(...(cell ?? [-1, -1]));
    score.textContent = `macro F1 ${macro(counts).toFixed(3)} over ${counts.reduce((one, two) => one + two, 0)} ${splits[split]} faces`;
    map.hidden = colours.hidden = show !== "map";
    faces.hidden = show === "map";
    order.hidden = show !== "faces";
    if (show === "map") await drawMap();
    else await faces.show(Int32Array.from(await list(), (place) => rows[place]));
  };
  const macro = (counts) => {
    let sum = 0;
    for (let k = 0; k < 6; k++) {
      let [given, answered] = [0, 0];
      for (let other = 0; other < 6; other++) [given, answered] = [given + counts[6 * k + other], answered + counts[6 * other + k]];
      sum += given + answered ? (2 * counts[7 * k]) / (given + answered) : 0;
    }
    return sum / 6;
  };

  const voters = choose(names.map((name, number) => [number, name]), voter, (value) => {
    voter = Number(value);
    update();
  });
  voters.disabled = names.length < 2;
  const among = choose(splits.map((name, number) => [number, name]), split, (value) => {
    split = Number(value);
    update();
  });
  among.disabled = splits.length < 2;
  const shows = choose([["faces", "faces of the cell"], ["labels", "labels in doubt"], ["map", "map of the features"]], show, (value) => {
    show = value;
    update();
  });
  const mistakes = press("all mistakes", () => {
    cell = null;
    shows.value = show = "faces";
    update();
  });
  const order = labelled("least confident first", tick(false, (whether) => {
    down = !whether;
    update();
  }));
  const colours = labelled("colour by", choose(Object.keys(looks), by, (value) => {
    by = value;
    paint();
    page.drawn();
  }));
  page.root.append(
    make("div", { className: "lsdkit-controls" }, labelled("member", voters), labelled("split", among), mistakes, labelled("show", shows), order, colours),
    make("div", { className: "lsdkit-row" }, make("div", {}, score, table), one),
    heading, faces, map,
  );
  await update();
});
