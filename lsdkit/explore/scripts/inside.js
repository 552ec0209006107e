// A face of a store at a time: the network's attention, the evidence for a class, its landmarks and its answer.

export default explorer(async (page) => {
  const { content: start } = await page.ask("start");
  const { classes, parts } = start;
  let [member, split, wanted, wrongFirst, target] = [0, start.splits[0], "any", true, -1];
  let faces = null; // rows, labels and answers of the split
  let order = []; // places of `faces` that fit the class, in the order in which they are shown
  let at = 0;

  const face = picture("face and landmarks", 224);
  const evidence = picture("evidence");
  const heads = make("div", { className: "lsdkit-row" });
  const says = bars(classes);
  const label = (index) => (index < 0 ? "unknown" : classes[index]);
  const answerOf = (place) => faces.chances[place].indexOf(Math.max(...faces.chances[place]));

  const sort = () => {
    order = Array.from(faces.labels.keys()).filter((place) => wanted === "any" || label(faces.labels[place]) === wanted);
    if (!wrongFirst) return;
    const sure = (place) => {
      const answer = answerOf(place);
      return faces.labels[place] >= 0 && answer !== faces.labels[place] ? faces.chances[place][answer] : -1;
    };
    order.sort((one, two) => sure(two) - sure(one) || one - two); // the surest mistakes first
  };
  const show = latest(async () => {
    if (!order.length) return page.say("No face of this class here.");
    const place = order[at];
    const began = performance.now();
    const { content: said, buffers } = await page.ask("look", { member, row: faces.rows[place], expression: target });
    page.root.dataset.answered = (performance.now() - began).toFixed(1);
    const [count, height, width] = said.map;
    const [crop] = unpack(buffers[0], 1, said.size);
    const [attention, spoken, known, placed] = buffers.slice(1).map((each) => numbers(each));
    const answer = said.probabilities.indexOf(Math.max(...said.probabilities));
    drawLandmarks(face.canvas, crop, known, said.placed ? placed : null, parts);
    const error = said.error === undefined ? "" : `: ${(100 * said.error).toFixed(1)}% of the eyes' distance apart`;
    const truth = label(faces.labels[place]);
    face.name(`${truth}, answered ${label(answer)}`, `face ${said.key}, ${truth}, answered ${label(answer)}, landmarks${error}`);
    const most = Math.max(...attention);
    const maps = Array.from({ length: count }, (_, head) => {
      const shares = attention.subarray(head * height * width, (head + 1) * height * width);
      const map = picture("");
      map.name(`head ${head + 1}`, `attention of head ${head + 1}, at most ${Math.round(100 * Math.max(...shares))}% at one place of ${height} x ${width}`);
      drawMap(map.canvas, crop, shares, [height, width], said.window, most);
      return map;
    });
    heads.replaceChildren(...maps);
    const spokenFor = label(target < 0 ? answer : target);
    evidence.name(said.missing ? "no Grad-CAM" : `Grad-CAM of ${spokenFor}`);
    drawMap(evidence.canvas, crop, spoken, [height, width], said.window, Math.max(...spoken));
    evidence.hidden = Boolean(said.missing);
    says.update(said.probabilities);
    const whole = said.window ? "" : " A place of the maps is made of the whole face, so they are drawn without it.";
    const silent = !said.missing && Math.max(...spoken) === 0 ? ` Nothing speaks for ${spokenFor.toLowerCase()}.` : "";
    number.value = at + 1;
    total.textContent = ` of ${order.length}`;
    page.say(`${said.key}${error && `, landmarks${error}`}.${said.placed ? "" : " This network places no landmarks."}${whole}${silent} ${said.missing}`);
    page.drawn();
  });
  const go = (to) => {
    at = (to + order.length) % Math.max(1, order.length);
    return show();
  };
  const load = latest(async () => {
    page.say(`Asking the network about the ${split} faces ...`);
    const { buffers } = await page.ask("faces", { member, split });
    const chances = numbers(buffers[2]);
    faces = { rows: numbers(buffers[0], Int32Array), labels: numbers(buffers[1], Int8Array) };
    faces.chances = Array.from(faces.rows.keys(), (place) => Array.from(chances.subarray(place * 6, place * 6 + 6)));
    sort();
    await go(0);
  });
  const again = () => {
    sort();
    go(0);
  };
  const number = make("input", { type: "number", min: 1, value: 1, style: { width: "5em" }, "aria-label": "which face" });
  number.addEventListener("change", () => go(Math.min(Math.max(1, Math.round(number.value) || 1), order.length) - 1));
  const total = make("span");
  const controls = make("div", { className: "lsdkit-controls" });
  if (start.members.length > 1) {
    const names = start.members.map((name, place) => [place, `${place + 1}  ${name}`]);
    controls.append(labelled("member", choose(names, 0, (value) => ((member = Number(value)), load()))));
  }
  controls.append(
    labelled("faces", choose(start.splits, split, (value) => ((split = value), load()))),
    labelled("class", choose(["any", ...classes], wanted, (value) => ((wanted = value), again()))),
    labelled("wrongly answered first", tick(wrongFirst, (on) => ((wrongFirst = on), again()))),
    press("previous", () => go(at - 1)), make("span", {}, number, total), press("next", () => go(at + 1)),
    labelled("Grad-CAM of", choose([[-1, "the answer"], ...classes.map((name, index) => [index, name])], target, (value) => ((target = Number(value)), show()))),
  );
  const left = make("div", {}, face, landmarkKey("the store's"));
  const answer = make("div", {}, make("div", { className: "lsdkit-title" }, "its answer"), says);
  page.root.append(controls, make("div", { className: "lsdkit-row" }, left, answer, evidence), make("div", { className: "lsdkit-title", style: { marginTop: "8px" } }, "attention of each head"), heads);
  await load();
});
