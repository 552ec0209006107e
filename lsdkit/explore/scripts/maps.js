// A network's inside on a face: maps of attention and evidence, and two sets of landmarks.

const MAP = 168; // pixels a side of a drawn map
const TINT = [213, 94, 0]; // of places that count

// A canvas with its title above it.
function picture(title, size = MAP) {
  const canvas = make("canvas", { width: size, height: size, style: { width: `${size}px` }, role: "img" });
  const heading = make("div", { className: "lsdkit-title" }, title);
  const all = make("div", {}, heading, canvas);
  all.canvas = canvas;
  all.name = (text, label = text) => {
    heading.textContent = text;
    canvas.setAttribute("aria-label", label);
  };
  return all;
}

// A map (height, width) of shares that add up to 1, over a face in grey. `window` is the part of the face that it covers
// (left, top, right, bottom in shares of its side), null where its places are no parts of the face; what lies outside is
// paled. A place is tinted by its share, fully at `most`; each is told where they are few.
function drawMap(canvas, face, shares, [height, width], window, most) {
  const [context, size] = [canvas.getContext("2d"), canvas.width];
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, size, size);
  const [left, top, right, bottom] = (window ?? [0, 0, 1, 1]).map((share) => share * size);
  if (window) {
    context.drawImage(face, 0, 0, size, size);
    context.globalCompositeOperation = "saturation"; // of grey: none
    context.fillStyle = "#808080";
    context.fillRect(0, 0, size, size);
    context.globalCompositeOperation = "source-over";
    context.fillStyle = "rgba(255, 255, 255, 0.7)";
    context.fillRect(0, 0, size, top);
    context.fillRect(0, bottom, size, size - bottom);
    context.fillRect(0, top, left, bottom - top);
    context.fillRect(right, top, size - right, bottom - top);
  }
  const [across, down] = [(right - left) / width, (bottom - top) / height];
  const few = Math.max(height, width) <= 4;
  context.font = "11px sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let place = 0; place < height * width; place++) {
    const [x, y] = [left + (place % width) * across, top + Math.floor(place / width) * down];
    context.fillStyle = `rgba(${TINT}, ${(0.65 * shares[place]) / Math.max(most, 1e-9)})`;
    context.fillRect(x, y, across, down);
    if (!few) continue;
    context.strokeStyle = window ? "#ffffff" : "#dddddd";
    context.strokeRect(x, y, across, down);
    context.fillStyle = "rgba(255, 255, 255, 0.75)";
    context.fillRect(x + across / 2 - 16, y + down / 2 - 8, 32, 16);
    context.fillStyle = "#222222";
    context.fillText(`${Math.round(100 * shares[place])}%`, x + across / 2, y + down / 2);
  }
}

// A face under its known landmarks and those that a network places, null where it places none.
function drawLandmarks(canvas, face, known, placed, parts) {
  const [context, size] = [canvas.getContext("2d"), canvas.width];
  context.drawImage(face, 0, 0, size, size);
  drawPoints(context, known, parts, size, "#00d0ff", "#00d0ff");
  if (placed) drawPoints(context, placed, parts, size, "#E69F00", "#E69F00");
}

// What the two colours of landmarks are.
function landmarkKey(known) {
  const entry = (colour, text) => make("span", {}, make("span", { style: { color: colour, textShadow: "0 0 1px #000" } }, "● "), text);
  return make("div", { style: { display: "flex", gap: "10px", fontSize: "11px" } }, entry("#00d0ff", known), entry("#E69F00", "the network's"));
}
