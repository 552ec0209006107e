// Expression probabilities of faces that are already cropped, by the expression network of face-api.
//
//   node face_api.mjs FACES.bin SIDE OUT.json
//
// FACES.bin: uint8 (N, SIDE, SIDE, 3) RGB, row after row. OUT.json: {labels: [7 names], probabilities: [[7 numbers] x N]}.
// Run it in a folder where the packages of package.json are installed. Nothing is detected and nothing is fetched.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(path.join(process.cwd(), "package.json"));
const tf = require("@tensorflow/tfjs");
const { setWasmPaths } = require("@tensorflow/tfjs-backend-wasm");
const home = path.dirname(require.resolve("@vladmandic/face-api/package.json"));
const faceapi = require(path.join(home, "dist", "face-api.node-wasm.js"));

const BATCH = 32;
const [facesPath, sideText, outPath] = process.argv.slice(2);
const side = Number(sideText);
const bytes = fs.readFileSync(facesPath);
const each = side * side * 3;
if (!Number.isInteger(side) || side < 1 || bytes.length % each) {
  throw new Error(`Expected whole faces of ${side} x ${side} x 3 bytes in ${facesPath}, but got ${bytes.length} bytes`);
}

setWasmPaths(path.join(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm/package.json")), "dist") + path.sep);
await tf.setBackend("wasm");
await tf.ready();
const net = faceapi.nets.faceExpressionNet;
await net.loadFromDisk(path.join(home, "model"));

const labels = faceapi.FACE_EXPRESSION_LABELS;
const probabilities = [];
for (let start = 0; start < bytes.length; start += BATCH * each) {
  const faces = [];
  for (let at = start; at < Math.min(bytes.length, start + BATCH * each); at += each) {
    faces.push(tf.tensor3d(new Uint8Array(bytes.subarray(at, at + each)), [side, side, 3], "int32"));
  }
  for (const answer of await net.predictExpressions(faces)) {
    probabilities.push(labels.map((label) => answer[label]));
  }
  faces.forEach((face) => face.dispose());
}
fs.writeFileSync(outPath, JSON.stringify({ labels, probabilities }));
