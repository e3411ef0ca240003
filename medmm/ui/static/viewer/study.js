// A scan in the browser: one array at the resolution that fits, filled coarsely first and then chunk by chunk,
// and, where that is not how it was read, the slices looked at last as they were read.
import { Overlay } from './draw.js';
import { apply, clamp, inverse } from './geometry.js';

const small = navigator.connection?.saveData || navigator.deviceMemory <= 4 || matchMedia('(pointer: coarse)').matches;
const BUDGET = (small ? 96 : 256) * 2 ** 20;
const SPARE = 16 * 2 ** 20; // for overlays and canvases
const AT_ONCE = 4; // requests under way
const AHEAD = 2; // full slices fetched to either side of the one in view

export class Study {
  // `changed` is called whenever there is more to see.
  constructor(spec, changed) {
    Object.assign(this, spec);
    this.toIndex = inverse(spec.affine);
    this.changed = changed;
    this.fit = spec.levels[spec.whole];
    this.exact = this.fit.factors.every((factor) => factor === 1);
    this.voxels = new Int16Array(this.fit.shape.reduce((all, n) => all * n)).fill(spec.low);
    this.real = new Uint8Array(this.fit.shape[2]); // slices that have more than the coarse preview
    this.layers = []; // overlays that have arrived
    this.slices = new Map(); // full slices by number, those used last at the end
    this.most = Math.max(2 * AHEAD + 1, Math.floor((BUDGET - SPARE - this.voxels.byteLength) / (2 * spec.shape[0] * spec.shape[1])));
    this.ending = new AbortController();
    this.resting = new AbortController();
    this.centre = Math.floor(spec.shape[2] / 2);
  }

  // Stop all requests; nothing changes any more.
  close() {
    this.ending.abort();
    this.resting.abort();
  }

  // The nearest voxel to a point in the patient, and whether the point lies within the scan.
  indexOf(point) {
    const found = apply(this.toIndex, point).map(Math.round);
    const index = found.map((value, axis) => clamp(value, 0, this.shape[axis] - 1));
    return { index, inside: index.every((value, axis) => value === found[axis]) };
  }

  pointOf(index) { return apply(this.affine, index); }

  cell(index) { return index.map((value, axis) => Math.floor(value / this.fit.factors[axis])); }

  // Best value known of a voxel and how many voxels it is the mean of; null while only the preview is there.
  valueAt(index) {
    const [i, j, k] = index, full = this.slices.get(k);
    if (full) return { value: full[j * this.shape[0] + i], of: 1 };
    const [c, r, s] = this.cell(index), [columns, rows] = this.fit.shape;
    if (!this.real[s]) return null;
    return { value: this.voxels[(s * rows + r) * columns + c], of: this.fit.factors.reduce((all, n) => all * n) };
  }

  // What a slice can be drawn from: voxels, their number along each axis, the number of the slice among them, and its name.
  source(plane, index) {
    const slice = index[plane.through], full = plane.through === 2 && this.slices.get(slice);
    if (full) return { voxels: full, shape: [this.shape[0], this.shape[1], 1], slice: 0, factors: [1, 1, 1], level: 'full' };
    const seen = plane.through === 2 ? this.real[this.cell(index)[2]] : this.share === 1;
    const level = !seen ? 'coarse' : this.exact ? 'full' : 'fit';
    return { voxels: this.voxels, shape: this.fit.shape, slice: this.cell(index)[plane.through], factors: this.fit.factors, level };
  }

  get share() { return this.real.reduce((sum, n) => sum + n, 0) / this.real.length; }

  // Everything but full slices, those nearest to `centre` first. Rejects with the status of a chunk that was refused.
  async load() {
    const overlays = Promise.all((this.overlays ?? []).map((overlay, n) => this.cover(overlay, n)));
    if (this.whole === 1) await this.fetchAll(0, (first, chunk) => this.preview(first, chunk));
    await this.fetchAll(this.whole, (first, chunk) => {
      const size = this.fit.shape[0] * this.fit.shape[1];
      this.voxels.set(chunk, first * size);
      this.real.fill(1, first, first + chunk.length / size);
    });
    await overlays;
  }

  async fetchAll(level, place) {
    const { shape, depth, factors } = this.levels[level];
    const waiting = Array.from({ length: Math.ceil(shape[2] / depth) }, (_, chunk) => chunk);
    const distance = (chunk) => Math.abs((chunk + 0.5) * depth * factors[2] - this.centre);
    const work = async () => {
      while (waiting.length) {
        const next = waiting.reduce((best, chunk) => (distance(chunk) < distance(best) ? chunk : best));
        waiting.splice(waiting.indexOf(next), 1);
        place(next * depth, await this.chunk(level, next, this.ending.signal));
        this.changed();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  async chunk(level, number, signal) {
    const reply = await fetch(`${this.url}/${level}/${number}`, { signal });
    if (!reply.ok) throw new Error(String(reply.status));
    const bytes = await reply.arrayBuffer();
    return level < this.levels.length ? new Int16Array(bytes) : new Uint8Array(bytes);
  }

  // Overlays lie behind the levels, each as one chunk.
  async cover(overlay, number) {
    this.layers.push(new Overlay(overlay, this, await this.chunk(this.levels.length + number, 0, this.ending.signal)));
    this.changed();
  }

  // Put a coarse chunk, each voxel repeated, where nothing better is.
  preview(first, chunk) {
    const coarse = this.levels[0], [columns, rows, slices] = this.fit.shape;
    const [a, b, c] = coarse.factors.map((factor, axis) => factor / this.fit.factors[axis]);
    const row = new Int16Array(columns), depth = chunk.length / (coarse.shape[0] * coarse.shape[1]);
    for (let s = first * c; s < Math.min(slices, (first + depth) * c); s++) {
      if (this.real[s]) continue;
      for (let r = 0; r < rows; r++) {
        const from = ((Math.floor(s / c) - first) * coarse.shape[1] + Math.floor(r / b)) * coarse.shape[0];
        for (let n = 0; n < columns; n++) row[n] = chunk[from + Math.floor(n / a)];
        this.voxels.set(row, (s * rows + r) * columns);
      }
    }
  }

  // Fetch the slice in view and its neighbours as they were read; what was being fetched for another view is given up.
  async rest(slice) {
    if (this.exact) return;
    this.resting.abort();
    this.resting = new AbortController();
    const { signal } = this.resting;
    for (const step of [0, 1, -1, 2, -2].filter((n) => Math.abs(n) <= AHEAD)) {
      const number = slice + step, known = this.slices.get(number);
      if (number < 0 || number >= this.shape[2]) continue;
      const voxels = known ?? await this.chunk(this.levels.length - 1, number, signal);
      this.slices.delete(number);
      this.slices.set(number, voxels);
      if (this.slices.size > this.most) this.slices.delete(this.slices.keys().next().value);
      if (!known) this.changed();
    }
  }
}
