// The vote of the members that are ticked. All is counted here, from probabilities (member, face, class) that came once;
// only the bootstrap's intervals wait for the kernel.

const K = 6; // classes
const BINS = 10; // of confidence, in the reliability diagram
const ORDERS = 20; // in which members are added one by one
const POINTS = 12; // of the learning curve, at most
const MUTED = "var(--jp-ui-font-color2, #666)";
const GRID = "var(--jp-border-color2, #ddd)";

// An element of a drawing.
function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// The same random numbers in [0, 1) for the same seed (mulberry32): a curve does not jump when nothing was ticked.
function draws(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffle(list, random) {
  const order = [...list];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

// Adds a member's numbers to the sums, from `at` on.
function add(sums, terms, at) {
  for (let place = 0; place < sums.length; place++, at++) sums[place] += terms[at];
}

// The answer to each face: the class of the largest of its six sums.
function answer(sums, answers) {
  for (let face = 0, at = 0; face < answers.length; face++, at += K) {
    let best = 0;
    let most = sums[at];
    for (let index = 1; index < K; index++) {
      const value = sums[at + index];
      best = value > most ? index : best;
      most = value > most ? value : most;
    }
    answers[face] = best;
  }
}

// F1 of each class: 2 TP / (2 TP + FP + FN), 0 for one neither present nor answered.
function f1(labels, answers) {
  const counts = new Int32Array(K * K);
  for (let face = 0; face < labels.length; face++) counts[labels[face] * K + answers[face]]++;
  return Array.from({ length: K }, (_, index) => {
    let total = 0;
    for (let other = 0; other < K; other++) total += counts[index * K + other] + counts[other * K + index];
    return total ? (2 * counts[index * K + index]) / total : 0;
  });
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const macro = (labels, answers) => mean(f1(labels, answers));
const quantile = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];

// Members and faces of a split, ready to be summed: probabilities, or their logarithms where logits vote.
function prepare(labels, probabilities, members, way) {
  const faces = labels.length;
  const least = 2 ** -1022;
  const terms = way === "logits" ? probabilities.map((value) => Math.log(Math.max(value, least))) : probabilities;
  const answers = Array.from({ length: members }, (_, member) => {
    const own = new Uint8Array(faces);
    answer(probabilities.subarray(member * faces * K, (member + 1) * faces * K), own);
    return own;
  });
  const apart = answers.map((one) => answers.map((two) => {
    let count = 0;
    for (let face = 0; face < faces; face++) count += one[face] !== two[face];
    return count / faces;
  }));
  return { labels, faces, way, terms, apart, alone: answers.map((each) => macro(labels, each)) };
}

// The probability of each face's answer in the vote: the mean, or the softmax of the summed logits.
function confidences({ way, faces }, sums, answers, count) {
  return Array.from({ length: faces }, (_, face) => {
    const most = sums[face * K + answers[face]];
    if (way !== "logits") return most / count;
    let total = 0;
    for (let index = 0; index < K; index++) total += Math.exp(sums[face * K + index] - most);
    return 1 / total;
  });
}

// Expected calibration error: the gap of hit rate and confidence, mean over bins of equal width weighted by their faces.
function calibrate(labels, answers, confidence) {
  const bins = Array.from({ length: BINS }, () => ({ faces: 0, hits: 0, sum: 0 }));
  confidence.forEach((value, face) => {
    const bin = bins[Math.min(BINS - 1, Math.floor(value * BINS))];
    bin.faces++;
    bin.sum += value;
    bin.hits += labels[face] === answers[face];
  });
  const error = bins.reduce((sum, bin) => sum + Math.abs(bin.hits - bin.sum), 0) / labels.length;
  return { bins, error };
}

function count(data, chosen) {
  const sums = new Float64Array(data.faces * K);
  const answers = new Uint8Array(data.faces);
  for (const member of chosen) add(sums, data.terms, member * data.faces * K);
  answer(sums, answers);
  const scores = f1(data.labels, answers);
  const pairs = chosen.flatMap((one, place) => chosen.slice(place + 1).map((two) => data.apart[one][two]));
  return { scores, macro: mean(scores), pairs, ...calibrate(data.labels, answers, confidences(data, sums, answers, chosen.length)) };
}

// The numbers of members at which the learning curve is drawn: all where they are few, else closer at the start.
function sizesOf(members) {
  const sizes = Array.from({ length: POINTS }, (_, place) => Math.round(members ** (place / (POINTS - 1))));
  return members <= POINTS ? Array.from({ length: members }, (_, place) => place + 1) : [...new Set(sizes)];
}

// Macro F1 of votes of as many members as `sizes` say, a list for each random order.
function learn(data, chosen, sizes) {
  const random = draws(1);
  const answers = new Uint8Array(data.faces);
  return Array.from({ length: ORDERS }, () => {
    const sums = new Float64Array(data.faces * K);
    const order = shuffle(chosen, random);
    let added = 0;
    return sizes.map((size) => {
      for (; added < size; added++) add(sums, data.terms, order[added] * data.faces * K);
      answer(sums, answers);
      return macro(data.labels, answers);
    });
  });
}

// Axes of a drawing: `x` and `y` turn numbers into places.
function axes(width, height, [left, right], [low, high], xs, ys, names) {
  const [from, to, top, bottom] = [42, width - 10, 10, height - 34];
  const x = (value) => from + ((value - left) / (right - left || 1)) * (to - from);
  const y = (value) => bottom - ((value - low) / (high - low || 1)) * (bottom - top);
  const drawn = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "font-size": 10, fill: "currentColor" });
  for (const [value, text] of ys) {
    drawn.append(shape("line", { x1: from, x2: to, y1: y(value), y2: y(value), style: `stroke:${GRID}` }));
    drawn.append(shape("text", { x: from - 5, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of xs) drawn.append(shape("text", { x: x(value), y: bottom + 14, "text-anchor": "middle" }, text));
  drawn.append(shape("text", { x: (from + to) / 2, y: height - 4, "text-anchor": "middle", style: `fill:${MUTED}` }, names[0]));
  drawn.append(shape("text", { x: 11, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(top + bottom) / 2})`, style: `fill:${MUTED}` }, names[1]));
  return { drawn, x, y };
}

const tenths = [0, 0.2, 0.4, 0.6, 0.8, 1].map((value) => [value, value.toFixed(1)]);

// Bars of F1, macro F1 first; whiskers once the kernel has told the intervals.
function drawScores(names, { scores, macro: all }, intervals) {
  const { drawn, x, y } = axes(400, 220, [-0.5, K + 0.5], [0, 1], ["Macro", ...names].map((name, place) => [place, name]), tenths, ["", "F1"]);
  [all, ...scores].forEach((value, place) => {
    const colour = place ? COLOURS[place - 1] : MUTED;
    drawn.append(shape("rect", { x: x(place - 0.32), width: x(0.32) - x(-0.32), y: y(value), height: y(0) - y(value), style: `fill:${colour}` }));
    const top = intervals ? Math.max(value, intervals.high[place]) : value;
    if (intervals) {
      const [low, high] = [intervals.low[place], intervals.high[place]];
      const path = `M${x(place)} ${y(low)}V${y(high)}m-4 0h8M${x(place) - 4} ${y(low)}h8`;
      drawn.append(shape("path", { d: path, fill: "none", stroke: "currentColor", "stroke-width": 1.3 }));
    }
    drawn.append(shape("text", { x: x(place), y: Math.max(9, y(top) - 4), "text-anchor": "middle" }, value.toFixed(2)));
  });
  drawn.setAttribute("aria-label", `F1: macro ${all.toFixed(3)}, ` + names.map((name, place) => `${name} ${scores[place].toFixed(3)}`).join(", "));
  return drawn;
}

function drawReliability({ bins, error }) {
  const { drawn, x, y } = axes(230, 220, [0, 1], [0, 1], tenths, tenths, ["probability of the answer", "share right"]);
  const most = Math.max(...bins.map((bin) => bin.faces));
  drawn.append(shape("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), style: `stroke:${MUTED}`, "stroke-dasharray": "4 3" }));
  for (const { faces, hits, sum } of bins) {
    if (!faces) continue;
    const [right, left] = [hits / faces, sum / faces];
    drawn.append(shape("line", { x1: x(left), x2: x(left), y1: y(left), y2: y(right), stroke: "#D55E00", "stroke-width": 2 }));
    const dot = shape("circle", { cx: x(left), cy: y(right), r: 2.5 + 5 * Math.sqrt(faces / most), fill: "#0072B2", "fill-opacity": 0.85 });
    dot.append(shape("title", {}, `${faces} faces: ${left.toFixed(2)} said, ${right.toFixed(2)} right`));
    drawn.append(dot);
  }
  drawn.setAttribute("aria-label", `Reliability diagram, expected calibration error ${error.toFixed(3)}`);
  return drawn;
}

function drawCurve(curves, sizes) {
  const columns = sizes.map((_, place) => curves.map((curve) => curve[place]).sort((a, b) => a - b));
  const [low, high] = [Math.min(...columns.map((each) => each[0])), Math.max(...columns.map((each) => each.at(-1)))];
  const [gap, members] = [Math.max(0.02, (high - low) * 0.1), sizes.at(-1)];
  const xs = []; // sizes that are told, no two too close
  for (const size of [...sizes].reverse()) if (!xs.length || xs.at(-1)[0] - size >= members / 14) xs.push([size, size]);
  const ys = [low, (low + high) / 2, high].map((value) => [value, value.toFixed(2)]);
  const { drawn, x, y } = axes(400, 220, [1, Math.max(2, members)], [low - gap, high + gap], xs, ys, ["members that vote", "macro F1"]);
  const line = (share) => columns.map((each, place) => `${x(sizes[place])} ${y(quantile(each, share))}`);
  drawn.append(shape("polygon", { points: [...line(0.05), ...line(0.95).reverse()].join(" "), fill: "#0072B2", "fill-opacity": 0.25 }));
  drawn.append(shape("polyline", { points: line(0.5).join(" "), fill: "none", stroke: "#0072B2", "stroke-width": 2 }));
  sizes.forEach((size, place) => drawn.append(shape("circle", { cx: x(size), cy: y(quantile(columns[place], 0.5)), r: 2.5, fill: "#0072B2" })));
  const ends = [columns[0], columns.at(-1)].map((each) => quantile(each, 0.5).toFixed(3));
  drawn.setAttribute("aria-label", `Macro F1 of 1 to ${members} members, median over ${ORDERS} random orders: ${ends.join(" to ")}`);
  return drawn;
}

// Shares of faces on which two members answer differently, strongest where most.
function drawDisagreement(apart, chosen, names) {
  const side = Math.max(5, Math.min(24, Math.floor(200 / chosen.length)));
  const size = side * chosen.length;
  const most = Math.max(0.01, ...chosen.flatMap((one) => chosen.map((two) => apart[one][two])));
  const drawn = shape("svg", { width: size + 26, height: size + 20, role: "img", "font-size": 10, fill: "currentColor" });
  chosen.forEach((one, row) => {
    chosen.forEach((two, column) => {
      const value = apart[one][two];
      const cell = shape("rect", { x: 24 + column * side, y: 16 + row * side, width: side - 0.5, height: side - 0.5, fill: "#0072B2", "fill-opacity": 0.08 + (0.92 * value) / most });
      cell.append(shape("title", {}, `${one + 1} ${names[one]}\n${two + 1} ${names[two]}\n${(100 * value).toFixed(0)}% of the faces answered differently`));
      drawn.append(cell);
    });
    if (side >= 11 || row % 5 === 0) {
      drawn.append(shape("text", { x: 20, y: 16 + row * side + side / 2 + 4, "text-anchor": "end" }, one + 1));
      drawn.append(shape("text", { x: 24 + row * side + side / 2, y: 11, "text-anchor": "middle" }, one + 1));
    }
  });
  return drawn;
}

export default explorer(async (page) => {
  const { content: start } = await page.ask("start");
  const { names, weak, classes, way } = start;
  const ticked = new Set(names.keys());
  let split = start.splits[0];
  let data = null;

  const panel = (title) => {
    const place = make("div");
    return { place, all: make("div", {}, make("div", { className: "lsdkit-title" }, title), place) };
  };
  const panels = {
    scores: panel("F1 of the vote, with 95% intervals over the faces"),
    reliability: panel("Calibration"),
    curve: panel(`Learning curve: median, 90% of ${ORDERS} random orders`),
    apart: panel("Disagreement of two members"),
  };
  const boxes = names.map((name, member) => tick(true, (on) => {
    ticked[on ? "add" : "delete"](member);
    draw();
  }));
  const figures = names.map(() => make("span", { className: "lsdkit-value" }));

  const askIntervals = latest(async (chosen, counted) => {
    const asked = performance.now();
    const { content } = await page.ask("intervals", { split, members: chosen });
    page.root.dataset.answered = (performance.now() - asked).toFixed(1);
    if (chosen.length !== ticked.size || !chosen.every((each) => ticked.has(each))) return; // others by now
    panels.scores.place.replaceChildren(drawScores(classes, counted, content));
    page.root.dataset.interval = `${content.low[0].toFixed(4)} ${content.high[0].toFixed(4)}`;
  });
  const draw = () => {
    const chosen = [...ticked].sort((one, two) => one - two);
    if (!chosen.length) {
      for (const each of Object.values(panels)) each.place.replaceChildren();
      page.say("Tick at least one member.");
      page.drawn();
      return;
    }
    const counted = count(data, chosen);
    const sizes = sizesOf(chosen.length);
    panels.scores.place.replaceChildren(drawScores(classes, counted));
    panels.reliability.place.replaceChildren(drawReliability(counted));
    panels.curve.place.replaceChildren(drawCurve(learn(data, chosen, sizes), sizes));
    const apart = counted.pairs.length ? mean(counted.pairs) : 0;
    const matrix = drawDisagreement(data.apart, chosen, names);
    matrix.setAttribute("aria-label", `Two members answer differently on ${(100 * apart).toFixed(0)}% of the faces, mean over the pairs`);
    panels.apart.place.replaceChildren(matrix);
    const own = chosen.map((member) => data.alone[member]);
    page.root.dataset.macro = counted.macro.toFixed(4);
    page.root.dataset.calibration = counted.error.toFixed(4);
    page.root.dataset.apart = apart.toFixed(4);
    page.say(
      `${chosen.length} of ${names.length} members vote by ${way} on ${data.faces.toLocaleString("en")} ${split} faces: macro F1 ${counted.macro.toFixed(3)}; ` +
      `alone ${mean(own).toFixed(3)} in the mean and ${Math.max(...own).toFixed(3)} at best; ` +
      `two of them disagree on ${(100 * apart).toFixed(0)}% of the faces; expected calibration error ${counted.error.toFixed(3)}.`,
    );
    page.drawn();
    askIntervals(chosen, counted);
  };
  const load = latest(async () => {
    const { buffers } = await page.ask("faces", { split });
    data = prepare(numbers(buffers[0], Int8Array), numbers(buffers[1]), names.length, way);
    figures.forEach((figure, member) => (figure.textContent = data.alone[member].toFixed(3)));
    draw();
  });
  const tickAll = (wanted) => {
    ticked.clear();
    names.forEach((_, member) => wanted(member) && ticked.add(member));
    boxes.forEach((box, member) => (box.checked = ticked.has(member)));
    draw();
  };
  const best = (number) => {
    const order = [...names.keys()].sort((one, two) => data.alone[two] - data.alone[one]).slice(0, number);
    return (member) => order.includes(member);
  };
  const groups = [["all", () => true], ["none", () => false], ["weak", (member) => weak[member]], ["strong", (member) => !weak[member]]];
  const controls = make("div", { className: "lsdkit-controls" });
  controls.append(
    labelled("faces", choose(start.splits, split, (value) => ((split = value), load()))),
    ...groups.filter(([name]) => !(name in { weak: 1, strong: 1 }) || weak.includes(name === "weak")).map(([name, wanted]) => press(name, () => tickAll(wanted))),
    press("best 5 alone", () => tickAll(best(5))),
  );
  const list = make("div", { role: "group", "aria-label": "members", style: { maxHeight: "500px", overflowY: "auto", minWidth: "250px" } });
  names.forEach((name, member) => {
    const label = make("label", { style: { display: "flex", gap: "5px", alignItems: "center" } });
    label.append(boxes[member], make("span", { style: { flex: "1" } }, `${member + 1}  ${name}`), figures[member]);
    list.append(label);
  });
  const members = make("div", {}, make("div", { className: "lsdkit-title" }, "Members, and macro F1 alone"), list);
  const drawings = make("div", { className: "lsdkit-row", style: { flex: "1 1 460px" } }, ...Object.values(panels).map((each) => each.all));
  page.root.append(controls, make("div", { className: "lsdkit-row", style: { flexWrap: "nowrap" } }, members, drawings));
  await load();
});
