// The viewer: what is open, where one looks, and which panes show it. Moving through slices never asks the server.
import { apply, clamp } from './geometry.js';
import { Window } from './draw.js';
import { fill, make } from './dom.js';
import { listen } from './input.js';
import { Pane } from './pane.js';
import { Solid } from './solid.js';
import { Study } from './study.js';
import { Tools } from './tools.js';

const LAYOUTS = { three: ['axial', 'coronal', 'sagittal'], axial: ['axial'], coronal: ['coronal'], sagittal: ['sagittal'] };
const COMPARE = 'compare'; // the same plane of two scans
const REST = 200; // milliseconds without a move after which full slices are fetched
const WINDOWS = {
  HU: [['lung', 1500, -600], ['soft', 400, 40], ['bone', 2000, 400], ['brain', 80, 40], ['liver', 150, 60]],
  intensity: [['full', 0, 0]],
};

export class Viewer {
  constructor(root, words) {
    Object.assign(this, { root, words, studies: [], width: 400, level: 40, window: new Window(), crosshair: true, mode: 'crosshair' });
    this.overlay = { shown: true, contour: false, opacity: 0.5 };
    this.panes = [new Pane(), new Pane(), new Pane()];
    this.active = this.panes[0];
    this.solid = new Solid(words.solid_label);
    this.stage = make('div', { className: 'mm-stage' }, ...this.panes.map((pane) => pane.node), this.solid.node, make('span', { className: 'mm-empty' }));
    this.tools = new Tools(this);
    root.replaceChildren(this.stage, ...this.tools.nodes);
    for (const pane of this.panes) listen(this, pane);
    new ResizeObserver(() => this.later()).observe(this.stage);
    this.close();
  }

  get study() { return this.studies[0]; }
  get presets() {
    const { unit, window } = this.study ?? { unit: 'HU' };
    return [...(WINDOWS[unit] ?? WINDOWS.intensity), ...(window ? [['stored', ...window]] : [])];
  }
  get index() { return this.study.indexOf(this.point).index; }
  get shown() { return this.panes.filter((pane) => !pane.node.hidden); }

  say(state, text) {
    this.root.dataset.state = state;
    this.stage.querySelector('.mm-empty').textContent = text;
  }

  close(text = this.words.empty) {
    clearTimeout(this.waiting);
    for (const study of this.studies) study.close();
    this.studies = [];
    for (const pane of this.panes) {
      pane.canvas.width = pane.canvas.height = 1;
      pane.canvas.setAttribute('aria-label', this.words.none);
    }
    delete this.root.dataset.level;
    delete this.root.dataset.drawn;
    this.tools.close();
    this.say('empty', text);
  }

  async open(specs) {
    const before = specs.length && this.root.dataset.state === 'open' && this.study.url === specs[0].url
      ? { point: this.point, width: this.width, level: this.level } : null; // more of what is open
    this.close();
    if (!specs.length) return;
    this.say('loading', this.words.loading);
    const studies = specs.map((spec) => new Study(spec, () => this.more(studies)));
    this.studies = studies;
    this.point = apply(this.study.affine, this.study.shape.map((n) => Math.floor(n / 2)));
    const trunk = this.study.lung && this.study.low < -900;
    this.preset(this.study.unit === 'HU' && !trunk ? 1 : 0);
    Object.assign(this, before);
    try {
      await Promise.all(studies.map((study) => study.load()));
    } catch (error) {
      if (error.name !== 'AbortError' && this.studies === studies) this.close(this.words.gone);
    }
  }

  // More of a scan has arrived.
  more(studies) {
    if (this.studies !== studies) return;
    if (this.root.dataset.state === 'loading') {
      this.say('open', '');
      this.tools.open();
      this.arrange(this.studies.length > 1 ? COMPARE : this.study.shape.every((n) => n > 1) ? 'three' : 'axial');
    }
    this.later();
  }

  arrange(layout) {
    this.layout = layout;
    this.stage.dataset.layout = layout;
    const beside = layout === COMPARE, planes = beside ? this.studies.map(() => this.active.plane ?? 'axial') : LAYOUTS[layout];
    this.panes.forEach((pane, n) => {
      pane.node.hidden = !planes[n];
      if (planes[n]) pane.show(beside ? this.studies[n] : this.study, planes[n], this.words);
    });
    this.activate(this.panes[0]);
    this.tools.arranged();
  }

  activate(pane) {
    this.active = pane;
    this.later();
  }

  // Look at another voxel of the first scan.
  lookAt(index) {
    this.point = apply(this.study.affine, index.map((value, axis) => clamp(value, 0, this.study.shape[axis] - 1)));
    this.later();
  }

  // Slice of the active plane, from 0.
  get slice() { return this.index[this.active.axes.through]; }
  get slices() { return this.study.shape[this.active.axes.through]; }

  go(slice) {
    const { index } = this;
    index[this.active.axes.through] = slice;
    this.lookAt(index);
  }

  setWindow(width, level) {
    [this.width, this.level] = [Math.max(1, width), level];
    this.tools.pressed(this.presets.findIndex(([, w, l]) => w === width && l === level));
    this.later();
  }

  preset(n) {
    const [, width, level] = this.presets[n] ?? [];
    if (width === undefined) return;
    if (width) this.setWindow(width, level);
    else this.setWindow(this.study.high - this.study.low, (this.study.high + this.study.low) / 2);
  }

  setMode(mode) {
    this.mode = mode;
    this.stage.dataset.mode = mode;
    this.tools.moded();
  }

  reset() {
    for (const pane of this.shown) pane.reset();
    this.lookAt(this.study.shape.map((n) => Math.floor(n / 2)));
  }

  later() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  draw() {
    if (this.root.dataset.state !== 'open' || !this.stage.clientWidth) return;
    const start = performance.now();
    this.window.set(this.width, this.level);
    let drawn = null;
    for (const pane of this.shown) {
      const found = pane.draw(this);
      if (pane === this.active) drawn = found;
    }
    performance.clearMeasures('mm-draw');
    performance.measure('mm-draw', { start });
    this.solid.grade(this.width, this.level);
    this.tell(drawn.level);
    this.restLater();
  }

  // The same in words and numbers.
  tell(level) {
    const { active, slice, slices, words } = this;
    const { coordinate, through } = active.axes;
    const position = fill(words.position, { n: slice + 1, total: slices, axis: coordinate, mm: Math.round(this.point[2 - 'zyx'.indexOf(coordinate)]) });
    const window = this.study.unit === 'HU' ? `W ${Math.round(this.width)} L ${Math.round(this.level)} HU` : '';
    active.canvas.setAttribute('aria-label', `${words[active.plane]}, ${position}. ${window}`);
    for (const pane of this.shown) pane.node.toggleAttribute('data-active', pane === active && this.shown.length > 1);
    this.tools.tell(slice, slices, position, window, level);
    this.root.dataset.level = level;
    this.root.dataset.drawn = `${active.plane}:${slice + 1}:${Math.round(this.width)}:${Math.round(this.level)}`;
    this.study.centre = this.index[2];
  }

  restLater() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      const axial = this.shown.filter((pane) => pane.plane === 'axial').map((pane) => pane.study);
      for (const study of new Set(axial)) this.rest(study, study.indexOf(this.point).index[2]);
    }, REST);
  }

  rest(study, slice) {
    if (study.resting.at === slice) return;
    study.rest(slice).catch((error) => {
      if (error.name !== 'AbortError' && this.studies.includes(study)) this.close(this.words.gone);
    });
    study.resting.at = slice;
  }

  // What is under the pointer, for the corner of a pane.
  probe(pane, clientX, clientY) {
    const here = pane.study.indexOf(this.point), { index, inside } = pane.voxelAt(pane.toSlice(clientX, clientY), here.index);
    const found = inside && pane.study.unit === 'HU' ? pane.study.valueAt(index) : null;
    if (!found) pane.readout.textContent = inside && pane.study.unit === 'HU' ? this.words.preview : '';
    else pane.readout.textContent = `${found.value} HU${found.of > 1 ? `, ${fill(this.words.mean, { n: found.of })}` : ''}`;
  }
}

// Called once by the page's component.
export function start(element, props, watch) {
  const all = props.words, words = document.documentElement.lang.startsWith('zh') ? all.zh : all.en;
  const viewer = new Viewer(element.querySelector('.mm-viewer'), words);
  viewer.root.viewer = viewer;
  const show = () => viewer.open([props.value || []].flat());
  watch('value', show);
  show();
}
