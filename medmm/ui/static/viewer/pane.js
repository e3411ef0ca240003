// One plane of one scan on the page: where its pixels are in millimetres and on the screen, and its three canvases.
import { PLANES, clamp } from './geometry.js';
import { drawGrey } from './draw.js';
import { make } from './dom.js';
import { drawMarks, lengthOf } from './marks.js';

export class Pane {
  constructor() {
    this.canvas = make('canvas', { className: 'mm-canvas', tabIndex: 0, role: 'img' });
    this.colours = make('canvas', { className: 'mm-colours', 'aria-hidden': 'true' });
    this.marks = make('canvas', { className: 'mm-marks', 'aria-hidden': 'true' });
    this.letters = ['left', 'right', 'top', 'bottom'].map((edge) => make('span', { className: `mm-letter mm-${edge}` }));
    this.name = make('span', { className: 'mm-name' });
    this.readout = make('span', { className: 'mm-readout' });
    this.node = make('div', { className: 'mm-pane' }, this.canvas, this.colours, this.marks, ...this.letters, this.name, this.readout);
    for (const node of [...this.letters, this.name, this.readout]) node.setAttribute('aria-hidden', 'true');
  }

  show(study, plane, words) {
    this.study = study;
    this.plane = plane;
    this.axes = PLANES[plane];
    this.node.dataset.plane = plane;
    this.name.textContent = study.title ? `${words[plane]}, ${study.title}` : words[plane];
    this.letters.forEach((node, n) => { node.textContent = study.unit === 'HU' ? this.axes.letters[n] : ''; });
    this.extent = [this.axes.across, this.axes.down].map((axis) => study.shape[axis] * study.spacing[axis]);
    this.reset();
  }

  // The whole slice, in the middle.
  reset() {
    this.zoom = 1;
    this.middle = this.extent.map((length) => length / 2);
    this.ruler = null;
  }

  get size() { return [this.node.clientWidth, this.node.clientHeight]; }

  // Screen pixels of a millimetre, the same in both directions: proportions are the patient's.
  get scale() {
    const [width, height] = this.size;
    return this.zoom * Math.max(1e-6, Math.min(width / this.extent[0], height / this.extent[1]));
  }

  toScreen([x, y]) {
    const [width, height] = this.size, scale = this.scale;
    return [width / 2 + (x - this.middle[0]) * scale, height / 2 + (y - this.middle[1]) * scale];
  }

  // Millimetres from the left and upper edge of the slice under a place on the screen.
  toSlice(clientX, clientY) {
    const box = this.node.getBoundingClientRect(), scale = this.scale;
    return [this.middle[0] + (clientX - box.left - box.width / 2) / scale, this.middle[1] + (clientY - box.top - box.height / 2) / scale];
  }

  // Middle of a voxel in millimetres from the left and upper edge.
  placeOf(index) {
    const { across, down, upward } = this.axes, { spacing, shape } = this.study;
    const row = upward ? shape[down] - 1 - index[down] : index[down];
    return [(index[across] + 0.5) * spacing[across], (row + 0.5) * spacing[down]];
  }

  // The voxel of the slice in view that covers a place, kept within it; `inside` says whether it had to be.
  voxelAt([x, y], index) {
    const { across, down, upward } = this.axes, { spacing, shape } = this.study;
    const found = [...index];
    const column = Math.floor(x / spacing[across]), row = Math.floor(y / spacing[down]);
    found[across] = clamp(column, 0, shape[across] - 1);
    found[down] = clamp(upward ? shape[down] - 1 - row : row, 0, shape[down] - 1);
    const inside = column >= 0 && row >= 0 && column < shape[across] && row < shape[down];
    return { index: found, inside };
  }

  // Zoom so that what lies under a place of the screen stays there.
  zoomAt(factor, clientX, clientY) {
    const before = this.toSlice(clientX, clientY);
    this.zoom = clamp(this.zoom * factor, 1, 40);
    const after = this.toSlice(clientX, clientY);
    this.move(after[0] - before[0], after[1] - before[1]);
  }

  // Move the picture by millimetres; its middle stays in the pane.
  move(x, y) {
    this.middle = this.middle.map((value, n) => clamp(value - [x, y][n], 0, this.extent[n]));
  }

  draw(state) {
    const { index, inside } = this.study.indexOf(state.point), { axes } = this;
    const source = this.study.source(axes, index);
    this.canvas.style.visibility = inside ? '' : 'hidden'; // another scan may not reach as far
    drawGrey(this.canvas, axes, source, state.window);
    this.lay(this.canvas, source.shape, source.factors, this.study.spacing);
    const [layer] = this.study.layers;
    this.colours.hidden = !layer || !inside || !state.overlay.shown;
    if (!this.colours.hidden) {
      layer.draw(this.colours, axes, this.study, index, state.overlay.contour);
      this.lay(this.colours, this.study.fit.shape, this.study.fit.factors, this.study.spacing);
      this.colours.style.opacity = state.overlay.opacity;
    }
    drawMarks(this, state, index);
    if (this.ruler) this.node.dataset.ruler = lengthOf(this.ruler).toFixed(1);
    else delete this.node.dataset.ruler;
    return { index, level: source.level };
  }

  // Put a canvas of so many cells, each of `factors` voxels, where they are. The last cells may reach beyond the scan.
  lay(canvas, shape, factors, spacing) {
    const { across, down, upward } = this.axes, scale = this.scale;
    const wide = shape[across] * factors[across] * spacing[across], high = shape[down] * factors[down] * spacing[down];
    const [left, top] = this.toScreen([0, upward ? this.extent[1] - high : 0]);
    const box = { left, top, width: wide * scale, height: high * scale };
    for (const [name, value] of Object.entries(box)) canvas.style[name] = `${value}px`;
  }
}
