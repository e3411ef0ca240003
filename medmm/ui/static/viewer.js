// A CT viewer on a 2-D canvas. The whole volume is in the browser as 16-bit Hounsfield units, so moving
// through slices and changing the window never asks the server.
// Order of voxels as packed: slices to Superior, rows to Posterior, columns to Left.
// Gradio's upload bar closes a stream that cannot be closed, and warns of itself each time; that says nothing about this page.
const warn = console.warn;
console.warn = (...words) => { if (words[0] !== 'Method not implemented.') warn.apply(console, words); };

const $ = (name) => element.querySelector('.' + name);
const canvas = $('mm-canvas'), range = $('mm-range'), plane = $('mm-plane'), presets = $('mm-presets');
const context = canvas.getContext('2d');
const WINDOWS = {
  HU: [['Lung', 1500, -600], ['Soft tissue', 400, 40], ['Bone', 2000, 400], ['Brain', 80, 40], ['Liver', 150, 60]],
  intensity: [['Full range', 0, 0]],
};
// For each plane: which axis (0 columns, 1 rows, 2 slices) runs across, down and through, and the letters at the edges.
const PLANES = {
  axial: { across: 0, down: 1, through: 2, upward: false, letters: ['R', 'L', 'A', 'P'] },
  coronal: { across: 0, down: 2, through: 1, upward: true, letters: ['R', 'L', 'S', 'I'] },
  sagittal: { across: 1, down: 2, through: 0, upward: true, letters: ['A', 'P', 'S', 'I'] },
};
let study = null, slice = 0, width = 400, level = 40, picture = null, pending = false, loading = 0;

const strides = () => [1, study.shape[0], study.shape[0] * study.shape[1]];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const view = () => PLANES[plane.value];

function draw() {
  pending = false;
  if (!study) return;
  const v = view(), s = strides(), columns = study.shape[v.across], rows = study.shape[v.down];
  if (!picture || picture.width !== columns || picture.height !== rows) picture = new ImageData(columns, rows);
  const pixels = new Uint32Array(picture.data.buffer), volume = study.volume;
  const low = level - width / 2, scale = 255 / Math.max(width, 1), base = slice * s[v.through];
  for (let r = 0, at = 0; r < rows; r++) {
    let from = base + (v.upward ? rows - 1 - r : r) * s[v.down];
    for (let c = 0; c < columns; c++, at++, from += s[v.across]) {
      const grey = clamp((volume[from] - low) * scale, 0, 255) | 0;
      pixels[at] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns; canvas.height = rows;
    canvas.style.setProperty('--ratio', (columns * study.spacing[v.across]) / (rows * study.spacing[v.down]));
  }
  context.putImageData(picture, 0, 0);
  const total = study.shape[v.through];
  $('mm-position').textContent = `slice ${slice + 1} of ${total}`;
  range.max = total; range.value = slice + 1; range.setAttribute('aria-valuetext', `slice ${slice + 1} of ${total}`);
  canvas.setAttribute('aria-label', `${plane.value} slice ${slice + 1} of ${total}, window ${Math.round(width)}, level ${Math.round(level)}`);
  $('mm-window').textContent = study.unit === 'HU' ? `W ${Math.round(width)} L ${Math.round(level)} HU` : '';
  element.dataset.drawn = `${plane.value}:${slice + 1}:${Math.round(width)}:${Math.round(level)}`;
}
function later() { if (!pending) { pending = true; requestAnimationFrame(draw); } }
function go(to) { if (study) { slice = clamp(to, 0, study.shape[view().through] - 1); later(); } }
function setWindow(w, l) { width = Math.max(1, w); level = l; later(); }
function choose(index) {
  const list = WINDOWS[study ? study.unit : 'HU'], found = list[index];
  if (!found) return;
  if (found[1]) setWindow(found[1], found[2]);
  else setWindow(Math.max(1, study.high - study.low), (study.high + study.low) / 2);
  [...presets.children].forEach((b, i) => b.setAttribute('aria-pressed', String(i === index)));
}
function setPlane() {
  const letters = view().letters;
  ['mm-left', 'mm-right', 'mm-top', 'mm-bottom'].forEach((name, i) => { $(name).textContent = study && study.unit === 'HU' ? letters[i] : ''; });
  slice = Math.floor(study.shape[view().through] / 2);
  later();
}
function showPresets() {
  presets.replaceChildren(...WINDOWS[study.unit].map(([name], i) => {
    const button = document.createElement('button');
    button.type = 'button'; button.textContent = name; button.setAttribute('aria-pressed', 'false');
    button.addEventListener('click', () => choose(i));
    return button;
  }));
}
function huAt(event) {
  const box = canvas.getBoundingClientRect(), v = view(), s = strides();
  const c = Math.floor((event.clientX - box.left) / box.width * study.shape[v.across]);
  const r = Math.floor((event.clientY - box.top) / box.height * study.shape[v.down]);
  if (c < 0 || r < 0 || c >= study.shape[v.across] || r >= study.shape[v.down]) return null;
  const down = v.upward ? study.shape[v.down] - 1 - r : r;
  return study.volume[slice * s[v.through] + down * s[v.down] + c * s[v.across]];
}
function say(state, text) {
  $('mm-viewer').dataset.state = state;
  $('mm-empty').textContent = text;
}
function clear() {
  study = null; picture = null; range.disabled = plane.disabled = true;
  canvas.width = canvas.height = 1; canvas.setAttribute('aria-label', 'No study is open');
  presets.replaceChildren(); $('mm-position').textContent = 'no slice'; $('mm-window').textContent = $('mm-readout').textContent = '';
  ['mm-left', 'mm-right', 'mm-top', 'mm-bottom'].forEach((name) => { $(name).textContent = ''; });
  delete element.dataset.drawn;
}
async function open(spec) {
  const mine = ++loading;
  clear();
  if (!spec) { say('empty', 'Open an example or upload a study to see it here.'); return; }
  say('loading', 'Loading the scan ...');
  const reply = await fetch(spec.url);
  if (!reply.ok) { if (mine === loading) say('empty', 'The scan is no longer on the server. Open it again.'); return; }
  const inflated = await new Response(reply.body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
  if (mine !== loading) return;
  study = { ...spec, volume: new Int16Array(inflated) };
  range.disabled = plane.disabled = false;
  plane.value = 'axial';
  showPresets(); choose(spec.unit === 'HU' && spec.low < -900 && spec.lung ? 0 : spec.unit === 'HU' ? 1 : 0); setPlane();
  say('open', '');
}

range.addEventListener('input', () => go(Number(range.value) - 1));
plane.addEventListener('change', setPlane);
canvas.addEventListener('wheel', (event) => { if (study) { event.preventDefault(); go(slice + Math.sign(event.deltaY)); } }, { passive: false });
canvas.addEventListener('keydown', (event) => {
  if (!study) return;
  const last = study.shape[view().through] - 1;
  const moves = { ArrowUp: slice - 1, ArrowLeft: slice - 1, ArrowDown: slice + 1, ArrowRight: slice + 1,
                  PageUp: slice - 10, PageDown: slice + 10, Home: 0, End: last };
  if (event.key in moves) { event.preventDefault(); go(moves[event.key]); }
  else if (/^[1-9]$/.test(event.key)) choose(Number(event.key) - 1);
});
let held = null;
canvas.addEventListener('pointerdown', (event) => {
  if (study) { held = { x: event.clientX, y: event.clientY, width, level }; canvas.setPointerCapture(event.pointerId); }
});
canvas.addEventListener('pointermove', (event) => {
  if (!study) return;
  if (held) setWindow(held.width + (event.clientX - held.x) * 4, held.level + (event.clientY - held.y) * 2);
  const value = huAt(event);
  $('mm-readout').textContent = value === null || study.unit !== 'HU' ? '' : `${value} HU${study.reduced ? ', mean of neighbours' : ''}`;
});
['pointerup', 'pointercancel'].forEach((name) => canvas.addEventListener(name, () => { held = null; }));
canvas.addEventListener('pointerleave', () => { $('mm-readout').textContent = ''; });
watch('value', () => { open(props.value); });
if (props.value) open(props.value);
