// Lines over the picture: crosshair, ruler and scale bar, drawn at the screen's own resolution.
import { PLANES } from './geometry.js';

export const LINES = { axial: '#56b4e9', coronal: '#e69f00', sagittal: '#2fbf8f' }; // told apart by most colour-blind eyes
const GAP = 9, BAR = 0.28, INK = '#f2e6b8';

export function drawMarks(pane, state, index) {
  const [width, height] = pane.size, dots = window.devicePixelRatio || 1, canvas = pane.marks;
  if (canvas.width !== Math.round(width * dots) || canvas.height !== Math.round(height * dots)) {
    canvas.width = Math.round(width * dots);
    canvas.height = Math.round(height * dots);
  }
  const ink = canvas.getContext('2d');
  ink.setTransform(dots, 0, 0, dots, 0, 0);
  ink.clearRect(0, 0, width, height);
  if (state.crosshair && pane.study.shape.every((n) => n > 1)) drawCrosshair(ink, pane, index, width, height);
  if (pane.study.unit === 'HU') drawScale(ink, pane, height);
  if (pane.ruler && pane.ruler.slice === index[pane.axes.through]) drawRuler(ink, pane);
}

function drawCrosshair(ink, pane, index, width, height) {
  const [x, y] = pane.toScreen(pane.placeOf(index)).map((value) => Math.round(value) + 0.5);
  const plane = (axis) => LINES[Object.keys(PLANES).find((name) => PLANES[name].through === axis)];
  line(ink, plane(pane.axes.across), [[x, 0], [x, y - GAP]], [[x, y + GAP], [x, height]]);
  line(ink, plane(pane.axes.down), [[0, y], [x - GAP, y]], [[x + GAP, y], [width, y]]);
}

function line(ink, colour, ...segments) {
  ink.beginPath();
  for (const [from, to] of segments) { ink.moveTo(...from); ink.lineTo(...to); }
  ink.strokeStyle = colour;
  ink.lineWidth = 1;
  ink.stroke();
}

// A bar of a round number of millimetres, at most so much of the pane.
export function barLength(millimetres) {
  const power = 10 ** Math.floor(Math.log10(millimetres));
  return power * [5, 2, 1].find((n) => n * power <= millimetres);
}

function drawScale(ink, pane, height) {
  const scale = pane.scale, length = barLength(Math.max(1e-3, (height * BAR) / scale)), high = length * scale;
  const x = pane.size[0] - 9.5, y = (height + high) / 2 + 0.5;
  if (high < 20) return;
  outlined(ink, () => { ink.moveTo(x - 4, y - high); ink.lineTo(x, y - high); ink.lineTo(x, y); ink.lineTo(x - 4, y); });
  text(ink, length >= 10 ? `${length / 10} cm` : `${length} mm`, x - 7, y - high - 6, 'right');
}

export const lengthOf = ({ from, to }) => Math.hypot(to[0] - from[0], to[1] - from[1]);

function drawRuler(ink, pane) {
  const [from, to] = [pane.toScreen(pane.ruler.from), pane.toScreen(pane.ruler.to)];
  outlined(ink, () => {
    ink.moveTo(...from); ink.lineTo(...to);
    for (const end of [from, to]) { ink.moveTo(end[0] - 4, end[1] - 4); ink.lineTo(end[0] + 4, end[1] + 4); ink.moveTo(end[0] + 4, end[1] - 4); ink.lineTo(end[0] - 4, end[1] + 4); }
  });
  text(ink, `${lengthOf(pane.ruler).toFixed(1)} mm`, to[0] + 8, to[1] - 8, 'left');
}

function outlined(ink, path) {
  for (const [colour, width] of [['#000', 3.5], [INK, 1.5]]) {
    ink.beginPath();
    path();
    ink.strokeStyle = colour;
    ink.lineWidth = width;
    ink.stroke();
  }
}

function text(ink, words, x, y, align) {
  ink.font = '600 13px system-ui, sans-serif';
  ink.textAlign = align;
  ink.lineWidth = 3;
  ink.strokeStyle = '#000';
  ink.strokeText(words, x, y);
  ink.fillStyle = INK;
  ink.fillText(words, x, y);
}
