// Two faces blended on a canvas at the browser's own pace; only the network's answer waits for the kernel.

// Density of lambda ~ Beta(alpha, alpha), up to its factor, at 200 places, largest finite value 1.
function betaCurve(alpha) {
  const places = Array.from({ length: 200 }, (_, place) => (place + 0.5) / 200);
  const heights = places.map((x) => Math.exp((alpha - 1) * (Math.log(x) + Math.log(1 - x))));
  const top = Math.max(...heights);
  return heights.map((each) => each / top);
}

// A draw of Beta(alpha, alpha): two gammas (Marsaglia and Tsang's method, alpha below 1 by the usual power).
function drawBeta(alpha) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const gamma = (shape) => {
    if (shape < 1) return gamma(shape + 1) * Math.random() ** (1 / shape);
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(1 - Math.random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
    }
  };
  const [one, two] = [gamma(alpha), gamma(alpha)];
  return one + two ? one / (one + two) : Math.round(Math.random());
}

export default explorer(async (page) => {
  const { content, buffers } = await page.ask("start");
  const rows = numbers(buffers[0], Int32Array);
  const labels = numbers(buffers[1], Int8Array);
  const classOf = new Map(Array.from(rows, (row, place) => [row, labels[place]]));
  const { names, model } = content;
  const chosen = [...content.start];
  let faces = [];
  let share = 0.7;
  let alpha = 0.1;

  const canvases = [0, 1, 2].map(() => make("canvas", { width: 192, height: 192, style: { width: "192px" }, role: "img" }));
  const titles = [0, 1, 2].map(() => make("p", { className: "lsdkit-title" }));
  const label = bars(names);
  const says = bars(names);
  const density = make("canvas", { width: 360, height: 80, style: { width: "360px" }, role: "img" });

  const drawDensity = () => {
    const context = density.getContext("2d");
    context.clearRect(0, 0, 360, 80);
    context.fillStyle = "#56B4E9";
    betaCurve(alpha).forEach((height, place) => context.fillRect(place * 1.8, 78 - 72 * height, 1.8, 72 * height + 2));
    context.fillStyle = "#D55E00";
    context.fillRect(share * 360 - 1, 0, 2, 80);
    density.setAttribute("aria-label", `density of lambda at alpha ${alpha.toFixed(2)}, lambda ${share.toFixed(2)}`);
  };
  const askModel = latest(async () => {
    if (!model) return;
    const start = performance.now();
    const { content: said } = await page.ask("mixture", { rows: chosen, share });
    says.update(said.probabilities);
    page.root.dataset.answered = (performance.now() - start).toFixed(1);
  });
  const draw = () => {
    const context = canvases[1].getContext("2d");
    context.globalAlpha = 1;
    context.drawImage(faces[1], 0, 0, 192, 192);
    context.globalAlpha = share;
    context.drawImage(faces[0], 0, 0, 192, 192);
    titles[1].textContent = `λ = ${share.toFixed(2)}`;
    const soft = names.map(() => 0);
    soft[classOf.get(chosen[0])] += share;
    soft[classOf.get(chosen[1])] += 1 - share;
    label.update(soft);
    drawDensity();
    page.drawn();
    askModel();
  };
  const move = (value) => {
    share = value;
    slider.set(value);
    requestAnimationFrame(draw);
  };
  const load = latest(async () => {
    const { content: said, buffers: packed } = await page.ask("pictures", { rows: chosen });
    faces = unpack(packed[0], 2, said.size);
    [0, 2].forEach((place, which) => {
      canvases[place].getContext("2d").drawImage(faces[which], 0, 0, 192, 192);
      titles[place].textContent = `${names[classOf.get(chosen[which])]}, row ${chosen[which]}`;
      canvases[place].setAttribute("aria-label", titles[place].textContent);
    });
    draw();
  });
  // Another face of a class, at random; "any" is any class.
  const pick = (which, wanted) => {
    const fits = (row) => row !== chosen[which] && (wanted === "any" || names[classOf.get(row)] === wanted);
    const fitting = Array.from(rows).filter(fits);
    if (fitting.length) chosen[which] = fitting[Math.floor(Math.random() * fitting.length)];
    load();
  };
  const lists = chosen.map((row, which) => choose(["any", ...names], names[classOf.get(row)], (value) => pick(which, value)));
  const slider = slide(0, 1, 0.01, share, (value) => {
    share = value;
    requestAnimationFrame(draw);
  });
  const strength = slide(0.05, 4, 0.05, alpha, (value) => {
    alpha = value;
    drawDensity();
    page.drawn();
  });
  const controls = make("div", { className: "lsdkit-controls" });
  controls.append(
    labelled("first", lists[0]), press("another first", () => pick(0, lists[0].value)),
    labelled("second", lists[1]), press("another second", () => pick(1, lists[1].value)),
    labelled("lambda", slider), labelled("alpha", strength), press("draw lambda", () => move(drawBeta(alpha))),
  );
  const pictures = canvases.map((canvas, place) => make("div", {}, titles[place], canvas));
  const answers = [make("div", {}, make("p", { className: "lsdkit-title" }, "soft label of the mixture"), label)];
  if (model) answers.push(make("div", {}, make("p", { className: "lsdkit-title" }, `what ${model} says`), says));
  const beta = make("div", {}, make("p", { className: "lsdkit-title" }, "λ ~ Beta(α, α), and λ now"), density);
  page.root.append(controls, make("div", { className: "lsdkit-row" }, ...pictures), make("div", { className: "lsdkit-row" }, ...answers, beta));
  await load();
});
