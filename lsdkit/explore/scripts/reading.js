// A photograph, one of its faces, and each step from there to the vote, as the figure `steps` draws them.

const PART = 4 * 2 ** 20; // bytes of a file in one message: Jupyter's server takes 10 MiB
const STEP = 150; // pixels a side of a step's picture

export default explorer(async (page) => {
  const { content: start } = await page.ask("start");
  const { classes, parts, model, members } = start;
  let photograph = null; // what the kernel says of it
  let original = null; // its picture, and its faces' landmarks in pixels
  let inside = null; // of the chosen face
  let [face, member, head] = [1, 0, 0];

  const found = make("canvas", { role: "img", style: { cursor: "pointer" } });
  const cut = picture("2  cut out, level", STEP);
  const seen = picture("", STEP);
  const landmarks = picture("4  landmarks", STEP);
  const heads = make("div", { className: "lsdkit-row" });
  const vote = bars(classes);

  const drawFound = () => {
    const [context, scale] = [found.getContext("2d"), found.width / photograph.size[0]];
    context.drawImage(original.picture, 0, 0);
    photograph.faces.forEach(({ box }, place) => {
      const [x, y, across, down] = box.map((each) => each * scale);
      for (const [width, colour] of [[4, "#222222"], [2, place === face - 1 ? "#E69F00" : "#ffffff"]]) {
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.strokeRect(x, y, across, down);
      }
      if (photograph.faces.length < 2) return;
      context.fillStyle = place === face - 1 ? "#E69F00" : "#ffffff";
      context.fillRect(x, Math.max(0, y - 15), 17, 15);
      context.fillStyle = "#222222";
      context.font = "bold 12px sans-serif";
      context.fillText(place + 1, x + 4, Math.max(0, y - 15) + 12);
    });
    context.fillStyle = "#00d0ff";
    const points = original.landmarks.subarray(136 * (face - 1), 136 * face);
    for (let at = 0; at < 136; at += 2) context.fillRect(points[at] * scale - 0.75, points[at + 1] * scale - 0.75, 1.5, 1.5);
    const [width, height] = photograph.size;
    found.setAttribute("aria-label", `${photograph.name}, ${width} x ${height} pixels, ${photograph.faces.length} faces, face ${face} chosen`);
  };
  // The member's steps, and the vote with a line for each member.
  const drawMember = () => {
    const own = inside.members[member];
    seen.name(`3  member ${member + 1} is shown`);
    seen.canvas.getContext("2d").drawImage(own.shown, 0, 0, STEP, STEP);
    const [count, height, width] = own.map;
    const most = Math.max(...own.attention);
    const maps = [];
    for (let each = 0; each < count; each++) {
      if (head && head !== each + 1) continue;
      const map = picture("", STEP);
      map.name(`5  head ${each + 1}`, `attention of head ${each + 1} of member ${member + 1}`);
      drawMap(map.canvas, inside.crop, own.attention.subarray(each * height * width, (each + 1) * height * width), [height, width], own.window, most);
      maps.push(map);
    }
    heads.replaceChildren(...maps);
    vote.update(photograph.faces[face - 1].probabilities);
    vote.querySelectorAll(".lsdkit-track").forEach((track, index) => {
      track.style.position = "relative";
      track.querySelectorAll("i").forEach((line) => line.remove());
      if (members.length < 2) return;
      inside.members.forEach(({ probabilities }, each) => {
        const colour = each === member ? "#D55E00" : "currentColor";
        track.append(make("i", { style: { position: "absolute", left: `${100 * probabilities[index]}%`, top: "-1px", height: "16px", width: each === member ? "2px" : "1px", background: colour } }));
      });
    });
  };
  const show = latest(async () => {
    const { content, buffers } = await page.ask("face", { face });
    const [crop, known, placed, ...rest] = buffers;
    inside = { crop: unpack(crop, 1, content.size)[0] };
    inside.members = content.members.map((each, place) => ({
      ...each, shown: unpack(rest[2 * place], 1, each.seen)[0], attention: numbers(rest[2 * place + 1]),
    }));
    drawFound();
    cut.canvas.getContext("2d").drawImage(inside.crop, 0, 0, STEP, STEP);
    drawLandmarks(landmarks.canvas, inside.crop, numbers(known), content.placed ? numbers(placed) : null, parts);
    drawMember();
    const { box, found: how, probabilities } = photograph.faces[face - 1];
    const best = probabilities.indexOf(Math.max(...probabilities));
    page.say(`${photograph.name}: face ${face} of ${photograph.faces.length}, ${box[2]} pixels wide, found by ${how}; ${classes[best].toLowerCase()} ${probabilities[best].toFixed(2)} by ${model}`);
    page.drawn();
  });
  // The photograph that the kernel has now.
  const look = async () => {
    const { content, buffers } = await page.ask("photograph");
    photograph = content;
    face = 1;
    which.replaceChildren(...(content.faces.length ? content.faces : [0]).map((_, place) => make("option", { value: place + 1 }, place + 1)));
    which.disabled = content.faces.length < 2;
    steps.hidden = !content.faces.length;
    if (!content.faces.length) {
      page.say(`${content.name}: ${content.reason}`);
      return page.drawn();
    }
    const [width, height] = content.shown;
    Object.assign(found, { width, height });
    original = { picture: unpack(buffers[0], 1, height, width)[0], landmarks: numbers(buffers[1]) };
    await show();
  };
  const upload = latest(async (file) => {
    if (!file) return;
    page.say(`Reading ${file.name} ...`);
    const bytes = await file.arrayBuffer();
    for (let place = 0; place === 0 || place * PART < bytes.byteLength; place++) {
      const part = bytes.slice(place * PART, (place + 1) * PART);
      await page.ask("upload", { name: file.name, place, last: (place + 1) * PART >= bytes.byteLength }, [part]);
    }
    await look();
  });

  const file = make("input", { type: "file", accept: "image/*" });
  file.addEventListener("change", () => {
    upload(file.files[0]);
  });
  page.root.addEventListener("dragover", (event) => event.preventDefault());
  page.root.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    upload(event.dataTransfer.files[0]);
  });
  const go = (number) => {
    face = number;
    which.value = number;
    show();
  };
  const which = choose([1], 1, (value) => go(Number(value)));
  found.addEventListener("click", (event) => {
    const scale = photograph.size[0] / found.getBoundingClientRect().width;
    const inBox = ({ box: [x, y, across, down] }) =>
      event.offsetX * scale >= x && event.offsetX * scale <= x + across && event.offsetY * scale >= y && event.offsetY * scale <= y + down;
    const place = photograph.faces.findIndex(inBox);
    if (place >= 0) go(place + 1);
  });
  const redraw = () => {
    drawMember();
    page.drawn();
  };
  const names = members.map((name, place) => [place, `${place + 1}  ${name}`]);
  const controls = make("div", { className: "lsdkit-controls" });
  controls.append(labelled("photograph (or drop one here)", file), labelled("face", which));
  if (members.length > 1) controls.append(labelled("member", choose(names, 0, (value) => ((member = Number(value)), redraw()))));
  const chosen = make("span"); // as many heads as the member has
  controls.append(chosen);
  const upper = [make("div", {}, make("div", { className: "lsdkit-title" }, "1  found"), found), cut, seen, make("div", {}, landmarks, landmarkKey("dlib's"))];
  const lines = members.length > 1 ? ` (lines: ${members.length} members, orange: the chosen one)` : "";
  const answer = make("div", {}, make("div", { className: "lsdkit-title" }, `6  the vote${lines}`), vote);
  const steps = make("div", {}, make("div", { className: "lsdkit-row" }, ...upper), make("div", { className: "lsdkit-row", style: { marginTop: "8px" } }, heads, answer));
  page.root.append(controls, steps);
  await look();
  const most = inside ? Math.max(...inside.members.map((each) => each.map[0])) : 4;
  chosen.append(labelled("head", choose([[0, "all"], ...Array.from({ length: most }, (_, each) => [each + 1, each + 1])], 0, (value) => ((head = Number(value)), redraw()))));
});
