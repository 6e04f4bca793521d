// Drawing area or file input for an image, and display of the prediction of the integer network.
const [BOX, INK, STEP] = [20, 0.3, 5];
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
const { examples, class_names, first_map } = page.data;
const { rows, columns, channels } = plan.maps[0];
const find = (identifier) => document.getElementById(identifier);
const board = find("pad");
const clamped = (number, most) => Math.min(Math.max(number, 0), most);

// Draws a picture, scaled, on a canvas with the shape of the images; returns red, green and blue of each pixel.
function scaled(ground, ...drawing) {
  const context = make("canvas", { width: columns, height: rows }).getContext("2d");
  Object.assign(context, { fillStyle: ground, imageSmoothingQuality: "high" });
  context.fillRect(0, 0, columns, rows);
  context.drawImage(...drawing);
  const { data } = context.getImageData(0, 0, columns, rows);
  return range(rows * columns).map((at) => [...data.slice(4 * at, 4 * at + 3)]);
}

// Returns the drawing, normalised like the digits of MNIST (harness/data/other_images.py); null for an empty drawing.
function digit() {
  const { data } = board.getContext("2d").getImageData(0, 0, board.width, board.height);
  const ink = places(board.height, board.width).filter((_, at) => data[4 * at + 3] >= 255 * INK);
  if (!ink.length) return null;
  const [across, down] = [1, 0].map((axis) => {
    const marks = ink.map((place) => place[axis]);
    const first = Math.min(...marks);
    return { first, extent: Math.max(...marks) - first + 1, centre: total(marks) / marks.length + 0.5 - first };
  });
  const scale = BOX / Math.max(across.extent, down.extent);
  const size = ({ extent }) => Math.max(1, Math.round(scale * extent));
  const start = (axis, edge) => clamped(Math.round(edge / 2 - scale * axis.centre), edge - size(axis));
  const target = [start(across, columns), start(down, rows), size(across), size(down)];
  return scaled("black", board, across.first, down.first, across.extent, down.extent, ...target).map(([shade]) => shade);
}

// Returns a picture as bytes in the shape of the images; the weights of the grey value are from ITU-R BT.601.
function fitted(bitmap) {
  const grey = ([red, green, blue]) => [Math.round(0.299 * red + 0.587 * green + 0.114 * blue)];
  return scaled("white", bitmap, 0, 0, columns, rows).flatMap((colours) => (channels === 1 ? grey(colours) : colours));
}

// Returns a map as a canvas, one pixel per position; shades are from 0 to 255.
function picture(map, label, shadeOf) {
  const canvas = make("canvas", { width: map.columns, height: map.rows, role: "img", "aria-label": label });
  const shades = range(4 * map.rows * map.columns).map((at) => (at % 4 === 3 ? 255 : shadeOf(at >> 2, at % 4)));
  canvas.getContext("2d").putImageData(new ImageData(Uint8ClampedArray.from(shades), map.columns, map.rows), 0, 0);
  return canvas;
}

// Shows the prediction for an image (bytes in the order rows, columns, channels); null clears the page.
function show(pixels) {
  document.body.classList.toggle("blank", !pixels);
  find("answer").textContent = "no image";
  if (!pixels) return;
  const { maps, logits } = run(pixels);
  const [least, most] = [Math.min(...logits), Math.max(...logits)];
  find("answer").textContent = class_names[logits.indexOf(most)];
  for (const [label, row] of [...find("scores").tBodies[0].rows].entries()) {
    row.className = label === logits.indexOf(most) ? "best" : "";
    row.cells[1].textContent = logits[label].toLocaleString("en");
    row.cells[2].firstElementChild.style.width = `${(100 * (logits[label] - least)) / (most - least || 1)}%`;
  }
  const colour = (at, n) => pixels[at * channels + Math.min(n, channels - 1)];
  find("image").replaceChildren(picture(plan.maps[0], "The image that the network reads", colour));
  if (first_map === null) return;
  const map = plan.maps[first_map];
  const peak = Math.max(1, ...maps[first_map].map(Math.abs));
  const shade = (number) => (map.low < 0 ? 128 + (127 * number) / peak : (255 * number) / peak);
  const part = (channel) => picture(map, `Map ${channel + 1}`, (at) => shade(maps[first_map][at * map.channels + channel]));
  find("maps").replaceChildren(...range(map.channels).map(part));
}

// Drawing: a line connects the previous and the current position of the pen.
if (board) {
  const edge = board.width;
  const context = board.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { lineWidth: edge / 12, lineCap: "round", strokeStyle: "white" });
  let pen = [edge / 2, edge / 2];
  const move = (place, draws) => {
    const line = new Path2D(`M${pen} L${place[0] + 0.01},${place[1]}`); // A line of length 0 would not be drawn.
    pen = place;
    Object.assign(find("pen").style, { left: `${(100 * pen[0]) / edge}%`, top: `${(100 * pen[1]) / edge}%` });
    if (!draws) return;
    context.stroke(line);
    show(digit());
  };
  board.onpointerdown = board.onpointermove = (event) => {
    const place = [event.offsetX, event.offsetY].map((distance) => (distance * edge) / board.clientWidth);
    if (event.type === "pointerdown") pen = place;
    move(place, event.buttons > 0);
  };
  board.onkeydown = (event) => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    move(pen.map((number, axis) => clamped(number + ARROWS[event.key][axis], edge)), !event.shiftKey);
  };
}

find("picture")?.addEventListener("change", ({ target }) => createImageBitmap(target.files[0]).then(fitted, () => null).then(show));
document.querySelectorAll("[data-example]").forEach((choice) => choice.addEventListener("click", () => {
  board?.getContext("2d").clearRect(0, 0, board.width, board.height);
  show(examples[choice.dataset.example]);
}));
show(board ? null : examples[0]);
