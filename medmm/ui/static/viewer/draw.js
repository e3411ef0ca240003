// Pixels: grey levels of one slice, colours of one slice of an overlay.
import { inverse, product } from './geometry.js';

const GREYS = 256;

// Colour of every 16-bit value in one window.
export class Window {
  constructor() { this.colours = new Uint32Array(2 ** 16); }

  set(width, level) {
    if (width === this.width && level === this.level) return;
    [this.width, this.level] = [width, level];
    const low = level - width / 2, gain = (GREYS - 1) / width;
    for (let value = -(2 ** 15); value < 2 ** 15; value++) {
      const grey = Math.min(GREYS - 1, Math.max(0, (value - low) * gain)) | 0;
      this.colours[value + 2 ** 15] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }
}

// An image the size of a canvas, whose pixels are written as 32-bit numbers.
function imageOf(canvas, columns, rows) {
  if (canvas.width !== columns || canvas.height !== rows || !canvas.image) {
    canvas.width = columns;
    canvas.height = rows;
    canvas.image = new ImageData(columns, rows);
    canvas.pixels = new Uint32Array(canvas.image.data.buffer);
    canvas.ink = canvas.getContext('2d');
  }
  return canvas.pixels;
}

export function drawGrey(canvas, plane, source, window) {
  const { voxels, shape } = source, strides = [1, shape[0], shape[0] * shape[1]];
  const columns = shape[plane.across], rows = shape[plane.down], pixels = imageOf(canvas, columns, rows);
  const step = strides[plane.across], base = source.slice * strides[plane.through], colours = window.colours;
  for (let r = 0, at = 0; r < rows; r++) {
    let from = base + (plane.upward ? rows - 1 - r : r) * strides[plane.down];
    for (let c = 0; c < columns; c++, at++, from += step) pixels[at] = colours[voxels[from] + 32768];
  }
  canvas.ink.putImageData(canvas.image, 0, 0);
}

// Colours of labels 1 to 8 (Okabe and Ito 2008), told apart by nearly all eyes, and of a map from low to high (cividis).
export const LABELS = ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#cc79a7', '#d55e00', '#0072b2', '#ffffff'];
export const MAP = ['#00224e', '#434e6c', '#7d7c78', '#bcae6c', '#fee838'];

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const packed = ([red, green, blue]) => ((0xff << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// Colour of every value of an overlay; 0 is see-through.
function coloursOf(labelled) {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    if (!value) return 0;
    if (labelled) return packed(rgb(LABELS[(value - 1) % LABELS.length]));
    const at = (value / 255) * (MAP.length - 1), low = Math.min(MAP.length - 2, Math.floor(at));
    const [a, b] = [rgb(MAP[low]), rgb(MAP[low + 1])];
    return packed(a.map((part, n) => Math.round(part + (b[n] - part) * (at - low))));
  });
}

export class Overlay {
  // `spec`: name, shape, affine of its own grid, and names of its labels (none: a map from low to high).
  constructor(spec, study, voxels) {
    Object.assign(this, spec, { voxels, colours: coloursOf(spec.labels) });
    this.fromStudy = product(inverse(spec.affine), study.affine);
  }

  // Values at the voxels of one slice of the study, at the resolution that the study is held in; nearest neighbours.
  slice(plane, study, index) {
    const { shape, factors } = study.fit, cell = study.cell(index);
    const columns = shape[plane.across], rows = shape[plane.down], found = new Uint8Array(columns * rows);
    const [wide, high, deep] = this.shape, matrix = this.fromStudy;
    const at = (axis, n) => n * factors[axis] + (factors[axis] - 1) / 2;
    const start = [0, 0, 0];
    for (let r = 0, to = 0; r < rows; r++) {
      start[plane.through] = at(plane.through, cell[plane.through]);
      start[plane.down] = at(plane.down, plane.upward ? rows - 1 - r : r);
      start[plane.across] = at(plane.across, 0);
      let [x, y, z] = matrix.slice(0, 3).map((row) => row[0] * start[0] + row[1] * start[1] + row[2] * start[2] + row[3] + 0.5);
      const [dx, dy, dz] = matrix.map((row) => row[plane.across] * factors[plane.across]);
      for (let c = 0; c < columns; c++, to++, x += dx, y += dy, z += dz) {
        if (x >= 0 && y >= 0 && z >= 0 && x < wide && y < high && z < deep) found[to] = this.voxels[((z | 0) * high + (y | 0)) * wide + (x | 0)];
      }
    }
    return found;
  }

  draw(canvas, plane, study, index, contour) {
    const columns = study.fit.shape[plane.across], rows = study.fit.shape[plane.down];
    const values = this.slice(plane, study, index), pixels = imageOf(canvas, columns, rows), { colours } = this;
    for (let at = 0; at < values.length; at++) {
      const value = values[at], c = at % columns;
      const inner = contour && c > 0 && c < columns - 1 && values[at - 1] === value && values[at + 1] === value
        && values[at - columns] === value && values[at + columns] === value;
      pixels[at] = inner ? 0 : colours[value];
    }
    canvas.ink.putImageData(canvas.image, 0, 0);
  }
}
