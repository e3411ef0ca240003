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
