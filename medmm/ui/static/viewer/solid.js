// The scan in three dimensions, drawn by NiiVue (BSD-2-Clause, in `vendor`) from what the browser already holds:
// nothing more is fetched but NiiVue itself, when it is asked for first.
import { make } from './dom.js';
import { product } from './geometry.js';

const SIDE = 128; // voxels along an axis at most: enough to turn, little enough for a machine without a GPU
const HEADER = 352;

export const possible = () => Boolean(make('canvas').getContext('webgl2'));

// Every nth voxel of the array at hand as a NIfTI file, whose space is RAS+.
export function niftiOf(study) {
  const { shape, factors } = study.fit, steps = shape.map((n) => Math.ceil(n / SIDE));
  const [columns, rows, slices] = shape.map((n, axis) => Math.ceil(n / steps[axis]));
  const buffer = new ArrayBuffer(HEADER + 2 * columns * rows * slices), header = new DataView(buffer);
  const voxels = new Int16Array(buffer, HEADER);
  for (let s = 0, to = 0; s < slices; s++) {
    for (let r = 0; r < rows; r++) {
      const from = (s * steps[2] * shape[1] + r * steps[1]) * shape[0];
      for (let c = 0; c < columns; c++) voxels[to++] = study.voxels[from + c * steps[0]];
    }
  }
  const grid = [0, 1, 2].map((axis) => [0, 1, 2, 3].map((n) => (n === axis ? steps[axis] * factors[axis] : n === 3 ? (factors[axis] - 1) / 2 : 0)));
  const affine = product(study.affine, [...grid, [0, 0, 0, 1]]);
  header.setInt32(0, 348, true);
  [3, columns, rows, slices, 1, 1, 1, 1].forEach((n, at) => header.setInt16(40 + 2 * at, n, true));
  header.setInt16(70, 4, true); // int16
  header.setInt16(72, 16, true);
  [1, 0, 1, 2].forEach((axis, at) => header.setFloat32(76 + 4 * at, at ? steps[axis] * factors[axis] * study.spacing[axis] : 1, true));
  header.setFloat32(108, HEADER, true);
  header.setFloat32(112, 1, true); // slope
  header.setInt16(254, 1, true); // the affine below is the scanner's
  [-1, -1, 1].forEach((sign, row) => affine[row].forEach((value, n) => header.setFloat32(280 + 16 * row + 4 * n, sign * value, true)));
  [0x6e, 0x2b, 0x31, 0].forEach((byte, at) => header.setUint8(344 + at, byte)); // n+1
  return buffer;
}

export class Solid {
  constructor(label) {
    this.canvas = make('canvas', { role: 'img', 'aria-label': label });
    this.node = make('div', { className: 'mm-solid', hidden: true }, this.canvas);
  }

  async open(study, width, level) {
    this.node.hidden = false;
    const { Niivue } = await import('./niivue.js');
    if (!this.scene) {
      this.scene = new Niivue({ backColor: [0, 0, 0, 1], show3Dcrosshair: false, isOrientCube: true, dragAndDropEnabled: false, loadingText: '', logLevel: 'error' });
      await this.scene.attachToCanvas(this.canvas);
    }
    for (const volume of [...this.scene.volumes]) this.scene.removeVolume(volume);
    await this.scene.loadFromArrayBuffer(niftiOf(study), 'scan.nii');
    this.scene.setSliceType(this.scene.sliceTypeRender);
    this.grade(width, level);
  }

  // Below the window is see-through, above it opaque.
  grade(width, level) {
    const volume = this.scene?.volumes[0];
    if (this.node.hidden || !volume || (volume.cal_min === level - width / 2 && volume.cal_max === level + width / 2)) return;
    [volume.cal_min, volume.cal_max] = [level - width / 2, level + width / 2];
    this.scene.updateGLVolume();
  }

  close() { this.node.hidden = true; }
}
