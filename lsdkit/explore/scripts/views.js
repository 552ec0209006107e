// Several draws of both views of one face. The kernel makes them, as a training does; a slider never queues questions.

const WIDE = 132; // pixels a side of a picture on the page

export default explorer(async (page) => {
  const { content, buffers } = await page.ask("start");
  const { classes, parts } = content;
  const rows = numbers(buffers[0], Int32Array);
  const labels = numbers(buffers[1], Int8Array);
  let at = 0; // place in `rows`
  let strength = content.strength;
  let number = 0; // decides the draws
  let basic = true;
  let landmarks = true;
  let seen = null; // what the kernel drew last

  const picture = () => make("canvas", { width: WIDE, height: WIDE, style: { width: `${WIDE}px` }, role: "img" });
  const draws = (what) => Array.from({ length: content.draws }, () => picture()).map((canvas, place) => {
    canvas.setAttribute("aria-label", `${what}, draw ${place + 1}`);
    return canvas;
  });
  const own = picture();
  const emotion = draws("emotion view");
  const appearance = draws("appearance view");
  const show = (canvas, from, points) => {
    const context = canvas.getContext("2d");
    context.drawImage(from, 0, 0, WIDE, WIDE);
    if (points && landmarks) drawPoints(context, points, parts, WIDE);
  };
  const draw = () => {
    show(own, seen.own, seen.points);
    emotion.forEach((canvas, place) => show(canvas, seen.emotion[place]));
    appearance.forEach((canvas, place) => show(canvas, seen.appearance[place], seen.points));
    page.drawn();
  };
  const nameOf = (place) => classes[labels[place]] ?? "Unknown";
  const ask = latest(async () => {
    const start = performance.now();
    const { content: said, buffers: drawn } = await page.ask("views", { row: rows[at], strength, number, basic });
    const [[face], one, two] = [1, content.draws, content.draws].map((count, place) => unpack(drawn[place], count, said.size));
    seen = { own: face, emotion: one, appearance: two, points: numbers(drawn[3]) };
    own.setAttribute("aria-label", `${nameOf(at)}, row ${rows[at]}, as it is`);
    page.say(`${nameOf(at)}, row ${rows[at]}; strength ${strength.toFixed(2)} (${content.recipe}: ${content.strength.toFixed(2)}), draws ${number}`);
    draw();
    page.root.dataset.answered = (performance.now() - start).toFixed(1);
  });
  const go = (to) => {
    at = to;
    lists.value = String(labels[at]);
    ask();
  };
  const another = () => {
    const fitting = Array.from(rows.keys()).filter((place) => place !== at && labels[place] === labels[at]);
    if (fitting.length) go(fitting[Math.floor(Math.random() * fitting.length)]);
  };
  const there = [...new Set(labels)].sort((one, two) => one - two);
  const lists = choose(there.map((label) => [label, classes[label] ?? "Unknown"]), labels[at], (label) => go(labels.indexOf(Number(label))));
  page.root.append(
    make("div", { className: "lsdkit-controls" },
      labelled("face", lists), press("another face", another),
      labelled("strength", slide(0, 1, 0.05, strength, (value) => { strength = value; ask(); })),
      press("draw again", () => { number += 1; ask(); }),
      labelled("basic augmentation", tick(true, (whether) => { basic = whether; ask(); })),
      labelled("draw landmarks", tick(true, (whether) => { landmarks = whether; draw(); }))),
    make("div", { className: "lsdkit-views" },
      make("p", { className: "lsdkit-title" }, "the face"), own,
      make("p", { className: "lsdkit-title" }, "emotion view: flipped, moved, erased, jittered"), ...emotion,
      make("p", { className: "lsdkit-title" }, "appearance view: jittered, never moved, so that its landmarks fit"), ...appearance),
  );
  await ask();
});
