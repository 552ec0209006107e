// One rendered face. The kernel draws it, some tenths of a second a picture; sliders never queue up pictures.

const SIZE = 288; // pixels on the page

export default explorer(async (page) => {
  const { content: start } = await page.ask("start");
  const { variants, classes, parts, model } = start;
  const dials = { ...start.dials };
  const title = (name) => name.charAt(0) + name.slice(1).toLowerCase();
  let points = null;
  let face = null;
  let marked = false;

  const canvas = make("canvas", { width: SIZE, height: SIZE, style: { width: `${SIZE}px` }, role: "img" });
  const heading = make("div", { className: "lsdkit-title" });
  const says = bars(classes);

  const paint = () => {
    const context = canvas.getContext("2d");
    context.drawImage(face, 0, 0, SIZE, SIZE);
    if (marked) drawPoints(context, points, parts, SIZE);
  };
  const askModel = latest(async () => {
    if (!model) return;
    const { content } = await page.ask("reading", dials);
    says.update(content.probabilities);
  });
  const draw = latest(async () => {
    const began = performance.now();
    const { content, buffers } = await page.ask("face", dials);
    [face] = unpack(buffers[0], 1, content.size);
    points = numbers(buffers[1]);
    paint();
    const both = dials.share > 0 ? ` and ${title(dials.second).toLowerCase()}` : "";
    heading.textContent = `${title(dials.expression)}${both}, a drawing of nobody`;
    canvas.setAttribute("aria-label", `a rendered face of person ${dials.person}: ${heading.textContent}`);
    page.root.dataset.answered = (performance.now() - began).toFixed(1);
    page.say(`person ${dials.person}, ${title(dials.expression).toLowerCase()}${both} (${dials.variant}), drawn in ${page.root.dataset.answered} ms`);
    page.drawn();
    askModel();
  });

  const names = Object.keys(variants).map((name) => [name, title(name)]);
  const ways = make("select", {});
  const listWays = () => {
    ways.replaceChildren(...variants[dials.expression].map((name) => make("option", { value: name }, name)));
    ways.value = dials.variant;
  };
  ways.addEventListener("change", () => ((dials.variant = ways.value), draw()));
  const sliders = {};
  const dial = (name, text, low, high, step, digits = 0) => {
    sliders[name] = slide(low, high, step, dials[name], (value) => ((dials[name] = value), draw()), digits);
    return labelled(text, sliders[name]);
  };
  const group = (text, ...controls) =>
    make("fieldset", { style: { border: "0", padding: "0", margin: "0 0 6px", display: "grid", gap: "2px" } }, make("legend", { className: "lsdkit-title" }, text), ...controls);
  const set = (changes) => {
    Object.assign(dials, changes);
    for (const [name, slider] of Object.entries(sliders)) slider.set(dials[name]);
    draw();
  };
  const below = (limit) => Math.floor(Math.random() * limit);
  const expression = choose(names, dials.expression, (name) => {
    Object.assign(dials, { expression: name, variant: variants[name][0] });
    listWays();
    draw();
  });
  listWays();
  const shown = group("expression",
    labelled("expression", expression), labelled("shown by", ways), dial("intensity", "intensity", 0, 1.5, 0.05, 2),
    labelled("blended with", choose(names, dials.second, (name) => ((dials.second = name), draw()))), dial("share", "its share", 0, 1, 0.05, 2));
  const who = group("person",
    dial("person", "person", 1, 999, 1), press("random person", () => set({ person: 1 + below(999) })),
    press("other chance", () => set({ chance: 1 + below(9999) })));
  const pose = group("pose", dial("yaw", "turned", -35, 35, 1), dial("pitch", "raised", -25, 25, 1), dial("distance", "camera, dm", 7, 40, 1));
  const light = group("light",
    dial("azimuth", "from the side", -85, 85, 1), dial("height", "from above", -10, 65, 1), dial("hardness", "hardness", 0.35, 0.85, 0.05, 2),
    dial("brightness", "exposure", 0.4, 0.6, 0.01, 2), labelled("a snapshot's faults", tick(dials.photographic, (on) => ((dials.photographic = on), draw()))));
  const marks = labelled("landmarks", tick(marked, (on) => {
    marked = on;
    paint();
    page.drawn();
  }));
  const left = make("div", {}, heading, canvas, make("div", {}, marks));
  const reading = model ? [make("div", {}, make("div", { className: "lsdkit-title" }, `what ${model} says`), says)] : [];
  page.root.append(make("div", { className: "lsdkit-row" }, left, make("div", {}, shown, who), make("div", {}, pose, light), ...reading));
  page.say("Warming up: the renderer is compiled at its first use ...");
  draw();
});
