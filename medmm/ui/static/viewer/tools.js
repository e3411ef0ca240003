// Everything around the picture: slider, layouts, what a drag does, windows, playing, help.
import { button, fill, make } from './dom.js';
import { LABELS, MAP } from './draw.js';
import { possible } from './solid.js';
import { save } from './save.js';

const MODES = { crosshair: 'c', window: 'w', slice: 's', pan: 'p', ruler: 'm' };
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const PER_SECOND = () => (calm.matches ? 3 : 12);

export class Tools {
  constructor(viewer) {
    const { words } = viewer;
    this.viewer = viewer;
    this.range = make('input', { className: 'mm-range', type: 'range', min: 1, max: 1, value: 1, 'aria-label': words.slice });
    this.position = make('output', { className: 'mm-position' });
    this.window = make('span', { className: 'mm-window' });
    this.level = make('span', { className: 'mm-level', role: 'status' });
    this.plane = make('select', { className: 'mm-plane', 'aria-label': words.layout });
    this.modes = this.group(words.drag, Object.keys(MODES).map((mode) => button(words[`drag_${mode}`], {
      title: `${words[`drag_${mode}`]} (${MODES[mode].toUpperCase()})`, onclick: () => viewer.setMode(mode), 'data-mode': mode,
    })));
    this.presets = this.group(words.window, []);
    this.presets.classList.add('mm-presets');
    this.cine = button(words.cine, { className: 'mm-cine', title: `${words.cine} (Space)`, 'aria-pressed': 'false', onclick: () => this.play(!this.playing) });
    this.zero = button(words.reset, { title: `${words.reset} (R)`, onclick: () => viewer.reset() });
    this.picture = button(words.save, { onclick: () => save(viewer, `${viewer.active.canvas.ariaLabel}`) });
    this.solid = button(words.solid, { title: words.solid_label, 'aria-pressed': 'false', hidden: !possible(), onclick: () => this.turn(viewer.solid.node.hidden) });
    this.help = this.helpText(words);
    this.actions = this.group(words.view, [this.cine, this.zero, this.picture, this.solid]);
    this.overlay = this.overlayTools(words);
    this.nodes = [
      make('div', { className: 'mm-slices' }, this.range, this.position),
      make('div', { className: 'mm-tools' }, this.plane, this.presets),
      make('div', { className: 'mm-tools' }, this.modes, this.actions),
      this.overlay,
      make('p', { className: 'mm-hint' }, this.level, this.window, make('span', { textContent: words.convention })),
      this.help,
    ];
    this.range.addEventListener('input', () => viewer.go(Number(this.range.value) - 1));
    this.plane.addEventListener('change', () => viewer.arrange(this.plane.value));
  }

  group(label, children) { return make('div', { className: 'mm-group', role: 'group', 'aria-label': label }, ...children); }

  // What an overlay is shown with; there only while there is one.
  overlayTools(words) {
    const state = this.viewer.overlay, change = (name) => (event) => { state[name] = event.target.checked; this.viewer.later(); };
    this.covering = make('input', { type: 'checkbox', checked: true, onchange: change('shown') });
    const contour = make('input', { type: 'checkbox', onchange: change('contour') });
    const opacity = make('input', { className: 'mm-opacity', type: 'range', min: 0, max: 100, value: 100 * state.opacity, 'aria-label': words.opacity });
    opacity.addEventListener('input', () => { state.opacity = opacity.value / 100; this.viewer.later(); });
    this.legend = make('span', { className: 'mm-legend' });
    const labelled = (box, text) => make('label', {}, box, ` ${text}`);
    return make('div', { className: 'mm-tools mm-overlay', role: 'group', 'aria-label': words.overlay, hidden: true },
      labelled(this.covering, words.overlay), labelled(contour, words.contour), make('label', {}, `${words.opacity} `, opacity), this.legend);
  }

  // Name of the overlay and what its colours mean.
  explain(layer) {
    const chip = (background, text) => make('span', { className: 'mm-chip' }, make('i', { style: `background: ${background}` }), text);
    const chips = layer.labels
      ? Object.entries(layer.labels).map(([value, text]) => chip(LABELS[(value - 1) % LABELS.length], text))
      : [chip(`linear-gradient(90deg, ${MAP.join()})`, this.viewer.words.low_high)];
    this.legend.replaceChildren(make('b', { textContent: layer.name }), ...chips);
  }

  helpText(words) {
    const lines = words.help_lines.split('\n').map((line) => make('li', { textContent: line }));
    return make('details', { className: 'mm-help' }, make('summary', { textContent: words.help }), make('ul', {}, ...lines));
  }

  get controls() { return this.nodes.flatMap((node) => [...node.querySelectorAll('button, input, select')]); }

  close() {
    this.play(false);
    this.turn(false);
    this.overlay.hidden = true;
    this.offer(['three'], this.viewer.presets); // as much room as an open scan takes
    this.position.textContent = this.viewer.words.no_slice;
    this.window.textContent = this.level.textContent = '';
    for (const control of this.controls) control.disabled = true;
  }

  open() {
    const { viewer } = this, { study } = viewer, flat = study.shape[2] === 1;
    const layouts = flat ? ['axial'] : ['three', 'axial', 'coronal', 'sagittal'];
    if (viewer.studies.length === 2) layouts.push('compare');
    this.offer(layouts, viewer.presets);
    for (const control of this.controls) control.disabled = false;
    viewer.setMode(viewer.mode);
    viewer.setWindow(viewer.width, viewer.level);
  }

  // Layouts and windows to choose from.
  offer(layouts, presets) {
    const { viewer } = this, { words } = viewer;
    this.plane.replaceChildren(...layouts.map((name) => make('option', { value: name, textContent: words[name] })));
    this.presets.replaceChildren(...presets.map(([name], n) => button(words[name], {
      title: `${words[name]} (${n + 1})`, onclick: () => viewer.preset(n),
    })));
  }

  arranged() { this.plane.value = this.viewer.layout; }

  moded() { for (const node of this.modes.children) node.setAttribute('aria-pressed', String(node.dataset.mode === this.viewer.mode)); }

  pressed(preset) { [...this.presets.children].forEach((node, n) => node.setAttribute('aria-pressed', String(n === preset))); }

  tell(slice, slices, position, window, level) {
    const { words, study } = this.viewer, [layer] = study.layers;
    if (layer && this.overlay.hidden) this.explain(layer);
    this.overlay.hidden = !layer;
    const percent = 10 * Math.floor(10 * study.share); // in steps, as each is read aloud
    this.range.max = slices;
    this.range.value = slice + 1;
    this.range.setAttribute('aria-valuetext', position);
    this.position.textContent = position;
    this.window.textContent = window;
    const loading = percent < 100 ? ` ${fill(words.loaded, { percent })}` : '';
    const text = words[`level_${level}`] + loading;
    if (this.level.textContent !== text) this.level.textContent = text;
  }

  play(on) {
    const { viewer } = this;
    this.playing = on;
    this.cine.setAttribute('aria-pressed', String(on));
    clearInterval(this.timer);
    if (on) this.timer = setInterval(() => viewer.go((viewer.slice + 1) % viewer.slices), 1000 / PER_SECOND());
  }

  // Show the scan in three dimensions, or the planes again.
  turn(on) {
    const { viewer } = this;
    this.solid.setAttribute('aria-pressed', String(on));
    if (on) viewer.solid.open(viewer.study, viewer.width, viewer.level);
    else viewer.solid.close();
  }

  // A letter key; whether it meant something.
  press(key) {
    const { viewer } = this, letter = key.toLowerCase(), mode = Object.keys(MODES).find((name) => MODES[name] === letter);
    if (letter === 'c' && viewer.mode === 'crosshair') { viewer.crosshair = !viewer.crosshair; viewer.later(); }
    else if (mode) viewer.setMode(mode);
    else if (letter === ' ') this.play(!this.playing);
    else if (letter === 'r') viewer.reset();
    else if (letter === 'o') this.covering.click();
    else if (letter === '?') this.help.open = !this.help.open;
    else return false;
    return true;
  }
}
